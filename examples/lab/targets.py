"""Trains several seeds, merges each, and holds the mean scores against the lab's targets.

    python -m examples.lab.targets [SEEDS]            # default 3

The targets were fixed before anything was tuned. Exit code 1 when one is missed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console
from transformers.utils import logging

from examples.lab.demo import table
from examples.lab.merges import METHODS, SPECIALISTS, SWEEP, Scores, merge, score_all
from examples.lab.train import MODELS, make


@dataclass(frozen=True)
class Target:
    """A sentence, the figure measured for it, and whether it holds."""

    text: str
    figure: float
    met: bool


def mean(runs: list[Scores]) -> Scores:
    """Scores averaged over runs, row by row."""
    return {
        label: {name: sum(run[label][name] for run in runs) / len(runs) for name in SPECIALISTS}
        for label in runs[0]
    }


def targets(scores: Scores) -> list[Target]:
    """What is asked of the lab. The best merge keeps most of the skill that it keeps least of."""
    base = max(scores["base"].values())
    own = min(scores[name][name] for name in SPECIALISTS)
    other = max(scores[a][b] for a in SPECIALISTS for b in SPECIALISTS if a != b)
    kept = {
        label: min(scores[label][name] / max(scores[name][name], 1e-9) for name in SPECIALISTS)
        for label in (*METHODS, *SWEEP)
    }
    best = max(kept, key=kept.__getitem__)
    return [
        Target("base under 15 % on both tasks", base, base < 0.15),
        Target("each specialist at least 85 % on its own task", own, own >= 0.85),
        Target("each specialist under 30 % on the other task", other, other < 0.30),
        Target(f"best merge ({best}) keeps at least 80 %", kept[best], kept[best] >= 0.80),
    ]


def main(seeds: int) -> int:
    """Print the table of means and one line a target."""
    logging.disable_progress_bar()
    console, runs = Console(), []
    for seed in range(seeds):
        make(seed, MODELS / f"seed{seed}", lambda line: console.print(line, highlight=False))
        runs.append(score_all(seed, merge(seed)))
        console.print(f"seed {seed}", table(runs[-1]))
    scores = mean(runs)
    console.print(f"\nMean over {seeds} seeds", table(scores))
    found = targets(scores)
    for target in found:
        console.print(f"{'met   ' if target.met else 'MISSED'} {target.text}: "
                      f"{100 * target.figure:.1f} %", highlight=False)
    return 0 if all(target.met for target in found) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
