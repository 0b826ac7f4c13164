"""Models that take no room on the disk: real headers and indices over files that are all holes.

    python -m tests.bench.sparse DIR [--shape mixtral|deepseek]

`mixtral`: 32 layers of 310 small experts, 30,000 tensors; `deepseek`: the tensors of DeepSeek-V3,
all in bfloat16: 671 billion parameters in 92,000 tensors and 163 shards.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def mixtral() -> Shapes:
    """30,000 tensors in the layout of Mixtral, small ones: 1,152 bytes each or less."""
    yield "model.embed_tokens.weight", (4096, 16)
    for layer in range(32):
        head = f"model.layers.{layer}"
        for each in ("q", "k", "v", "o"):
            yield f"{head}.self_attn.{each}_proj.weight", (32, 16)
        yield f"{head}.block_sparse_moe.gate.weight", (310, 16)
        for expert in range(310):
            for each in ("w1", "w2", "w3"):
                yield f"{head}.block_sparse_moe.experts.{expert}.{each}.weight", (36, 16)
        for each in ("input_layernorm", "post_attention_layernorm"):
            yield f"{head}.{each}.weight", (16,)
    yield "model.norm.weight", (16,)
    yield "lm_head.weight", (4096, 16)


def deepseek() -> Shapes:
    """As its config says: 61 layers and one for prediction, 256 experts but in the first three."""
    hidden, heads, rank, query_rank = 7168, 128, 512, 1536
    yield "model.embed_tokens.weight", (129280, hidden)
    for layer in range(62):
        head = f"model.layers.{layer}"
        yield f"{head}.input_layernorm.weight", (hidden,)
        yield f"{head}.self_attn.q_a_proj.weight", (query_rank, hidden)
        yield f"{head}.self_attn.q_a_layernorm.weight", (query_rank,)
        yield f"{head}.self_attn.q_b_proj.weight", (heads * 192, query_rank)
        yield f"{head}.self_attn.kv_a_proj_with_mqa.weight", (rank + 64, hidden)
        yield f"{head}.self_attn.kv_a_layernorm.weight", (rank,)
        yield f"{head}.self_attn.kv_b_proj.weight", (heads * 256, rank)
        yield f"{head}.self_attn.o_proj.weight", (hidden, heads * 128)
        yield f"{head}.post_attention_layernorm.weight", (hidden,)
        if layer < 3:
            parts = [("mlp", 18432)]
        else:
            yield f"{head}.mlp.gate.weight", (256, hidden)
            yield f"{head}.mlp.gate.e_score_correction_bias", (256,)
            parts = [(f"mlp.experts.{i}", 2048) for i in range(256)]
            parts.append(("mlp.shared_experts", 2048))
        for part, width in parts:
            for each in ("gate_proj", "up_proj", "down_proj"):
                size = (hidden, width) if each == "down_proj" else (width, hidden)
                yield f"{head}.{part}.{each}.weight", size
                yield f"{head}.{part}.{each}.weight_scale_inv", (size[0] // 128, size[1] // 128)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (129280, hidden)


CONFIGS = {
    "mixtral": {"model_type": "mixtral", "num_hidden_layers": 32, "num_local_experts": 310},
    "deepseek": {
        "model_type": "deepseek_v3", "num_hidden_layers": 61, "n_routed_experts": 256,
        "num_nextn_predict_layers": 1,
    },
}  # fmt: skip
MAKERS = {"mixtral": (mixtral, 19), "deepseek": (deepseek, 163)}


def make(folder: Path, shape: str) -> Path:
    """The model in this folder, made unless it is there."""
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    maker, count = MAKERS[shape]
    tensors = [(name, size, 2 * _product(size)) for name, size in maker()]
    limit = -(-sum(nbytes for _, _, nbytes in tensors) // count)
    files: list[list[tuple[str, tuple[int, ...], int]]] = [[]]
    filled = 0
    for tensor in tensors:
        if filled + tensor[2] > limit and files[-1] and len(files) < count:
            files.append([])
            filled = 0
        files[-1].append(tensor)
        filled += tensor[2]
    index = {}
    for number, group in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):06}.safetensors"
        header, at = {}, 0
        for tensor, size, nbytes in group:
            header[tensor] = {
                "dtype": "BF16", "shape": list(size), "data_offsets": [at, at + nbytes]
            }
            index[tensor] = name
            at += nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / name, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + at)
    body = {"metadata": {}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(body))
    (folder / "config.json").write_text(json.dumps(CONFIGS[shape]))
    return folder


def _product(size: tuple[int, ...]) -> int:
    result = 1
    for each in size:
        result *= each
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="make a model of holes")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=MAKERS, default="deepseek")
    arguments = parser.parse_args()
    print(make(arguments.folder, arguments.shape))
