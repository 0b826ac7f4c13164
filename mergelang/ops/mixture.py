"""`moe`: dense models become the experts of one sparse model.

The feed-forward layers of the inputs become experts; everything else comes from the base. The
gates, which say how much each expert counts for a token, are random, or made from prompts by a
prepare task.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from typing import Any

from mergelang.ops.expr import Context, Value, filled, structure, uniform_numbers
from mergelang.ops.expr import noise as normal
from mergelang.ops.families import FAMILIES, NORMS, PARTS, Family, family_for, fits, instead_of
from mergelang.ops.layout import (
    Changed,
    Fresh,
    Gates,
    Layout,
    LayoutError,
    Origin,
    Pick,
    Prepared,
)
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Choice, Each, Integer, Model, Number, Texts
from mergelang.tensors import MERGEABLE, Inventory, TensorType

PROMPTED = ("hidden", "cheap_embed")
"""Gates that are made from prompts."""


@operator(
    arranges=True,
    least=2,
    version=2,
    formula="experts: the feed-forward layers of x_i; all else: the base; "
    "row i of a gate: mean state of the base over prompts_i, less that over avoid_i, of length 1",
    paper="Mixtral of Experts, arXiv 2401.04088; mergekit-moe",
    use="several fine-tunes in one model, each for what it is good at; a start for training",
    needs={"pool": ("gate", "hidden")},
    apart="allow_identical",
)
def moe(
    *experts: Model,
    base: Model = None,
    gate: Choice("hidden", "cheap_embed", "random", "uniform"),
    top_k: Integer(1) = 2,
    pool: Choice("last", "mean") = "last",
    architecture: Choice("auto", *FAMILIES) = "auto",
    allow_identical: Boolean() = False,
    prompts: Each(Texts()) = (),
    avoid: Each(Texts()) = (),
    shared: Each(Boolean()) = False,
    noise: Each(Number(0)) = None,
    residual_scale: Each(Number()) = None,
) -> Model:
    """A mixture of experts out of dense models of one shape, of which `top_k` work on each token.

    Attention, norms, embeddings and head come from `base:` (the first expert where none is given),
    the feed-forward layers from the experts, in the dtype of the base. What comes out is a Mixtral
    (of Llamas or Mistrals) or a Qwen3-MoE (of Qwen3s). With a `shared: true` expert, which works on
    every token, it is a Qwen2-MoE, where prompts make a gate for that expert, or else a
    DeepSeek-MoE (of Llamas or Mistrals), where it counts the same for every token. `architecture`
    chooses: a Qwen2-MoE without prompts for its shared expert does the same as a DeepSeek-MoE,
    unless `top_k` is 1: then a DeepSeek-MoE counts the expert by its probability alone.

    `gate: hidden` runs the base, layer by layer, over the prompts of each expert: its row of a
    layer's gate is the state that enters the layer, at the last token of a prompt or (`pool: mean`)
    over all of them, averaged over its `prompts`, less the same over `avoid`, scaled to length 1.
    `cheap_embed` takes the sum of the embeddings of the prompts instead. `random` gates are numbers
    of variance 1, `uniform` ones those of a new layer; such a mixture has to be trained.

    `noise` adds random numbers of this standard deviation to an expert, which lets equal experts
    grow apart in training; `residual_scale` scales what an expert adds to the stream.
    """
    routed = [index for index, each in enumerate(shared) if not each]
    constant = [index for index, each in enumerate(shared) if each]
    _check_prompts(gate, routed, constant, prompts, avoid, allow_identical)
    if len(constant) > 1:
        raise LayoutError("E2315", constant[1])
    if top_k > len(routed):
        raise LayoutError("E0712", top_k=top_k, experts=len(routed))
    gated = bool(prompts[constant[0]]) if constant and gate in PROMPTED else None
    family = _family(architecture, base, constant, gated)
    for index, each in enumerate((*experts, base)):
        _check(index, each, base, family)
    changed = [a is not None or b is not None for a, b in zip(noise, residual_scale, strict=True)]
    rows = {"random": _random, "uniform": _uniform}.get(gate)
    even = gated is False and family.shared_gate is not None
    maker = _Maker(family, experts, base, routed, constant, changed, rows, even)
    made = maker.tensors()
    origins = {name: origin for name, (_, origin, _) in made.items()}
    inventory = Inventory(
        {name: kind for name, (kind, _, _) in made.items()}, base.layering,
        {name: role for name, (_, _, role) in made.items()}, family.name,
    )  # fmt: skip
    edit = {"experts": len(routed), "top_k": top_k, "shared": bool(constant)}
    prepare = None
    if gate in PROMPTED:
        asked = [*routed, *(constant if family.shared_gate and gated else ())]
        texts = tuple((tuple(prompts[index]), tuple(avoid[index])) for index in asked)
        prepare = Gates(gate, pool, texts, len(experts), maker.routers())
    replaced = base.layering.count * len(PARTS)
    others = sum(len(each) - replaced for each in experts)
    reasons = {
        "not a feed-forward layer: a mixture takes it from its base": others,
        "feed-forward layers of the base: a mixture has those of its experts": replaced,
    }
    warnings: list[tuple[str, Mapping[str, Any]]] = []
    if family.code:
        other = instead_of(family, bool(constant)).name
        same = top_k > 1 and (not constant or gate in PROMPTED)
        facts = {"same": other if same else None, "like": None if same else other}
        warnings.append(("W2311", {"family": family.name, "repo": family.code, **facts}))
        if top_k == 1:
            warnings.append(("W2314", {"family": family.name, "other": other}))
    edits = ((family.name, edit),)
    return Layout(inventory, origins, edits, reasons, prepare, tuple(warnings))


def _check_prompts(
    gate: str, routed: Sequence[int], constant: Sequence[int],
    prompts: Sequence[Sequence[str]], avoid: Sequence[Sequence[str]], allow_identical: bool,
) -> None:  # fmt: skip
    """Raises LayoutError where prompts are given in vain, lack, or are alike."""
    both = list(zip(prompts, avoid, strict=True))
    if gate not in PROMPTED:
        for index, (good, bad) in enumerate(both):
            if good or bad:
                option = "prompts" if good else "avoid"
                raise LayoutError("E0711", index, option=option, gate=gate)
        return
    for index in routed:
        if not both[index][0]:
            raise LayoutError("E2310", index, gate=gate)
    for index in constant:
        if both[index][1] and not both[index][0]:
            raise LayoutError("E2310", index, gate=gate)
    first: dict[tuple[tuple[str, ...], ...], int] = {}
    for index in () if allow_identical else routed:
        good, bad = both[index]
        known = first.setdefault((tuple(good), tuple(bad)), index)
        if known != index:
            raise LayoutError("E2311", index, known)


def _family(
    chosen: str, base: Inventory, constant: Sequence[int], gated: bool | None
) -> Family:
    dense, shared = base.architecture, bool(constant)
    family = family_for(dense, shared, gated) if chosen == "auto" else FAMILIES[chosen]
    if family is None:
        raise LayoutError("E0713", None, architecture=dense or "unknown")
    if dense not in family.dense:
        own = family_for(dense, shared, gated)
        lacking = own is not None and not fits(own, shared, gated)
        raise LayoutError(
            "E2313", architecture=dense or "unknown", family=chosen,
            dense=" or ".join(family.dense), own=own.name if lacking else None,
            found=None if lacking else "",
        )  # fmt: skip
    if fits(family, shared, gated):
        return family
    if not shared:
        raise LayoutError("E2316", family=family.name)
    code = "E2314" if family.shared is None else "E2317"
    raise LayoutError(code, constant[0], family=family.name)


def _check(index: int, inventory: Inventory, base: Inventory, family: Family) -> None:
    """Raises LayoutError unless the tensors are those of a dense model of the base's shape."""
    if inventory.architecture not in family.dense:
        raise LayoutError("E0713", index, architecture=inventory.architecture or "unknown")
    odd = [
        name for name in inventory
        if (split := inventory.layering.split(name))[0] is not None
        and split[1] not in family.known
    ]  # fmt: skip
    if odd:
        raise LayoutError("E0714", index, name=odd[0], family=family.name)
    layers = inventory.layering.count, base.layering.count
    if len(set(layers)) > 1:
        raise LayoutError("E2319", index, got=layers[0], wanted=layers[1])
    for name in base:
        if base.layering.split(name)[0] is None:
            continue
        if name not in inventory:
            raise LayoutError("E0715", index, name=name)
        if inventory[name].shape != base[name].shape:
            raise LayoutError(
                "E0716", index, name=name, got=list(inventory[name].shape),
                wanted=list(base[name].shape),
            )  # fmt: skip


