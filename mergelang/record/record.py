"""`mergelang.json`: what a folder was made of, and which of its files are ours."""

import json
from collections.abc import Mapping
from typing import Any

from mergelang import __version__
from mergelang.lang import format
from mergelang.plan.plan import OutputPlan, Plan

RECORD = "mergelang.json"


def record(
    plan: Plan, output: OutputPlan, digests: Mapping[str, str], files: Mapping[str, int]
) -> bytes:
    """The record of one output: the canonical recipe, its parents, each tensor's digest, the files.

    The same facts give the same bytes. `files`: name and size of every other file of the folder.
    """
    program = plan.graph.program
    body: dict[str, Any] = {
        "mergelang": __version__,
        "output": output.destination.text,
        "recipe": format(program.tree),
        "settings": {p.name: str(p.value) for p in program.params.values()},
        "parents": parents(output),
        "tensors": dict(digests),
        "files": dict(sorted(files.items())),
    }
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def parents(output: OutputPlan) -> list[str]:
    """The sources that an output is made of, in the order in which the recipe uses them."""
    found: dict[str, None] = {}
    seen: set[int] = set()

    def walk(node: Any) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if node.op == "source":
            found[node["reference"].text] = None
        for each in node.inputs:
            walk(each)

    walk(output.node)
    return list(found)
