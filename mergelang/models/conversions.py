"""Layouts of the same weights that differ: what transformers 5 calls tensors inside, and what they
are called on disk.

transformers writes what it has read under the old names, but can be told to write its own; other
tools write those, too. Both load. Here the names on disk are taken for all of them, so that models
of both layouts go together; nothing is read or moved for it: the matrices of one expert lie in the
middle of a fused tensor. What is not known here keeps its names, and does not go with the other.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import methodcaller
from typing import Any

from mergelang.tensors import Extent, Inventory, TensorType

SEEING = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
    "lm_head.": "language_model.lm_head.",
}
QWEN_VL = {"model.language_model.": "model.", "model.visual.": "visual."}

PREFIXES: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(
        ("llava", "llava_next", "paligemma", "gemma3", "mistral3", "internvl"), SEEING
    ),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl"), QWEN_VL),
}
"""For an architecture (`model_type`) how names begin inside, and how on disk. They are taken where
a name of the first kind but for the head is there."""

BARE = {"h.": "transformer."}
"""How the layers begin in models that were published without what they stand in, and that front."""

HEADED = re.compile(r".+For[A-Z]\w+|.+(LMHead|DoubleHeads)Model")
"""Classes of models that hold another one."""

PARTS = {"gate_proj": "gate_proj", "up_proj": "up_proj", "down_proj": "down_proj"}
NUMBERED = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}

EXPERTS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    **dict.fromkeys(
        ("qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3", "olmoe", "glm4_moe", "dots1"),
        ("mlp.experts.", PARTS, {}),
    ),
    "ernie4_5_moe": ("mlp.experts.", PARTS, {"mlp.gate.moe_statics.": "mlp.moe_statics."}),
    **dict.fromkeys(
        ("mixtral", "minimax"),
        ("block_sparse_moe.experts.", NUMBERED, {"mlp.gate.": "block_sparse_moe.gate."}),
    ),
    "phimoe": (
        "block_sparse_moe.experts.", NUMBERED, {"mlp.router.": "block_sparse_moe.gate."}
    ),
}  # fmt: skip
"""For an architecture whose experts are two tensors a layer inside: what stands before the number
of an expert on disk, how its matrices are called there, and what else in a layer is."""

FUSED = ("gate_up_proj", "down_proj")
_FUSED = re.compile(rf"(.*\.)mlp\.experts\.({'|'.join(FUSED)})")


def as_on_disk(extents: Mapping[str, Extent], architecture: str) -> dict[str, Extent]:
    """The tensors of a file under the names that they have on disk; those that cannot be told, or
    would take a name that is there, keep theirs."""
    found = dict(extents)
    prefixes = PREFIXES.get(architecture, {})
    if any(name.startswith(each) for name in found for each in prefixes if each != "lm_head."):
        found = _renamed(found, lambda name: _with_prefix(name, prefixes))
    if architecture in EXPERTS:
        found = _split(found, *EXPERTS[architecture])
    return found


def names_in_memory(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, str]:
    """What transformers calls the tensors inside, and peft with it, that have these `names` on
    disk."""
    names = tuple(names)
    inside = PREFIXES.get(str(config.get("model_type", "")), {})
    prefixes = {disk: inner for inner, disk in inside.items()}
    whole = HEADED.fullmatch(str((config.get("architectures") or ("",))[0]))
    fronts = (front for layers, front in BARE.items() if any(n.startswith(layers) for n in names))
    front = next(fronts, "") if whole else ""
    found = {name: front + _with_prefix(name, prefixes) for name in names}
    return found if _apart(found) else {name: name for name in names}


def names_in(model: Inventory, names: Iterable[str]) -> dict[str, str]:
    """What a model calls the tensors of an adapter that it does not have under their own `names`.

    An adapter names them as they were in memory when it was trained: with what stands in front of
    the names of a model inside another (`transformer.`), as transformers calls them inside, or as
    they are called in the whole that the model is taken out of (`model.language_model.`).
    Empty unless that accounts for all of them.
    """
    for found in _tried(model, tuple(names)):
        if all(new in model for new in found.values()):
            return {name: new for name, new in found.items() if new != name}
    return {}


def beyond(model: Inventory, names: Iterable[str]) -> list[str]:
    """Those of an adapter's names that a model has under no name, where it has the others."""
    tried = [[name for name, new in found.items() if new not in model]
             for found in _tried(model, tuple(names))]  # fmt: skip
    return min(tried, key=len, default=[])


def _tried(model: Inventory, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The names that an adapter's tensors may have in a model, one way after the other."""
    stray = next((name for name in names if name not in model), None)
    if stray is None:
        return
    prefixes = PREFIXES.get(model.architecture, {})
    for rule in (lambda name: _with_prefix(name, prefixes), *_fronts(stray, model), _inner):
        found = {name: name if name in model else rule(name) for name in names}
        if _apart(found):
            yield found


def _inner(name: str) -> str:
    """What a model inside another calls a tensor that stands in the whole under this name."""
    return name.replace(".language_model.", ".", 1)


def _fronts(stray: str, model: Inventory) -> Iterator[Callable[[str], str]]:
    """Ways to take something off the front of names, or to put it there, that lead from this name
    to one that the model has."""
    for cut in (i + 1 for i, each in enumerate(stray) if each == "."):
        if stray[cut:] in model:
            yield methodcaller("removeprefix", stray[:cut])
    for name in model:
        if name.endswith(f".{stray}"):
            yield name[: -len(stray)].__add__


def _renamed(extents: dict[str, Extent], rename) -> dict[str, Extent]:
    new = {name: rename(name) for name in extents}
    return {new[name]: each for name, each in extents.items()} if _apart(new) else extents


def _apart(names: Mapping[str, str]) -> bool:
    return len(set(names.values())) == len(names)


def _with_prefix(name: str, prefixes: Mapping[str, str]) -> str:
    for inside, disk in prefixes.items():
        if name.startswith(inside):
            return disk + name[len(inside) :]
    return name


def _split(
    extents: dict[str, Extent], experts: str, parts: Mapping[str, str], others: Mapping[str, str]
) -> dict[str, Extent]:
    """With a tensor for each matrix of each expert, where two hold all of a layer."""
    fused = (_FUSED.fullmatch(name) for name in extents if name.endswith(FUSED))
    blocks = {found[1] for found in fused if found}
    if not blocks:
        return extents
    made: dict[str, Extent] = {}
    for name, extent in extents.items():
        found = _FUSED.fullmatch(name)
        if found and len(extent.type.shape) == 3:
            made |= _matrices(found[1] + experts, found[2], extent, parts)
            continue
        block = next((each for each in blocks if name.startswith(each)), None) if others else None
        inside = "" if block is None else _with_prefix(name[len(block) :], others)
        made[name if block is None else block + inside] = extent
    return extents if any(_FUSED.fullmatch(name) for name in made) else made


def _matrices(
    prefix: str, which: str, extent: Extent, parts: Mapping[str, str]
) -> dict[str, Extent]:
    """The matrices that lie one behind the other in a fused tensor [experts, rows, columns]."""
    count, rows, columns = extent.type.shape
    names = ("gate_proj", "up_proj") if which == "gate_up_proj" else ("down_proj",)
    kind = TensorType(extent.type.dtype, (rows // len(names), columns))
    found = {}
    for expert in range(count):
        for place, name in enumerate(names):
            offset = extent.offset + (expert * len(names) + place) * kind.nbytes
            found[f"{prefix}{expert}.{parts[name]}.weight"] = Extent(extent.path, offset, kind)
    return found
