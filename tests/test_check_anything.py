"""Whatever is written, the checker gives a program or says what is wrong: it never fails itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelang.check import check
from mergelang.errors import RecipeError
from mergelang.source import Source
from tests.checkpoints import write_zoo

NAMES = ("base", "chat", "more", "wide", "deep", "flat", "t", "house", "gone", "mean")
OPERATORS = (
    "mean", "linear", "slerp", "ties", "dare", "trim", "stack", "as_model", "curve", "chat", "nope",
)  # fmt: skip
OPTIONS = (
    "weight", "density", "t", "normalize", "base", "missing", "mismatch", "config", "draw", "nope",
)  # fmt: skip
PATTERNS = (
    "mlp", '"*.q_proj.*"', "@attn", "@nope", "layers 1..3", "layers 3..9", "layers 2..1", "!mlp",
    "mlp | @norm", "self_attn & layers ..2", "_",
)  # fmt: skip

atoms = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(("0", "1", "0.5", "2", "90%", "5GB", '"text"', "true", "skip", "[1, 2]")),
    st.just("house.blend"),
    st.just("from(more)"),
)


def _grow(inner):
    option = st.tuples(st.sampled_from(OPTIONS), inner).map(": ".join)
    record = st.lists(option, min_size=1, max_size=2).map(lambda o: f" {{ {', '.join(o)} }}")
    argument = st.one_of(inner, st.tuples(inner, record).map("".join), option)
    arm = st.tuples(st.sampled_from(PATTERNS), inner).map(" => ".join)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda x: f"({' '.join(x)})"),
        inner.map(lambda x: f"(-{x})"),
        st.tuples(inner, st.sampled_from(("[..2]", "[1..3]", "[2..2]", "[3..9]"))).map("".join),
        st.tuples(st.sampled_from(OPERATORS), st.lists(argument, max_size=4)).map(
            lambda x: f"{x[0]}({', '.join(x[1])})"
        ),
        st.lists(arm, min_size=1, max_size=3).map(lambda arms: f"match {{ {', '.join(arms)} }}"),
    )


expressions = st.recursive(atoms, _grow, max_leaves=8)

HEAD = """use "house.merge" as house
param t = 0.4 { min: 0, max: 1 }
model base = "base"
model chat = "chat"
model more = "more"
model wide = "wide"
model deep = "deep"
model flat = "flat.safetensors"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_zoo(tmp_path_factory.mktemp("zoo"))
    (folder / "house.merge").write_text('model chat = "chat"\nlet blend = mean(chat, chat)\n')
    return folder


@given(st.lists(expressions, min_size=1, max_size=2), expressions, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_recipe_is_checked_or_told(folder, lets, last, sources):
    text = HEAD + "".join(f"let x{i} = {each}\n" for i, each in enumerate(lets))
    text += f'output "out" = {last}\n'
    try:
        found = check(Source("x.merge", text), folder=folder, sources=sources).diagnostics
        assert not any(each.is_error for each in found)
    except RecipeError as error:
        found = error.diagnostics
        assert any(each.is_error for each in found)
        assert all(each.span is not None for each in found if each.is_error)
    for each in found:
        assert str(each).startswith(("error[", "warning["))
