"""A plan as text, like a build plan, and as plain data."""

import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeAlias

from mergelang.check.schedule import ONE
from mergelang.draw.units import counted, size
from mergelang.draw.vocabulary_text import vocabulary_lines, vocabulary_report
from mergelang.draw.words import plain_text, shortened
from mergelang.graph.node import Graph, Node
from mergelang.ops.layout import Pick
from mergelang.plan.cached import alike
from mergelang.plan.fetches import fetches
from mergelang.plan.lower import absent, arm_of
from mergelang.plan.memory import MEMORY, minimum_memory, size_text, spilled
from mergelang.plan.plan import (
    CACHED,
    COMPUTE,
    EQUAL,
    KEEP,
    PROCESS,
    SHARED,
    OutputPlan,
    Plan,
    Task,
)  # fmt: skip
from mergelang.plan.recomputed import recomputed

WIDTH = 80
"""Columns of a terminal."""

Groups: TypeAlias = dict[tuple[str, int, str], list[Task]]
"""Tasks of an output by action, passes and reason."""


def plan_text(plan: Plan, width: int = WIDTH) -> str:
    """Each output with what is computed, copied and dropped, and why; bytes, memory, disk.

    In lines of `width` columns, but for paths.
    """
    lines = []
    told = [{} if each.current else groups(plan.graph, each) for each in plan.outputs]
    for output, found in zip(plan.outputs, told, strict=True):
        lines += [*_output(plan.graph, output, found, width), ""]
    lines.append(
        f"in all: reads {size(plan.bytes_read)}, writes {size(plan.bytes_written)}, "
        f"peak memory {memory(plan)}"
    )
    for line in (
        *_too_little(plan), *_recomputed(plan, told, width), *_spilled(plan), *_cache(plan),
    ):  # fmt: skip
        lines += wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    lines += _fetches(plan)
    lines += _preparations(plan)
    return "\n".join(lines + [_disk(*each) for each in disks(plan)])


def _recomputed(plan: Plan, told: Sequence[Groups], width: int) -> list[str]:
    """A line for each node that further passes evaluate again, since it is not held."""
    found: dict[tuple[str, int], int] = {}
    for output, grouped in zip(plan.outputs, told, strict=True):
        for tasks in _patterns(grouped).values():
            for each in again(plan, output, tasks[0]).items():
                found[each] = found.get(each, 0) + len(tasks)
    lines = []
    for (text, passes), count in found.items():
        said = f": {counted(passes - 1, 'pass', 'passes')} more over {counted(count, 'tensor')}"
        lines.append(f"recomputes {shortened(text, max(10, width - 11 - len(said)))}{said}")
    return lines


def _patterns(grouped: Groups) -> dict[Any, list[Task]]:
    """The tasks of an output that are alike in all but their tensors."""
    found: dict[Any, list[Task]] = {}
    for (_, _, why), tasks in grouped.items():
        for task in tasks:
            found.setdefault((why, task.root, task.spills > 0), []).append(task)
    return found


def again(plan: Plan, output: OutputPlan, task: Task) -> dict[str, int]:
    """How many passes over a tensor evaluate a node, where those are several; by its text."""
    found = recomputed(output.node, task, plan.checkpoints)
    return {label(plan.graph, node): passes for node, passes in found.items()}


def _too_little(plan: Plan) -> list[str]:
    """That a run would be refused for too little memory, whatever waits on the disk."""
    given, least = MEMORY if plan.memory is None else plan.memory, minimum_memory(plan)
    if least <= given or all(each.current for each in plan.outputs):
        return []
    return [f"memory: {size_text(given)} is too little, a run takes {size_text(least)} at least"]


def _spilled(plan: Plan) -> list[str]:
    """What waits on the disk, because calls on whole tensors do not fit into memory together."""
    tasks = [task for output in plan.outputs for task in output.tasks if task.spills]
    if not tasks:
        return []
    most = max(spilled(plan, output) for output in plan.outputs)
    return [
        f"spills {size(most)} at a time to disk: {counted(len(tasks), 'tensor')}, calls on whole "
        f"tensors one by one, to keep to {size_text(plan.memory)}"
    ]


def _cache(plan: Plan) -> list[str]:
    """What the run puts into the store and what it does not, by what it takes to compute, and to
    write and read back."""
    if plan.cache is None:
        return []
    tasks = [task for output in plan.outputs for task in output.tasks if task.action == COMPUTE]
    kept = [task for task in tasks if task.keeps]
    rest = [task for task in tasks if not task.keeps and not task.stored]
    lines = []
    noted = [each for output in plan.outputs for each in _noted(plan, output)]
    if kept:
        nbytes = sum(task.keeps for task in kept)
        what = f"{size(nbytes)} of {counted(len(kept), 'tensor')}"
        lines.append((what, sum(task.seconds for task in kept), nbytes))
    if rest:
        work = _seconds(plan, rest)
        other = "other " if kept else ""
        what = f"none of {len(rest):,} {other}{'tensor' if len(rest) == 1 else 'tensors'}"
        lines.append((what, work, sum(task.nbytes for task in rest)))
    if noted:
        counts, sizes, seconds = zip(*((len(tasks), *rest) for tasks, *rest in noted), strict=True)
        over = counted(sum(counts), "tensor")
        what = f"{size(sum(sizes))} of numbers that passes over {over} give"
        lines.append((what, sum(seconds), sum(sizes)))
    return [
        f"store: keeps {what}: {_took(seconds)} to compute, "
        f"{_took(plan.cache.back(nbytes))} to keep"
        for what, seconds, nbytes in lines
    ]


