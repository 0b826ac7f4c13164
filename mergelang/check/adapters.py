"""`lora("SOURCE")`: what an adapter adds, alone or with the base that it was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mergelang.check.program import Term
from mergelang.check.tensors import without
from mergelang.check.terms import Input
from mergelang.check.value import UNKNOWN, Value
from mergelang.check.vocabularies import tokens_of
from mergelang.lang import ast
from mergelang.models.adapter import Adapter, open_adapter
from mergelang.models.conversions import names_in
from mergelang.models.vocabulary import is_head
from mergelang.ops.expr import Context, load
from mergelang.ops.expr import Value as Block
from mergelang.ops.layout import Fresh, Layout, Pick
from mergelang.source import Span
from mergelang.tensors import Extent, Inventory, TensorType

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
        given = Input(base, named["base"].value.span)
        whole = given
        if adapter is not None and base.inventory is not None and adapter.tables:
            inventory = _tied(given, adapter, call.span, expressions)
            whole = None
            if inventory is not None:
                whole = _resized(given, adapter, inventory, call.span, expressions)
        if whole is None:
            return UNKNOWN
        return expressions.terms.adapted(given, whole, opened.reference, inventory, call.span)
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


def named(expr: ast.Expr, expressions: "Expressions") -> Term | None:
    """The adapter of `lora("SOURCE")`, where it gives a tokenizer or a chat template and nothing
    else; None, and reported, where it cannot be used."""
    match expr:
        case ast.Call(_, (ast.Argument(None, ast.String(text), None, span=span),)):
            opened = expressions.open_source(text, span, open_adapter)
        case _:
            expressions.report.add("E2200", expr.span)
            return None
    if opened is None:
        return None
    inventory = opened.checkpoint and opened.checkpoint.inventory
    return expressions.terms.lora(opened.reference, inventory, expr.span)


def _tied(
    base: Input, adapter: Adapter, span: Span, expressions: "Expressions"
) -> Inventory | None:
    """What there is of an adapter for a base that may have its embedding for a head.

    PEFT saves such a head beside the embedding, and it is the same once more. None, and reported,
    for one that was trained by itself.
    """
    held = adapter.inventory
    heads = [name for name in adapter.tables if is_head(name)]
    known = expressions.terms.vocabularies.tables(base.term)
    if not heads or not known or any(map(is_head, base.term.inventory)):
        return held
    if not adapter.copied.issuperset(heads):
        text = adapter.reference.text
        expressions.report.add(
            "E2209", span, base.span, text=text, name=heads[0], base=base.text
        )
        return None
    return without(held, set(heads))


def _resized(
    base: Input, adapter: Adapter, held: Inventory, span: Span, expressions: "Expressions"
) -> Input | None:
    """The base with the tables that an adapter holds whole, which may have rows for more tokens."""
    inventory, vocabularies = base.term.inventory, expressions.terms.vocabularies
    names = names_in(inventory, held)
    tables = {
        names.get(name, name): extent for name, extent in adapter.tables.items() if name in held
    }  # fmt: skip
    known = vocabularies.tables(base.term)
    own = next((known[name] for name in tables if name in known), None)
    words = adapter.vocabulary
    if own is not None and words.tokenizer is None and words.rows == own.rows:
        words = replace(words, tokenizer=own.tokenizer)
    other = own is not None and words.rows != own.rows
    for said, rows in ((adapter.reference.text, words), (base.text, own)):
        if other and words.rows > own.rows and tokens_of(rows) is None:
            expressions.report.add("E2405", span, text=said)
            return None
    other &= None not in (tokens_of(words), tokens_of(own))
    types = {
        name: TensorType(inventory[name].dtype, extent.type.shape)
        for name, extent in tables.items()
        if name in inventory and (other or extent.type.shape == inventory[name].shape)
    }  # fmt: skip
    origins: dict[str, Pick | Fresh] = {name: Pick(0, name) for name in inventory}
    origins |= {name: Fresh(partial(_stored, tables[name])) for name in types}
    made = replace(inventory, tensors={**inventory.tensors, **types})
    term = Term(
        "resized", (base.term,), {"reference": adapter.reference, "words": words}, span,
        base.term.mass, expressions.terms.seed, donor=base.term, inventory=made,
        layout=Layout(made, origins),
    )  # fmt: skip
    return Input(term, base.span)


def _stored(extent: Extent, context: Context, key: bytes) -> Block:
    return load(extent, key, context)
