"""Makes the models that the benchmarks run on: a Llama-layout base and fine-tunes of it, random.

    python -m tests.bench.models DIR [--size 1.1b] [--tunes 2]

The fine-tunes differ from the base by small normal deltas, rounded to bfloat16 like real ones, so
that many deltas are equal or zero. Nothing here knows mergelang.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SIZES = {
    "0.1b": {"hidden": 768, "layers": 12, "intermediate": 2048, "heads": 12, "kv": 4},
    "1.1b": {"hidden": 2048, "layers": 22, "intermediate": 5632, "heads": 32, "kv": 4},
    "3b": {"hidden": 3072, "layers": 28, "intermediate": 8192, "heads": 24, "kv": 8},
}
VOCABULARY = 32000


def shapes(size: str) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a Llama of this size."""
    s = SIZES[size]
    hidden, inner = s["hidden"], s["intermediate"]
    kv = hidden // s["heads"] * s["kv"]
    found = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for i in range(s["layers"]):
        layer = f"model.layers.{i}."
        found |= {
            layer + "input_layernorm.weight": (hidden,),
            layer + "mlp.down_proj.weight": (hidden, inner),
            layer + "mlp.gate_proj.weight": (inner, hidden),
            layer + "mlp.up_proj.weight": (inner, hidden),
            layer + "post_attention_layernorm.weight": (hidden,),
            layer + "self_attn.k_proj.weight": (kv, hidden),
            layer + "self_attn.o_proj.weight": (hidden, hidden),
            layer + "self_attn.q_proj.weight": (hidden, hidden),
            layer + "self_attn.v_proj.weight": (kv, hidden),
        }
    return found | {"model.norm.weight": (hidden,), "lm_head.weight": (VOCABULARY, hidden)}


def config(size: str) -> dict[str, object]:
    s = SIZES[size]
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": s["hidden"], "intermediate_size": s["intermediate"],
        "num_hidden_layers": s["layers"], "num_attention_heads": s["heads"],
        "num_key_value_heads": s["kv"], "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048, "hidden_act": "silu", "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, "rope_theta": 10000.0,
    }  # fmt: skip


def make(folder: Path, size: str = "1.1b", tunes: int = 2) -> list[Path]:
    """Writes `base`, `tune1`, ... below `folder` unless they are there; gives their paths."""
    names = ["base", *(f"tune{i + 1}" for i in range(tunes))]
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        if (path / "config.json").exists():
            continue
        path.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for at, (name, shape) in enumerate(shapes(size).items()):
            base = torch.Generator().manual_seed(at)
            weights = torch.empty(shape).normal_(0, 0.02, generator=base)
            if number:
                own = torch.Generator().manual_seed(1000 * number + at)
                weights += torch.empty(shape).normal_(0, 0.0005, generator=own)
            tensors[name] = weights.bfloat16()
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        (path / "config.json").write_text(json.dumps(config(size), indent=2))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="make the models of the benchmarks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="1.1b")
    parser.add_argument("--tunes", type=int, default=2)
    arguments = parser.parse_args()
    for made in make(arguments.folder, arguments.size, arguments.tunes):
        print(made)
