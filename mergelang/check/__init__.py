"""Tree to typed program: names, kinds, mass, suggestions."""

from mergelang.check.outputs import check_outputs
from mergelang.check.recipe import check

__all__ = ["check", "check_outputs"]
