"""The mergekit configs whose outputs are compared: `CASES` by name, as the YAML text itself.

Every deterministic method of mergekit 0.1.5 with at least three settings, then gradients, filters,
levels of parameters, slices, modules, dtypes and architectures. `RANDOM` are those of the methods
that drop at random, compared in distribution, `HALF` those computed in bfloat16. Knows neither
mergekit nor mergelang.
"""

from typing import Any

Options = dict[str, Any]


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value == "*":
        return '"*"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def config(
    method: str, inputs: dict[str, Options], base: str | None = None, dtype: str = "float32",
    *, head: str = "models", **shared: Any,
) -> str:  # fmt: skip
    """A config over whole models. A `_` at the end of a parameter's name is left off."""
    lines = [f"{head}:"]
    for model, options in inputs.items():
        lines.append(f"  - model: {model}")
        if options:
            lines.append(f"    parameters: {flow(options)}")
    return "\n".join(lines) + "\n" + _tail(method, base, dtype, shared)


def slices(
    method: str, parts: list[dict[str, tuple[int, int] | tuple[int, int, Options]]],
    base: str | None = None, *, parameters: dict[int, Options] | None = None, **shared: Any,
) -> str:  # fmt: skip
    """A config over ranges of layers; `parameters` are those of the slices, by number."""
    lines = ["slices:"]
    for number, sources in enumerate(parts):
        lines.append("  - sources:")
        for model, (first, end, *options) in sources.items():
            lines += [f"      - model: {model}", f"        layer_range: [{first}, {end}]"]
            if options:
                lines.append(f"        parameters: {flow(options[0])}")
        if number in (parameters or {}):
            lines.append(f"    parameters: {flow(parameters[number])}")
    return "\n".join(lines) + "\n" + _tail(method, base, "float32", shared)


def _tail(method: str, base: str | None, dtype: str, shared: Options) -> str:
    lines = [f"merge_method: {method}"]
    if base:
        lines.append(f"base_model: {base}")
    if shared:
        named = {key.rstrip("_"): value for key, value in shared.items()}
        lines.append(f"parameters: {flow(named)}")
    return "\n".join([*lines, f"dtype: {dtype}"]) + "\n"


def weights(*values: float, family: str = "llama", **more: Any) -> dict[str, Options]:
    """Inputs a, b, c of a family with these weights and the same further options."""
    names = ("a", "b", "c")[: len(values)]
    return {f"{family}-{n}": {"weight": w} | more for n, w in zip(names, values, strict=True)}


BASE = "llama-base"
PLAIN: dict[str, Options] = {"llama-a": {}, "llama-b": {}, "llama-c": {}}
PAIR: dict[str, Options] = {BASE: {}, "llama-a": {}}
APART: dict[str, Options] = {"llama-a": {"weight": 0.3}, "llama-other": {"weight": 0.9}}
NEARLY: dict[str, Options] = {"llama-near": {}, "llama-close": {}}
MIDDLE = [{"filter": "self_attn", "value": 0.3}, {"filter": "mlp", "value": [0.2, 0.9]},
          {"value": 0.5}]  # fmt: skip
DEEP = "deep-base"

