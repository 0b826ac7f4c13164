"""Makes the golden files of aligned vocabularies, as `make_golden` does all others.

    env/bin/python -m tests.parity.make_golden_words    # from the project's root

Of each output the embedding, the head, one tensor of a layer and the ids of its tokenizer.
"""

import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from tests.parity import golden, words
from tests.parity.make_golden import MERGEKIT, merge

KEPT = ("model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight")


def main() -> None:
    provenance = {"mergekit": MERGEKIT, "torch": version("torch"), "models": words.digest()}
    golden.WORDS.mkdir(exist_ok=True)
    for path in golden.WORDS.glob("*.safetensors"):
        path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        words.write(Path())
        for name, text in words.CASES.items():
            tensors = {each: value for each, value in merge(text, name).items() if each in KEPT}
            tokens = AutoTokenizer.from_pretrained(name).get_vocab()
            facts = {**provenance, "config": text, "tokens": json.dumps(tokens, sort_keys=True)}
            made: dict[str, torch.Tensor] = {k: v.contiguous() for k, v in tensors.items()}
            save_file(made, golden.WORDS / f"{name}.safetensors", facts)
            print(name, {each: tuple(value.shape) for each, value in made.items()})


if __name__ == "__main__":
    main()
