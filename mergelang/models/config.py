"""The `config.json` of a model, and the changes that a merge makes to it.

Layouts name the functions here; each takes a config and gives a changed copy.
"""

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""How architectures call the number of layers."""

DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
"""Names of dtypes in a config."""

MIXTRAL_TAKES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings",
    "initializer_range", "rms_norm_eps", "use_cache", "pad_token_id", "bos_token_id",
    "eos_token_id", "tie_word_embeddings", "rope_theta", "rope_scaling", "rope_parameters",
    "sliding_window", "attention_dropout", "torch_dtype", "dtype", "transformers_version",
)  # fmt: skip
"""What a Mixtral has in common with a Llama or a Mistral, under the same names."""


def layer_count(config: Config) -> int | None:
    """The number of layers that a config states."""
    key = next((key for key in LAYERS if isinstance(config.get(key), int)), None)
    return None if key is None else config[key]


def by_layer(config: Config) -> dict[str, list[Any]]:
    """What a config lists layer by layer, such as `layer_types`, by its key."""
    count = layer_count(config)
    return {
        key: value for key, value in config.items()
        if isinstance(value, list) and count and len(value) == count and key.startswith("layer")
    }  # fmt: skip


def with_layers(config: Config, count: int) -> Config:
    """With `count` layers. What it lists layer by layer is not touched."""
    return {**config, **{key: count for key in LAYERS if key in config}}


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


def mixtral(config: Config, experts: int, top_k: int) -> Config:
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
