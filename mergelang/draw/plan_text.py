"""A plan as text, like a build plan, and as plain data."""

import shutil
from pathlib import Path
from typing import Any

from mergelang.draw.units import size
from mergelang.graph.node import Graph, Node
from mergelang.models.reference import Reference
from mergelang.ops.layout import Pick
from mergelang.plan.lower import arm_of
from mergelang.plan.plan import COMPUTE, EQUAL, PROCESS, OutputPlan, Plan, Task


def plan_text(plan: Plan) -> str:
    """Each output with what is computed, copied and dropped, and why; bytes, memory, disk."""
    blocks = [_output(plan.graph, output) for output in plan.outputs]
    total = f"in all: reads {size(plan.bytes_read)}, writes {size(plan.bytes_written)}, "
    total += f"memory {memory(plan)}"
    return "\n\n".join(["\n".join(block) for block in blocks] + [total])


def memory(plan: Plan) -> str:
    """What the process takes at its peak, as far as headers tell."""
    return f"about {size(PROCESS + plan.holds)}"


def _output(graph: Graph, output: OutputPlan) -> list[str]:
    count, shards = len(output.tasks), len(output.shards)
    dtypes = "+".join(dict.fromkeys(task.type.dtype for task in output.tasks))
    files = "one file" if shards == 1 else f"{shards} shards"
    lines = [
        f"{output.destination.text}: {count:,} tensors, {dtypes}, "
        f"{size(output.bytes_written)} in {files}"
    ]
    rows = []
    for (action, passes, why), tasks in groups(graph, output).items():
        nbytes = sum(task.type.nbytes for task in tasks)
        times = f"{passes} passes" if passes > 1 else "1 pass"
        rows.append((action, f"{len(tasks):,}", size(nbytes), times, why))
    for reason, dropped in output.dropped.items():
        rows.append(("drop", f"{dropped:,}", "", "", reason))
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    for row in rows:
        name, number, nbytes, times, why = row
        lines.append(
            f"  {name:<{widths[0]}}  {number:>{widths[1]}}  {nbytes:>{widths[2]}}  "
            f"{times:<{widths[3]}}  {why}".rstrip()
        )
    names = [*output.documents, *(path.name for path in output.sidecars)]
    lines.append(f"  beside it: {', '.join(dict.fromkeys(names)) or 'nothing'}")
    free = _free(output.path)
    lines.append(
        f"  reads {size(output.bytes_read)}, writes {size(output.bytes_written)}; "
        f"disk: {size(output.bytes_written)} needed, {size(free)} free"
    )
    return lines


def groups(graph: Graph, output: OutputPlan) -> dict[tuple[str, int, str], list[Task]]:
    """The tasks of an output by action, passes and reason, the first of each group first."""
    found: dict[tuple[str, int, str], list[Task]] = {}
    for task in output.tasks:
        why = reason(graph, output.node, task)
        found.setdefault((task.action, task.passes, why), []).append(task)
    return found


def reason(graph: Graph, node: Node, task: Task) -> str:
    """Why a tensor is computed or copied, in the recipe's own names."""
    at, _ = effective(node, task.name)
    if task.action == EQUAL:
        return "not a number that merges: copied if all inputs agree"
    if task.action != COMPUTE:
        return f"bytes of {label(graph, at)} as they are"
    return label(graph, at) if at.op != "source" else f"{label(graph, at)}, in another dtype"


def effective(node: Node, name: str) -> tuple[Node, str]:
    """The node that makes a tensor, behind slices, stacks and arms, and the tensor's name there."""
    while True:
        if node.op == "match":
            node = node.inputs[arm_of(node, name)]
        elif node.op == "patch":
            node = node.inputs[name in node["names"]]
        elif node.term.layout is not None:
            origin = node.term.layout.origins[name]
            if not isinstance(origin, Pick):
                return node, name
            node, name = node.inputs[origin.input], origin.name
        else:
            return node, name


def label(graph: Graph, node: Node, depth: int = 0) -> str:
    """A node in a few words: its own name, else the operator over its inputs' names."""
    if depth and node in graph.names:
        return graph.names[node]
    if node.op == "source":
        reference = node["reference"]
        text = reference.text if isinstance(reference, Reference) else str(reference)
        return graph.names.get(node, text)
    if depth > 1:
        return "..."
    inputs = [label(graph, each, depth + 1) for each in node.inputs]
    word = {"affine": "weighted sum of "}.get(node.op)
    return word + ", ".join(inputs) if word else f"{node.op}({', '.join(inputs)})"


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, task by task."""
    return {
        "outputs": [
            {
                "output": output.destination.text,
                "path": str(output.path),
                "bytes_read": output.bytes_read,
                "bytes_written": output.bytes_written,
                "shards": [{"file": s.file, "bytes": s.size} for s in output.shards],
                "dropped": dict(output.dropped),
                "tensors": [_task(plan.graph, output, task) for task in output.tasks],
            }
            for output in plan.outputs
        ],
        "bytes_read": plan.bytes_read,
        "bytes_written": plan.bytes_written,
        "memory": PROCESS + plan.holds,
    }


def _task(graph: Graph, output: OutputPlan, task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "dtype": task.type.dtype,
        "shape": list(task.type.shape),
        "action": task.action,
        "passes": task.passes,
        "bytes_read": task.reads,
        "why": reason(graph, output.node, task),
    }
