"""Runs `examples/published.merge`, and compares what it makes with the models that it merged.

    python -m examples.published.demo

Makes those first where they are not there (`make.py` says of what). A sentence's embedding is the
mean of its tokens' states, of length 1, as sentence-transformers makes it; texts go on greedily.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from examples.published.make import HERE, MODELS, make

RECIPE = HERE.parent / "published.merge"
OUTPUTS = HERE.parent / "out"
SENTENCES = (
    "A man is eating food.", "A man is eating a piece of bread.",
    "The girl is carrying a baby.", "A cheetah chases its prey across a field.",
)  # fmt: skip
BEGINNINGS = ("The capital of France is", "Two plus two is equal to")


def load(folder: Path, kind: type) -> PreTrainedModel:
    """A model of a folder, in float32. Raises ValueError where a weight of it is not there."""
    model, told = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    # A published model may name a buffer that its class no longer has; a merge adds none.
    if told["missing_keys"] or told["mismatched_keys"]:
        raise ValueError(f"{folder} does not load whole: {told}")
    return model.eval()


@torch.inference_mode()
def embeddings(folder: Path) -> torch.Tensor:
    """The embeddings of the sentences, [sentences, width]."""
    model, tokenizer = load(folder, AutoModel), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


@torch.inference_mode()
def written(folder: Path) -> dict[str, str]:
    """What a language model writes behind each of the beginnings, as far as the line goes."""
    model, tokenizer = load(folder, AutoModelForCausalLM), AutoTokenizer.from_pretrained(folder)
    found = {}
    for text in BEGINNINGS:
        tokens = tokenizer(text, return_tensors="pt")["input_ids"]
        answer = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False
        )
        found[text] = tokenizer.decode(answer[0, tokens.shape[1] :]).partition("\n")[0].rstrip()
    return found


def report(models: Path, outputs: Path) -> str:
    """The comparison as text: the noisy copies and the merges against the published models."""
    folders = {
        name: {"published": models / name, "noisy": models / f"{name}_noisy",
               "merged": outputs / name} for name in ("minilm", "smollm")
    }  # fmt: skip
    first, *others = map(embeddings, folders["minilm"].values())
    lines = ["all-MiniLM-L6-v2: least cosine of a sentence's embedding with the published model's"]
    for name, found in zip(("noisy", "merged"), others, strict=True):
        lines.append(f"  {name:<9}  {float((first * found).sum(1).min()):.3f}")
    texts = {name: written(folder) for name, folder in folders["smollm"].items()}
    for text in BEGINNINGS:
        lines.append(f"SmolLM2-135M: {text}")
        lines += [f"  {name:<9} {found[text]}" for name, found in texts.items()]
    return "\n".join(lines)


def main() -> int:
    """Make the models, run the recipe, compare; the exit code is that of the run."""
    logging.disable_progress_bar()
    models = make(MODELS)
    done = subprocess.run([sys.executable, "-m", "mergelang", "run", str(RECIPE)], check=False)
    if done.returncode == 0:
        print(report(models, OUTPUTS))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
