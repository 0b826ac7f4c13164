"""`lora("SOURCE")`: what an adapter adds, alone or with the base that it was trained on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mergelang.check.program import Term
from mergelang.check.terms import Input
from mergelang.check.value import UNKNOWN, Value
from mergelang.lang import ast
from mergelang.models.adapter import open_adapter
from mergelang.models.conversions import names_in
from mergelang.tensors import Inventory

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions


def lora(
    call: ast.Call, inputs: Sequence[ast.Argument], named: Mapping[str, ast.Argument],
    expressions: "Expressions",
) -> Value:  # fmt: skip
    """The task vector of an adapter; UNKNOWN, and reported, where anything about it is wrong."""
    report = expressions.report
    texts = [each for each in inputs if isinstance(each.value, ast.String) and not each.record]
    wrong = [each for each in inputs if each not in texts] + texts[1:]
    wrong += [each for name, each in named.items() if name != "base"]
    if wrong or not texts:
        report.add("E2200", (wrong or [call])[0].span)
        return UNKNOWN
    span = texts[0].value.span
    opened = expressions.open_source(texts[0].value.value, span, open_adapter)
    base = expressions.model(named["base"].value) if "base" in named else None
    if opened is None or ("base" in named and base is None):
        return UNKNOWN
    adapter = opened.checkpoint
    inventory = adapter and adapter.inventory
    if base is not None:
        grown = inventory and base.inventory and _grown(inventory, base, expressions)
        if grown:
            report.add("E2202", call.span, path=opened.reference.text, what=grown)
            return UNKNOWN
        given = Input(base, named["base"].value.span)
        return expressions.terms.adapted(given, opened.reference, inventory, call.span)
    needed = adapter and adapter.needs_base
    if needed:
        tensor, why = needed
        known = expressions.scope.bindings.get("base")
        report.add(
            "E2205", call.span, path=opened.reference.text, tensor=tensor, why=why,
            base="base" if known else "x",
        )  # fmt: skip
        return UNKNOWN
    return expressions.terms.lora(opened.reference, inventory, call.span)


def _grown(adapter: Inventory, base: Term, expressions: "Expressions") -> str | None:
    """What there is to say of an adapter that brings tables for more tokens than its base has."""
    tables = expressions.terms.vocabularies.tables(base)
    names = names_in(base.inventory, adapter)
    for name, kind in adapter.tensors.items():
        words = tables.get(names.get(name, name))
        if words is not None and kind.shape[0] > words.rows:
            return f"has {kind.shape[0]:,} rows in its {name}, and the base {words.rows:,}"
    return None
