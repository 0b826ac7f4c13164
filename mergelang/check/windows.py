"""Windows of attention: whether the layers of a mixture can keep to those that its base has."""

from collections.abc import Iterable, Iterator

from mergelang.check.config import Checkpoints, config_of, donor_of
from mergelang.check.program import Destination, Term, walk
from mergelang.errors import Diagnostic, InputError
from mergelang.models.attention import NEAR, kinds_of
from mergelang.ops.families import ALL, FAMILIES, NONE, instead_of


def check_windows(
    outputs: Iterable[Destination], checkpoints: Checkpoints
) -> Iterator[Diagnostic]:
    """E2327, W2312: for each mixture under outputs whose layers would see other tokens."""
    seen: set[Term] = set()

    def below(term: Term) -> list[Term]:
        return [each for each in term.inputs if each not in seen]

    for output in outputs:
        for term in walk(output.term, below):
            if term.op == "moe" and term.layout is not None and term not in seen:
                yield from _lost(term, checkpoints)
            seen.add(term)


def _lost(term: Term, checkpoints: Checkpoints) -> Iterator[Diagnostic]:
    base, family = donor_of(term), FAMILIES[term.inventory.architecture]
    try:
        config = config_of(base, checkpoints)
    except InputError:
        return  # the planner tells it
    kinds = set(kinds_of(config or {}, base.inventory.layering.count))
    facts = {"text": base.name or base.span.text, "family": family.name}
    if family.near == ALL and len(kinds) > 1:
        yield Diagnostic("E2327", term.span, facts)
    if family.near == NONE and NEAR in kinds:
        other = instead_of(family, any(term.options["shared"])).name
        facts |= {"window": config.get("sliding_window"), "other": other}
        yield Diagnostic("W2312", term.span, facts)