def _noted(plan: Plan, output: OutputPlan) -> list[tuple[list[Task], int, float]]:
    """The tables of numbers that the run puts into the store: tensors, bytes, seconds saved."""
    return [*plan.cache.worth_noting(output.tasks).values()] if plan.cache else []


def _seconds(plan: Plan, tasks: Sequence[Task]) -> float:
    """What it takes to compute tensors, reckoned once for those of a pattern."""
    known: dict[Hashable, float] = {}
    total = 0.0
    for task in tasks:
        kind = alike(task)
        if kind not in known:
            known[kind] = plan.cache.takes_in_all(task)
        total += known[kind]
    return total


def _took(seconds: float) -> str:
    if seconds < 0.01:
        return "under 0.01 s"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def _fetches(plan: Plan) -> list[str]:
    """A line for each source of which files have to be fetched first."""
    found: dict[tuple[str, str], list[int]] = {}
    for each in fetches(plan):
        found.setdefault((each.source, each.snapshot.commit), []).append(each.nbytes)
    return [
        f"fetches {size(sum(sizes))} first: {counted(len(sizes), 'file')} of {source}, "
        f"commit {commit[:12]}"
        for (source, commit), sizes in found.items()
    ]


def _preparations(plan: Plan) -> list[str]:
    """A line for each prepare task: what it makes, and whether an earlier run has left that."""
    return [
        f"prepares {each.what}: " + ("in the cache" if each.ready else "made first, then kept")
        for each in plan.preparations
    ]


def memory(plan: Plan) -> str:
    """What the process takes at its peak, as far as headers tell."""
    return f"about {size(_peak(plan))}"


def _peak(plan: Plan) -> int:
    waiting = (each.holds for each in plan.preparations if not each.ready)
    return PROCESS + max(plan.holds, *waiting, 0)


def disks(plan: Plan) -> list[tuple[Path, int, int]]:
    """Each disk that is written to: a folder on it, the bytes needed there and those free; also
    that of the Hub's cache, where something is fetched.

    An output that is there already stays until the new one is whole, so its bytes do not count.
    """
    needed: dict[int, int] = {}
    folders: dict[int, Path] = {}
    written = [
        (output.path.parent, output.bytes_written + spilled(plan, output))
        for output in plan.outputs
    ]
    written += [(each.snapshot.folder, each.nbytes) for each in fetches(plan)]
    for folder, nbytes in written:
        while not folder.exists():
            folder = folder.parent
        disk = folder.stat().st_dev
        folders.setdefault(disk, folder)
        needed[disk] = needed.get(disk, 0) + nbytes
    return [(folder, needed[d], shutil.disk_usage(folder).free) for d, folder in folders.items()]


def _disk(folder: Path, needed: int, free: int) -> str:
    short = f": {size(needed - free)} too little" if needed > free else ""
    return f"disk of {folder}: {size(needed)} needed, {size(free)} free{short}"


def _output(graph: Graph, output: OutputPlan, grouped: Groups, width: int) -> list[str]:
    if output.current:
        return [f"{output.destination.text}: up to date, {counted(len(output.tasks), 'tensor')}"]
    dtypes = "+".join(dict.fromkeys(task.type.dtype for task in output.tasks))
    shards = len(output.shards)
    files = "one file" if shards == 1 else f"{shards} shards"
    rows = []
    for (action, passes, why), tasks in grouped.items():
        nbytes = sum(task.type.nbytes for task in tasks)
        turns = counted(passes, "pass", "passes")
        rows.append((action, f"{len(tasks):,}", size(nbytes), turns, why))
    for why, count in output.dropped.items():
        rows.append(("drop", f"{count:,}", "", "", why))
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    lines = [
        f"{output.destination.text}: {counted(len(output.tasks), 'tensor')}, {dtypes}, "
        f"{size(output.bytes_written)} in {files}"
    ]
    for action, count, nbytes, turns, why in rows:
        start = (
            f"  {action:<{widths[0]}}  {count:>{widths[1]}}  {nbytes:>{widths[2]}}  "
            f"{turns:<{widths[3]}}  "
        )
        lines.append(start + shortened(why, max(30, width - len(start))))
    for line in vocabulary_lines(graph, output):
        lines += wrap(f"  {line}", width, subsequent_indent="    ", break_on_hyphens=False)
    names = [*output.documents, *output.sidecars]
    beside = f"  beside: {', '.join(dict.fromkeys(names)) or 'nothing'}"
    lines += wrap(beside, width, subsequent_indent=" " * 10)
    lines.append(f"  reads {size(output.bytes_read)}, writes {size(output.bytes_written)}")
    return lines


