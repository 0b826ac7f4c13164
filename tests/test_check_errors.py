"""Every wrong recipe of tests/errors/ is told exactly what its .txt says.

A recipe there may start with `# set: name=value`. The models and the used recipes that they name
stand in one folder, made for the tests. To write the texts anew after a change of wording, and then
read them: MERGELANG_WRITE_ERRORS=1 pytest tests/test_check_errors.py
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from mergelang.check import check
from mergelang.errors import RecipeError
from mergelang.source import Source
from mergelang.wording import KINDS
from tests.checkpoints import write_speakers, write_zoo

ERRORS = Path(__file__).parent / "errors"
CASES = sorted(ERRORS.glob("*.merge"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = write_zoo(tmp_path_factory.mktemp("zoo"))
    write_speakers(folder / "speakers")
    shutil.copytree(ERRORS / "used", folder / "used")
    (folder / "taken").mkdir()
    (folder / "taken" / "notes.txt").write_text("ours")
    (folder / "file").write_text("a file")
    return folder


def told(path: Path, folder: Path) -> str:
    """All that the checker says about a recipe."""
    text = path.read_text()
    settings = dict(re.findall(r"^# set: (\w+)=(.*)$", text, re.MULTILINE))
    try:
        program = check(Source(path.name, text), folder=folder, settings=settings)
        found = program.diagnostics
    except RecipeError as error:
        found = error.diagnostics
    return "\n\n".join(map(str, found)) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_wrong_recipe_is_told_what_is_wrong_and_what_to_write(path, folder):
    said = told(path, folder)
    expected = path.with_suffix(".txt")
    if os.environ.get("MERGELANG_WRITE_ERRORS"):
        expected.write_text(said)
    assert said == expected.read_text()


PROGRAM = sorted(code for code in KINDS if re.match(r"[EW](?:0[1234578]|220|23|24)", code))


@pytest.mark.parametrize("code", PROGRAM)
def test_every_code_is_explained_with_an_example(code):
    kind = KINDS[code]
    assert kind.message and kind.explain.endswith("\n")
    for line in kind.explain.splitlines():
        assert len(line) <= 100


ELSEWHERE = {
    "E0318": "an operator of an installed package refuses its inputs",
    "E0416": "an operator of an installed package reckons its mass with plain numbers only",
    "E0320": "an operator of an installed package fails",
    "E0801": "told by the planner",
    "E2302": "told by the planner",
    "E2320": "told by the run",
    "E2321": "told by the run",
    "E2322": "told by the run",
    "E2323": "told by the run",
    "E2324": "told by the run",
    "E2325": "told by the run",
    "E2326": "told by the planner",
    "W2310": "told by the run",
    "W0301": "an installed package cannot be loaded",
}


def test_every_code_is_told_by_a_wrong_recipe():
    told = {
        code
        for path in CASES
        for code in re.findall(r"^\w+\[(\w+)\]", path.with_suffix(".txt").read_text(), re.MULTILINE)
    }
    assert set(PROGRAM) - told == set(ELSEWHERE)
