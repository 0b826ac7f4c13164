"""What our widgets call their own: a name that Textual has for itself would break the widget."""

import ast
import inspect
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
from textual.message_pump import MessagePump

FOLDER = Path(__file__).parent.parent / "mergelang" / "tui"


def ours() -> list[type]:
    for path in sorted(FOLDER.glob("*.py")):
        import_module(f"mergelang.tui.{path.stem}")
    modules = [each for name, each in sys.modules.items() if name.startswith("mergelang.tui.")]
    return sorted(
        {
            each for module in modules for each in vars(module).values()
            if inspect.isclass(each) and issubclass(each, MessagePump)
            and each.__module__ == module.__name__
        },
        key=lambda each: each.__qualname__,
    )  # fmt: skip


def assigned(kind: type) -> set[str]:
    """The attributes of `self` that a class assigns in its own text."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name) and node.value.id == "self"
        and node.attr.startswith("_")
    }  # fmt: skip


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_a_widget_takes_no_private_name_of_textual(kind):
    theirs = [each for each in kind.__mro__ if each.__module__.startswith("textual.")]
    assert "_running" in assigned(MessagePump)  # the test sees what it looks for
    taken = set().union(*map(assigned, theirs), *(vars(each) for each in theirs))
    assert not assigned(kind) & {name for name in taken if name.startswith("_")}
