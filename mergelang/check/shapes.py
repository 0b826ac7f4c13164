"""Shapes that a config speaks of: whether tensors of an output have others than its donor has."""

from collections.abc import Iterable, Iterator

from mergelang.check.config import Checkpoints, donor_of, source_of
from mergelang.check.program import Destination, Term
from mergelang.check.suggest import counted
from mergelang.errors import Diagnostic
from mergelang.models.vocabulary import vocabulary_of


def check_shapes(
    outputs: Iterable[Destination], checkpoints: Checkpoints
) -> Iterator[Diagnostic]:
    """W0701: for each expression whose config an output has, and whose shapes it does not tell."""
    seen: set[Term] = set()
    for output in outputs:
        term = output.term
        while term not in seen and (donor := donor_of(term)) is not None:
            seen.add(term)
            names = _others(term, donor, checkpoints)
            if names:
                taken = term.policy.get("mismatch")
                more = f" ({counted(len(names) - 1, 'more tensor')} like it)"
                yield Diagnostic("W0701", term.span, {
                    "donor": _text(donor), "name": names[0], "more": more if names[1:] else "",
                    "giver": _text(taken) if taken else None, "several": None if taken else "",
                })  # fmt: skip
            term = donor


def _others(term: Term, donor: Term, checkpoints: Checkpoints) -> list[str]:
    """The tensors of other shapes than the donor's, but for tables of tokens: of these the config
    says how many rows they have. Layouts make their config themselves."""
    mine, theirs = term.inventory, donor.inventory
    if term.layout is not None or mine is None or theirs is None:
        return []
    config = checkpoints[source_of(donor).options["reference"]].config
    if config is None or mine.tensors == theirs.tensors:
        return []
    known = vocabulary_of(theirs, config, None, "")
    tables = {*known.tensors, *known.unknown} if known else set()
    return [
        name for name, (_, shape) in mine.tensors.items()
        if name in theirs and theirs[name].shape != shape and name not in tables
    ]  # fmt: skip


def _text(term: Term) -> str:
    return term.name or term.span.text
