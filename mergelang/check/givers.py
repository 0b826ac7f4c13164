"""Which models a tensor of an expression is made of."""

from collections.abc import Iterator, Mapping, Sequence

from mergelang.check.program import Term
from mergelang.check.schedule import matches
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.layout import Pick

Checkpoints = Mapping[Reference, Checkpoint]


def givers(term: Term, name: str, checkpoints: Checkpoints) -> Iterator[Term]:
    """The sources that have a part in a tensor, and the terms of the adapters that change it."""
    stack, seen = [(term, name)], set()
    while stack:
        part = each, called = stack.pop()
        if part in seen:
            continue
        seen.add(part)
        known = checkpoints[each.options["reference"]] if each.op == "adapted" else None
        if not each.inputs or (known and called in known.inventory):
            yield each
        stack += made_of(each, called)


def made_of(term: Term, name: str) -> list[tuple[Term, str]]:
    """The tensors that a tensor of a term is made of, each with the term that has it."""
    if term.layout is not None:
        origin = term.layout.origins[name]
        if isinstance(origin, Pick):
            return [(term.inputs[origin.input], origin.name)]
        # What is made anew of a table of tokens is that of the first model over other rows.
        return [(each, name) for each in term.inputs[:1] if name in each.inventory]
    if term.op == "match":
        place = term.inventory.place(name)
        arms = zip(term.options["patterns"], term.inputs, strict=True)
        return [next((arm, name) for pattern, arm in arms if matches(pattern, place))]
    chosen = term.policy.get(policy_for(term, compared(term), name))
    if isinstance(chosen, Term):
        return [(chosen, name)]
    return [(each, name) for each in term.inputs if name in each.inventory]


def policy_for(term: Term, inputs: Sequence[Term], name: str) -> str | None:
    """The policy of a call that answers for a tensor which not all inputs that it `compared` have
    alike; None where they do."""
    # An adapter that lacks a tensor leaves it as it is.
    kinds = [
        each.inventory.tensors.get(name) for each in inputs
        if name in each.inventory or not each.inventory.sparse
    ]  # fmt: skip
    if None in kinds:
        return "missing"
    differ = len({kind.shape for kind in kinds}) > 1 or name in term.mixed
    return "mismatch" if differ else None


def compared(term: Term) -> list[Term]:
    """The inputs of a call whose tensors its policies compare."""
    if term.op != "from_base":
        return list(term.inputs)
    base, delta = term.inputs
    return [base, *(each.inputs[0] if each.op == "sub" else each for each in delta.inputs)]
