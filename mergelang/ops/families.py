"""The architectures that a mixture of experts can have: what they are made of, and their names.

A family of mixtures takes dense models of some architectures and keeps their names, but for the
feed-forward layers. That is what has to be known of each; everything else is read off the models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PARTS = ("gate_proj", "up_proj", "down_proj")
"""The matrices of a dense feed-forward layer: `mlp.gate_proj.weight`, ..."""

NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")
PROJECTIONS = tuple(f"self_attn.{part}_proj.weight" for part in "qkvo")
BIASES = tuple(f"self_attn.{part}_proj.bias" for part in "qkv")

EACH, ALL, NONE = "each", "all", "none"


@dataclass(frozen=True)
class Family:
    """One architecture of mixtures, by its `model_type`.

    `dense` are the architectures of which it is made. In a layer, `router` is the name of the
    gates, `experts` what stands before the number of an expert, `shared` what stands before the
    matrices of a shared expert, `shared_gate` the name of its gate: None where it knows none.
    `parts` renames the matrices of an expert. Besides those of all families its layers have the
    tensors `also`; those among them that are `zero` are zero where the dense model lacks them.
    `near`: which layers can attend to near tokens only, each by itself, all or none, or none.
    `code` is the repository on the Hub whose code loads it, where transformers has none of its own.
    """

    name: str
    dense: tuple[str, ...]
    router: str
    experts: str
    parts: Mapping[str, str] = field(default_factory=dict)
    shared: str | None = None
    shared_gate: str | None = None
    also: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    near: str = NONE
    code: str = ""

    def expert(self, number: int, part: str) -> str:
        """The name in a layer of a matrix of an expert."""
        return f"{self.experts}{number}.{self.parts.get(part, part)}.weight"

    @property
    def known(self) -> frozenset[str]:
        """The names in a layer of the dense models."""
        dense = (f"mlp.{part}.weight" for part in PARTS)
        return frozenset((*NORMS, *PROJECTIONS, *dense, *self.also, *self.zero))


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "mixtral", ("llama", "mistral"), "block_sparse_moe.gate.weight",
            "block_sparse_moe.experts.",
            parts={"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}, near=ALL,
        ),
        Family(
            "deepseek", ("llama", "mistral"), "mlp.gate.weight", "mlp.experts.",
            shared="mlp.shared_experts.", code="deepseek-ai/deepseek-moe-16b-base",
        ),
        Family(
            "qwen2_moe", ("qwen2", "llama", "mistral"), "mlp.gate.weight", "mlp.experts.",
            shared="mlp.shared_expert.", shared_gate="mlp.shared_expert_gate.weight", zero=BIASES,
            near=EACH,
        ),
        Family(
            "qwen3_moe", ("qwen3",), "mlp.gate.weight", "mlp.experts.",
            also=("self_attn.q_norm.weight", "self_attn.k_norm.weight"), near=ALL,
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are tried."""


def family_for(dense: str, shared: bool, gated: bool | None) -> Family | None:
    """The family that models of an architecture become; `fits` says what the rest means."""
    made = [each for each in FAMILIES.values() if dense in each.dense]
    return next((each for each in made if fits(each, shared, gated)), made[0] if made else None)


def fits(family: Family, shared: bool, gated: bool | None) -> bool:
    """Whether mixtures of a family have a shared expert, or none; with a gate (None: either way). A
    gate of zeros is as good as none."""
    if not shared:
        return family.shared_gate is None
    return family.shared is not None and not (gated and family.shared_gate is None)


def instead_of(family: Family, shared: bool) -> Family:
    """The one that does the same, with a shared expert or none, and that transformers has."""
    return next(
        each for each in FAMILIES.values()
        if not each.code and set(family.dense) <= set(each.dense) and fits(each, shared, None)
    )  # fmt: skip
