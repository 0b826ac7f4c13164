"""Text to tree and back: parse, the tree, format. Knows the grammar, not what names mean."""

from mergelang.lang.format import canonical, format, quoted
from mergelang.lang.parse import parse

__all__ = ["canonical", "format", "parse", "quoted"]
