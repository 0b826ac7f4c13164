"""The configurations with which mergekit does what `measure.py` measures.

Its own files are written here, and its programs are run as they are; nothing of it is imported.
"""

import json
from pathlib import Path
from typing import Any


def config(name: str, paths: dict[str, Path]) -> dict[str, Any] | None:
    """The YAML (as JSON, which it is) of a merge of the table; None where mergekit has none."""
    a, b, base = (str(paths[each]) for each in ("a", "b", "base"))

    def inputs(*parameters: dict[str, float]) -> list[dict[str, Any]]:
        pairs = zip((a, b), parameters or ({}, {}), strict=True)
        return [{"model": model, "parameters": given} for model, given in pairs]

    weighted = inputs({"weight": 0.6, "density": 0.5}, {"weight": 0.5, "density": 0.5})
    dense = inputs({"weight": 1.0, "density": 0.5}, {"weight": 1.0, "density": 0.5})
    task = {"base_model": base}
    bodies: dict[str, dict[str, Any]] = {
        "linear": {"merge_method": "linear", "models": inputs({"weight": 0.3}, {"weight": 0.7})},
        "slerp": {
            "merge_method": "slerp", "base_model": a, "models": inputs({}, {}),
            "parameters": {"t": 0.4},
        },
        "task_arithmetic": {"merge_method": "task_arithmetic", "models": weighted, **task},
        "dare": {"merge_method": "dare_linear", "models": weighted, **task},
        "dare_ties": {"merge_method": "dare_ties", "models": weighted, **task},
        "ties": {"merge_method": "ties", "models": weighted, **task},
        "breadcrumbs": {"merge_method": "breadcrumbs", "models": dense, **task},
        "della": {"merge_method": "della", "models": dense, **task},
        "sce": {
            "merge_method": "sce", "models": inputs({}, {}), "parameters": {"select_topk": 0.5},
            **task,
        },
        "model_stock": {"merge_method": "model_stock", "models": inputs({}, {}), **task},
        "nuslerp": {
            "merge_method": "nuslerp", "models": inputs({"weight": 0.4}, {"weight": 0.6}),
        },
        "nearswap": {
            "merge_method": "nearswap", "base_model": b, "models": inputs({}, {}),
            "parameters": {"t": 0.001},
        },
        "stack": {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": a, "layer_range": [0, 11]}]},
                {"sources": [{"model": b, "layer_range": [11, 22]}]},
            ],
        },
    }  # fmt: skip
    return None if name not in bodies else {**bodies[name], "dtype": "bfloat16"}


def dag(folder: Path) -> str:
    """What `dag.merge` says, as the documents that mergekit-multi takes."""
    path = {name: str(folder / name) for name in ("base", *(f"tune{i}" for i in range(1, 6)))}

    def inputs(*given: tuple[str, float]) -> list[dict[str, Any]]:
        return [
            {"model": path.get(name, name), "parameters": {"weight": weight, "density": 0.5}}
            for name, weight in given
        ]

    documents = [
        {
            "name": "mixed", "merge_method": "slerp", "base_model": path["tune1"],
            "models": [{"model": path["tune1"]}, {"model": path["tune2"]}],
            "parameters": {"t": 0.4},
        },
        {
            "name": "blend", "merge_method": "dare_linear", "base_model": path["base"],
            "models": inputs(("tune1", 0.6), ("tune3", 0.5)),
        },
        {
            "name": "chosen", "merge_method": "ties", "base_model": path["base"],
            "models": inputs(("tune2", 0.6), ("tune4", 0.5)),
        },
        {
            "name": "even", "merge_method": "linear",
            "models": inputs(("blend", 0.5), ("chosen", 0.5)),
        },
        {
            "name": "last", "merge_method": "nuslerp",
            "models": inputs(("mixed", 0.4), ("even", 0.6)),
        },
        {
            "merge_method": "task_arithmetic", "base_model": path["base"],
            "models": inputs(("last", 1.0), ("tune5", 0.1)),
        },
    ]  # fmt: skip
    return "\n---\n".join(json.dumps({**each, "dtype": "bfloat16"}) for each in documents)
