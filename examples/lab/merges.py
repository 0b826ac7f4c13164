"""Runs `examples/supermario.merge` on the lab's models of a seed, and scores what comes out.

The merging itself is done by `python -m mergelang run`, in a process of its own: the lab knows
mergelang only as its users do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from examples.lab.score import score
from examples.lab.tasks import TASKS
from examples.lab.train import HERE, MODELS

RECIPE = HERE.parent / "supermario.merge"
SPECIALISTS = tuple(task.name for task in TASKS)
METHODS = {
    "plain mean": "mean",
    "task arithmetic": "task_arithmetic",
    "the same as algebra": "algebra",
    "DARE, density 0.3": "dare",
    "TIES": "ties",
}
SWEEP = {f"DARE, density {density}": f"dare_{density}" for density in ("1.0", "0.5", "0.2", "0.1")}

Scores = dict[str, dict[str, float]]


def recipe_of(seed: int) -> Path:
    """The recipe for the models of this seed: the one in examples/, or a copy with other paths."""
    if seed == 0:
        return RECIPE
    copy = HERE.parent / "out" / f"seed{seed}" / RECIPE.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    text = RECIPE.read_text()
    copy.write_text(text.replace('"lab/models/seed0/', f'"../../lab/models/seed{seed}/'))
    return copy


def merge(seed: int) -> Path:
    """Run every output of the recipe; gives their folder. CalledProcessError when a run fails."""
    recipe = recipe_of(seed)
    subprocess.run([sys.executable, "-m", "mergelang", "run", str(recipe)], check=True)
    return recipe.parent / "out"


def score_all(seed: int, merged: Path) -> Scores:
    """Exact match by row of the table and task: base, specialists, methods, density sweep."""
    folders = {name: MODELS / f"seed{seed}" / name for name in ("base", *SPECIALISTS)}
    folders |= {label: merged / name for label, name in (METHODS | SWEEP).items()}
    return {label: score(folder) for label, folder in folders.items()}