def groups(graph: Graph, output: OutputPlan) -> Groups:
    """The tasks of an output by action, passes and reason, the first of each group first."""
    found: Groups = {}
    reasons: dict[tuple[Any, ...], str] = {}
    for task in output.tasks:
        made_by, _ = effective(output.node, task.name)
        kind = made_by, task.action, task.change, task.stored > 0, task.numbers > 0
        if kind not in reasons or task.action == SHARED:
            reasons[kind] = reason(graph, output.node, task)
        why = reasons[kind]
        found.setdefault((task.action, task.passes, why), []).append(task)
    return found


def reason(graph: Graph, node: Node, task: Task) -> str:
    """Why a tensor is computed or copied: what has changed, and the recipe's own words."""
    if task.action == KEEP:
        return "as they lie there, unchanged"
    if task.action == CACHED:
        return "from the store"
    if task.action == SHARED:
        return f"as in {_made_in(graph, task)}"
    if task.change:
        return f"{task.change}: {_work(graph, node, task)}"
    return _work(graph, node, task)


def _made_in(graph: Graph, task: Task) -> str:
    """The output that a tensor is copied from."""
    folder = str(Path(task.sources[0].path).parent)
    return next(target.text for target, _ in graph.outputs if target.path == folder)


def _work(graph: Graph, node: Node, task: Task) -> str:
    at, _ = effective(node, task.name)
    if task.stored or task.numbers:
        what = "values" if task.stored else "numbers"
        return f"with {what} from the store: {label(graph, at)}"
    if task.action == EQUAL:
        return "not a number that merges: copied if all inputs agree"
    if task.action != COMPUTE:
        return f"bytes of {label(graph, at)} as they are"
    return label(graph, at) if at.op != "source" else f"{label(graph, at)}, in another dtype"


def effective(node: Node, name: str) -> tuple[Node, str]:
    """The node that makes a tensor, behind slices, stacks, arms and adapters that do not touch it,
    and the tensor's name there."""
    while True:
        if node.op == "match":
            node = node.inputs[arm_of(node, node.term.inventory.place(name))]
        elif node.op == "patch":
            node = node.inputs[name in node["names"]]
        elif node.term.layout is not None:
            origin = node.term.layout.origins[name]
            if not isinstance(origin, Pick):
                return node, name
            node, name = node.inputs[origin.input], origin.name
        elif node.op == "affine" and len(node.inputs) > 1:
            left = [each for each in node.inputs if not absent(each, name)]
            if len(left) != 1 or node["coefficients"][node.inputs.index(left[0])] != ONE:
                return node, name
            node = left[0]
        else:
            return node, name


def label(graph: Graph, node: Node) -> str:
    """A node as the recipe writes it: `soup = mean(a, b)`; of a source its name."""
    if node.op == "source":
        return graph.names.get(node) or node["reference"].text
    if node.op == "retokenize":
        return f"{label(graph, node.inputs[0])}, its rows in another order"
    text = plain_text(node.term.span)
    return f"{node.term.name} = {text}" if node.term.name else text


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, task by task."""
    return {
        "outputs": [
            {
                "output": output.destination.text,
                "path": str(output.path),
                "up_to_date": output.current,
                "bytes_read": output.bytes_read,
                "bytes_written": output.bytes_written,
                "shards": [{"file": s.file, "bytes": s.size} for s in output.shards],
                "bytes_of_numbers_kept": sum(nbytes for _, nbytes, _ in _noted(plan, output)),
                "dropped": dict(output.dropped),
                "vocabulary": vocabulary_report(plan.graph, output) or None,
                "tensors": _tasks(plan, output),
            }
            for output in plan.outputs
        ],
        "bytes_read": plan.bytes_read,
        "bytes_written": plan.bytes_written,
        "memory": _peak(plan),
        "prepares": [
            {"what": each.what, "cached": each.ready, "gates": len(each.tensors)}
            for each in plan.preparations
        ],
        "fetches": [
            {"source": each.source, "commit": each.snapshot.commit, "file": each.name,
             "bytes": each.nbytes}
            for each in fetches(plan)
        ],
        "disks": [
            {"folder": str(folder), "bytes_needed": needed, "bytes_free": free}
            for folder, needed, free in disks(plan)
        ],
    }


def _tasks(plan: Plan, output: OutputPlan) -> list[dict[str, Any]]:
    """The tensors of an output, in its order."""
    found = {}
    for (why, *_), tasks in _patterns(groups(plan.graph, output)).items():
        nodes = [
            {"node": text, "passes": passes}
            for text, passes in again(plan, output, tasks[0]).items()
        ]
        found |= {task.name: _task(task, why) | {"recomputed": nodes} for task in tasks}
    return [found[task.name] for task in output.tasks]


def _task(task: Task, why: str) -> dict[str, Any]:
    return {
        "name": task.name,
        "dtype": task.type.dtype,
        "shape": list(task.type.shape),
        "action": task.action,
        "passes": task.passes,
        "bytes_read": task.reads,
        "change": task.change or None,
        "values_stored": task.stored,
        "numbers_stored": task.numbers,
        "bytes_kept": task.keeps,
        "bytes_spilled": task.spills,
        "why": why,
    }
