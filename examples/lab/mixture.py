"""Runs `examples/beyonder.merge` on the lab's models: what the mixture can do, and who does it.

    python -m examples.lab.mixture

Trains the lab first where it is not there, which takes a few minutes. Shares are those of the
weights that the router gives, over all layers and all tokens of questions and answers.
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
EXPERTS = ("math", "text", "base", "added")
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


def table(scores: dict[str, dict[str, float]], by_task: dict[str, list[float]]) -> Table:
    """A row for each task: who works on its tokens, and how many answers are right."""
    drawn = Table(title="Share of the work, and exact match, in %")
    drawn.add_column("task")
    for name in (*EXPERTS, *(f"{name} alone" for name in ("math", "text")), "mixture"):
        drawn.add_column(name, justify="right")
    for task, parts in by_task.items():
        figures = [*parts, *(scores[name][task] for name in ("math", "text", "mixture"))]
        drawn.add_row(task, *(f"{100 * figure:.0f}" for figure in figures))
    return drawn


def main() -> int:
    """Make the lab, run the recipe, measure; the exit code is that of the run."""
    logging.disable_progress_bar()
    console = Console()
    folder = make(SEED, MODELS / f"seed{SEED}", console.print)
    try:
        subprocess.run([sys.executable, "-m", "mergelang", "run", str(RECIPE)], check=True)
    except subprocess.CalledProcessError as failure:
        return failure.returncode
    folders = {"math": folder / "math", "text": folder / "text", "mixture": MIXTURE}
    scores = {name: score(each) for name, each in folders.items()}
    console.print(table(scores, shares(MIXTURE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
