"""A mergekit file becomes the recipe that tests/yaml/ says, and that recipe checks.

A file may end with `# check: CODE`, what the checker tells of it: of parts of the language that it
does not know yet. To write the recipes anew, and then read them:
MERGELANG_WRITE_RECIPES=1 pytest tests/test_import.py
"""

import os
import re
from pathlib import Path

import pytest

from mergelang.check import check
from mergelang.errors import RecipeError
from mergelang.interop import import_yaml
from mergelang.interop.methods import METHODS, NEEDED
from mergelang.lang import format, parse
from mergelang.ops.registry import operators
from mergelang.ops.signature import REQUIRED
from mergelang.source import Source
from tests.checkpoints import write_import_zoo

FILES = sorted((Path(__file__).parent / "yaml").glob("*.yml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_import_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_becomes_a_formatted_recipe(path, folder):
    text, _ = import_yaml(Source(path.name, path.read_text()), folder)
    expected = path.with_suffix(".merge")
    if os.environ.get("MERGELANG_WRITE_RECIPES"):
        expected.write_text(text)
    assert text == expected.read_text()
    tree, problems = parse(Source("x", text))
    assert not problems
    assert format(tree) == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_recipe_checks_or_names_what_is_not_there_yet(path, folder):
    announced = re.findall(r"^# check: (\w+)$", path.read_text(), re.MULTILINE)
    text = path.with_suffix(".merge").read_text()
    try:
        found = check(Source("x.merge", text), folder=folder).diagnostics
    except RecipeError as error:
        found = error.diagnostics
    assert sorted({each.code for each in found}) == announced, "\n\n".join(map(str, found))


@pytest.mark.parametrize("name", METHODS)
def test_the_defaults_of_our_operators_are_those_that_import_reckons_with(name):
    method = METHODS[name]
    signature = operators()[method.operator].signature
    for parameter in method.parameters:
        if parameter.option and parameter.ours is not NEEDED:
            default = signature.option(parameter.option).default
            assert default is not REQUIRED
            assert str(default) == str(parameter.ours) or default == float(parameter.ours)


@pytest.mark.parametrize("name", METHODS)
def test_where_mergekit_does_otherwise_the_documentation_says_so(name):
    method = METHODS[name]
    other = [
        each for each in method.parameters
        if each.ours is not NEEDED and each.default not in (NEEDED, each.ours)
        and (not each.words or each.words[bool(each.default)] != each.ours)
    ]  # fmt: skip
    if other or method.fixed:
        assert "mergekit" in operators()[method.operator].signature.text, other
