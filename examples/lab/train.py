"""Trains the lab: a base, and two specialists fine-tuned from it, in Hugging Face layout.

    python -m examples.lab.train SEED [FOLDER]        # default examples/lab/models/seedSEED

`make(seed, folder)` leaves folder/base, folder/math and folder/text. The folder appears by one
rename when all three are written, so an interrupted training is never taken for a finished one,
and it names the code that made it, so that a changed lab is trained again. The same seed on the
same machine gives the same models.

A specialist reads its own task for half of its items and the base's texts for the other half, as
fine-tunes of real models mix in general data: it keeps the rest of what the base can do, and its
task vector says little besides the task. It never sees the other task. Nothing here knows about
merging.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from examples.lab.tasks import TASKS, Item, Task, base_item, check_trainable
from examples.lab.tokens import END, PAD, START, tokenizer, vocabulary

HERE = Path(__file__).parent
MODELS = HERE / "models"
THREADS = 2
LOSS_OVER_NOTHING = -100


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train: steps, items a step, peak learning rate, warm-up steps."""

    steps: int
    items: int
    rate: float
    warmup: int


BASE = Schedule(steps=600, items=160, rate=3e-3, warmup=50)
SPECIALIST = Schedule(steps=200, items=96, rate=5e-4, warmup=10)


def config() -> LlamaConfig:
    """The architecture of all three: a Llama of three layers and 0.66 M parameters."""
    return LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        initializer_range=0.06,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
    )


def make(seed: int, folder: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """Train base and specialists of `seed` into `folder`, unless they are there; gives `folder`."""
    if is_made(seed, folder):
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        torch.manual_seed(seed)
        base = LlamaForCausalLM(config())
        train(base, base_item, BASE, f"base {seed}", say)
        save(base, partial / "base")
        for task in TASKS:
            specialist = LlamaForCausalLM(config())
            specialist.load_state_dict(base.state_dict())
            train(specialist, _with_general_data(task), SPECIALIST, f"{task.name} {seed}", say)
            save(specialist, partial / task.name)
    finally:
        torch.set_num_threads(threads)
    (partial / "lab.json").write_text(json.dumps(_made_by(seed)) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def is_made(seed: int, folder: Path) -> bool:
    """Whether `folder` holds the finished models of this seed, made by the code as it is now."""
    mark = folder / "lab.json"
    return mark.is_file() and json.loads(mark.read_text()) == _made_by(seed)


def _made_by(seed: int) -> dict[str, object]:
    code = b"".join((HERE / f"{name}.py").read_bytes() for name in ("tasks", "tokens", "train"))
    return {"seed": seed, "code": hashlib.sha256(code).hexdigest()}


def _with_general_data(task: Task) -> Callable[[random.Random], Item]:
    return lambda rng: task.item(rng, False) if rng.random() < 0.5 else base_item(rng)


def train(
    model: LlamaForCausalLM,
    draw: Callable[[random.Random], Item],
    schedule: Schedule,
    name: str,
    say: Callable[[str], None],
) -> None:
    """AdamW with linear warm-up and cosine decay to zero on answers only; changes `model`.

    `name` seeds the items drawn; `say` hears the mean loss (nats a token) now and then.
    """
    rng, inner, started = random.Random(name), tokenizer().backend_tokenizer, time.monotonic()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    model.train()
    recent: list[float] = []
    for step in range(schedule.steps):
        fall = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * fall * min(1.0, (step + 1) / schedule.warmup)
        optimizer.zero_grad()
        items = sorted((draw(rng) for _ in range(schedule.items)), key=lambda i: len(i.prompt))
        shorter, longer = items[: len(items) // 2], items[len(items) // 2 :]
        loss = sum(_half_step(model, *batch(inner, half)) for half in (shorter, longer)) / 2
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss)
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - started
            say(f"{name}: step {step + 1}/{schedule.steps}, "
                f"loss {sum(recent) / len(recent):.3f}, {spent:.0f} s")
            recent.clear()


def _half_step(
    model: LlamaForCausalLM, tokens: torch.Tensor, targets: torch.Tensor
) -> float:
    """Add half the gradient of the mean loss of these items; gives that loss."""
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    counted = targets[:, 1:] != LOSS_OVER_NOTHING
    logits = model.lm_head(hidden[counted])
    loss = torch.nn.functional.cross_entropy(logits, targets[:, 1:][counted])
    (loss / 2).backward()
    return loss.item()


def batch(inner: Tokenizer, items: list[Item]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and targets, both int64 of shape (items, longest), padded on the right.

    Targets repeat the tokens of answer and `</s>`, and say elsewhere that nothing is counted.
    """
    for item in items:
        check_trainable(item)
    prompts = [encoding.ids for encoding in inner.encode_batch([item.prompt for item in items])]
    answers = inner.encode_batch([item.answer for item in items], add_special_tokens=False)
    rows = [(prompt, [*answer.ids, END]) for prompt, answer in zip(prompts, answers, strict=True)]
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    tokens = torch.full((len(rows), longest), PAD)
    targets = torch.full((len(rows), longest), LOSS_OVER_NOTHING)
    for i, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        tokens[i, :end] = torch.tensor(prompt + answer)
        targets[i, len(prompt) : end] = torch.tensor(answer)
    return tokens, targets


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write weights, config, generation config and tokenizer in Hugging Face layout."""
    model.eval()
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


if __name__ == "__main__":
    chosen = int(sys.argv[1])
    print(make(chosen, Path(*sys.argv[2:3] or [MODELS / f"seed{chosen}"]), print))
