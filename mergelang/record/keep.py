"""What a run says about its outputs: seals their files, writes card, statement and record."""

from collections.abc import Mapping
from pathlib import Path

from mergelang.plan.origin import Seal, root_of
from mergelang.plan.plan import OutputPlan, Plan
from mergelang.record.binding import Binding, source_digests
from mergelang.record.card import card
from mergelang.record.record import RECORD, record
from mergelang.record.remember import remember
from mergelang.record.statement import STATEMENT, statement


class Keeper:
    """The recorder of a run (`run.output.Recorder`)."""

    def __init__(self, plan: Plan, binding: Binding | None = None):
        self._plan = plan
        self._binding = binding or Binding(plan.graph.program, None, "")

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        types = {task.name: task.type for task in output.tasks}
        files = source_digests(output.origin.parents)
        self._binding.refuse_moved(output.origin.parents, files)
        self._binding.refuse_other_gates([(output.destination, output.node)])
        return Seal(digests, files, root_of(types, digests))

    def documents(
        self, output: OutputPlan, seal: Seal, folder: Path, files: Mapping[str, int]
    ) -> Mapping[str, bytes]:
        made = {"README.md": card(self._plan, output)}
        facts = self._binding.facts
        made[STATEMENT] = statement(output, seal, facts, folder, [*files, *made], made)
        made_of = output.destination, output.node
        lock = self._binding.text(made_of, output.origin.parents, seal.files)
        return {**made, RECORD: record(output, seal, lock, folder, files, made)}

    def remember(self, output: OutputPlan, seal: Seal, folder: Path) -> None:
        remember(self._plan, output, seal, folder)
