"""`moe`: dense models become the experts of one sparse model.

The feed-forward layers of the inputs become experts; everything else comes from the base. This
version makes Mixtral checkpoints of Llama and Mistral models, with random gates.
"""

from functools import partial

from mergelang.ops.expr import Context, Value, noise, structure
from mergelang.ops.layout import Fresh, Layout, LayoutError, Pick
from mergelang.ops.registry import operator
from mergelang.ops.signature import Choice, Each, Integer, Model, Texts
from mergelang.tensors import Inventory, TensorType

FAMILIES = ("llama", "mistral")
"""Architectures (`model_type` of the config) whose layers are those of a Mixtral."""

SHARED = (
    "input_layernorm.weight", "post_attention_layernorm.weight",
    *(f"self_attn.{part}_proj.weight" for part in "qkvo"),
)  # fmt: skip
EXPERT = {
    "mlp.gate_proj.weight": "w1", "mlp.down_proj.weight": "w2", "mlp.up_proj.weight": "w3",
}  # fmt: skip
"""Names in a dense layer, and what a Mixtral calls them."""


@operator(
    arranges=True,
    least=2,
    formula="experts: the feed-forward layers of x_i; all else: the base; gates: N(0, 1) by seed",
    paper="Mixtral of Experts, arXiv 2401.04088; mergekit-moe",
    use="sparse upcycling: fine-tunes as the start of the training of one mixture",
)
def moe(
    *experts: Model,
    base: Model = None,
    gate: Choice("random", "hidden", "cheap_embed", "uniform_random"),
    top_k: Integer(1) = 2,
    prompts: Each(Texts()) = (),
    avoid: Each(Texts()) = (),
) -> Model:
    """A mixture of experts out of dense models of one shape: a Mixtral of Llamas or Mistrals.

    Attention, norms, embeddings and head come from `base:` (the first expert where none is given),
    the feed-forward layers from the experts. `gate: random` makes the routers of random numbers of
    variance 1, which the seed fixes; the model has then to be trained, or serves to start from. Of
    the experts `top_k` work on each token.
    """
    if gate != "random":
        raise LayoutError("E0710", gate=gate)
    for index, (good, bad) in enumerate(zip(prompts, avoid, strict=True)):
        if good or bad:
            raise LayoutError("E0711", index, option="prompts" if good else "avoid")
    if top_k > len(experts):
        raise LayoutError("E0712", top_k=top_k, experts=len(experts))
    for index, each in enumerate((*experts, base)):
        _check(index, each, base)
    layering = base.layering
    tensors, origins, roles = {}, {}, {}

    def put(name: str, kind: TensorType, origin: Pick | Fresh, role: frozenset[str]) -> None:
        tensors[name], origins[name], roles[name] = kind, origin, role

    own = len(experts)
    hidden = base[layering.join(0, SHARED[0])].shape[0]
    for name in base:
        layer, rest = layering.split(name)
        if rest not in EXPERT:
            put(name, base[name], Pick(own, name), base.roles.get(name, frozenset()))
            continue
        for number, each in enumerate(experts):
            new = layering.join(layer, f"block_sparse_moe.experts.{number}.{EXPERT[rest]}.weight")
            put(new, each[name], Pick(number, name), frozenset({"mlp"}))
        if EXPERT[rest] == "w1":
            router = layering.join(layer, "block_sparse_moe.gate.weight")
            kind = TensorType(base[name].dtype, (own, hidden))
            put(router, kind, Fresh(partial(_random, router)), frozenset({"mlp"}))
    made = Inventory(tensors, layering, roles, "mixtral")
    edit = ("mixtral", {"experts": own, "top_k": top_k})
    replaced = layering.count * len(EXPERT)
    others = sum(len(each) - replaced for each in experts)
    reasons = {"not a feed-forward layer: a mixture takes it from its base": others,
               "feed-forward layers of the base: a mixture has those of its experts": replaced}
    return Layout(made, origins, (edit,), reasons)  # fmt: skip


def _random(router: str, context: Context, key: bytes) -> Value:
    return noise(structure("gate", key, router), context)


def _check(index: int, inventory: Inventory, base: Inventory) -> None:
    """Raises LayoutError unless the tensors are those of a Llama of the base's shape."""
    if inventory.architecture not in FAMILIES:
        raise LayoutError("E0713", index, architecture=inventory.architecture or "unknown")
    known = {*SHARED, *EXPERT}
    odd = [
        name for name in inventory
        if (split := inventory.layering.split(name))[0] is not None and split[1] not in known
    ]  # fmt: skip
    if odd:
        raise LayoutError("E0714", index, name=odd[0])
    for name in base:
        if name not in inventory:
            raise LayoutError("E0715", index, name=name)
        if inventory[name].shape != base[name].shape:
            raise LayoutError(
                "E0716", index, name=name, got=list(inventory[name].shape),
                wanted=list(base[name].shape),
            )  # fmt: skip
