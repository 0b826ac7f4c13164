"""Every recipe of examples/ is right, formatted, and can be planned.

Where its models are not made yet, small ones with the same names stand in for them.
"""

import re
import shutil
import time
from pathlib import Path

import pytest
import torch

from mergelang.api import load
from mergelang.cli.app import main
from mergelang.plan import cached
from mergelang.run import kernel
from mergelang.store import rates
from mergelang.store.blobs import Blobs
from tests.checkpoints import write_model, write_seeing
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
        write = write_seeing if source.endswith("seeing") else write_model
        write(copy.parent / source, seed=len(source))
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


def test_the_cheap_step_after_the_costly_one_is_run_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(cached, "MOMENT", 0)  # the matrices are small: each would not be worth it
    monkeypatch.setattr(rates, "FUNCTION", 1e-4)
    for seed, name in enumerate(("base", "math", "text")):
        write_model(tmp_path / "lab/models/seed0" / name, seed=seed)
    shutil.copy(EXAMPLES / "again.merge", tmp_path)
    called = []
    named = kernel.kernel
    monkeypatch.setattr(kernel, "kernel", lambda name: called.append(name) or named(name))
    load(tmp_path / "again.merge").run(threads=1)
    matrices = [each for each in called if each.endswith(":tsv")]
    assert len(matrices) == 30 and len(Blobs().entries()) == 30
    called.clear()
    changed = load(tmp_path / "again.merge", {"strength": "0.5"})
    tasks = changed.plan().outputs[0].tasks
    assert {task.action for task in tasks if "self_attn" not in task.name} == {"keep"}
    assert all(task.stored for task in tasks if "self_attn" in task.name)
    changed.run(threads=1)
    assert called == []


def test_with_the_cheap_step_alone_changed_the_example_takes_less_than_half_the_time(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    for seed, name in enumerate(("base", "math", "text")):
        write_model(tmp_path / "lab/models/seed0" / name, seed=seed, layers=1, hidden=448)
    shutil.copy(EXAMPLES / "again.merge", tmp_path)
    load(tmp_path / "again.merge").run(threads=1)
    changed = load(tmp_path / "again.merge", {"strength": "0.5"})

    def seconds(**options) -> float:
        began = time.process_time()  # of this process alone, however busy the machine is
        changed.run(threads=1, **options)
        return time.process_time() - began

    cheap = seconds()
    assert cheap < seconds(fresh=True, cache="none") / 2
