"""E06..: models on disk."""

from mergelang.wording.kind import Kind

MODELS: dict[str, Kind] = {}
