"""What an output's vocabulary is, and whose rows each model takes for the tokens that it lacks."""

from collections.abc import Mapping
from typing import Any

from mergelang.check.program import Term, walk
from mergelang.draw.units import counted
from mergelang.graph.node import Graph
from mergelang.plan.plan import OutputPlan

SHOWN = 6
"""Tokens that are named of each kind in a plan."""


def vocabulary_lines(graph: Graph, output: OutputPlan, most: int = SHOWN) -> list[str]:
    """One line for the vocabulary, one for new tokens of each origin, and for each model one for
    the rows that it takes from each. Empty for an output that aligns nothing."""
    report = vocabulary_report(graph, output)
    if not report:
        return []
    rows, size = report["rows"], report["tokens"]
    spare = f" in {rows:,} rows" if rows != size else ""
    lines = [f"vocabulary: that of {report['first']}, {counted(size, 'token')}{spare}"]
    for origin, tokens in report["new"].items():
        lines.append(f"new, {origin}: {_tokens(tokens, most)}")
    for model, taken in report["taken"].items():
        for origin, tokens in taken.items():
            count = counted(len(tokens), "row")
            lines.append(f"{model} takes {count} {origin}: {_tokens(tokens, most)}")
    return lines


def vocabulary_report(graph: Graph, output: OutputPlan) -> dict[str, Any]:
    """The same as data: `new` tokens by origin, `taken` by model and origin."""
    aligned = aligned_terms(output.destination.term)
    if not aligned:
        return {}
    names = {
        term.options["reference"].text: name
        for name, term in graph.program.terms.items() if term.op == "source"
    }  # fmt: skip
    target = aligned[0].options["alignment"].target
    new: dict[str, list[str]] = {}
    for text, owner in (*target.words.items(), *target.added.items()):
        origin = "of the recipe" if owner is None else f"from {names.get(owner.shown, owner.shown)}"
        new.setdefault(origin, []).append(text)
    taken: dict[str, dict[str, list[str]]] = {}
    for term in aligned:
        alignment = term.options["alignment"]
        shown = [names.get(each.shown, each.shown) for each in alignment.vocabularies]
        for text, models in alignment.taken.items():
            origin = _origin([shown[i] for i in models])
            by_origin = taken.setdefault(shown[alignment.own], {})
            by_origin.setdefault(origin, []).append(text)
    return {
        "first": names.get(target.first.shown, target.first.shown),
        "tokens": target.size, "rows": target.rows, "new": new, "taken": taken,
    }  # fmt: skip


def aligned_terms(term: Term) -> list[Term]:
    """The aligned models under a term, in the order of the text."""
    def below(each: Term) -> tuple[Term, ...]:
        if "alignment" in each.options:
            return ()
        return each.inputs + tuple(one for one in each.policy.values() if isinstance(one, Term))

    found: dict[int, Term] = {}
    for each in walk(term, below):
        if "alignment" in each.options:
            found.setdefault(each.options["alignment"].own, each)
    return list(found.values())


def _origin(models: list[str]) -> str:
    if not models:
        return "of zeros"
    if len(models) == 1:
        return f"from {models[0]}"
    return f"as the mean of {', '.join(models[:-1])} and {models[-1]}"


def _tokens(tokens: list[str] | Mapping[str, Any], most: int) -> str:
    shown = ", ".join(f"`{text}`" for text in list(tokens)[:most])
    return shown if len(tokens) <= most else f"{shown}, ..."
