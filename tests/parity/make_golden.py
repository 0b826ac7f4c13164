"""Makes the golden files with mergekit 0.1.5. Not a test, and mergekit is not a dependency.

    python -m venv env
    env/bin/pip install torch==2.13.0 numpy==2.4.6 mergekit==0.1.5
    env/bin/python -m tests.parity.make_golden          # from the project's root

Without arguments makes all files anew, else those of the cases named. Takes about three minutes.
"""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.graph import Executor
from mergekit.merge import MergeOptions, run_merge
from mergekit.moe import router
from mergekit.moe.config import MoEMergeConfig
from mergekit.scripts.moe import build
from mergekit.scripts.multimerge import load_config, make_tasks
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.parity import cases, golden, zoo
from tests.parity.prompts import write_tokenizer

MERGEKIT = "0.1.5"


class InFloat32:
    """Loads models for gates as they are stored, where mergekit-moe takes bfloat16."""

    @staticmethod
    def from_pretrained(*args, **kwargs):
        kwargs["torch_dtype"] = torch.float32
        return AutoModelForCausalLM.from_pretrained(*args, **kwargs)


def merge(text: str, into: str, seed: int | None = None) -> dict[str, torch.Tensor]:
    """Runs a config in the current folder and gives the output's tensors."""
    options = MergeOptions(
        copy_tokenizer=False, write_model_card=False, random_seed=seed, quiet=True
    )  # fmt: skip
    if "\n---\n" in text:
        steps = f"{into}-steps"
        tasks = make_tasks(*load_config(text, steps), options, steps, into, lazy=False)
        Executor(tasks).execute()
    elif "experts:" in text:
        build(MoEMergeConfig.model_validate(yaml.safe_load(text)), into, options)
    else:
        run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), into, options)
    return load_file(Path(into) / "model.safetensors")


def statistics(text: str) -> dict[str, torch.Tensor]:
    """`NAME/mean` and `NAME/std` over the seeds, `NAME/kept`: how often an element was not base."""
    runs = [merge(text, f"random-{seed}", seed) for seed in range(golden.SEEDS)]
    base = load_file("one-base/model.safetensors")
    result = {}
    for name in runs[0]:
        values = torch.stack([run[name] for run in runs]).double()
        result[f"{name}/mean"] = values.mean(0).float()
        result[f"{name}/std"] = values.std(0).float()
        result[f"{name}/kept"] = (values != base[name]).sum(0).to(torch.uint8)
    return result


def main() -> None:
    if version("mergekit") != MERGEKIT:
        sys.exit(f"these files are made with mergekit {MERGEKIT}, not {version('mergekit')}")
    chosen = sys.argv[1:] or list(cases.EVERY)
    provenance = {
        "mergekit": MERGEKIT, "torch": version("torch"), "models": zoo.digest(),
    }  # fmt: skip
    golden.FOLDER.mkdir(exist_ok=True)
    if not sys.argv[1:]:
        for path in golden.FOLDER.glob("*.safetensors"):
            path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        zoo.write(Path())
        for family in ("one", "deep", "qwen2"):
            write_tokenizer(Path(f"{family}-base"))
        for name in chosen:
            text = cases.EVERY[name]
            router.AutoModelForCausalLM = InFloat32 if name in cases.EXACT else AutoModelForCausalLM
            result = statistics(text) if name in cases.RANDOM else merge(text, name)
            path = golden.FOLDER / f"{name}.safetensors"
            save_file(result, path, {**provenance, "config": text})
            print(name, f"{path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
