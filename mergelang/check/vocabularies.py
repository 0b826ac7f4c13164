"""Which tensors of an expression have a row for each token, and whether those rows go together.

Models whose vocabularies differ are let through while a recipe is read, since an output may align
them; at the end every place is told where they meet as they are. Two tokenizers are compared once,
and parsed only where their files differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mergelang.check.program import Destination, Term, walk
from mergelang.check.schedule import matches
from mergelang.check.suggest import counted, listed
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.models.target import Target
from mergelang.models.tokenizer import Tokenizer
from mergelang.models.vocabulary import Vocabulary
from mergelang.ops.layout import Fresh, Pick
from mergelang.source import Span
from mergelang.tensors import row_of

if TYPE_CHECKING:
    from mergelang.check.report import Report
    from mergelang.check.terms import Input

Words: TypeAlias = Vocabulary | Target

LEAVES = ("source", "resized")
"""Terms with tables that are stored."""


class Vocabularies:
    """What all files of one check know of vocabularies."""

    def __init__(self, checkpoints: Mapping[Reference, Checkpoint]):
        self._checkpoints = checkpoints
        self._tables: dict[int, tuple[Term, dict[str, Words]]] = {}
        self._met: dict[int, tuple[Term, tuple[Input, ...]]] = {}
        self._same: dict[tuple[int, int], bool] = {}
        self.aligned: dict[int, tuple[Term, Term]] = {}
        """Terms of which an aligned copy was made, each with its copy, by their ids."""
        self._refused: set[int] = set()

    def of(self, reference: Reference) -> Vocabulary | None:
        """That of a source."""
        return self._checkpoints[reference].vocabulary

    def checkpoint(self, term: Term) -> Checkpoint:
        """The model of a source, the adapter of a `lora` or of what it gives tables."""
        return self._checkpoints[term.options["reference"]]

    def words(self, leaf: Term) -> Vocabulary | None:
        """What the rows stand for that a source has, or an adapter that gives it tables."""
        return leaf.options["words"] if leaf.op == "resized" else self.checkpoint(leaf).vocabulary

    def donor(self, term: Term) -> Term:
        """The source at the end of the chain of a term's donors; of an adapter alone itself."""
        while term.op not in ("source", "lora"):
            term = term.donor or term.inputs[0]
        return term

    def sources(self, term: Term) -> list[Term]:
        """The sources under a term, each model once, in the order of the text; and of adapters
        that hold whole tables the terms which these are put into."""
        def below(each: Term) -> tuple[Term, ...]:
            return self.below(each)[: 1 if each.op == "retokenize" else None]

        found: dict[Reference, Term] = {}
        for each in walk(term, below):
            if each.op in LEAVES:
                found.setdefault(each.options["reference"], each)
        return list(found.values())

    def meet(self, term: Term, inputs: "Sequence[Input]") -> None:
        """Notes that a term combines the values of these inputs."""
        if term.inventory is not None and len(inputs) > 1:
            self._met[id(term)] = (term, tuple(inputs))

    def rename(self, term: Term, named: Term) -> None:
        """Notes that `named` has taken the place of a term."""
        if id(term) in self._met:
            self._met[id(named)] = (named, self._met.pop(id(term))[1])

    def tables(self, term: Term) -> Mapping[str, Words]:
        """The tensors of a term that have a row for each token, and what those stand for."""
        stack = [term]
        while stack:
            each = stack[-1]
            if id(each) in self._tables:
                stack.pop()
                continue
            below = [one for one in self.below(each) if id(one) not in self._tables]
            if below:
                stack += below
            else:
                # The term is kept beside the answer, so that its id stays its own.
                self._tables[id(each)] = (each, self._tables_of(each))
        return self._tables[id(term)][1]

    def below(self, term: Term) -> tuple[Term, ...]:
        """The terms whose tensors a term has."""
        chosen = tuple(each for each in term.policy.values() if isinstance(each, Term))
        met = self._met.get(id(term))
        return (tuple(each.term for each in met[1]) if met else term.inputs) + chosen

    def _tables_of(self, term: Term) -> dict[str, Words]:
        if term.inventory is None:
            return {}
        if term.op == "source":
            found = self.of(term.options["reference"])
            return {} if found is None else dict.fromkeys(found.tensors, found)
        if term.op == "retokenize":
            alignment = term.options["alignment"]
            names = alignment.vocabularies[alignment.own].tensors
            return dict.fromkeys(names, alignment.target)
        inputs = [self._tables[id(each)][1] for each in self.below(term)]
        if term.op == "resized":
            tables = made_tables(term)
            return {**inputs[0], **dict.fromkeys(tables, term.options["words"])}
        if term.layout is not None:
            return {
                name: inputs[origin.input][origin.name]
                for name, origin in term.layout.origins.items()
                if isinstance(origin, Pick) and origin.name in inputs[origin.input]
            }
        if term.op == "match":
            return _of_arms(term, inputs)
        taken = term.policy.get("mismatch")
        if isinstance(taken, Term):
            inputs.insert(0, self._tables[id(taken)][1])
        return {
            name: words for each in reversed(inputs) for name, words in each.items()
            if name in term.inventory
        }  # fmt: skip

    def excuse(self, inputs: "Sequence[Input]", names: Sequence[str]) -> bool:
        """Whether tensors of different shapes are tables of known tokens, of rows of one width."""
        for each in inputs:
            tables, first = self.tables(each.term), inputs[0].term.inventory
            for name in names:
                row = row_of(each.term.inventory[name].shape)
                if _tokenizer(tables.get(name)) is None or row != row_of(first[name].shape):
                    return False
        return True

    def mixed(self, inputs: "Sequence[Input]") -> frozenset[str]:
        """The tables whose rows do not stand for the same tokens in all inputs."""
        first = self.tables(inputs[0].term)
        return frozenset(
            name
            for each in inputs[1:]
            for name, words in self.tables(each.term).items()
            if name in first and self.differ(first[name], words)
        )

    def differ(self, one: Words, other: Words) -> bool:
        """Whether two vocabularies give ids to different tokens."""
        if one is other:
            return False
        if isinstance(one, Target) or isinstance(other, Target):
            unknown = None in (_tokenizer(one), _tokenizer(other))
            return one.rows != other.rows or not (unknown or _tokens(one) == _tokens(other))
        key = (id(one), id(other))
        if key not in self._same:
            self._same[key] = one.same(other)
        return not self._same[key]

    def refuse(self, term: Term) -> None:
        """Notes that a term was to be aligned, and that why it cannot be is told or not known."""
        self._refused |= self._under([term])

    def report(self, report: "Report", roots: Iterable[Term]) -> None:
        """Tells where different vocabularies meet, in what is not aligned before it is written."""
        used = self._under(roots)
        told: set[int] = set()
        for term, inputs in self._met.values():
            if id(term) in self.aligned and id(term) not in used:
                continue
            if id(term) in self._refused:
                continue
            answered = "mismatch" in term.policy or (told and told & self._under([term]))
            if not answered and self._look(report, inputs):
                told.add(id(term))

    def in_force(
        self, names: Mapping[str, Term], outputs: "Iterable[Destination]"
    ) -> dict[str, Term]:
        """Named terms; those that outputs have only as aligned copies as these."""
        used = self._under(output.term for output in outputs)
        return {
            name: term if id(term) in used else self.aligned.get(id(term), (term, term))[1]
            for name, term in names.items()
        }

    def _under(self, roots: Iterable[Term]) -> set[int]:
        used: set[int] = set()
        stack = list(roots)
        while stack:
            each = stack.pop()
            if id(each) not in used:
                used.add(id(each))
                stack += self.below(each)
                stack += [each.donor] if each.donor else []
        return used

    def _look(self, report: "Report", inputs: "tuple[Input, ...]") -> bool:
        first = inputs[0]
        known = self.tables(first.term)
        for each in inputs[1:]:
            for name, words in self.tables(each.term).items():
                if name in known and self.differ(known[name], words):
                    how = difference(known[name], words, first.text, each.text)
                    models = ", ".join(self._names([one.term for one in inputs]))
                    report.add(
                        "E2401", each.span, first.span, other=each.text, first=first.text,
                        how=how, models=models,
                    )  # fmt: skip
                    return True
        return False

    def _names(self, terms: Iterable[Term]) -> list[str]:
        """What the models under some terms are called, each once."""
        found: dict[Reference, str] = {}
        for term in terms:
            for source in self.sources(term):
                reference = source.options["reference"]
                text = f'"{reference.text}"'
                adapter = source.op == "resized"
                found.setdefault(reference, f"lora({text})" if adapter else source.name or text)
        return list(found.values())

    def foreign(self, term: Term, words: Words | None) -> Words | None:
        """The vocabulary of a term, unless it is that of the model that gives the config."""
        if tokens_of(words) is None:
            return None
        if isinstance(words, Target):
            return words
        own = self.checkpoint(self.donor(term)).vocabulary
        return None if own is not None and not self.differ(own, words) else words

    def one(self, report: "Report", term: Term, span: Span) -> Words | None:
        """The vocabulary of a term that is to be written; tells where its tables have several."""
        tables = self.tables(term)
        for name, words in tables.items():
            first, known = next(iter(tables.items()))
            if self.differ(known, words):
                told = None not in (tokens_of(known), tokens_of(words))
                models = ", ".join(self._names([term]))
                report.add(
                    "E2419", span, first=first, name=name, models=models if told else None,
                    untold=None if told else "",
                    how=difference(known, words, first, name),
                )  # fmt: skip
                return None
        return next(iter(tables.values()), None)


