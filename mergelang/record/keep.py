"""What a run says about its outputs: seals their files, writes card, record and statement."""

from collections.abc import Mapping
from pathlib import Path

from mergelang.plan.origin import Origin, Seal, root_of
from mergelang.plan.plan import OutputPlan, Plan
from mergelang.record.card import card
from mergelang.record.record import RECORD, record
from mergelang.record.remember import remember
from mergelang.store import digests as store


class Keeper:
    """The recorder of a run (`run.execute.Recorder`)."""

    def __init__(self, plan: Plan):
        self._plan = plan

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        types = {task.name: task.type for task in output.tasks}
        return Seal(digests, source_digests(output.origin), root_of(types, digests))

    def documents(
        self, output: OutputPlan, seal: Seal, folder: Path, files: Mapping[str, int]
    ) -> Mapping[str, bytes]:
        readme = {"README.md": card(self._plan, output)}
        return {**readme, RECORD: record(output, seal, "", folder, files, readme)}


    def remember(self, output: OutputPlan, seal: Seal, folder: Path) -> None:
        remember(self._plan, output, seal, folder)


def source_digests(origin: Origin) -> dict[Path, str]:
    """The digests of all files of an output's sources; those not known yet are read."""
    found: dict[Path, str] = {}
    unknown = []
    for each in (file for parent in origin.parents for file in parent.files):
        known = each.digest or store.identity(each.path)
        if known:
            found[each.path] = known
        else:
            unknown.append(each.path)
    read = store.digests(unknown)
    return found | {path: f"blake3:{read[str(path)]}" for path in unknown}
