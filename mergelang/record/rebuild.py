"""Tensors of an output made again from its sources, by its own recipe, and compared."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mergelang.check import check
from mergelang.errors import Diagnostic, InputError, RecipeError
from mergelang.graph import build
from mergelang.models.headers import read_header
from mergelang.models.record import Record
from mergelang.plan.arithmetic import arithmetic
from mergelang.plan.memory import with_memory
from mergelang.plan.plan import Plan, Task, plan
from mergelang.record.again import recipe_of
from mergelang.record.lineage import record_of
from mergelang.record.sources import commits_of, folder_of
from mergelang.source import Source
from mergelang.tensors import Extent

Say = Callable[[int, int], None]


def rebuild(
    path: Path, shown: str, count: int, given: Path | None = None,
    say: Say = lambda done, of: None, memory: int | None = None, allow_pickle: bool = False,
) -> tuple[list[str], list[Diagnostic]]:  # fmt: skip
    """Computes `count` random tensors again (0: all); their names, and those that differ.

    `memory` in bytes bounds the process, as that of a run; `allow_pickle` as for one. Raises
    InputError (E2101..E2103), RecipeError where the recipe no longer fits its sources, RunError
    where one cannot be read, or for too little memory (E0908).
    """
    from mergelang.run.fetch import fetch_sources
    from mergelang.run.recompute import recompute

    record = record_of(path, shown)
    planned = with_memory(plan_again(path, record, shown, given, allow_pickle), memory)
    stored = _stored(path)
    tasks = [task for task in planned.outputs[0].tasks if task.name in stored]
    if count and count < len(tasks):
        chosen = set(random.sample(range(len(tasks)), count))
        tasks = [task for number, task in enumerate(tasks) if number in chosen]
    results: dict[str, bool] = {}

    def told(task: Task, same: bool) -> None:
        results[task.name] = same
        say(len(results), len(tasks))

    fetch_sources(planned)
    recompute(planned, [(task, stored[task.name]) for task in tasks], told)
    arith = _other_arithmetic(record)
    problems = [
        Diagnostic("E2123", None, {"tensor": task.name, "arith": arith, "shown": shown})
        for task in tasks if not results[task.name]
    ]  # fmt: skip
    return [task.name for task in tasks], problems


def plan_again(
    path: Path, record: Record, shown: str, given: Path | None, allow_pickle: bool
) -> Plan:
    """The plan of the output of a record, as it was made."""
    folder = folder_of(path, record, given)
    source = Source(f"recipe of {shown}", recipe_of(record, shown))
    try:
        program = check(
            source, folder=folder, places=False, used=record["used"], reached=True,
            pins=commits_of(record), allow_pickle=allow_pickle,
        )  # fmt: skip
    except RecipeError as error:
        raise RecipeError([_allowing(each) for each in error.diagnostics]) from error
    outputs = [each for each in program.outputs if each.text == record["output"]]
    if not outputs:
        raise InputError("E2103", path=shown)
    return plan(build(replace(program, outputs=(outputs[0],))))


def _allowing(found: Diagnostic) -> Diagnostic:
    """Of weights that have to be allowed, with the option that does it: to convert them would not
    help, since the record names them as they are."""
    if found.code != "E0606" or "command" not in found.facts:
        return found
    return replace(found, facts={**found.facts, "command": None, "allow": "--allow-pickle"})


def _stored(path: Path) -> dict[str, Extent]:
    """Where each tensor of an output lies."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    found: dict[str, Extent] = {}
    for file in files:
        found |= read_header(file, file.name)
    return found


def _other_arithmetic(record: Record) -> str | None:
    """The arithmetic that the output depends on, where this machine has another."""
    for line in record.get("lock", ()):
        name, _, value = str(line).partition(" = ")
        if name == "arith" and value != arithmetic():
            return value
    return None