def made_tables(term: Term) -> list[str]:
    """The tables of a `resized` term that are the adapter's."""
    return [name for name, origin in term.layout.origins.items() if isinstance(origin, Fresh)]


def difference(one: Words, other: Words, first: str, second: str) -> str:
    """By how much two vocabularies differ, in words."""
    these, those = tokens_of(one), tokens_of(other)
    rows = f"the tables have {one.rows:,} and {other.rows:,} rows"
    if these is None or those is None:
        return rows
    parts = []
    for name, has, lacks in ((second, those, these), (first, these, those)):
        more = [text for text in has if text not in lacks]
        if more:
            parts.append(f"`{name}` has {counted(len(more), 'token')} more: {listed(more, 3)}")
    moved = sum(number != those.get(text, number) for text, number in these.items())
    if moved:
        which = "have other ids" if moved > 1 else "has another id"
        parts.append(f"{counted(moved, 'token')} {which}")
    if not parts:
        parts.append(f"of the same tokens, {rows}")
    return "; ".join(parts)


def tokens_of(words: Words | None) -> Mapping[str, int] | None:
    """The ids of the tokens of a vocabulary; None where no tokenizer says."""
    return None if _tokenizer(words) is None else _tokens(words)


def _tokenizer(words: Words | None) -> Tokenizer | None:
    if isinstance(words, Target):
        return words.first.tokenizer
    return words and words.tokenizer


def _tokens(words: Words) -> Mapping[str, int]:
    return words.tokens if isinstance(words, Target) else words.tokenizer.tokens


def _of_arms(term: Term, inputs: Sequence[Mapping[str, Words]]) -> dict[str, Words]:
    found: dict[str, Words] = {}
    for name in dict.fromkeys(name for each in inputs for name in each):
        if name in term.inventory:
            place = term.inventory.place(name)
            patterns = term.options["patterns"]
            arm = next(i for i, pattern in enumerate(patterns) if matches(pattern, place))
            if name in inputs[arm]:
                found[name] = inputs[arm][name]
    return found
