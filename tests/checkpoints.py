"""Small models on disk for tests: Llama-shaped headers and configs, weights of zeros or random."""

import json
import random
import struct
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "BOOL": 1}


def llama_shapes(*, layers: int = 4, hidden: int = 8, vocabulary: int = 32) -> dict[str, tuple]:
    """Names and shapes of a very small Llama, in the order of its file."""
    inner = 2 * hidden
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        shapes |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (hidden,),
                "mlp.down_proj": (hidden, inner),
                "mlp.gate_proj": (inner, hidden),
                "mlp.up_proj": (inner, hidden),
                "post_attention_layernorm": (hidden,),
                "self_attn.k_proj": (hidden // 2, hidden),
                "self_attn.o_proj": (hidden, hidden),
                "self_attn.q_proj": (hidden, hidden),
                "self_attn.v_proj": (hidden // 2, hidden),
            }.items()
        }
    return shapes | {"model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def llama_config(*, layers: int = 4, hidden: int = 8, vocabulary: int = 32) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "tie_word_embeddings": False,
    }  # fmt: skip


def write_model(
    folder: Path, *, dtype: str = "BF16", layers: int = 4, hidden: int = 8, vocabulary: int = 32,
    extra: Mapping[str, tuple[int, ...]] | None = None, lack: Iterable[str] = (),
    dtypes: Mapping[str, str] | None = None, seed: int | None = None, **settings: object,
) -> Path:  # fmt: skip
    """Writes a model of zeros, or of small random bytes with a seed; gives its folder.

    `settings` are those of its config that are no Llama's.
    """
    sizes = {"layers": layers, "hidden": hidden, "vocabulary": vocabulary}
    shapes = llama_shapes(**sizes) | dict(extra or {})
    for name in lack:
        del shapes[name]
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {name: (dtypes or {}).get(name, dtype) for name in shapes}
    write_tensors(folder / "model.safetensors", shapes, kinds, seed)
    (folder / "config.json").write_text(json.dumps(llama_config(**sizes) | settings, indent=2))
    return folder


def write_seeing(folder: Path, *, layers: int = 4, seed: int | None = None) -> Path:
    """Writes a model that sees with four layers, and writes with a Llama inside."""
    text = llama_shapes(layers=layers)
    shapes = {f"language_model.{name}": shape for name, shape in text.items()}
    for layer in range(4):
        shapes[f"visual.blocks.{layer}.mlp.up_proj.weight"] = (16, 8)
        shapes[f"visual.blocks.{layer}.norm.weight"] = (8,)
    config = {"text_config": llama_config(layers=layers), "vision_config": {"depth": 4}}
    path = _folder(folder, {"model_type": "seeing", **config}) / "model.safetensors"
    write_tensors(path, shapes, dict.fromkeys(shapes, "BF16"), seed)
    return folder