MEANS = {
    "linear": config("linear", weights(0.2, 0.3, 0.9)),
    "linear-sum": config("linear", weights(0.5, 0.75), normalize=False),
    "linear-negative": config("linear", weights(1.5, -0.5)),
    "linear-with-base": config("linear", {BASE: {"weight": 1}} | weights(0.5, 0.5), BASE),
    "slerp": config("slerp", {BASE: {}, "llama-other": {}}, BASE, t=0.3),
    "slerp-close": config("slerp", PAIR, BASE, t=0.7),
    "slerp-parallel": config("slerp", {BASE: {}, "llama-near": {}}, BASE, t=0.4),
    "slerp-base-last": config("slerp", {"llama-other": {}, BASE: {}}, BASE, t=0.25),
    "nuslerp": config("nuslerp", APART),
    "nuslerp-base": config("nuslerp", weights(0.6, 0.2), BASE),
    "nuslerp-last-axis": config("nuslerp", APART, nuslerp_flatten=False),
    "nuslerp-first-axis": config(
        "nuslerp", weights(0.6, 0.2), BASE, nuslerp_flatten=False, nuslerp_row_wise=True
    ),
    "multislerp": config("multislerp", weights(0.2, 0.3, 0.9)),
    "multislerp-base": config("multislerp", weights(0.2, 0.3, 0.9), BASE),
    "multislerp-weights-as-given": config(
        "multislerp", weights(0.4, 0.2), BASE, normalize_weights=False
    ),
    "multislerp-eps": config("multislerp", weights(0.2, 0.3, 0.9), eps=0.01),
    "karcher": config("karcher", PLAIN),
    "karcher-base-counts": config("karcher", {"llama-other": {}, "llama-a": {}}, BASE),
    "karcher-no-step": config("karcher", {**PLAIN, "llama-other": {}}, max_iter=0),
    "karcher-loose": config("karcher", {**PLAIN, "llama-other": {}}, max_iter=3, tol=0.01),
}

TASK_VECTORS = {
    "task_arithmetic": config("task_arithmetic", weights(0.4, 0.7), BASE),
    "task_arithmetic-mean": config("task_arithmetic", weights(0.4, 0.7, 0.5), BASE, normalize=True),
    "task_arithmetic-lambda": config("task_arithmetic", weights(1, -0.5), BASE, lambda_=0.7),
    "ties": config("ties", weights(1, 0.5, density=0.4), BASE),
    "ties-sum": config(
        "ties", weights(0.8, 0.5, 0.3, density=0.3), BASE, normalize=False, lambda_=1.5
    ),
    "ties-rescaled": config("ties", weights(1, 1, density=0.25), BASE, rescale=True),
    "ties-densities": config(
        "ties",
        {"llama-a": {"weight": 1, "density": 0.29}, "llama-b": {"weight": -0.4, "density": 1},
         "llama-c": {"weight": 0.6}},
        BASE, int8_mask=True,
    ),
    "breadcrumbs": config("breadcrumbs", weights(0.5, 0.5, density=0.3, gamma=0.05), BASE),
    "breadcrumbs-plain": config("breadcrumbs", weights(0.6, 0.6, density=0.35), BASE),
    "breadcrumbs-rescaled": config(
        "breadcrumbs", weights(0.6, 0.3, density=0.3, gamma=0.1), BASE,
        rescale=True, normalize=True, lambda_=1.2,
    ),
    "breadcrumbs-everything": config(
        "breadcrumbs", weights(0.6, 0.3, density=1, gamma=0.1), BASE
    ),
    "breadcrumbs-more-than-all": config(
        "breadcrumbs", weights(0.6, 0.3, density=0.97, gamma=0.1), BASE
    ),
    "breadcrumbs_ties": config(
        "breadcrumbs_ties", weights(0.7, 0.4, density=0.3, gamma=0.05), BASE
    ),
    "breadcrumbs_ties-mean": config(
        "breadcrumbs_ties", weights(0.7, 0.4, 0.2, density=0.3, gamma=0.02), BASE, normalize=True
    ),
    "breadcrumbs_ties-rescaled": config(
        "breadcrumbs_ties", weights(1, 1, density=0.2, gamma=0.1), BASE,
        rescale=True, lambda_=0.5,
    ),
    "sce": config("sce", PLAIN, BASE),
    "sce-half": config("sce", PLAIN, BASE, select_topk=0.5),
    "sce-few": config("sce", {"llama-a": {}, "llama-b": {}}, BASE, select_topk=0.07),
    "sce-one": config("sce", {"llama-a": {}}, BASE, select_topk=0.5),
    "sce-tiny": config("sce", NEARLY, BASE, select_topk=0.3, int8_mask=True),
    "ram": config("ram", PLAIN, BASE),
    "ram-epsilon": config("ram", PLAIN, BASE, epsilon=0.02),
    "ram-one": config("ram", {"llama-a": {}}, BASE, epsilon=0.01),
    "ramplus_tl": config("ramplus_tl", PLAIN, BASE),
    "ramplus_tl-strong": config("ramplus_tl", PLAIN, BASE, r=0.6, alpha=1.5, epsilon=0.01),
    "ramplus_tl-clamped": config(
        "ramplus_tl", {"llama-a": {}, "llama-near": {}}, BASE, r=0.5, alpha=0.1
    ),
}

