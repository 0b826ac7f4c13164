"""What `make demo` runs: make the lab, merge its models, and show what each of them can do.

    python -m examples.lab.demo

The models stay in examples/lab/models/ and are trained once; the merges go to examples/out/.
"""

from __future__ import annotations

import subprocess
import sys

from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from examples.lab.merges import METHODS, RECIPE, SPECIALISTS, SWEEP, Scores, merge, score_all
from examples.lab.score import ITEMS
from examples.lab.tasks import TASKS, held_out_items
from examples.lab.train import MODELS, is_made, make

SEED = 0
KEPT = 0.8


def main() -> int:
    """Make, merge, score, print; the exit code is that of the merge."""
    logging.disable_progress_bar()
    console, folder = Console(), MODELS / f"seed{SEED}"
    for task in TASKS:
        item = held_out_items(task, 1)[0]
        console.print(f"[bold]{task.name}[/]  {item.prompt}[green]{item.answer}[/]")
    if is_made(SEED, folder):
        console.print(f"\nThe models are there: {folder}")
    else:
        console.print("\nTraining a base and two specialists, two or three minutes, once:")
        make(SEED, folder, lambda line: console.print(f"  {line}", highlight=False))
    console.print(f"\nMerging: mergelang run {RECIPE}\n")
    try:
        merged = merge(SEED)
    except subprocess.CalledProcessError as failure:
        return failure.returncode
    with console.status("Asking every model both kinds of questions"):
        scores = score_all(SEED, merged)
    console.print(table(scores))
    return 0


def table(scores: Scores) -> Table:
    """Exact match in percent; green where a merge keeps 80 % of the specialist's own score."""
    drawn = Table(title=f"Exact match, % of {ITEMS} questions never trained on")
    drawn.add_column("model")
    for name in SPECIALISTS:
        drawn.add_column(name, justify="right")
    ends_of_sections = (SPECIALISTS[-1], list(METHODS)[-1], list(SWEEP)[-1])
    for label, by_task in scores.items():
        cells = []
        for name in SPECIALISTS:
            kept = by_task[name] >= KEPT * scores[name][name]
            cells.append(f"{'[green]' if kept else ''}{100 * by_task[name]:.1f}")
        drawn.add_row(label, *cells, end_section=label in ends_of_sections)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
