"""What is remembered of an output that was written, for the runs that come after it."""

from dataclasses import replace
from pathlib import Path

from mergelang import __version__
from mergelang.check.program import Destination, Program
from mergelang.files import Facts, facts_of, files_below
from mergelang.ops.registry import operators
from mergelang.plan.arithmetic import arithmetic
from mergelang.plan.keys import ENGINE, derivation
from mergelang.plan.origin import Seal, exact_text, path_in_recipe
from mergelang.plan.plan import OutputPlan, Plan
from mergelang.plan.previous import known_digests
from mergelang.store.digests import of_bytes
from mergelang.store.outputs import Made, Written, load, save


def remember(plan: Plan, output: OutputPlan, seal: Seal, folder: Path) -> None:
    """Keeps how an output came to be that lies complete in a folder, soon at its own place."""
    known = known_digests(plan)
    places = output.extents
    tensors: dict[str, Made] = {}
    for task in output.tasks:
        made = derivation(task.original, known, plan.graph.program.arith)
        if made is not None:
            tensors[task.name] = Made(places[task.name], seal.tensors[task.name], *made)
    files = {name: facts_of(each) for name, each in files_below(folder).items()}
    request = request_of(plan.graph.program, output.destination)
    save(Written(output.path, request, _inputs(plan), files, tensors))


def renew(plan: Plan, output: OutputPlan) -> None:
    """Keeps that an output is what the recipe wants as it is written now."""
    written = load(output.path, tensors=True)
    if written is not None:
        request = request_of(plan.graph.program, output.destination)
        save(replace(written, request=request, inputs=_inputs(plan)))


def _inputs(plan: Plan) -> dict[str, Facts]:
    """The facts of all that a recipe's models are made of, from before they were read."""
    return {path: facts for each in plan.checkpoints.values() for path, facts in each.facts.items()}


def request_of(program: Program, output: Destination) -> str:
    """A digest of all that is asked for, as it is written, and of where its paths lead now; of
    sources on the Hub, their commits.

    Those are known where the sources were looked at, so a look at the text alone finds no output of
    such a source current.
    """
    said = [
        __version__, str(ENGINE), arithmetic(), program.tree.source.text, output.text,
        path_in_recipe(program, output),  # of what is written elsewhere, which output it is
        *([program.arith] if program.arith else ()),  # gates are made on the processor all the same
        *(f"{path}\n{tree.source.text}" for path, tree in program.used.items()),
        *(f"{name} = {exact_text(each.value)}" for name, each in program.params.items()),
        *(f"{path}\n{text}" for path, text in program.templates.items()),
        *(f"{text}\n{each.path or ''}" for text, each in sorted(program.places.items())),
        *(f"{each.reference.text} {each.origin.commit}" for each in program.checkpoints.values()
          if each.origin),
        *(f"{name} {each.signature.version}" for name, each in sorted(operators().items())),
    ]  # fmt: skip
    return of_bytes("\0".join(said).encode())