SPECIAL = {
    "model_stock": config("model_stock", {"llama-a": {}, "llama-b": {}}, BASE),
    "model_stock-three": config("model_stock", PLAIN, BASE),
    "model_stock-filters": config("model_stock", PLAIN, BASE, filter_wise=True),
    "model_stock-tiny": config("model_stock", NEARLY, BASE, filter_wise=True),
    "nearswap": config("nearswap", PAIR, BASE, t=0.01),
    "nearswap-all": config("nearswap", PAIR, BASE, t=0.5),
    "nearswap-far": config("nearswap", {BASE: {}, "llama-other": {}}, BASE, t=0.002),
    "arcee_fusion": config("arcee_fusion", PAIR, BASE),
    "arcee_fusion-far": config("arcee_fusion", {"llama-other": {}}, BASE),
    "arcee_fusion-base-last": config("arcee_fusion", {"llama-c": {}, BASE: {}}, BASE),
    "passthrough": config("passthrough", {"llama-a": {}}),
    "passthrough-scaled": config("passthrough", {"llama-a": {"scale": 0.9}}),
    "passthrough-projections": config(
        "passthrough",
        {"llama-a": {"scale": [{"filter": "o_proj", "value": 0},
                               {"filter": "down_proj", "value": 0.5}, {"value": 1}]}},
    ),
}

LEVELS = {
    "gradient-linear": config(
        "linear", {"deep-a": {"weight": [0.1, 0.9]}, "deep-b": {"weight": [1, 0.2, 0.6]}}
    ),
    "gradient-slerp": config("slerp", {DEEP: {}, "deep-a": {}}, DEEP, t=[0, 0.5, 0.3, 0.7, 1]),
    "gradient-ties": config(
        "ties",
        {"deep-a": {"weight": [0.2, 1], "density": 0.4},
         "deep-b": {"weight": 0.6, "density": [0.5, 0.2, 0.1]}},
        DEEP, lambda_=[1, 0.5],
    ),
    "filter-slerp": config("slerp", {DEEP: {}, "deep-a": {}}, DEEP, t=MIDDLE),
    "filter-substring": config(
        "linear",
        {"deep-a": {"weight": [{"filter": "layers.1", "value": 1}, {"filter": "_p", "value": 0.3},
                               {"filter": "norm", "value": 0.6}, {"filter": "*", "value": 0.1}]},
         "deep-b": {"weight": 0.5}},
    ),
    "filter-falls-through": config(
        "task_arithmetic",
        {"deep-a": {"weight": [{"filter": "mlp", "value": 0.9}]}, "deep-b": {"weight": 0.2}},
        DEEP, weight=0.4,
    ),
    "filter-single": config(
        "task_arithmetic",
        {"deep-a": {"weight": {"filter": "q_proj", "value": 0.9}}, "deep-b": {}}, DEEP, weight=0.4,
    ),
    "level-global": config("ties", {"deep-a": {}, "deep-b": {"weight": 0.2}}, DEEP, weight=0.8,
                           density=[{"filter": "mlp", "value": 0.5}, {"value": 0.25}]),
}

