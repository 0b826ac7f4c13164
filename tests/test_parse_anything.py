"""No text is too wrong: it gives a tree and diagnostics with places, and it gives them soon."""

import random
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelang.lang import format, parse
from mergelang.source import Source
from tests.recipes import texts

TREE = Path(__file__).parent.parent
RECIPES = sorted([*TREE.glob("examples/*.merge"), *TREE.glob("tests/errors/*.merge")])
PIECES = (
    *"()[]{}\"'#\\\n\r\t ,:;=.!&|@_%+-*/<>\ufeff\0", "=>", "..", "let x = ", "match {", "model ",
    "output ", "seed ", "use ", "param ", "mergelang ", "true", "0.5", "1e9", "5GB", "layers ",
    "é", "𝒳", "\u2028", "\u0301", "٣", "²", "\\\"", "# ",
)  # fmt: skip


def survives(text):
    """The parser's answer to a text: in time, with places that are in the text."""
    start = process_time()
    source = Source("x.merge", text)
    recipe, problems = parse(source)
    for each in problems:
        assert each.is_error
        assert 0 <= each.span.start <= each.span.end <= len(text) + 1
        assert str(each).startswith(f"error[{each.code}]: ")
    if not problems:
        again, problems = parse(Source("x.merge", format(recipe)))
        assert (again, problems) == (recipe, [])
    assert process_time() - start < 1
    return recipe, problems


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_told(text):
    survives(text)


@given(texts(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_recipe_with_some_characters_changed_is_read_or_told(text, dice):
    survives(_mutated(text, dice))


@pytest.mark.parametrize("path", RECIPES[::4], ids=lambda path: path.stem)
def test_a_file_with_some_characters_changed_is_read_or_told(path):
    text = path.read_text(encoding="utf-8")
    for seed in range(6):
        survives(_mutated(text, random.Random(seed)))
    for end in range(0, len(text), max(1, len(text) // 12)):
        survives(text[:end])


def _mutated(text, dice):
    """The text after a few deletions, doublings, swaps, insertions and flips of a bit."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(text))
        end = min(len(text), at + dice.randint(1, 6))
        piece = text[at:end]
        flipped = "".join(chr(ord(each) ^ 1 << dice.randint(0, 6)) for each in piece[:1])
        piece = dice.choice(("", piece * 2, piece[::-1], flipped + piece[1:], dice.choice(PIECES)))
        text = text[:at] + piece + text[end:]
    return text


@pytest.mark.parametrize(
    "unit",
    ["(", ")", "[", "{", '"', "#\n", "\n", "-", "a(", "a[", "let x = (\n", "!", "1", "\\", "@",
     "=>", "a b ", "let ", "..", "\0"],
)  # fmt: skip
def test_nothing_repeated_often_takes_long(unit):
    for before in ("", "let x = ", "let x = match { "):
        survives(before + unit * (12000 // len(unit)))
