"""Runs `examples/beyonder.merge` on the lab's models: what the mixture can do, and who does it.

    python -m examples.lab.mixture

Trains the lab first where it is not there, which takes a few minutes. Shares are those of the
weights that the router gives, over all layers and all tokens of questions and answers. Experts and
base that are expressions of the recipe are written by a recipe that uses it, to be asked alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from examples.lab.score import score
from examples.lab.tasks import TASKS, held_out_items
from examples.lab.train import HERE, MODELS, make

RECIPE = HERE.parent / "beyonder.merge"
MIXTURE = HERE.parent / "out" / "beyonder"
PARTS = HERE.parent / "out" / "beyonder-parts.merge"
EXPERTS = ("math", "text", "base", "added")
MADE = ("added", "common")
"""What the recipe makes on its way to the mixture: an expert, and the mixture's base."""
SEED = 0
ITEMS = 100


@torch.inference_mode()
def shares(folder: Path, count: int = ITEMS) -> dict[str, list[float]]:
    """For each task the share of the work that each expert does on its held-out items."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chosen = model.config.num_experts_per_tok
    found = {}
    for task in TASKS:
        total = torch.zeros(model.config.num_local_experts)
        for item in held_out_items(task, count):
            tokens = torch.tensor([tokenizer(item.prompt + item.answer)["input_ids"]])
            for layer in model(input_ids=tokens, output_router_logits=True).router_logits:
                weights, experts = layer.softmax(-1).topk(chosen, -1)
                weights = weights / weights.sum(-1, keepdim=True)
                total += torch.zeros_like(layer).scatter(-1, experts, weights).mean(0)
        found[task.name] = (total / total.sum()).tolist()
    return found


def alone() -> dict[str, Path]:
    """The folders of all that the mixture is made of, in the order of the table."""
    made = {name: PARTS.parent / f"beyonder-{name}" for name in MADE}
    return {name: made.get(name, MODELS / f"seed{SEED}" / name) for name in (*EXPERTS, *MADE)}


def write_parts() -> Path:
    """The recipe that writes the parts of the mixture which are no model of the lab."""
    lines = [f'output "beyonder-{name}" = beyonder.{name}' for name in MADE]
    PARTS.parent.mkdir(parents=True, exist_ok=True)
    PARTS.write_text("\n".join([f'use "../{RECIPE.name}" as beyonder', *lines, ""]))
    return PARTS


def table(scores: dict[str, dict[str, float]], by_task: dict[str, list[float]]) -> Table:
    """A row for each model: its share of the work on each task, and how many answers are right."""
    drawn = Table(title="Of each task the share of the work, and answers that are right, in %")
    drawn.add_column("model")
    for task in by_task:
        drawn.add_column(f"{task}, work", justify="right")
        drawn.add_column(f"{task}, right", justify="right")
    for name, right in scores.items():
        cells = []
        for task, parts in by_task.items():
            work = f"{100 * parts[EXPERTS.index(name)]:.0f}" if name in EXPERTS else ""
            cells += [work, f"{100 * right[task]:.0f}"]
        drawn.add_row(name, *cells, end_section=name == EXPERTS[-1])
    return drawn


def main() -> int:
    """Make the lab, run the recipes, measure; the exit code is that of the first run that fails."""
    logging.disable_progress_bar()
    console = Console()
    make(SEED, MODELS / f"seed{SEED}", console.print)
    for recipe in (RECIPE, write_parts()):
        command = [sys.executable, "-m", "mergelang", "run", str(recipe)]
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    folders = alone() | {"mixture": MIXTURE}
    labels = {"common": "common (its base)"}
    scores = {labels.get(name, name): score(each) for name, each in folders.items()}
    console.print(table(scores, shares(MIXTURE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
