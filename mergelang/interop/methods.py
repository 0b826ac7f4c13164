"""The merge methods of mergekit 0.1.5: their parameters, their inputs, our operators; its modules.

Where a default of mergekit is not that of our operator, both stand here; `tests/test_import.py`
holds ours against the operators themselves.
"""

from dataclasses import dataclass
from typing import Any

NUMBER, WHOLE, FLAG = "a number", "a whole number", "`true` or `false`"
"""Kinds of parameters."""

CALL, INPUT, TUNED = "call", "input", "tuned"
"""What has a parameter: the merge, each model, or each model but the base."""

NEEDED: Any = object()
"""The default of a parameter or an option that has none."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of mergekit's (`name`) and our `option` for it.

    `default` is mergekit's, `ours` that of the operator. One without an option changes nothing in
    the result. `words` are our words for `false` and `true`. One that `counts_with` another
    option's value is passed over by mergekit without it, and left out.
    """

    name: str
    kind: str
    scope: str
    default: Any
    option: str = ""
    ours: Any = NEEDED
    words: tuple[str, str] = ("false", "true")
    counts_with: tuple[str, str] | None = None
    positive: bool = False
    """Whether our option is above 0, and leaves nothing of a model there."""


@dataclass(frozen=True)
class Method:
    """A merge method. `least` and `most` count the inputs without the base.

    `base` says what mergekit does with `base_model`: "required" (it is the origin of the task
    vectors, or the first of two models), "optional" (the same, if there is one), or "input" (one of
    the models; it only gives config and tokenizer).
    """

    name: str
    operator: str
    parameters: tuple[Parameter, ...]
    base: str
    least: int = 1
    most: int | None = None
    first: bool = False
    """Whether the base is the first input of our operator, and not its `base:`."""
    fixed: tuple[tuple[str, str], ...] = ()
    """Options with which our operator does as mergekit, where there is no parameter for it."""

    def parameter(self, name: str) -> Parameter | None:
        return next((each for each in self.parameters if each.name == name), None)


_INT8 = Parameter("int8_mask", FLAG, CALL, False)


def _weight(scope: str = TUNED) -> Parameter:
    return Parameter("weight", NUMBER, scope, NEEDED, "weight", 1)


def _tuned(
    name: str, operator: str, *more: Parameter, density: Any = None, normalize: bool = False,
    rescale: bool = False,
) -> Method:  # fmt: skip
    """One of the methods on task vectors: with a density where it makes the vectors sparse.

    `density` is our default of the density, None for a method without one.
    """
    usual = "inverse" if rescale else "none"
    sparse = (
        Parameter("density", NUMBER, TUNED, 1, "density", density, positive=True), *more,
        Parameter("rescale", FLAG, CALL, rescale, "rescale", usual, words=("none", "l1")),
    )  # fmt: skip
    return Method(
        name, operator,
        (
            _weight(),
            *(sparse if density is not None else ()),
            Parameter("normalize", FLAG, CALL, normalize, "normalize", normalize),
            Parameter("lambda", NUMBER, CALL, 1, "lambda", 1),
            _INT8,
        ),
        "required", least=0,
    )  # fmt: skip


_GAMMA = Parameter("gamma", NUMBER, TUNED, "0.01", "gamma", "0.01")
_EPSILON = Parameter("epsilon", NUMBER, TUNED, "0.15", "epsilon", "0.15")
_MAGNITUDE = Parameter("epsilon", NUMBER, CALL, "1e-5", "epsilon", "1e-5")

_ALL = (
    Method(
        "linear", "linear",
        (_weight(INPUT), Parameter("normalize", FLAG, CALL, True, "normalize", True)),
        "input",
    ),
    Method(
        "slerp", "slerp", (Parameter("t", NUMBER, CALL, NEEDED, "t"),),
        "required", least=1, most=1, first=True,
    ),
    Method(
        "nuslerp", "nuslerp",
        (
            _weight(),
            Parameter("nuslerp_flatten", FLAG, CALL, True, "flatten", True),
            Parameter(
                "nuslerp_row_wise", FLAG, CALL, False, "row_wise", False,
                counts_with=("flatten", "false"),
            ),
        ),
        "optional", least=2, most=2,
    ),
    Method(
        "multislerp", "multislerp",
        (
            _weight(),
            Parameter("normalize_weights", FLAG, CALL, True, "normalize_weights", True),
            Parameter("eps", NUMBER, CALL, "1e-8", "eps", "1e-8"),
        ),
        "optional",
    ),
    Method(
        "karcher", "karcher",
        (
            Parameter("max_iter", WHOLE, CALL, 10, "max_iter", 10),
            Parameter("tol", NUMBER, CALL, "1e-5", "tol", "1e-5"),
        ),
        "input",
    ),
    _tuned("task_arithmetic", "task_arithmetic"),
    _tuned("ties", "ties", density="0.2", normalize=True),
    _tuned("dare_linear", "dare", density=NEEDED, rescale=True),
    _tuned("dare_ties", "dare_ties", density=NEEDED, rescale=True),
    _tuned("della", "della", _EPSILON, density=NEEDED, normalize=True, rescale=True),
    _tuned("della_linear", "della_linear", _EPSILON, density=NEEDED, rescale=True),
    _tuned("breadcrumbs", "breadcrumbs", _GAMMA, density=NEEDED),
    _tuned("breadcrumbs_ties", "breadcrumbs_ties", _GAMMA, density=NEEDED),
    Method(
        "sce", "sce",
        (Parameter("select_topk", NUMBER, CALL, 1, "select_topk", 1), _INT8),
        "required", least=0, fixed=(("epsilon", "1e-6"),),
    ),
    Method("ram", "ram", (_MAGNITUDE,), "required", least=0),
    Method(
        "ramplus_tl", "ramplus_tl",
        (
            Parameter("r", NUMBER, CALL, "0.1", "r", "0.1"),
            Parameter("alpha", NUMBER, CALL, "0.2", "alpha", "0.2"),
            _MAGNITUDE,
        ),
        "required", least=0,
    ),
    Method(
        "model_stock", "model_stock",
        (Parameter("filter_wise", FLAG, CALL, False, "filter_wise", False),),
        "required", least=2, fixed=(("epsilon", "1e-6"),),
    ),
    Method(
        "nearswap", "nearswap", (Parameter("t", NUMBER, CALL, NEEDED, "t"),),
        "required", least=1, most=1,
    ),
    Method("arcee_fusion", "arcee_fusion", (), "required", least=1, most=1),
    Method(
        "passthrough", "passthrough", (Parameter("scale", NUMBER, INPUT, 1, "scale", 1),),
        "input", least=1, most=1,
    ),
)  # fmt: skip

METHODS: dict[str, Method] = {each.name: each for each in _ALL}
"""By mergekit's name."""

PARAMETERS = frozenset(each.name for method in _ALL for each in method.parameters)
"""The names that are a parameter of any method."""

MODULES = {
    "multi_modal_projector":
        'multi_modal_projector | "*visual.merger*" | "*visual.deepstack_merger*"',
    "vision_tower": "vision_tower | visual",
    "text_decoder":
        'language_model | lm_head | "model.layers.*" | "model.embed_tokens*" | "model.norm*"',
    "shared": "shared | lm_head",
}  # fmt: skip
"""Patterns of the modules that mergekit does not call by the beginning of their tensors' names, for
all its architectures of several modules; those that say more stand before those that say less."""
