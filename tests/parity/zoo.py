"""The small models that mergekit and mergelang both merge, made from nothing but a few raw bits.

Names, shapes and configs are those of Llama, Qwen2, GPT-2 and BERT checkpoints; of each family
there is a base and fine-tunes of it. The numbers come from the raw bits of PCG64, whose stream
numpy promises never to change, by plain arithmetic: the models need not be stored, and `digest`
tells whether those made here are those that the golden files were made of. Knows nothing of
mergers.
"""

import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Shapes = dict[str, tuple[int, ...]]

HIDDEN, INNER, VOCABULARY = 16, 24, 32


def llama(layers: int) -> tuple[Shapes, dict]:
    return _llama_like(layers, "llama", biases=False, tied=False)


def qwen2(layers: int) -> tuple[Shapes, dict]:
    """With biases on queries, keys and values, and no head of its own."""
    return _llama_like(layers, "qwen2", biases=True, tied=True)


def _llama_like(layers: int, kind: str, *, biases: bool, tied: bool) -> tuple[Shapes, dict]:
    shapes: Shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, rows, columns in (
            ("self_attn.q_proj", HIDDEN, HIDDEN), ("self_attn.k_proj", HIDDEN // 2, HIDDEN),
            ("self_attn.v_proj", HIDDEN // 2, HIDDEN), ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", INNER, HIDDEN), ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER),
        ):  # fmt: skip
            shapes[f"{prefix}{name}.weight"] = (rows, columns)
            if biases and name[-6] in "qkv":
                shapes[f"{prefix}{name}.bias"] = (rows,)
        shapes[prefix + "input_layernorm.weight"] = (HIDDEN,)
        shapes[prefix + "post_attention_layernorm.weight"] = (HIDDEN,)
    shapes["model.norm.weight"] = (HIDDEN,)
    if not tied:
        shapes["lm_head.weight"] = (VOCABULARY, HIDDEN)
    return shapes, {
        "architectures": [f"{kind.capitalize()}ForCausalLM"], "model_type": kind,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": tied,
        "torch_dtype": "float32",
    }  # fmt: skip


def gpt2(layers: int) -> tuple[Shapes, dict]:
    shapes: Shapes = {
        "transformer.wte.weight": (VOCABULARY, HIDDEN), "transformer.wpe.weight": (8, HIDDEN)
    }  # fmt: skip
    for layer in range(layers):
        prefix = f"transformer.h.{layer}."
        shapes |= _affine(prefix + "ln_1", HIDDEN) | _affine(prefix + "ln_2", HIDDEN)
        shapes |= _affine(prefix + "attn.c_attn", HIDDEN, 3 * HIDDEN)
        shapes |= _affine(prefix + "attn.c_proj", HIDDEN, HIDDEN)
        shapes |= _affine(prefix + "mlp.c_fc", HIDDEN, 2 * HIDDEN)
        shapes |= _affine(prefix + "mlp.c_proj", 2 * HIDDEN, HIDDEN)
    return shapes | _affine("transformer.ln_f", HIDDEN), {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": HIDDEN,
        "n_layer": layers, "n_head": 4, "n_inner": 2 * HIDDEN, "n_positions": 8, "n_ctx": 8,
        "vocab_size": VOCABULARY, "torch_dtype": "float32",
    }  # fmt: skip


def bert(layers: int) -> tuple[Shapes, dict]:
    """With a head for masked words (mergekit 0.1.5 fails on a BertModel alone)."""
    shapes: Shapes = {
        "bert.embeddings.word_embeddings.weight": (VOCABULARY, HIDDEN),
        "bert.embeddings.position_embeddings.weight": (8, HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": (2, HIDDEN),
    } | _affine("bert.embeddings.LayerNorm", HIDDEN)
    for layer in range(layers):
        prefix = f"bert.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            shapes |= _affine(f"{prefix}attention.self.{name}", HIDDEN, HIDDEN)
        shapes |= _affine(prefix + "attention.output.dense", HIDDEN, HIDDEN)
        shapes |= _affine(prefix + "attention.output.LayerNorm", HIDDEN)
        shapes |= _affine(prefix + "intermediate.dense", INNER, HIDDEN)
        shapes |= _affine(prefix + "output.dense", HIDDEN, INNER)
        shapes |= _affine(prefix + "output.LayerNorm", HIDDEN)
    shapes |= _affine("bert.pooler.dense", HIDDEN, HIDDEN)
    shapes |= _affine("cls.predictions.transform.dense", HIDDEN, HIDDEN)
    shapes |= _affine("cls.predictions.transform.LayerNorm", HIDDEN)
    shapes["cls.predictions.bias"] = (VOCABULARY,)
    return shapes, {
        "architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": 4,
        "vocab_size": VOCABULARY, "max_position_embeddings": 8, "type_vocab_size": 2,
        "torch_dtype": "float32",
    }  # fmt: skip


def _affine(name: str, *shape: int) -> Shapes:
    """A weight and its bias, which has one number for each output of a matrix."""
    columns_out = name.startswith("transformer.")
    bias = (shape[-1] if columns_out else shape[0],)
    return {f"{name}.weight": shape, f"{name}.bias": bias}


FAMILIES = {
    "llama": (llama, 2, ("base", "a", "b", "c", "near", "close", "other")),
    "deep": (llama, 4, ("base", "a", "b", "c")),
    "qwen2": (qwen2, 2, ("base", "a", "b")),
    "gpt2": (gpt2, 2, ("base", "a", "b")),
    "bert": (bert, 2, ("base", "a", "b")),
    "half": (llama, 2, ("base", "a", "b")),
    "one": (llama, 1, ("base", "a", "b")),
}
"""Family: shapes and config, layers, members. Members of `half` are stored as bfloat16."""


def members() -> Iterator[tuple[str, str]]:
    for family, (_, _, names) in FAMILIES.items():
        yield from ((family, name) for name in names)


def tensors(family: str, member: str) -> dict[str, np.ndarray]:
    """A model's tensors, float32; of `half` they are numbers that bfloat16 can hold.

    `a`, `b`, `c` differ from the base in about half of their elements, `near` and `close` in all
    but hardly, `other` has nothing to do with it.
    """
    make, layers, names = FAMILIES[family]
    index, result = names.index(member), {}
    for place, (name, shape) in enumerate(make(layers)[0].items()):
        value = _bell(shape, "base" if member != "other" else "other", family, place) * 0.1
        if "norm" in name.lower() or ".ln_" in name:
            value = value + (1.0 if name.endswith("weight") else 0.0)
        if member in ("a", "b", "c"):
            change = _bell(shape, member, family, place) * (0.01 * (1 + index))
            value = value + change * (_uniform(shape, member, family, place, "where") < 0.5)
        elif member in ("near", "close"):
            value = value + _bell(shape, member, family, place) * 1e-4
        value = value.astype(np.float32)
        result[name] = _widened(_bfloat16(value)) if family == "half" else value
    return result


def _uniform(shape: tuple[int, ...], *key: object) -> np.ndarray:
    """Numbers in [0, 1) that depend on the key alone."""
    seed = blake2b(repr(key).encode(), digest_size=8).digest()
    raw = np.random.PCG64(int.from_bytes(seed, "little")).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def _bell(shape: tuple[int, ...], *key: object) -> np.ndarray:
    """The sum of three uniform numbers, about 0, of variance 1."""
    return sum(_uniform(shape, *key, turn) for turn in range(3)) * 2.0 - 3.0


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """Bits of the nearest bfloat16 of finite float32 numbers, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _widened(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write(folder: Path, families: Iterable[str] = tuple(FAMILIES)) -> None:
    """Writes every model of the families as `folder/FAMILY-MEMBER`."""
    for family, member in members():
        if family not in families:
            continue
        make, layers, _ = FAMILIES[family]
        place = folder / f"{family}-{member}"
        place.mkdir(parents=True)
        values, path = tensors(family, member), place / "model.safetensors"
        config = make(layers)[1]
        if family == "half":
            config["torch_dtype"] = "bfloat16"
            _write_bfloat16(values, path)
        else:
            save_file(values, path, metadata={"format": "pt"})
        (place / "config.json").write_text(json.dumps(config, indent=2))


def _write_bfloat16(values: dict[str, np.ndarray], path: Path) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, value in values.items():
        end = offset + 2 * value.size
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(_bfloat16(value).tobytes() for value in values.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def digest() -> str:
    """A hash of all numbers of all models."""
    state = blake2b(digest_size=16)
    for family, member in members():
        for name, value in tensors(family, member).items():
            state.update(f"{family} {member} {name} {value.shape}".encode())
            state.update(value.astype("<f4").tobytes())
    return state.hexdigest()
