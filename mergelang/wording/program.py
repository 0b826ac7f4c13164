"""E02..E05, E07, E08: the program."""

from mergelang.wording.kind import Kind

PROGRAM: dict[str, Kind] = {}
