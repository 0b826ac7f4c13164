"""Whether an output is as its recipe wants it already.

Two looks: a quick one at the text of the recipe and the facts of files, which opens no model; and
one at a plan, which finds that a recipe written otherwise asks for the same.
"""

from dataclasses import replace
from pathlib import Path

from mergelang.check.program import Destination, Program
from mergelang.files import changed, files_below
from mergelang.plan.plan import KEEP, OutputPlan, Plan
from mergelang.record.keep import Keeper
from mergelang.record.remember import request_of
from mergelang.run.writer import left_over
from mergelang.store.outputs import load


def is_current(program: Program, output: Destination) -> bool:
    """Whether nothing has changed since the output was written: recipe, inputs, output, operators.

    The program may be checked without its sources.
    """
    return _as_written(program, output) and not left_over(Path(output.path))


def _as_written(program: Program, output: Destination) -> bool:
    written = load(Path(output.path))
    return (
        written is not None
        and written.request == request_of(program, output)
        and changed(written.inputs) is None
        and written.whole()
    )


def with_current(plan: Plan) -> Plan:
    """The plan with those outputs marked as current of which not one byte would change."""
    program = plan.graph.program
    outputs = tuple(
        replace(each, current=_as_written(program, each.destination) or _same(plan, each))
        for each in plan.outputs
    )
    return replace(plan, outputs=outputs)


def _same(plan: Plan, output: OutputPlan) -> bool:
    """Whether every file that a run would write lies there already, byte for byte.

    Of a weight file its header and the facts by which its tensors are kept.
    """
    if not output.tasks or any(task.action != KEEP for task in output.tasks):
        return False
    keeper = Keeper(plan)
    seal = keeper.seal(output, {task.name: task.digest for task in output.tasks})
    try:
        wanted = {name: each.read_bytes() for name, each in output.sidecars.items()}
        wanted |= output.documents
        sizes = {shard.file: shard.size for shard in output.shards}
        sizes |= {name: len(data) for name, data in wanted.items()}
        wanted |= keeper.documents(output, seal, output.path, dict(sorted(sizes.items())))
        return (
            files_below(output.path).keys() == {*sizes, *wanted}
            and all(_begins(output.path / s.file, s.header(seal)) for s in output.shards)
            and all((output.path / name).read_bytes() == data for name, data in wanted.items())
        )
    except OSError:
        return False


def _begins(path: Path, header: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(header)) == header
