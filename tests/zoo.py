"""Tiny random models of many architectures, made as transformers makes and saves them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

TEXT = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "initializer_range": 0.2,
}  # fmt: skip
PLAIN = {key: value for key, value in TEXT.items() if key != "num_key_value_heads"}
VISION = {"hidden_size": 16, "intermediate_size": 24}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
TOKENS = torch.arange(24).reshape(2, 12) % 60


def words() -> dict[str, torch.Tensor]:
    return {"input_ids": TOKENS}


def pictures(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)


TALLER = "stack(a[..3], b[2..])"
"""Five layers of two models of four."""


@dataclass(frozen=True)
class Kind:
    """A model's class, its config, what it is asked, and the expression that makes it taller.

    `taller` is of the models `a` and `b`, and gives this many layers, by where the config counts
    them: of each tower `layers` says model and layer that each of its own comes from.
    """

    model: str
    config: Callable[[], Any]
    inputs: Callable[[], dict[str, torch.Tensor]] = words
    taller: str = TALLER
    counts: tuple[tuple[str, int], ...] = (("num_hidden_layers", 5),)
    layers: tuple[tuple[str, str], ...] = (("", "a0 a1 a2 b2 b3"),)


def _of(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, f"{name}Config")(**settings)


def _causal(name: str, config: str = "", **settings: Any) -> Kind:
    return Kind(f"{name}ForCausalLM", _of(config or name, **settings))


def _seen() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor([[1, 63, 63, 63, 63, 2, 3]]),
            "pixel_values": pictures((1, 3, 8, 8))}  # fmt: skip


def _seen_in_patches() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor([[1, 61, 63, 63, 63, 63, 60, 3]]),
            "pixel_values": pictures((4, 48)), "image_grid_thw": torch.tensor([[1, 2, 2]]),
            "mm_token_type_ids": torch.tensor([[0, 0, 1, 1, 1, 1, 0, 0]])}  # fmt: skip


def _translated() -> dict[str, torch.Tensor]:
    return {"input_ids": TOKENS, "decoder_input_ids": TOKENS[:, :5]}


def _heard() -> dict[str, torch.Tensor]:
    return {"input_features": pictures((1, 8, 32)), "decoder_input_ids": TOKENS[:1, :5]}


BOTH = (
    "graft(a, encoder: a.encoder[1..3], decoder: stack(a.decoder, b.decoder[1..]))"
)  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}

KINDS = {
    "llama": _causal("Llama", **TEXT),
    "mistral": _causal("Mistral", **TEXT),
    "qwen2": _causal("Qwen2", **TEXT, use_sliding_window=True, max_window_layers=2),
    "qwen3": _causal("Qwen3", **TEXT, head_dim=8),
    "gemma2": _causal("Gemma2", **TEXT, head_dim=8),
    "gemma3": _causal("Gemma3", "Gemma3Text", **TEXT, head_dim=8),
    "phi3": _causal("Phi3", **TEXT, pad_token_id=0),
    "gpt2": Kind(
        "GPT2LMHeadModel",
        _of("GPT2", vocab_size=64, n_embd=32, n_layer=4, n_head=4, n_positions=64),
        counts=(("n_layer", 5),),
    ),
    "gpt_neox": _causal("GPTNeoX", **PLAIN),
    "bert": Kind("BertForMaskedLM", _of("Bert", **PLAIN)),
    "roberta": Kind("RobertaForMaskedLM", _of("Roberta", **PLAIN)),
    "t5": Kind(
        "T5ForConditionalGeneration",
        _of("T5", vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=4, num_decoder_layers=3,
            num_heads=4),
        _translated, BOTH, (("num_layers", 2), ("num_decoder_layers", 5)),
        (("encoder.", "a1 a2"), ("decoder.", "a0 a1 a2 b1 b2")),
    ),
    "whisper": Kind(
        "WhisperForConditionalGeneration",
        _of("Whisper", vocab_size=64, d_model=32, encoder_layers=4, decoder_layers=3,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, num_mel_bins=8, max_source_positions=16, max_target_positions=32,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1),
        _heard, BOTH, (("encoder_layers", 2), ("decoder_layers", 5)),
        (("model.encoder.", "a1 a2"), ("model.decoder.", "a0 a1 a2 b1 b2")),
    ),
    "mamba": _causal("Mamba", vocab_size=64, hidden_size=32, num_hidden_layers=4, state_size=4),
    "mixtral": _causal("Mixtral", **TEXT, num_local_experts=4),
    "qwen3_moe": _causal("Qwen3Moe", **TEXT, **EXPERTS, head_dim=8, num_experts=4),
    "deepseek_v3": _causal(
        "DeepseekV3", **{**TEXT, "num_key_value_heads": 4}, **EXPERTS, n_routed_experts=4,
        n_group=2, topk_group=1, kv_lora_rank=8, q_lora_rank=12, qk_rope_head_dim=4, v_head_dim=8,
        qk_nope_head_dim=8, first_k_dense_replace=1,
    ),
    "llava": Kind(
        "LlavaForConditionalGeneration",
        lambda: transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(
                **VISION, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=4
            ),
            text_config=transformers.LlamaConfig(**TEXT), image_token_id=63,
        ),
        _seen,
        "graft(a, language_model: stack(a.language_model[..3], b.language_model[2..]), "
        "vision_tower: stack(b.vision_tower, a.vision_tower[1..]))",
        (("text_config.num_hidden_layers", 5), ("vision_config.num_hidden_layers", 5)),
        (("language_model.", "a0 a1 a2 b2 b3"), ("vision_tower.", "b0 b1 b2 a1 a2")),
    ),
    "qwen2_5_vl": Kind(
        "Qwen2_5_VLForConditionalGeneration",
        lambda: transformers.Qwen2_5_VLConfig(
            text_config={**TEXT, "rope_parameters": ROPE},
            vision_config={**VISION, "depth": 3, "num_heads": 2, "patch_size": 4,
                           "spatial_merge_size": 1, "temporal_patch_size": 1,
                           "out_hidden_size": 32, "fullatt_block_indexes": [1], "window_size": 8},
            image_token_id=63, video_token_id=62, vision_start_token_id=61, vision_end_token_id=60,
        ),
        _seen_in_patches,
        "graft(a, language_model: stack(a.language_model[..3], b.language_model[2..]), "
        "visual: stack(b.visual, a.visual[1..]))",
        (("text_config.num_hidden_layers", 5), ("vision_config.depth", 5)),
        (("model.layers.", "a0 a1 a2 b2 b3"), ("visual.blocks.", "b0 b1 b2 a1 a2")),
    ),
    "vit": Kind(
        "ViTForImageClassification",
        _of("ViT", hidden_size=32, intermediate_size=48, num_hidden_layers=4,
            num_attention_heads=4, image_size=8, patch_size=4),
        lambda: {"pixel_values": pictures((2, 3, 8, 8))},
    ),
}  # fmt: skip


def make(kind: Kind, seed: int, folder: Path) -> Path:
    """A model of a kind, every weight random (norms and biases too), saved."""
    torch.manual_seed(seed)
    model = getattr(transformers, kind.model)(kind.config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def load(kind: Kind, folder: Path):
    """The model of a folder, whole: every key found, none left over, none made anew."""
    model, told = getattr(transformers, kind.model).from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    assert not any(told.values()), told
    return model.eval()


def logits(model, kind: Kind) -> torch.Tensor:
    with torch.no_grad():
        return model(**kind.inputs()).logits
