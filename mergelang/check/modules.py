"""Modules of models: `vlm.language_model`, and `graft(vlm, language_model: merged)`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mergelang.check.config import Checkpoints, config_of
from mergelang.check.program import Term
from mergelang.check.report import Report
from mergelang.check.suggest import listed, nearest
from mergelang.check.terms import Input
from mergelang.check.value import UNKNOWN, Value
from mergelang.errors import InputError
from mergelang.lang import ast
from mergelang.models.config import ALONE
from mergelang.models.modules import HEAD, ROLES, Module, find_module, module_words
from mergelang.models.towers import mode_of
from mergelang.ops.layout import LayoutError
from mergelang.ops.parts import graft, view
from mergelang.source import Span

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions


class Modules:
    """Makes the terms of modules in one file."""

    def __init__(self, report: Report, checkpoints: Checkpoints):
        self._report, self._checkpoints = report, checkpoints

    def view(self, one: Input, word: ast.Name, span: Span) -> Value:
        """`one.word`; UNKNOWN, and reported, where the model has no such module."""
        whole, layout = one.term, None
        if whole.inventory is not None:
            found = self._find(one, word)
            if found is None:
                return UNKNOWN
            config = config_of(whole, self._checkpoints) or {}
            inner = config.get(found.section) or {} if found.section else {}
            kind = str(inner.get("model_type", "")) or whole.inventory.architecture
            stated = found.section or "num_hidden_layers" in config
            own = ALONE.get(kind) if stated and mode_of(word.id) == "text" else None
            layout = view(whole.inventory, found.tensors, found.section, own or kind)
            if own:
                tied = not any(name.startswith(HEAD) for name in found.tensors)
                edits = (*layout.config, ("alone", {"kind": own, "tied": tied}))
                layout = replace(layout, config=edits)
        return Term(
            "module", (whole,), {"words": (word.id,)}, span, whole.mass, whole.seed, donor=whole,
            inventory=layout and layout.inventory, layout=layout,
        )  # fmt: skip

    def graft(
        self, whole: Input, modules: Sequence[tuple[ast.Name, Input]], span: Span
    ) -> Value:
        """The whole with other models in the place of its modules."""
        layout = None
        if all(each.inventory is not None for each in (whole.term, *(m.term for _, m in modules))):
            found = [self._find(whole, word) for word, _ in modules]
            if None in found:
                return UNKNOWN
            inventories = [module.term.inventory for _, module in modules]
            parts = list(zip((each.tensors for each in found), inventories, strict=True))
            try:
                layout = graft(whole.term.inventory, parts)
            except LayoutError as error:
                word, module = modules[(error.input or 1) - 1]
                facts = {"text": module.text, "word": word.id, "whole": whole.text, **error.facts}
                self._report.add(error.code, module.span, whole.span, **facts)
                return UNKNOWN
        return Term(
            "graft", (whole.term, *(each.term for _, each in modules)),
            {"words": tuple(word.id for word, _ in modules)}, span, whole.term.mass,
            whole.term.seed, donor=whole.term, inventory=layout and layout.inventory,
            layout=layout,
        )  # fmt: skip

    def _find(self, one: Input, word: ast.Name) -> Module | None:
        inventory = one.term.inventory
        try:
            config = config_of(one.term, self._checkpoints) or {}
        except InputError:
            config = {}
        found = find_module(inventory, inventory.layering, config, word.id)
        if found is None or not found.tensors:
            words = module_words(inventory, inventory.layering)
            roles = [
                role for role in ROLES
                if find_module(inventory, inventory.layering, config, role) is not None
            ]  # fmt: skip
            words = list(dict.fromkeys((*roles, *words)))
            suggestion = nearest(word.id, words)
            self._report.add(
                "E2307", word.span, word=word.id, text=one.text, suggestion=suggestion,
                known=None if suggestion else listed(words) or None,
            )  # fmt: skip
            return None
        return found


def check_graft(call: ast.Call, expressions: "Expressions", modules: Modules) -> Value:
    """`graft(whole, module: expression, ...)`."""
    plain = [each for each in call.arguments if each.name is None]
    named: Mapping[str, ast.Argument] = {each.name.id: each for each in call.arguments if each.name}
    records = [each.record for each in call.arguments if each.record is not None]
    if len(plain) != 1 or not named or records or len(plain) + len(named) < len(call.arguments):
        expressions.report.add("E2308", call.span)
        return UNKNOWN
    whole = expressions.term(plain[0].value)
    inputs = [(each.name, each.value, expressions.term(each.value)) for each in named.values()]
    if whole is None or any(term is None for _, _, term in inputs):
        return UNKNOWN
    one = Input(whole, plain[0].value.span)
    parts = [(name, Input(term, value.span)) for name, value, term in inputs]
    if expressions.common_mass([one, *(each for _, each in parts)], "E0407") is None:
        return UNKNOWN
    return modules.graft(one, parts, call.span)