STACKS = {
    "slices-frankenmerge": slices(
        "passthrough", [{"deep-a": (0, 3)}, {"deep-b": (1, 4)}, {"deep-a": (3, 4)}]
    ),
    "slices-scaled": slices(
        "passthrough",
        [{"deep-a": (0, 2)},
         {"deep-a": (1, 3, {"scale": [{"filter": "o_proj", "value": 0}, {"value": 1}]})},
         {"deep-b": (2, 4, {"scale": [0.5, 1]})}],
    ),
    "slices-linear": slices(
        "linear",
        [{"deep-a": (0, 2, {"weight": 0.3}), "deep-b": (2, 4, {"weight": 0.7})},
         {"deep-b": (1, 4, {"weight": [0, 1]}), "deep-c": (0, 3, {"weight": 0.5})}],
    ),
    "slices-levels": slices(
        "task_arithmetic",
        [{DEEP: (0, 2), "deep-a": (0, 2, {"weight": 0.9}), "deep-b": (0, 2)},
         {DEEP: (2, 4), "deep-a": (2, 4), "deep-b": (2, 4)}],
        DEEP, parameters={1: {"weight": 0.1, "lambda": 0.5}}, weight=[0.4, 0.6], lambda_=2,
    ),
    "slices-slerp": slices(
        "slerp", [{DEEP: (0, 4), "deep-a": (0, 4)}], DEEP, t=MIDDLE
    ),
    "slices-one-layer-gradient": slices(
        "linear",
        [{"deep-a": (0, 1, {"weight": [0.2, 0.9]}), "deep-b": (0, 1, {"weight": 0.5})},
         {"deep-a": (1, 4, {"weight": [0.2, 0.9]}), "deep-b": (1, 4, {"weight": 0.5})}],
    ),
    "slices-filter-sees-input-layer": slices(
        "linear",
        [{"deep-a": (2, 4, {"weight": [{"filter": "layers.2.", "value": 0.9}, {"value": 0.3}]}),
          "deep-b": (0, 2, {"weight": [{"filter": "layers.1.", "value": 0.8}, {"value": 0.4}]})}],
    ),
    "modules": (
        "modules:\n  default:\n    models:\n      - model: llama-a\n"
        "        parameters: {weight: 0.3}\n      - model: llama-b\n"
        "    parameters: {weight: 0.8}\nmerge_method: linear\nparameters: {normalize: false}\n"
        "dtype: float32\n"
    ),
    "modules-slices": (
        "modules:\n  default:\n    slices:\n      - sources:\n"
        "          - {model: deep-a, layer_range: [0, 2]}\n      - sources:\n"
        "          - {model: deep-b, layer_range: [1, 4]}\n        parameters: {scale: 0.5}\n"
        "merge_method: passthrough\ndtype: float32\n"
    ),
}

MULTI = {
    "multi": "name: soup\n" + config("linear", weights(0.4, 0.6))
    + "---\nname: half-way\n" + config("slerp", {BASE: {}, "soup": {}}, BASE, t=0.5)
    + "---\n" + config("ties", {"half-way": {"weight": 0.9, "density": 0.4},
                               "llama-c": {"weight": 0.5, "density": 0.3}}, BASE),
}
"""Several documents of which later ones use earlier ones (mergekit-multi)."""

ARCHITECTURES = {
    f"{family}-{name}": text
    for family in ("qwen2", "gpt2", "bert")
    for name, text in {
        "linear": config("linear", weights(0.3, 0.9, family=family)),
        "slerp": config("slerp", {f"{family}-base": {}, f"{family}-a": {}}, f"{family}-base",
                        t=[{"filter": "attn", "value": [0.1, 0.8]},
                           {"filter": "bias", "value": 0.9}, {"value": 0.4}]),
        "ties": config("ties", weights(0.7, 0.4, density=0.35, family=family), f"{family}-base"),
        "stock": config("model_stock", {f"{family}-a": {}, f"{family}-b": {}}, f"{family}-base",
                        filter_wise=True),
        "stack": slices("passthrough", [{f"{family}-b": (1, 2)}, {f"{family}-a": (0, 1)}]),
    }.items()
}  # fmt: skip

CASES = MEANS | TASK_VECTORS | SPECIAL | LEVELS | STACKS | MULTI | ARCHITECTURES
"""Deterministic, float32."""

