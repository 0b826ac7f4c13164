"""mergelang: compose models out of models.

    import mergelang

    recipe = mergelang.load("merge.merge")
    recipe.check()
    print(recipe.plan())
    recipe.run()

Importing this module loads none of the engine: neither torch nor textual, lark or networkx.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mergelang.api import Recipe, load
    from mergelang.errors import MergelangError, RecipeError, RunError
    from mergelang.ops.registry import operator

_HOMES = {
    "Recipe": "mergelang.api",
    "load": "mergelang.api",
    "operator": "mergelang.ops.registry",
    "MergelangError": "mergelang.errors",
    "RecipeError": "mergelang.errors",
    "RunError": "mergelang.errors",
}

__all__ = ["MergelangError", "Recipe", "RecipeError", "RunError", "__version__", "load", "operator"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mergelang' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
