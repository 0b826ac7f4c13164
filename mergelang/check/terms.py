"""Makes terms: their tensors from those of their inputs, their mass, their donor.

Given are inputs whose kinds are right already; what is looked at here is whether their tensors fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mergelang.check import mass as masses
from mergelang.check.naming import Naming, within_names
from mergelang.check.numbers import fails
from mergelang.check.places import all_places
from mergelang.check.program import Term
from mergelang.check.report import Report
from mergelang.check.schedule import ONE, ZERO, Constant, Schedule, matches
from mergelang.check.suggest import counted, listed, nearest
from mergelang.check.tensors import Comparisons, Fit, completed, patched, without
from mergelang.check.usage import Usage
from mergelang.check.vocabularies import Vocabularies
from mergelang.lang import ast
from mergelang.models.conversions import beyond
from mergelang.models.reference import Reference
from mergelang.ops.layout import LayoutError, slice_layers
from mergelang.ops.registry import operators
from mergelang.source import Span
from mergelang.tensors import Inventory, Place
from mergelang.wording import KINDS

NEGATIVE = Constant(-ONE.value)


class Input(NamedTuple):
    """An input of an expression, and where it stands."""

    term: Term
    span: Span

    @property
    def text(self) -> str:
        text = " ".join(self.span.text.split())
        return text if len(text) <= 40 else f"{text[:36]} ..."


def same(one: Term, other: Term) -> bool:
    """Whether two terms are the same expression of the same sources."""
    if one is other:
        return True
    alike = (one.op, one.options, len(one.inputs)) == (other.op, other.options, len(other.inputs))
    return alike and all(map(same, one.inputs, other.inputs))


@dataclass
class Terms:
    """Makes the terms of one file. The comparisons and the usage of patterns are shared by all."""

    report: Report
    seed: int
    comparisons: Comparisons = field(default_factory=Comparisons)
    usage: Usage = field(default_factory=Usage)
    vocabularies: Vocabularies = field(default_factory=lambda: Vocabularies({}))
    naming: Naming = field(default_factory=Naming)

    def source(self, reference: Reference, inventory: Inventory | None, span: Span) -> Term:
        return Term(
            "source", (), {"reference": reference}, span, ONE, self.seed, inventory=inventory
        )

    def lora(self, adapter: Reference, inventory: Inventory | None, span: Span) -> Term:
        """What an adapter adds to whatever model it fits."""
        return Term(
            "lora", (), {"reference": adapter}, span, ZERO, self.seed, inventory=inventory
        )

    def adapted(
        self, base: Input, whole: Input, adapter: Reference, inventory: Inventory | None,
        span: Span,
    ) -> Term:  # fmt: skip
        """What an adapter makes of its base, less the base. `whole` is the base with the tables
        that the adapter holds whole."""
        delta = self.naming.under(self.lora(adapter, inventory, span), base.term.inventory)
        fit = self._same((whole, Input(delta, span)), 0, span)

        def apply(one: Term) -> Term:
            return Term(
                "adapted", (one,), {"reference": adapter}, span, base.term.mass, self.seed,
                donor=base.term, inventory=fit and one.inventory,
            )  # fmt: skip

        model = within_names(whole.term, delta, apply)
        made = Term(
            "sub", (model, base.term), {}, span, ZERO, self.seed, donor=base.term, inventory=fit
        )  # fmt: skip
        self.vocabularies.meet(made, (base, Input(model, span)))
        return made

    def sum(self, op: str, left: Input, right: Input, span: Span) -> Term:
        """`left + right` or `left - right`; `op` is the sign."""
        donor = 1 if left.term.mass == ZERO and right.term.mass != ZERO else 0
        donor = _whole((left, right), donor)
        left, right = self._aligned((left, right), donor)
        inventory = self._same((left, right), donor, span)
        mass = masses.combine(op, left.term.mass, right.term.mass)
        made = Term(
            "add" if op == "+" else "sub", (left.term, right.term), {}, span,
            masses.settle(mass, inventory), self.seed,
            donor=(left, right)[donor].term, inventory=inventory,
        )  # fmt: skip
        self.vocabularies.meet(made, (left, right))
        return made

    def scale(self, by: Schedule, one: Input, span: Span) -> Term:
        inventory = one.term.inventory
        self.usage.look(by, inventory)
        if fails(by, inventory):
            self.report.add("E0414", span, text=span.text)
            by = ONE
        mass = masses.settle(masses.combine("*", by, one.term.mass), inventory)
        return Term(
            "scale", (one.term,), {"by": by}, span, mass, self.seed,
            donor=one.term, inventory=inventory,
        )  # fmt: skip

    def as_model(self, one: Input, span: Span) -> Term:
        return Term(
            "as_model", (one.term,), {}, span, ONE, self.seed,
            donor=one.term, inventory=one.term.inventory,
        )  # fmt: skip

    def slice(self, one: Input, low: int, high: int | None, mass: Schedule, span: Span) -> Term:
        """Layers `low` to `high`, which exist."""
        layout = inventory = None
        if one.term.inventory is not None:
            count = one.term.inventory.layering.count
            layout = slice_layers(one.term.inventory, low, count if high is None else high)
            inventory = layout.inventory
        return Term(
            "slice", (one.term,), {"low": low, "high": high}, span, mass, self.seed,
            donor=one.term, inventory=inventory, layout=layout,
        )  # fmt: skip

    def match(
        self, patterns: tuple[ast.Pattern, ...], arms: Sequence[Input], mass: Schedule, span: Span
    ) -> Term:
        """For each tensor the expression of the first pattern that names it."""
        arms = self._aligned(arms, 0)
        return Term(
            "match", tuple(arm.term for arm in arms), {"patterns": patterns}, span, mass, self.seed,
            donor=arms[0].term, inventory=self._matched(patterns, arms, span),
        )  # fmt: skip

    def operator(
        self, name: str, inputs: Sequence[Input], options: Mapping[str, Any], mass: Schedule,
        span: Span, *, base: Input | None, policy: Mapping[str, Input | str], config: Input | None,
        donor: int = 0,
    ) -> Term:  # fmt: skip
        """A call of an operator on values. With a base the inputs' task vectors are its inputs.

        The donor is the base, else the input of that number.
        """
        all_inputs = [*inputs, base] if base else list(inputs)
        donor = _whole(all_inputs, len(inputs) if base else donor)
        all_inputs = self._aligned(all_inputs, donor)
        inputs, base = all_inputs[: len(inputs)], all_inputs[-1] if base else None
        fit, result, dropped = self._agree(all_inputs, donor, policy, span)
        chosen = config.term if config else all_inputs[donor].term
        kept = {
            key: value.term if isinstance(value, Input) else value for key, value in policy.items()
        }
        self._look_at_options(options, fit)
        try:
            mass = masses.settle(mass, result)
        except ZeroDivisionError:
            self.report.add("E0415", span, operator=name)
            mass = inputs[0].term.mass
        mixed: frozenset[str] = frozenset()
        if result is not None and "mismatch" in policy:
            mixed = self.vocabularies.mixed(all_inputs)
        if base is None:
            made = Term(
                name, tuple(each.term for each in inputs), options, span, mass, self.seed,
                policy=kept, donor=chosen, inventory=result, dropped=dropped, mixed=mixed,
            )  # fmt: skip
            self.vocabularies.meet(made, all_inputs)
            return made
        deltas = tuple(
            Term(
                "sub", (each.term, base.term), {}, each.span, ZERO, self.seed,
                donor=base.term, inventory=fit,
            )
            for each in inputs
        )  # fmt: skip
        delta = Term(
            name, deltas, options, span, ZERO, self.seed, donor=base.term, inventory=fit
        )
        made = Term(
            "from_base", (base.term, delta), {}, span, base.term.mass, self.seed,
            policy=kept, donor=chosen, inventory=result, dropped=dropped, mixed=mixed,
        )  # fmt: skip
        self.vocabularies.meet(made, all_inputs)
        return made

    def arrangement(
        self, name: str, inputs: Sequence[Input], options: Mapping[str, Any], mass: Schedule,
        span: Span, *, donor: Input,
    ) -> Term:  # fmt: skip
        """A call of an operator that rearranges tensors."""
        layout = None
        inventories = [each.term.inventory for each in inputs]
        alone = next((each for each in inputs if _sparse(each)), None)
        if alone is not None:
            self.report.add("E2207", alone.span, text=alone.text)
        elif all(each is not None for each in inventories):
            try:
                layout = operators()[name](*inventories, **options)
            except LayoutError as error:
                place = span if error.input is None else inputs[error.input].span
                text = None if error.input is None else inputs[error.input].text
                facts = {"operator": name, "text": text, **error.facts}
                if error.code in KINDS:
                    others = () if error.other is None else (inputs[error.other].span,)
                    self.report.add(error.code, place, *others, **facts)
                else:
                    reason = error.facts.get("reason", error.code)
                    self.report.add("E0318", place, operator=name, reason=reason)
        for code, facts in layout.warnings if layout else ():
            self.report.add(code, span, **facts)
        self._look_at_options(options, layout and layout.inventory)
        return Term(
            name, tuple(each.term for each in inputs), options, span, mass, self.seed,
            donor=donor.term, layout=layout,
            inventory=layout.inventory if layout else None,
        )  # fmt: skip

    def _look_at_options(self, options: Mapping[str, Any], inventory: Inventory | None) -> None:
        for value in options.values():
            for each in value if isinstance(value, tuple) else (value,):
                self.usage.look(each, inventory)

    def _aligned(self, inputs: Sequence[Input], donor: int) -> list[Input]:
        """The inputs under the names of the donor, where theirs begin otherwise."""
        wanted = inputs[donor].term.inventory
        return [Input(self.naming.under(each.term, wanted), each.span) for each in inputs]

    def _same(self, inputs: Sequence[Input], donor: int, span: Span) -> Inventory | None:
        return self._agree(inputs, donor, None, span)[1]

    def _agree(
        self, inputs: Sequence[Input], donor: int, policy: Mapping[str, Input | str] | None,
        span: Span,
    ) -> tuple[Inventory | None, Inventory | None, dict[str, tuple[str, ...]]]:  # fmt: skip
        """What all inputs have alike, what the result has, and what it leaves out and why.

        `policy` is None where a mismatch cannot be answered (outside of calls).
        """
        inventories = [each.term.inventory for each in inputs]
        if any(each is None for each in inventories):
            return None, None, {}
        inventories, inputs = self._completed(inputs)
        if all(each is inventories[0] for each in inventories):
            return inventories[0], inventories[0], {}
        fit = self.comparisons.fit(inventories, donor)
        if not self._dtypes_merge(inputs):
            return None, None, {}
        if not fit.missing and not fit.mismatched:
            return fit.inventory, fit.inventory, {}
        return self._apply(fit, inputs, donor, policy, span)

    def _apply(
        self, fit: Fit, inputs: Sequence[Input], donor: int,
        policy: Mapping[str, Input | str] | None, span: Span,
    ) -> tuple[Inventory | None, Inventory | None, dict[str, tuple[str, ...]]]:  # fmt: skip
        """Does with tensors that do not fit what the call says, or reports them."""
        said = policy or {}
        taken: dict[str, Inventory] = {}
        dropped: dict[str, tuple[str, ...]] = {}
        if fit.missing and "missing" not in said:
            self._report_missing(inputs, policy is not None)
            return None, None, {}
        if fit.mismatched and "mismatch" not in said:
            if not self.vocabularies.excuse(inputs, fit.mismatched):
                self._report_shapes(inputs, fit, policy is not None)
                return None, None, {}
            # An output may align the vocabularies; if none does, that is told at the end.
            alike = without(inputs[donor].term.inventory, set(fit.missing))
            fit = Fit(alike, fit.missing, ())
        for word, names in (("missing", fit.missing), ("mismatch", fit.mismatched)):
            choice = said.get(word)
            if not names or choice is None:
                continue
            if isinstance(choice, str):
                dropped["missing in some inputs"] = names
                continue
            source = choice.term.inventory
            if source is None:
                return None, None, {}
            there = [name for name in names if name in source]
            lost = tuple(name for name in names if name not in source)
            if lost and word == "mismatch":
                self.report.add(
                    "E0703", choice.span, text=choice.text, names=listed(lost, 3),
                    tensors=counted(len(lost), "tensor"),
                )  # fmt: skip
                return None, None, {}
            if lost:
                dropped[f"not in {choice.text}, which the missing ones are taken from"] = lost
            taken.update(dict.fromkeys(there, source))
        if not len(fit.inventory):
            self.report.add("E0704", span, count=len(inputs))
            return None, None, {}
        if not taken:
            return fit.inventory, fit.inventory, dropped
        order = inputs[donor].term.inventory
        return fit.inventory, patched(fit.inventory, order, taken), dropped

    def _completed(
        self, inputs: Sequence[Input]
    ) -> tuple[list[Inventory], Sequence[Input]]:
        """Adapters' tables completed by those of the other inputs; strays are reported."""
        inventories, strays = completed([each.term.inventory for each in inputs])
        for index, names in strays.items():
            owner = next(each for each in inputs if not each.term.inventory.sparse)
            model, adapter = owner.term.inventory, inputs[index].term.inventory
            names = beyond(model, adapter) or names
            part = len(names) < len(adapter)
            self.report.add(
                "E2206", inputs[index].span, owner.span, text=inputs[index].text, other=owner.text,
                tensors=counted(len(names), "tensor"), names=listed(names, 2),
                like=None if part else nearest(names[0], model),
                part=f"{len(adapter) - len(names):,}" if part else None,
            )  # fmt: skip
        if all(new is each.term.inventory for new, each in zip(inventories, inputs, strict=True)):
            return inventories, inputs
        return inventories, [
            Input(replace(each.term, inventory=new), each.span)
            for new, each in zip(inventories, inputs, strict=True)
        ]

    def _dtypes_merge(self, inputs: Sequence[Input]) -> bool:
        first = inputs[0]
        for each in inputs[1:]:
            found = self.comparisons.difference(first.term.inventory, each.term.inventory).dtypes
            if found:
                name = found[0]
                self.report.add(
                    "E0706", each.span, first.span, name=name,
                    first=first.text, other=each.text,
                    dtype=first.term.inventory[name].dtype, got=each.term.inventory[name].dtype,
                )  # fmt: skip
                return False
        return True

    def _report_missing(self, inputs: Sequence[Input], call: bool) -> None:
        first = inputs[0]
        for each in inputs[1:]:
            found = self.comparisons.difference(first.term.inventory, each.term.inventory)
            if not found.lacks and not found.extra:
                continue
            lacks = f"lacks {counted(len(found.lacks), 'tensor')} of `{first.text}`"
            extra = f"has {counted(len(found.extra), 'tensor')} that `{first.text}` lacks"
            what = " and ".join(
                text for text, names in ((lacks, found.lacks), (extra, found.extra)) if names
            )
            names = listed((*found.lacks[:2], *found.extra[:2])[:3])
            owner = first.text if found.lacks else each.text
            self.report.add(
                "E0701", each.span, first.span, other=each.text, what=what, names=names,
                call=owner if call else None, algebra=None if call else owner, first=first.text,
            )  # fmt: skip
            return

    def _report_shapes(self, inputs: Sequence[Input], fit: Fit, call: bool) -> None:
        first, name = inputs[0], fit.mismatched[0]
        shape = first.term.inventory[name].shape
        each = next(each for each in inputs if each.term.inventory[name].shape != shape)
        more = len(fit.mismatched) - 1
        alone = next((one.term for one in inputs if one.term.op == "lora"), None)
        adapter = alone and alone.options["reference"].text
        self.report.add(
            "E0702", each.span, first.span, name=name, first=first.text, other=each.text,
            wanted=list(shape), got=list(each.term.inventory[name].shape),
            more=f" ({counted(more, 'more tensor')} like it)" if more else "",
            call=first.text if call else None, algebra=None if call or adapter else first.text,
            adapter=adapter,
        )  # fmt: skip

    def _matched(
        self, patterns: tuple[ast.Pattern, ...], arms: Sequence[Input], span: Span
    ) -> Inventory | None:
        if any(arm.term.inventory is None for arm in arms):
            return None
        inventories, arms = self._completed(arms)
        first = inventories[0]
        places: dict[str, Place] = {}
        for each in dict.fromkeys(inventories):
            for place in all_places(each):
                places.setdefault(place.name, place)
        tensors, roles = {}, {}
        lost: dict[int, list[str]] = {}
        uncovered = []
        hits = [0] * len(patterns)
        for name, place in places.items():
            index = next((i for i, each in enumerate(patterns) if matches(each, place)), None)
            if index is None:
                uncovered.append(name)
            elif name not in inventories[index]:
                hits[index] += 1
                lost.setdefault(index, []).append(name)
            else:
                hits[index] += 1
                tensors[name] = inventories[index][name]
                roles[name] = inventories[index].roles.get(name, frozenset())
        self.usage.look_at_patterns(patterns, hits, first)
        if uncovered:
            self.report.add(
                "E0509", span, name=uncovered[0], tensors=counted(len(uncovered), "tensor")
            )  # fmt: skip
            return None
        if lost:
            index, missing = next(iter(lost.items()))
            owner = next(arm for arm in arms if missing[0] in arm.term.inventory)
            pattern = _pattern_of(missing, inventories[index], owner.term.inventory)
            if pattern and not isinstance(patterns[index], ast.Anything):
                text = patterns[index].span.text
                compound = isinstance(patterns[index], ast.Or)
                pattern = f"({text}) & {pattern}" if compound else f"{text} & {pattern}"
            self.report.add(
                "E0705", arms[index].span, owner.span, other=arms[index].text, first=owner.text,
                names=listed(missing, 3), tensors=counted(len(missing), "tensor"),
                arm=f'"{missing[0]}"' if not missing[1:] else pattern,
                such=missing[0] if missing[1:] and not pattern else None,
            )  # fmt: skip
            return None
        if all(each is first for each in inventories):
            return first
        layering = first.layering.over(tensors.keys(), first.tensors.keys())
        return Inventory(tensors, layering, roles, first.architecture, first.sparse)


def _pattern_of(names: Sequence[str], lacks: Inventory, has: Inventory) -> str | None:
    """The pattern of layers that one model has beyond the last one of another, if all of these
    tensors are in such."""
    layers = [has.layering.split(name)[0] for name in names]
    count = lacks.layering.count
    beyond = count and all(each is not None and each >= count for each in layers)
    return f"layers {count}.." if beyond else None


def _sparse(input: Input) -> bool:
    return input.term.inventory is not None and input.term.inventory.sparse


def _whole(inputs: Sequence[Input], donor: int) -> int:
    """The number of the donor: this one, unless it is an adapter and another input is none."""
    sparse = list(map(_sparse, inputs))
    return sparse.index(False) if sparse[donor] and not all(sparse) else donor