HALF = {
    "half-linear": config("linear", weights(0.3, 0.8, family="half"), dtype="bfloat16"),
    "half-task_arithmetic": config(
        "task_arithmetic", weights(0.4, 0.7, family="half"), "half-base", "bfloat16"
    ),
    "half-slerp": config(
        "slerp", {"half-base": {}, "half-a": {}}, "half-base", "bfloat16", t=0.3
    ),
    "half-ties": config(
        "ties", weights(0.7, 0.4, density=0.3, family="half"), "half-base", "bfloat16"
    ),
}
"""Inputs and arithmetic of bfloat16."""

TIED = {
    "tied-ties": config("ties", {"half-a": {"weight": 1, "density": 0.3}}, "half-base"),
    "tied-breadcrumbs": config(
        "breadcrumbs", {"half-a": {"weight": 1, "density": 0.25, "gamma": 0.1}}, "half-base"
    ),
}
"""Selections among differences of bfloat16 numbers, of which many are equal."""

MIXTURES = {
    f"moe-{'-'.join(experts)}": "base_model: one-base\ngate_mode: random\ndtype: float32\n"
    f"experts_per_token: {count}\nexperts:\n"
    + "".join(f"  - source_model: one-{each}\n" for each in experts)
    for experts, count in ((("a", "b"), 1), (("b", "base", "a"), 2))
}
"""Configs of mergekit-moe, whose router is random."""

WORDS = ("add", "count", "how many", "number of", "once upon a time", "tell", "poem", "river")
"""What prompts are made of."""


def gates(family: str, mode: str, *more: str, good: tuple[str, ...] = WORDS) -> str:
    """A config of mergekit-moe with two experts of a family, of which the first avoids a text."""
    return f"""\
base_model: {family}-base
gate_mode: {mode}
dtype: float32
experts:
  - source_model: {family}-a
    positive_prompts: [{", ".join(good[:4])}]
    negative_prompts: [{good[4]}]
    residual_scale: 0.5
  - source_model: {family}-b
    positive_prompts: [{", ".join(good[5:])}]
""" + "".join(f"{line}\n" for line in more)


SHARED = "shared_experts:\n  - source_model: {}-base"
ASKED = SHARED + "\n    positive_prompts: [river]\n    residual_scale: 0.1"
SINGLE = ("add", "count", "many", "number", "once", "tell", "poem", "river")

GATES = {
    "gates-mixtral": gates("deep", "hidden"),
    "gates-mean": gates("deep", "hidden_avg", good=SINGLE),
    "gates-embed": gates("deep", "cheap_embed"),
    "gates-deepseek": gates("deep", "hidden", "architecture: deepseek", SHARED.format("deep")),
    "gates-qwen": gates("deep", "hidden", "architecture: qwen", ASKED.format("deep")),
    "gates-qwen2": gates("qwen2", "hidden", ASKED.format("qwen2"), good=SINGLE),
}
"""Configs of mergekit-moe whose gates are made from prompts. In `hidden_avg` it counts the padding
in, so there all prompts are of one length."""

EXACT = {f"{name}-exact": text for name, text in GATES.items() if name != "gates-embed"}
"""The same, with its forward pass in float32 rather than in bfloat16."""

RANDOM = {
    f"{method}-{name}": config(method, inputs, "one-base", **shared)
    for method in ("dare_linear", "dare_ties", "della", "della_linear")
    for name, inputs, shared in (
        ("rescaled", weights(1, density=0.4, family="one"), {}),
        ("plain", weights(1, density=0.7, family="one"), {"rescale": False}),
        ("two", weights(0.6, 0.9, density=0.5, family="one"), {"lambda_": 0.8}),
    )
} | {
    "della_linear-steep": config(
        "della_linear", weights(1, density=0.5, epsilon=0.4, family="one"), "one-base",
        rescale=False,
    )
}  # fmt: skip
"""Methods that drop at random, on models of one layer."""

EVERY = CASES | HALF | TIED | MIXTURES | GATES | EXACT | RANDOM
