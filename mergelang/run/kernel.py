"""Functions that operators name instead of importing, so that operators need no torch."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def kernel(name: str) -> Callable[..., Any]:
    """The function of `"module:name"`."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
