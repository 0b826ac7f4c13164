"""Which layers attend to all tokens and which to near ones only, where a config does not list it.

transformers reads `layer_types` where a config has that list. Without it each architecture reckons
by the place of a layer, and published configs often leave it to that. In a model with other layers
they stand in other places, so the list is spelled out for it. Known are the architectures that are
named here; of others nothing is said.
"""

from collections.abc import Mapping
from typing import Any

FULL, NEAR = "full_attention", "sliding_attention"
KEY, PATTERN, GLOBAL = "layer_types", "sliding_window_pattern", "global_attn_every_n_layers"

LAST = {
    "gemma2": (2, None), "gemma3_text": (6, PATTERN), "gemma3n_text": (5, None),
    "cohere2": (4, PATTERN), "exaone4": (4, PATTERN), "gpt_oss": (2, None), "olmo3": (4, None),
    "vaultgemma": (2, None), "afmoe": (4, GLOBAL),
}  # fmt: skip
FIRST = {"modernbert": (3, GLOBAL), "modernbert-decoder": (3, GLOBAL), "cwm": (4, None)}
"""Of every so many layers the last or the first one attends to all tokens, by `model_type`; and the
key under which a config says another number."""

FROM = frozenset({
    "qwen2", "qwen3", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text",
    "qwen2_5_omni_text",
})  # fmt: skip
"""Where `use_sliding_window` is on, layers from `max_window_layers` on attend to near tokens."""


def kinds_of(config: Mapping[str, Any], count: int) -> list[str]:
    """For each of its `count` layers whether a dense model attends to all tokens or near ones."""
    listed = spelled_out(config, count).get(KEY)
    if isinstance(listed, list):
        return listed
    near = config.get("model_type") == "mistral" and config.get("sliding_window")
    return [NEAR if near else FULL] * count


def spelled_out(section: Mapping[str, Any], count: int) -> Mapping[str, Any]:
    """The section of a config that speaks of `count` layers, with the list that it leaves out."""
    kind = section.get("model_type")
    if isinstance(section.get(KEY), list):
        return section
    usual, key = LAST.get(kind) or FIRST.get(kind) or (None, None)
    every, first = section.get(key, usual), section.get("max_window_layers")
    if kind in FROM and section.get("use_sliding_window") and type(first) is int:
        kinds = [FULL if layer < first else NEAR for layer in range(count)]
    elif type(every) is int and every > 0 and section.get("sliding_window", True):
        ahead = 1 if kind in LAST else 0
        kinds = [NEAR if (layer + ahead) % every else FULL for layer in range(count)]
    else:
        return section
    return {**section, KEY: kinds}
