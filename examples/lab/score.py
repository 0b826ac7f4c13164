"""Exact match of checkpoints on the lab's two tasks, on items never trained on.

    python -m examples.lab.score DIR...

A checkpoint is any folder that `AutoModelForCausalLM` and `AutoTokenizer` load, merged or trained.
Answers are decoded greedily; an answer counts when its text equals the right one to the letter.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.lab.tasks import TASKS, Item, held_out_items

ITEMS = 500
LONGEST_ANSWER = 10


def score(folder: Path, count: int = ITEMS) -> dict[str, float]:
    """Exact match (0 to 1) of the checkpoint in `folder` by task, over `count` items each."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {task.name: exact_match(model, tokenizer, held_out_items(task, count)) for task in TASKS}


@torch.inference_mode()
def exact_match(model, tokenizer, items: list[Item]) -> float:
    """Share of `items` answered rightly by greedy decoding, one batch a length of prompt."""
    lengths: dict[int, list[tuple[list[int], str]]] = defaultdict(list)
    for item in items:
        prompt = tokenizer(item.prompt)["input_ids"]
        lengths[len(prompt)].append((prompt, item.answer))
    right = 0
    for length, rows in lengths.items():
        tokens = torch.tensor([prompt for prompt, _ in rows])
        written = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
        )
        texts = tokenizer.batch_decode(written[:, length:], skip_special_tokens=True)
        right += sum(text == answer for text, (_, answer) in zip(texts, rows, strict=True))
    return right / len(items)


def main(folders: list[str]) -> None:
    """Print one line a checkpoint: the score on each task in percent, then the folder."""
    print(*(f"{task.name:>6}" for task in TASKS), " checkpoint")
    for folder in folders:
        print(*(f"{100 * share:6.1f}" for share in score(Path(folder)).values()), f" {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
