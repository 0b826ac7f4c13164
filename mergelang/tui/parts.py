"""What each node of a graph takes of a run: the tensors that it has a part in; and its key."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mergelang.draw.picture import OUTPUT, Box, Picture
from mergelang.graph import build
from mergelang.plan.keys import model_key
from mergelang.plan.plan import Plan, tasks
from mergelang.plan.previous import known_digests
from mergelang.plan.reach import reach


@dataclass(frozen=True)
class Share:
    """How far a node has come: tensors done of those it takes part in, seconds that these took,
    bytes that the plan reads for them."""

    done: int = 0
    of: int = 0
    seconds: float = 0.0
    reads: int = 0


class Parts:
    """Which tensors each box of a picture takes part in; made once for the plan of a text."""

    def __init__(self, shown: Picture, plan: Plan, text: str):
        self.text = text
        self._tensors: dict[str, list[tuple[str, str, int]]] = {box.id: [] for box in shown.boxes}
        planned = {each.destination.text: each for each in plan.outputs}
        for target in shown.boxes:
            if target.kind != OUTPUT or target.target.text not in planned:
                continue
            output, known = target.target.text, {}
            for task in planned[output].tasks:
                used = reach(target.node, task.name, known)
                fact = (output, task.name, task.reads)
                for box in shown.boxes:
                    if box is target or (box.kind != OUTPUT and box.node in used):
                        self._tensors[box.id].append(fact)

    def share(self, box: str, done: Mapping[str, Mapping[str, float]]) -> Share:
        """How far a box has come, by what is done."""
        facts = self._tensors.get(box, [])
        ended = [
            done[output][name] for output, name, _ in facts if name in done.get(output, ())
        ]
        return Share(len(ended), len(facts), sum(ended), sum(reads for _, _, reads in facts))


def key_of(box: Box, plan: Plan) -> str:
    """The derivation key of all that a box holds; empty where a source has no digest yet.

    Plans the box as if it were an output, and looks after the digests of the sources' files.
    """
    program = plan.graph.program
    found = next((each for each in plan.outputs if each.destination is box.target), None)
    if found is not None:
        node, types = found.node, {task.name: task.type for task in found.tasks}
    else:
        alone = replace(program.outputs[0], term=box.node.term)
        ((_, node),) = build(replace(program, outputs=(alone,), terms={})).outputs
        types = box.node.term.inventory.tensors
    return model_key(tasks(node, types, plan.checkpoints), known_digests(plan)) or ""