Made = tuple[TensorType, Origin, frozenset[str]]
"""Type, origin and roles of one tensor of a mixture."""


class _Maker:
    """The tensors of one mixture. `rows` makes gates; None: a prepare task does.

    `even`: the shared expert is to count the same for every token, and has a gate. Of zeros, that
    gate halves what the expert adds, which is doubled for it.
    """

    def __init__(
        self, family: Family, experts: Sequence[Inventory], base: Inventory, routed: Sequence[int],
        constant: Sequence[int], changed: Sequence[bool], rows: Callable[..., Value] | None,
        even: bool,
    ):  # fmt: skip
        self.family, self.experts, self.base, self.even = family, experts, base, even
        self.routed, self.constant, self.changed, self.rows = routed, constant, changed, rows
        self.hidden = base[base.layering.join(0, NORMS[0])].shape[0]

    def tensors(self) -> dict[str, Made]:
        """All of them, in the order of the base."""
        made: dict[str, Made] = {}
        own = len(self.experts)
        dense = {f"mlp.{part}.weight": part for part in PARTS}
        for name in self.base:
            layer, rest = self.base.layering.split(name)
            if layer is not None and rest in dense:
                made |= self._feed_forward(name, layer, dense[rest])
                continue
            roles = self.base.roles.get(name, frozenset())
            made[name] = self.base[name], Pick(own, name), roles
            bias = name.removesuffix("weight") + "bias"
            if rest.removesuffix("weight") + "bias" in self.family.zero and bias not in self.base:
                kind = TensorType(self.base[name].dtype, self.base[name].shape[:1])
                made[bias] = kind, Fresh(_zero), roles
        return made

    def routers(self) -> tuple[tuple[str, int, int, int], ...]:
        """Of each gate its name, its layer, and the first row and the number of rows that it has
        of those that the prompts give."""
        found = []
        for layer in range(self.base.layering.count):
            join = partial(self.base.layering.join, layer)
            found.append((join(self.family.router), layer, 0, len(self.routed)))
            if self.constant and self.family.shared_gate and not self.even:
                found.append((join(self.family.shared_gate), layer, len(self.routed), 1))
        return tuple(found)

    def _feed_forward(self, name: str, layer: int, part: str) -> Mapping[str, Made]:
        join, role = partial(self.base.layering.join, layer), frozenset({"mlp"})
        made: dict[str, Made] = {}
        for number, index in enumerate(self.routed):
            new = join(self.family.expert(number, part))
            made[new] = self._type(index, name), self._origin(index, name, part), role
        for index in self.constant:
            new = join(f"{self.family.shared}{part}.weight")
            twice = self.even and part == "down_proj"
            made[new] = self._type(index, name), self._origin(index, name, part, twice), role
        dtype = self.base[name].dtype
        for router, of, _, count in self.routers() if part == PARTS[0] else ():
            if of == layer:
                origin = Fresh(self.rows) if self.rows else Prepared(router)
                made[router] = TensorType(dtype, (count, self.hidden)), origin, role
        if self.even and part == PARTS[0]:
            gate = TensorType(dtype, (1, self.hidden))
            made[join(self.family.shared_gate)] = gate, Fresh(_zero), role
        return made

    def _type(self, index: int, name: str) -> TensorType:
        """That of an expert's matrix in the mixture: with the dtype of the base, the donor."""
        own, donor = self.experts[index][name], self.base[name]
        return donor if {own.dtype, donor.dtype} <= MERGEABLE else own

    def _origin(self, index: int, name: str, part: str, twice: bool = False) -> Origin:
        if not (self.changed[index] or twice):
            return Pick(index, name)
        return Changed(index, name, partial(_changed, index, part == "down_proj", twice))


def _changed(
    index: int, residual: bool, twice: bool, value: Value, context: Context, key: bytes,
    options: Mapping[str, Sequence[Any]],
) -> Value:  # fmt: skip
    """A matrix of an expert with its noise, and scaled if its result goes to the stream."""
    amount, scale = options["noise"][index], options["residual_scale"][index]
    if amount is not None:
        value = value + amount * normal(structure("noise", key, context.tensor), context)
    if residual and scale is not None:
        value = value * scale
    return value * 2.0 if twice else value


def _random(context: Context, key: bytes) -> Value:
    return normal(structure("gate", key, context.tensor), context)


def _uniform(context: Context, key: bytes) -> Value:
    """Between -s and s, s one over the root of the size of the states, as torch begins a layer."""
    size = context.type.shape[-1]
    numbers = uniform_numbers(structure("gate", key, context.tensor), context)
    return (2 * numbers - 1) * (1 / sqrt(size))


def _zero(context: Context, key: bytes) -> Value:
    return filled(0.0, key, context)
