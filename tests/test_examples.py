"""Every recipe of examples/ is right, formatted, and can be planned.

Where its models are not made yet, small ones with the same names stand in for them.
"""

import re
import shutil
from pathlib import Path

import pytest
import torch

from mergelang.api import load
from mergelang.cli.app import main
from tests.checkpoints import write_model
from tests.interpret import read_tensors

EXAMPLES = Path(__file__).parent.parent / "examples"
NOT_OURS = {"out", "operator"}
"""Folders of results, and of the operator that is tested where it is installed."""

RECIPES = [
    path.relative_to(EXAMPLES)
    for path in sorted(EXAMPLES.rglob("*.merge"))
    if not NOT_OURS & set(path.relative_to(EXAMPLES).parts)
]


@pytest.fixture
def recipe(request, tmp_path) -> Path:
    """A copy of a recipe, with small models where it looks for models."""
    copy = tmp_path / request.param
    copy.parent.mkdir(parents=True, exist_ok=True)
    for path in EXAMPLES.glob("*.merge"):
        shutil.copy(path, tmp_path)
    shutil.copy(EXAMPLES / request.param, copy)
    for source in re.findall(r'^model \w+ = "(.+?)"', copy.read_text(), re.MULTILINE):
        write_model(copy.parent / source, seed=len(source))
    return copy


@pytest.mark.parametrize("recipe", RECIPES, indirect=True, ids=str)
def test_a_recipe_is_right_formatted_and_can_be_planned(recipe, capfd):
    plan = load(recipe).plan()
    assert plan.graph.program.warnings == ()
    assert plan.bytes_written > 0
    assert main(["fmt", "--check", str(recipe)]) == 0


def test_masks_in_front_of_task_arithmetic_are_dare(tmp_path):
    for seed, name in enumerate(("base", "math", "text")):
        write_model(tmp_path / "lab/models/seed0" / name, seed=seed)
    text = (EXAMPLES / "masks.merge").read_text()
    call = 'output "out/dare" = dare(math, text, density: density, base: base)\n'
    (tmp_path / "masks.merge").write_text(text + call)
    load(tmp_path / "masks.merge").run()
    made = {path.name: read_tensors(path) for path in (tmp_path / "out").iterdir()}
    names = "dare", "masked_task_arithmetic", "masked_again"
    dare, masked, again = (made[name] for name in names)
    assert all(torch.allclose(masked[name], x, rtol=2**-7) for name, x in dare.items())
    assert not any(torch.equal(again[name], x) for name, x in dare.items())


def test_the_recipe_of_the_example_package_is_formatted():
    assert main(["fmt", "--check", str(EXAMPLES / "operator" / "clipped.merge")]) == 0
