"""Every wrong file of tests/yaml_errors/ is told exactly what its .txt says.

To write the texts anew after a change of wording, and then read them:
MERGELANG_WRITE_ERRORS=1 pytest tests/test_import_errors.py
"""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelang.errors import RecipeError
from mergelang.interop import import_yaml
from mergelang.lang import parse
from mergelang.source import Source
from mergelang.wording import KINDS

CASES = sorted((Path(__file__).parent / "yaml_errors").glob("*.yml"))


def told(path: Path, folder: Path) -> str:
    try:
        _, found = import_yaml(Source(path.name, path.read_text()), folder)
    except RecipeError as error:
        found = error.diagnostics
    return "\n\n".join(map(str, found)) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_wrong_file_is_told_what_is_wrong_and_what_to_write(path, tmp_path):
    said = told(path, tmp_path)
    expected = path.with_suffix(".txt")
    if os.environ.get("MERGELANG_WRITE_ERRORS"):
        expected.write_text(said)
    assert said == expected.read_text()


CODES = sorted(code for code in KINDS if re.match(r"[EW]11[012]", code))


def test_every_code_is_told_by_a_wrong_file():
    texts = [path.with_suffix(".txt").read_text() for path in CASES]
    assert set(CODES) == set(re.findall(r"^\w+\[(\w+)\]", "\n".join(texts), re.MULTILINE))


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code):
    kind = KINDS[code]
    assert kind.message and kind.explain.endswith("\n")
    assert all(len(line) <= 100 for line in kind.explain.splitlines())


WORDS = ["null", "[]", "{}", "[1, 2]", "-1", ".nan", "true", "a@b@c", "&a x", "*a", "- ", ": ", '"']


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_file_is_imported_or_told_what_is_wrong(data):
    lines = data.draw(st.sampled_from(CASES)).read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 2))):
        index = data.draw(st.integers(0, len(lines) - 1))
        key = lines[index].partition(":")[0]
        word = data.draw(st.sampled_from(WORDS))
        lines[index] = data.draw(st.sampled_from([f"{key}: {word}", word, f"  {lines[index]}", ""]))
    source = Source("x.yml", "\n".join(lines))
    try:
        text, _ = import_yaml(source, Path("/nowhere"))
    except RecipeError as error:
        assert any(each.is_error for each in error.diagnostics)
        assert str(error)
    else:
        assert not parse(Source("x.merge", text))[1]
