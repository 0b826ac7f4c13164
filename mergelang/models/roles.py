"""Which tensors are embeddings, head, norms, attention, feed-forward.

Read off the components of a name (`model.layers.3.mlp.up_proj.weight`), off shapes, and off where a
tensor stands; no architecture is known by name.
"""

import re
from collections.abc import Mapping
from typing import Any

from mergelang.models.towers import alike, value_at
from mergelang.tensors import Layering, TensorType

HEAD = {"lm_head", "embed_out", "output_layer", "score", "classifier", "unembed"}
_EMBED = re.compile(r"(?!embed_out|unembed).*embed.*|wte|wpe|shared|cls_token|.*_token_embedding")
_ATTENTION = re.compile(r".*attn.*|.*attention.*")
_FEED_FORWARD = re.compile(
    r".*mlp.*|.*feed_?forward.*|ffn?|fc\d|densereludense|.*_moe|.*experts?|intermediate"
)
_NORM = re.compile(r"(?:.*_)?(?:layer)?_?norm\d*|.*lay[er]*_?norm.*|ln_.*|ln\d*|.*_norm|norm_.*")
_OUTPUTS = {"intermediate", "output"}
"""Parts of a layer that are its feed-forward one, where attention has an output of its own."""


def roles_of(name: str) -> frozenset[str]:
    """The roles of a tensor, by its name: of `embed head norm attn mlp`, none or several."""
    found = set()
    for word in map(str.lower, name.split(".")):
        if word in HEAD:
            found.add("head")
        elif _NORM.fullmatch(word):
            found.add("norm")
        elif _ATTENTION.fullmatch(word):
            found.add("attn")
        elif _FEED_FORWARD.fullmatch(word):
            found.add("mlp")
        elif _EMBED.fullmatch(word):
            found.add("embed")
    if "attn" in found:
        found.discard("mlp")
    return frozenset(found)


def roles(
    tensors: Mapping[str, TensorType], layering: Layering, config: Mapping[str, Any] | None = None
) -> dict[str, frozenset[str]]:
    """The roles of all tensors of a model.

    Those whose names differ in numbers alone have the same ones, so few names are looked at.
    """
    patterns = alike(tuple(tensors))
    first: dict[str, str] = {}
    for name, pattern in patterns.items():
        first.setdefault(pattern, name)
    made = {pattern: roles_of(pattern) for pattern in first}
    for pattern, name in first.items():
        tower = layering.tower(name)
        if tower is not None:
            inside = tower.split(name)[1]
            if "attn" not in made[pattern] and inside.partition(".")[0] in _OUTPUTS:
                made[pattern] |= {"mlp"}
            made[pattern] -= {"embed", "head"}
        # A weight of one dimension scales: it is a norm, whatever it is called.
        if len(tensors[name].shape) == 1 and pattern.endswith(".weight"):
            made[pattern] |= {"norm"}
            bias = pattern.removesuffix("weight") + "bias"
            if bias in made:
                made[bias] |= {"norm"}
    _vocabulary({first[each]: tensors[first[each]] for each in made}, layering, config or {}, made)
    return {name: made[pattern] for name, pattern in patterns.items()}


def _vocabulary(
    tensors: Mapping[str, TensorType], layering: Layering, config: Mapping[str, Any],
    made: dict[str, frozenset[str]],
) -> None:  # fmt: skip
    """Of matrices as high as the vocabulary that no word tells of: an embedding, then the head."""
    said = (value_at(config, path) for path in (("vocab_size",), ("text_config", "vocab_size")))
    sizes = {each for each in said if isinstance(each, int)}
    high = [
        name for name, kind in tensors.items()
        if len(kind.shape) == 2 and kind.shape[0] in sizes and name in made
        and layering.tower(name) is None
    ]  # fmt: skip
    for role in ("embed", "head"):
        unknown = [name for name in high if not made[name]]
        if unknown and not any(role in made[name] for name in high):
            made[unknown[0]] |= {role}