def write_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str],
    seed: int | None = None,
) -> None:  # fmt: skip
    """Writes one safetensors file."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = prod(shape) * WIDTHS[dtypes[name]]
        header[name] = {
            "dtype": dtypes[name], "shape": list(shape), "data_offsets": [offset, offset + size]
        }  # fmt: skip
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    # Bytes below 0x3c make every 16-bit float finite and below 1.
    data = bytes(offset)
    if seed is not None:
        data = bytes(random.Random(seed).choices(range(0x3C), k=offset))
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


MARKS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")


def write_tokenizer(
    folder: Path, words: Iterable[str], added: Iterable[str] = MARKS,
    behind: Iterable[str] = (), **config: object,
) -> Path:  # fmt: skip
    """Writes a tokenizer of whole words: `added` tokens first, those `behind` after the words."""
    tokens = {text: number for number, text in enumerate((*added, *words, *behind))}
    entries = [
        {"id": tokens[text], "content": text, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True} for text in (*added, *behind)
    ]  # fmt: skip
    model = {"type": "WordLevel", "vocab": tokens, "unk_token": next(iter(tokens))}
    content = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": entries,
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": model,
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = {"bos_token": "<s>", "eos_token": "</s>", **config}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_zoo(folder: Path) -> Path:
    """The models that the tests of the checker speak of, in one folder."""
    for name in ("base", "chat", "math"):
        write_model(folder / name)
    write_model(folder / "deep", layers=8)
    write_model(folder / "wide", vocabulary=40)
    layer = "model.layers.{}.mlp.{}_proj.weight"
    broad = {layer.format(i, part): (24, 8) for i in range(4) for part in ("up", "gate")}
    broad |= {layer.format(i, "down"): (8, 24) for i in range(4)}
    write_model(folder / "broad", vocabulary=40, extra=broad, intermediate_size=24)
    write_model(folder / "more", extra={"extra.one": (8,), "extra.two": (8,)})
    write_model(folder / "headless", lack=("lm_head.weight",))
    counter = {"model.counter": (3,)}
    write_model(folder / "counting", extra=counter, dtypes={"model.counter": "I64"})
    write_model(folder / "measuring", extra=counter, dtypes={"model.counter": "F32"})
    write_model(folder / "gappy", lack=("model.layers.1.mlp.up_proj.weight",))
    write_model(folder / "thin", hidden=16)
    write_model(folder / "biased", extra={"model.layers.0.self_attn.q_proj.bias": (8,)})
    write_model(folder / "qwen", model_type="qwen2")
    write_model(folder / "near", model_type="mistral", sliding_window=16)
    windows = {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": 16}
    write_model(folder / "nearer", model_type="qwen3", **windows)
    gpt = {f"transformer.h.{layer}.mlp.c_fc.weight": (8, 8) for layer in range(4)}
    write_tensors(folder / "gpt.safetensors", gpt, dict.fromkeys(gpt, "F32"))
    for name, layers in (("t5", 4), ("t5_small", 2)):
        towers = {"shared.weight": (32, 8), "encoder.final_layer_norm.weight": (8,)} | {
            f"{side}.block.{layer}.layer.0.{part}.weight": shape
            for side in ("encoder", "decoder") for layer in range(layers)
            for part, shape in {"SelfAttention.q": (8, 8), "layer_norm": (8,)}.items()
        }  # fmt: skip
        write_tensors(
            _folder(folder / name, {"num_layers": layers, "num_decoder_layers": layers})
            / "model.safetensors", towers, dict.fromkeys(towers, "F32"),
        )  # fmt: skip
    flat = {"weight": (8, 8), "bias": (8,)}
    write_tensors(folder / "flat.safetensors", flat, dict.fromkeys(flat, "F32"))
    write_adapters(folder)
    return folder


def write_adapter(
    folder: Path, *, modules: Iterable[str] = ("q_proj",), layers: int = 4, rank: int = 2,
    extra: Mapping[str, tuple[int, ...]] | None = None, seed: int | None = None, **config: object,
) -> Path:  # fmt: skip
    """Writes an adapter for the small Llama as PEFT does: zeros, or random bytes with a seed.

    `extra` are further tensors by their name behind the prefix, `config` further settings.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in llama_shapes(layers=layers).items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in modules:
            shapes[f"{module}.lora_A.weight"] = (rank, shape[1])
            shapes[f"{module}.lora_B.weight"] = (shape[0], rank)
    shapes |= extra or {}
    shapes = {f"base_model.model.{name}": shape for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "adapter_model.safetensors"
    write_tensors(path, shapes, dict.fromkeys(shapes, "BF16"), seed)
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def write_adapters(folder: Path) -> None:
    """The adapters that the tests of the checker speak of."""
    write_adapter(folder / "adapter")
    q_proj = "model.layers.0.self_attn.q_proj"
    dora = {f"{q_proj}.lora_magnitude_vector": (8,)}
    write_adapter(folder / "dora", extra=dora, use_dora=True)
    write_adapter(folder / "whole", extra={"lm_head.weight": (32, 8)})
    write_adapter(folder / "grown", extra={"lm_head.weight": (40, 8)})
    write_adapter(folder / "tokens", trainable_token_indices=[1])
    write_adapter(folder / "ia3", peft_type="IA3")
    write_adapter(folder / "pissa", init_lora_weights="pissa_niter_4")
    bias = {f"{q_proj}.lora_B.bias": (8,)}
    write_adapter(folder / "torn", extra=bias, rank_pattern={"q_proj": 3})
    write_adapter(folder / "longer", layers=6)


def _folder(folder: Path, config: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": folder.name} | dict(config)))
    return folder


def write_arrays(folder: Path, tensors: Mapping[str, tuple[object, str]]) -> Path:
    """Writes a folder with one file of these (array, dtype), rounded to their dtypes by torch."""
    import torch
    from safetensors.torch import save_file

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
             "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        name: torch.as_tensor(array).to(kinds[dtype]) for name, (array, dtype) in tensors.items()
    }
    save_file(made, folder / "model.safetensors")
    return folder


def write_import_zoo(folder: Path) -> Path:
    """The models that the files of tests/yaml/ speak of: the zoo and some awkward names."""
    write_zoo(folder)
    for name in ("one/chat", "two/chat", "bf16", "7B-v0.1", "match"):
        write_model(folder / name)
    marks = (*MARKS, "<|eot_id|>", "<|original|>", "<|start_header_id|>", "<|end_header_id|>")
    for name in ("base", "chat", "math", "deep"):
        write_tokenizer(folder / name, [f"w{i}" for i in range(24)], marks)
    flat = {"weight": (8, 8), "bias": (8,)}
    (folder / "other").mkdir()
    write_tensors(folder / "other" / "flat.safetensors", flat, dict.fromkeys(flat, "F32"))
    return folder


def write_speakers(folder: Path) -> Path:
    """The models that tests of vocabularies speak of: `chat` has two tokens more than `base`,
    `other` numbers its words otherwise, `bare` has no tokenizer, `narrow` shorter rows. Of the
    adapters `grown` has two tokens more, too, `head` has factors for the head and `own` a whole
    one; in `tied` the head is the embedding."""
    words = [f"w{i}" for i in range(28)]
    write_tokenizer(write_model(folder / "base"), words)
    chat = write_model(folder / "chat", vocabulary=34)
    write_tokenizer(chat, [*words, "<|user|>", "<|end|>"], chat_template="{{ messages }}")
    write_tokenizer(write_model(folder / "other"), words[::-1])
    write_tokenizer(write_model(folder / "narrow", hidden=4), words)
    odd = write_model(folder / "odd", extra={"strange.weight": (32, 8)})
    write_tokenizer(odd, words)
    write_model(folder / "bare")
    write_tokenizer(write_model(folder / "padded", vocabulary=40), words)
    tied = write_model(folder / "tied", lack=["lm_head.weight"])
    write_tokenizer(tied, words)
    own = {"lm_head.weight": (32, 8)}
    write_adapter(folder / "own", extra=own, modules_to_save=["lm_head"])
    write_adapter(folder / "adapter")
    write_adapter(folder / "head", modules=("q_proj", "lm_head"))
    tables = dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (34, 8))
    write_tokenizer(write_adapter(folder / "grown", extra=tables), [*words, "<|user|>", "<|end|>"])
    return folder
