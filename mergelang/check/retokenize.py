"""Puts an expression over another vocabulary: every model in it is aligned before it is merged.

The terms of the expression are made anew over aligned leaves; their tables have other rows, all
else is as it was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from math import prod
from typing import NamedTuple

from mergelang.check.alignment import Alignment, Rule
from mergelang.check.program import Term, walk
from mergelang.check.report import Report
from mergelang.check.schedule import ZERO
from mergelang.check.suggest import listed
from mergelang.check.terms import Input
from mergelang.check.vocabularies import LEAVES, Vocabularies, made_tables
from mergelang.check.wish import Wish
from mergelang.models.adapter import Saved
from mergelang.models.target import renumbered, target_of
from mergelang.models.vocabulary import Vocabulary, is_embedding, is_head
from mergelang.ops.expr import Context, Value
from mergelang.ops.layout import Fresh, Layout, Pick
from mergelang.ops.registry import operators
from mergelang.ops.rows import Rows, gather, padded
from mergelang.source import Span
from mergelang.tensors import Extent, Inventory, TensorType, row_of, with_rows


def retokenize(
    one: Input, wish: Wish, vocabularies: Vocabularies, report: Report, span: Span
) -> Term | None:
    """The term over the vocabulary that is wished for; None, and reported, where it cannot be.

    Where the models were not looked at, a term that says no more than that it is so.
    """
    term = one.term
    if any(each.inventory is None for each in (term, *_asked(wish))):
        vocabularies.refuse(term)
        inputs = tuple(dict.fromkeys((term, *(each.term for each in wish.of))))
        return Term("retokenize", inputs, {}, span, term.mass, term.seed, donor=term)
    merged = {each.options["reference"]: each for each in vocabularies.sources(term)}
    donors = {each.options["reference"]: each for each in _donors(term, vocabularies)}
    ready = _Ready(vocabularies, report, span)
    named = [(each, ready.tokenized(each)) for each in wish.of]
    if any(words is None for _, words in named):
        return None
    leaves = {**donors, **merged}
    for leaf in leaves.values():
        if not ready.leaf(leaf):
            return None
    for each in _parts(term, vocabularies, "retokenize"):
        report.add("E2410", span, each.span)
        return None
    rules = ready.rules(wish)
    base = ready.base(wish, term)
    if rules is None or (wish.base is not None and base is None):
        return None
    order: dict[int, tuple[Term, Vocabulary]] = {}
    for leaf in merged.values():
        words = vocabularies.words(leaf)
        if words is not None:
            order[id(words)] = (_giver(leaf, vocabularies), words)
    count = len(order)
    for source in (*ready.sources, *donors.values()):
        words = vocabularies.checkpoint(source).vocabulary
        if words is not None:
            order.setdefault(id(words), (source, words))
    target = target_of(
        list(dict.fromkeys(words for _, words in named)), wish.tokens, wish.pad
    )
    ready.doubt(wish, [text for text, owner in target.added.items() if owner is None],
                [words for _, words in order.values()])  # fmt: skip
    places = list(order)
    common = {
        "target": target,
        "vocabularies": tuple(words for _, words in order.values()),
        "merged": count,
        "base": places.index(id(base)) if base is not None and id(base) in order else None,
        "rules": {
            text: Rule(None if words is None else places.index(id(words)), row, force)
            for text, (words, row, force) in rules.items()
        },
    }  # fmt: skip
    givers = [source for source, _ in order.values()]
    alignments = {
        id(words): Alignment(own=number, **common)
        for number, (_, words) in enumerate(order.values())
    }
    if _moved(term, alignments, leaves.values(), vocabularies, report, span):
        return None
    made: dict[object, Aligned] = {}
    for leaf in leaves.values():
        words = vocabularies.words(leaf)
        if words is None:
            continue
        aligned = _aligned(leaf, alignments[id(words)], givers, vocabularies, report, span)
        if aligned is None:
            return None
        made[leaf.options["reference"]] = aligned
    return _over(term, made, vocabularies)


def _asked(wish: Wish) -> Iterator[Term]:
    """The models that a wish names."""
    rows = (each.model for each in wish.tokens.values())
    for each in (*wish.of, wish.base, *rows):
        if each is not None:
            yield each.term


ALIKE = 0.85
"""The share from which on two tokens are taken for one, miswritten."""


class _Ready:
    """Looks at the models that are named, before anything is made of them."""

    def __init__(self, vocabularies: Vocabularies, report: Report, span: Span):
        self._vocabularies, self._report, self._span = vocabularies, report, span
        self.sources: list[Term] = []

    def tokenized(self, one: Input) -> Vocabulary | None:
        """The vocabulary of a model that is named in a wish."""
        source = self._vocabularies.donor(one.term)
        words = self._vocabularies.checkpoint(source).vocabulary
        if source.op == "lora" and words is None:
            self._report.add("E2421", one.span, text=one.text)
            return None
        if words is None or words.tokenizer is None:
            self._report.add("E2405", one.span, text=one.text)
            return None
        self.sources.append(source)
        return words

    def leaf(self, leaf: Term) -> bool:
        """Whether a model under the expression can be aligned, or has nothing to align."""
        words = self._vocabularies.words(leaf)
        if words is None:
            return True
        if words.tokenizer is None:
            text = leaf.name or leaf.options["reference"].text
            self._report.add("E2405", self._span, leaf.span, text=text)
            return False
        return True

    def rules(self, wish: Wish) -> dict[str, tuple[Vocabulary | None, int | None, bool]] | None:
        """Of each token that the wish speaks of the model, its row there, and whether forced."""
        found = {}
        for text, each in wish.tokens.items():
            if each.model is None:
                found[text] = (None, None, each.force)
                continue
            if each.model.term.op not in ("source", "lora"):
                self._report.add("E2406", each.model.span, text=each.model.text)
                return None
            words = self.tokenized(each.model)
            if words is None:
                return None
            row = each.token
            if not isinstance(row, int):
                wanted = text if row is None else row
                row = words.tokenizer.tokens.get(wanted)
                if row is None or row >= words.rows:
                    self._report.add("E2407", each.span, text=each.model.text, token=wanted,
                                     rows=None if row is None else words.rows)  # fmt: skip
                    return None
            elif row >= words.rows:
                self._report.add(
                    "E2407", each.span, text=each.model.text, token=row, rows=words.rows
                )
                return None
            found[text] = (words, row, each.force)
        return found

    def doubt(self, wish: Wish, new: list[str], vocabularies: Iterable[Vocabulary]) -> None:
        """Warns of tokens of zeros that no model has and that are written nearly as one that a
        model has. One that is told from it by a number is one of a row, and no slip."""
        known = [text for each in vocabularies if each.tokenizer for text in each.tokenizer.added]
        for text in new:
            if wish.tokens[text].model is not None:
                continue
            numbered = any(map(str.isdigit, text))
            for near in get_close_matches(text, known, 1, ALIKE):
                if not (numbered and _letters(text) == _letters(near)):
                    self._report.add("W2403", wish.tokens[text].span, token=text, near=near)

    def base(self, wish: Wish, term: Term) -> Vocabulary | None:
        """The model whose rows are preferred: as said, else the base of the merge if it has one."""
        if wish.base is not None:
            return self.tokenized(wish.base)
        found = {
            id(words): words
            for base in _bases(term, self._vocabularies)
            if (words := self._vocabularies.words(base)) is not None
        }
        return next(iter(found.values())) if len(found) == 1 else None


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def _donors(term: Term, vocabularies: Vocabularies) -> list[Term]:
    """The sources that give a config to some part of a term, and may give nothing else."""
    def below(each: Term) -> tuple[Term, ...]:
        return vocabularies.below(each) + ((each.donor,) if each.donor is not None else ())

    return [each for each in walk(term, below) if each.op == "source"]


def _parts(term: Term, vocabularies: Vocabularies, *ops: str) -> list[Term]:
    """The parts of a term, and itself, that are one of these operations."""
    return [each for each in walk(term, vocabularies.below) if each.op in ops]


def _bases(term: Term, vocabularies: Vocabularies) -> list[Term]:
    """The sources that task vectors are taken from, and those that stand as `base:`."""
    found: list[Term] = []
    for each in walk(term):
        if each.op == "from_base":
            base = each.inputs[0]
        elif each.op == "sub" and each.mass == ZERO:
            base = each.inputs[1]
        elif each.op in operators() and operators()[each.op].signature.named:
            base = each.inputs[-1]
        else:
            continue
        found += vocabularies.sources(base)
    return found


def _giver(leaf: Term, vocabularies: Vocabularies) -> Term:
    """What stands for a leaf where rows are taken of it: the source, or the adapter alone."""
    if leaf.op == "source":
        return leaf
    inventory = vocabularies.checkpoint(leaf).inventory
    return Term(
        "lora", (), {"reference": leaf.options["reference"]}, leaf.span, ZERO, leaf.seed,
        inventory=inventory,
    )  # fmt: skip


def _moved(
    term: Term, alignments: Mapping[int, Alignment], leaves: Iterable[Term],
    vocabularies: Vocabularies, report: Report, span: Span,
) -> bool:  # fmt: skip
    """Whether an adapter has factors for rows that would be moved, which is reported."""
    moved = {
        _end(name) for leaf in leaves for name, words in vocabularies.tables(leaf).items()
        if not alignments[id(words)].unchanged
    }  # fmt: skip
    for adapter in _parts(term, vocabularies, "lora", "adapted"):
        known = vocabularies.tables(adapter)
        still = {_end(name) for name, words in known.items() if alignments[id(words)].unchanged}
        for name, part in vocabularies.checkpoint(adapter).parts.items():
            if not isinstance(part, Saved) and _end(name) in moved - still:
                text = adapter.options["reference"].text
                own = text if name in vocabularies.checkpoint(adapter).tables else None
                report.add("E2420", span, adapter.span, text=text, name=name, own=own)
                return True
    return False


class Aligned(NamedTuple):
    """The tables of a leaf over the rows of the target: their types and how each is made, the
    terms whose rows they take besides, and the alignment."""

    types: Mapping[str, TensorType]
    origins: Mapping[str, Fresh]
    givers: tuple[Term, ...]
    alignment: Alignment
    span: Span

    def over(self, leaf: Term, below: Term) -> Term:
        """The leaf with these tables. `below` is what has its other tensors."""
        words = self.alignment.vocabularies[self.alignment.own]
        made = replace(below.inventory, tensors={**below.inventory.tensors, **self.types})
        origins = {name: Pick(0, name) for name in made.tensors} | self.origins
        edits = (("with_vocabulary", renumbered(words, self.alignment.target)),)
        source = leaf.op == "source"
        return Term(
            "retokenize" if source else leaf.op, (below, *self.givers),
            {**({} if source else leaf.options), "alignment": self.alignment},
            self.span if source else leaf.span, leaf.mass, leaf.seed, donor=below, inventory=made,
            layout=Layout(made, origins, edits if source else ()),
        )  # fmt: skip


def _aligned(
    leaf: Term, alignment: Alignment, sources: Sequence[Term], vocabularies: Vocabularies,
    report: Report, span: Span,
) -> Aligned | None:  # fmt: skip
    """The tables of a leaf with the rows of the target; None, and reported, where there are
    none to be had."""
    words = alignment.vocabularies[alignment.own]
    if words.unknown and not alignment.unchanged:
        report.add("E2408", span, leaf.span, text=leaf.name or words.shown,
                   names=listed(words.unknown, 3), rows=f"{words.rows:,}")  # fmt: skip
        return None
    checkpoints = [vocabularies.checkpoint(each) for each in sources]
    types: dict[str, TensorType] = {}
    origins: dict[str, Fresh] = {}
    for name in words.tensors if leaf.op == "source" else made_tables(leaf):
        kind = leaf.inventory[name]
        tables = [
            _counterpart(name, kind, vocabulary, each.inventory)
            for vocabulary, each in zip(alignment.vocabularies, checkpoints, strict=True)
        ]
        there = tuple(i for i, table in enumerate(tables) if table is not None)
        for text, rule in alignment.rules.items():
            if rule.model is not None and rule.model not in there:
                lacking = alignment.vocabularies[rule.model].shown
                report.add("E2409", span, text=lacking, token=text, name=name)
                return None
        types[name] = TensorType(kind.dtype, with_rows(kind.shape, alignment.target.rows))
        extents = [
            None if table is None else _upright(each.table(table))
            for each, table in zip(checkpoints, tables, strict=True)
        ]
        origins[name] = Fresh(partial(_table, alignment, there, extents))
    givers = {i for each in alignment.taken.values() for i in each} - {alignment.own}
    return Aligned(types, origins, tuple(sources[i] for i in sorted(givers)), alignment, span)


def _upright(table: Extent) -> Extent:
    """A stored table with its rows along the first axis."""
    kind = table.type
    rows = kind.count // max(1, prod(row_of(kind.shape)))
    return table._replace(type=TensorType(kind.dtype, (rows, *row_of(kind.shape))))


def _counterpart(
    name: str, kind: TensorType, words: Vocabulary, inventory: Inventory
) -> str | None:
    """The table of another model that has rows for the same use as this one; None without one.

    It has the same name, or alone the same end of a name (inside another model it is called
    otherwise); of a model without a head of its own its embedding is the head.
    """
    row = row_of(kind.shape)
    alike = [each for each in words.tensors if row_of(inventory[each].shape) == row]
    if name in alike:
        return name
    found = [each for each in alike if _end(each) == _end(name)]
    if not found and is_head(name) and not any(map(is_head, alike)):
        found = [each for each in alike if is_embedding(each)]
    return found[0] if len(found) == 1 else None


def _end(name: str) -> str:
    """The end of a name, which is the same wherever in another model a model stands."""
    return ".".join(name.split(".")[-2:])


def _table(
    alignment: Alignment, there: tuple[int, ...], tables: Sequence, context: Context, key: bytes
) -> Value:
    runs, bands = alignment.runs(there)
    table = gather(Rows(tables, runs, alignment.target.rows), context, key)
    return padded(table, bands, alignment.target.size) if bands else table


def _over(term: Term, made: Mapping[object, Aligned], vocabularies: Vocabularies) -> Term:
    """The term over aligned sources. Notes the copies that it makes."""
    new: dict[int, Term] = {}
    stack = [term]
    while stack:
        each = stack[-1]
        if id(each) in new:
            stack.pop()
            continue
        chosen = [one for one in each.policy.values() if isinstance(one, Term)]
        below = [*each.inputs, *chosen, *([each.donor] if each.donor else [])]
        if each.op == "retokenize":
            below = []
        missing = [one for one in below if id(one) not in new]
        if missing:
            stack += missing
            continue
        copy = _copy(each, new, made, vocabularies)
        new[id(each)] = copy
        if copy is not each:
            vocabularies.aligned[id(each)] = (each, copy)
    return new[id(term)]


def _copy(
    term: Term, new: Mapping[int, Term], made: Mapping[object, Aligned], vocabularies: Vocabularies
) -> Term:
    if term.op in LEAVES:
        aligned = made.get(term.options["reference"])
        below = term if term.op == "source" else new[id(term.inputs[0])]
        return term if aligned is None else aligned.over(term, below)
    if term.op in ("retokenize", "lora"):
        return term
    inputs = tuple(new[id(each)] for each in term.inputs)
    policy = {
        key: new[id(each)] if isinstance(each, Term) else each for key, each in term.policy.items()
    }
    tensors = dict(term.inventory.tensors)
    for name in vocabularies.tables(term):
        shape = _shaped(term, name, inputs, policy)
        if shape is not None:
            tensors[name] = TensorType(tensors[name].dtype, shape)
    tensors |= _fitting_again(term, inputs, vocabularies)
    inventory = replace(term.inventory, tensors=tensors)
    return replace(
        term, inputs=inputs, policy=policy, donor=term.donor and new[id(term.donor)],
        inventory=inventory, layout=term.layout and replace(term.layout, inventory=inventory),
        mixed=frozenset(),
    )  # fmt: skip


def _fitting_again(
    term: Term, inputs: Sequence[Term], vocabularies: Vocabularies
) -> dict[str, TensorType]:
    """Tables that a task vector left to the base, since they had other shapes before."""
    if term.layout is not None or term.op == "match" or not inputs:
        return {}
    tables = {
        name for before, now in zip(term.inputs, inputs, strict=True)
        for name in (*vocabularies.tables(before), *(now.inventory.tensors.keys()
                                                     - before.inventory.tensors.keys()))
    }  # fmt: skip
    kinds = {
        name: {each.inventory.tensors.get(name) for each in inputs}
        for name in sorted(tables - term.inventory.tensors.keys())
    }
    return {
        name: inputs[0].inventory[name] for name, found in kinds.items()
        if None not in found and len({kind.shape for kind in found}) == 1
    }  # fmt: skip


def _shaped(
    term: Term, name: str, inputs: Sequence[Term], policy: Mapping[str, Term | str]
) -> tuple[int, ...] | None:
    """The shape of a tensor, from that of the tensor that it is made of."""
    if term.layout is not None:
        origin = term.layout.origins[name]
        if not isinstance(origin, Pick):
            return None
        return inputs[origin.input].inventory[origin.name].shape
    for each in (*inputs, *policy.values()):
        if isinstance(each, Term) and name in each.inventory:
            return each.inventory[name].shape
    return None
