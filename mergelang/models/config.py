"""The `config.json` of a model, and the changes that a merge makes to it.

Layouts name the functions here; each takes a config and gives a changed copy.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mergelang.models.attention import GLOBAL, KEY, NEAR, PATTERN, kinds_of
from mergelang.models.towers import STATES, value_at

Config = Mapping[str, Any]

DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
"""Names of dtypes in a config."""

TRANSPOSED = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
"""Architectures whose linear layers lie as [in, out] in their files."""

MIXTRAL_TAKES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings",
    "initializer_range", "rms_norm_eps", "use_cache", "pad_token_id", "bos_token_id",
    "eos_token_id", "tie_word_embeddings", "rope_theta", "rope_scaling", "rope_parameters",
    "sliding_window", "attention_dropout", "torch_dtype", "dtype", "transformers_version",
)  # fmt: skip
"""What a Mixtral has in common with a Llama or a Mistral, under the same names."""


NO_LAYER_LIST = re.compile(
    r".*(token|architectures|suppress|lang|label|_size|_ids?$|_mean$|_std$|indexes|indices).*"
)
"""Lists of a config that are not one entry a layer, however long they are."""

LAYER_NUMBERS = re.compile(r".*(layers|blocks)(_idx|_ids)?|.*(layer|block).*(indexes|indices)")
"""Lists of a config that hold numbers of layers."""

LEADING = ("first_k_dense_replace", "num_dense_layers")
"""Keys that say how many of the first layers are of another kind than the rest."""

PERIODS = (
    "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step", "attn_layer_period",
    "expert_layer_period", "full_attention_interval",
)  # fmt: skip
"""Keys that say that every so many layers one is of another kind."""


LISTED = {PATTERN: KEY, GLOBAL: KEY, "no_rope_layer_interval": "no_rope_layers"}
"""More of them, where the config has not the list that says it layer by layer."""

ALONE = {
    "qwen2_vl": "qwen2", "qwen2_vl_text": "qwen2", "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3",
}  # fmt: skip
"""What text models are by themselves that transformers knows inside of others only, by the
`model_type` of the section about them, or of a whole config that has none."""

CLASSES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def section(config: Config, path: Iterable[str]) -> Config:
    """The part of a config under nested keys; empty where there is none."""
    found = value_at(config, path)
    return found if isinstance(found, Mapping) else {}


def by_layer(config: Config, count: int) -> dict[str, list[Any]]:
    """What a section lists layer by layer, such as `layer_types`, by its key."""
    return {
        key: value for key, value in config.items()
        if isinstance(value, list) and len(value) == count and not NO_LAYER_LIST.fullmatch(key)
        and (count > 1 or "layer" in key)
    }  # fmt: skip


def layer_numbers(config: Config, count: int) -> dict[str, list[int]]:
    """The lists of a section that hold numbers of its layers, by their keys."""
    listed = by_layer(config, count)
    return {
        key: value for key, value in config.items()
        if isinstance(value, list) and value and key not in listed and LAYER_NUMBERS.fullmatch(key)
        and all(type(each) is int and 0 <= each < count for each in value)
    }  # fmt: skip


def with_layers(config: Config, count: int, stated: Sequence[str]) -> Config:
    """With `count` layers under the key where the config states them. Its lists are not touched."""
    if not stated:
        raise KeyError("the number of layers")
    *above, key = stated
    inside = dict(section(config, above))
    if "decoder" not in key:
        # Some configs say it twice: `num_hidden_layers` beside `encoder_layers`.
        again = [each for each, value in inside.items()
                 if value == inside.get(key) and type(value) is int
                 and STATES.fullmatch(each) and "decoder" not in each]  # fmt: skip
        inside |= dict.fromkeys(again, count)
    inside[key] = count
    return put(config, above, inside)


def put(config: Config, path: Sequence[str], value: Any) -> Config:
    """With a value under nested keys."""
    if not path:
        return value
    key, *below = path
    return {**config, key: put(config.get(key, {}), below, value)}


def with_dtype(config: Config, dtype: str) -> Config:
    """With the dtype (as safetensors names it) of the weights."""
    key = "dtype" if "dtype" in config else "torch_dtype"
    return {**config, key: DTYPES[dtype]}


IDS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")
"""Lists of ids of tokens, beside what ends with `_token_id`, `_token_ids`, `_token_index`."""


def with_vocabulary(config: Config, rows: int, was: int, ids: Mapping[int, int]) -> Config:
    """With `rows` instead of `was` rows in its tables, and other ids of tokens.

    `ids`: new ids by old ones, for those that changed. Nested configs are changed alike.
    """
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            changed[key] = with_vocabulary(value, rows, was, ids)
        elif key == "vocab_size" and value == was:
            changed[key] = rows
        elif key.endswith(("_token_id", "_token_ids", "_token_index")) or key in IDS:
            changed[key] = _renumbered(value, ids)
        elif key == "forced_decoder_ids" and isinstance(value, list):
            changed[key] = [[place, _renumbered(number, ids)] for place, number in value]
        else:
            changed[key] = value
    return changed


def _renumbered(value: Any, ids: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        return [_renumbered(each, ids) for each in value]
    return ids.get(value, value) if isinstance(value, int) else value


TIED = "tie_word_embeddings"


def is_tied(config: Config) -> bool:
    """Whether it says that the head is the embedding: at the top, else in a nested config that
    speaks of a vocabulary."""
    inside = (value for value in config.values() if isinstance(value, dict))
    nested = any("vocab_size" in each and is_tied(each) for each in inside)
    return bool(config.get(TIED, nested))


def with_tied(config: Config, tied: bool) -> Config:
    """Of a model whose head is its embedding, or is not: said at the top, and wherever a nested
    config speaks of a vocabulary."""
    inside = {
        key: with_tied(value, tied) for key, value in config.items()
        if isinstance(value, dict) and "vocab_size" in value
    }  # fmt: skip
    return {**config, **inside, TIED: tied}


def alone(config: Config, kind: str, tied: bool) -> Config:
    """Of a text model inside another that of it alone, a `kind` of model that transformers has.

    `tied`: it has no head but its embedding. Of text, positions are one number a token, so the
    parts into which those of pictures fall make no difference.
    """
    kept = {
        key: value for key, value in config.items()
        if not key.startswith(("vision_", "image_", "video_"))
    }  # fmt: skip
    for key in ("rope_parameters", "rope_scaling"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = {
                name: value for name, value in kept[key].items()
                if not name.startswith("mrope") and value != "mrope"
            } or None  # fmt: skip
    own = {"architectures": [CLASSES[kind]], "model_type": kind, TIED: tied}
    return {**kept, **own}


def mixtral(config: Config, experts: int, top_k: int, shared: bool) -> Config:
    """Of a Llama or a Mistral that of a Mixtral with these experts."""
    taken = {key: config[key] for key in MIXTRAL_TAKES if key in config}
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        **taken,
        "num_local_experts": experts,
        "num_experts_per_tok": top_k,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }


def qwen2_moe(config: Config, experts: int, top_k: int, shared: bool) -> Config:
    """Of a Qwen2, a Llama or a Mistral that of a Qwen2-MoE with a shared expert."""
    size = config["intermediate_size"]
    made = _qwen_moe("Qwen2Moe", "qwen2_moe", config, experts, top_k)
    made |= {"shared_expert_intermediate_size": size, "qkv_bias": True}
    kinds = kinds_of(config, config["num_hidden_layers"])
    return made | ({KEY: kinds, "use_sliding_window": True} if NEAR in kinds else {})


def qwen3_moe(config: Config, experts: int, top_k: int, shared: bool) -> Config:
    """Of a Qwen3 that of a Qwen3-MoE, whose layers attend to near tokens all or none."""
    return _qwen_moe("Qwen3Moe", "qwen3_moe", config, experts, top_k)


def _qwen_moe(name: str, type: str, config: Config, experts: int, top_k: int) -> Config:
    return {
        **config,
        "architectures": [f"{name}ForCausalLM"],
        "model_type": type,
        "num_experts": experts,
        "num_experts_per_tok": top_k,
        "moe_intermediate_size": config["intermediate_size"],
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }


def deepseek(config: Config, experts: int, top_k: int, shared: bool) -> Config:
    """Of a Llama or a Mistral that of the first DeepSeek-MoE, whose code is on the Hub alone."""
    code, kinds = "deepseek-ai/deepseek-moe-16b-base--", ("Config", "Model", "ForCausalLM")
    files = "configuration_deepseek", "modeling_deepseek", "modeling_deepseek"
    words = "AutoConfig", "AutoModel", "AutoModelForCausalLM"
    return {
        **config,
        "architectures": ["DeepseekForCausalLM"],
        "model_type": "deepseek",
        "n_routed_experts": experts,
        "n_shared_experts": 1 if shared else None,
        "num_experts_per_tok": top_k,
        "moe_intermediate_size": config["intermediate_size"],
        "first_k_dense_replace": 0,
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
        "norm_topk_prob": True,
        "auto_map": {
            word: f"{code}{file}.Deepseek{kind}"
            for word, file, kind in zip(words, files, kinds, strict=True)
        },
    }
