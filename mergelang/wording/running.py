"""E09.., E10..: runs and the command line."""

from mergelang.wording.kind import Kind

RUNNING: dict[str, Kind] = {}
