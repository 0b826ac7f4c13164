"""Terms under the names that another model has for the same tensors: one calls `h.0.` what another
calls `transformer.h.0.`, and an adapter names tensors as they were called in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from mergelang.check.program import Term
from mergelang.models.conversions import names_in
from mergelang.ops.layout import Layout
from mergelang.ops.parts import aligned, renamed
from mergelang.tensors import Inventory


@dataclass
class Naming:
    """Renames terms, each pair of a term and the tensors that it meets once."""

    _known: dict[tuple[int, int], tuple[Term, Inventory, Term]] = field(default_factory=dict)

    def under(self, term: Term, wanted: Inventory | None) -> Term:
        """The term under the names of `wanted`, where they are known to be others for the same."""
        if term.inventory is None or wanted is None:
            return term
        key = (id(term), id(wanted))
        if key not in self._known:
            made = self._under(term, wanted)
            # Both are kept beside the answer, so that their ids stay theirs.
            self._known[key] = (term, wanted, made)
        return self._known[key][2]

    def _under(self, term: Term, wanted: Inventory) -> Term:
        if term.inventory.sparse and not wanted.sparse:
            return _adapters_under(term, wanted, {}, {})
        layout = aligned(term.inventory, wanted)
        return term if layout is None else _as(term, layout)


def within_names(base: Term, adapter: Term, make: Callable[[Term], Term]) -> Term:
    """What `make` makes of a base by an adapter's own names, under the names of the base.

    `adapter` is a `lora` term, or one that is renamed to the base's names.
    """
    if adapter.op != "renamed":
        return make(base)
    own = {new: origin.name for new, origin in adapter.layout.origins.items()}
    inner = _as(base, renamed(base.inventory, own))
    layout = renamed(inner.inventory, {name: new for new, name in own.items()})
    return _as(make(inner), replace(layout, inventory=base.inventory))


def _as(term: Term, layout: Layout) -> Term:
    digest = blake2b("\0".join(layout.origins).encode(), digest_size=16).hexdigest()
    return Term(
        "renamed", (term,), {"names": digest}, term.span, term.mass, term.seed, term.name,
        donor=term, inventory=layout.inventory, layout=layout,
    )  # fmt: skip


def _adapters_under(
    term: Term, model: Inventory, names: dict[str, str], done: dict[int, Term]
) -> Term:
    """A term made of adapters alone, with each of them under the names of a model.

    What it is made of is renamed, not what comes out, so that layers are those of the model
    wherever a schedule looks at them. `names` gathers the new names by the old ones.
    """
    if id(term) in done:
        return done[id(term)]
    if term.op == "lora":
        found = names_in(model, term.inventory)
        names |= found
        made = _as(term, renamed(term.inventory, found)) if found else term
    else:
        inputs = tuple(_adapters_under(each, model, names, done) for each in term.inputs)
        changed = any(a is not b for a, b in zip(inputs, term.inputs, strict=True))
        made = term if not changed else replace(
            term, inputs=inputs, inventory=renamed(term.inventory, _of(term, names)).inventory,
            donor=term.donor and done.get(id(term.donor), term.donor),
        )  # fmt: skip
    done[id(term)] = made
    return made


def _of(term: Term, names: Mapping[str, str]) -> dict[str, str]:
    return {name: new for name, new in names.items() if name in term.inventory}
