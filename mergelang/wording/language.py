"""E01.. the text."""

from mergelang.wording.kind import Kind

LANGUAGE: dict[str, Kind] = {}
