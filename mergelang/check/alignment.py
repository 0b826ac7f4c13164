"""Where the rows of an aligned table come from, token by token.

The rules are those of mergekit: a model keeps the rows of the tokens that it has. A token that it
lacks gets the base's row; where the base lacks it too, that of the only model that has it; else the
mean of those that have it; zeros where no model has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from mergelang.models.target import Target, size_of
from mergelang.models.vocabulary import Vocabulary
from mergelang.ops.rows import Part, Run

Runs: TypeAlias = tuple[tuple[Run, ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Rule:
    """Where the row of one token comes from, as the recipe says it.

    `model` is the number of a vocabulary, None for zeros; `row` one of its rows, None for that of
    the token itself. `force`: also for models that have the token.
    """

    model: int | None
    row: int | None = None
    force: bool = False


@dataclass(frozen=True, eq=False)
class Alignment:
    """Tables of the model number `own` put in the order of the target.

    `vocabularies` are the models whose rows may be taken; the first `merged` of them are those that
    are merged, the others come after them. `base` is the number of the one preferred.
    """

    target: Target
    vocabularies: tuple[Vocabulary, ...]
    own: int
    merged: int
    base: int | None
    rules: Mapping[str, Rule]

    def __str__(self) -> str:
        size, taken = self.target.size, len(self.taken)
        rows = f"{taken:,} rows" if taken != 1 else "1 row"
        return f"to {size:,} tokens" + (f", {rows} from other models" if taken else "")

    @cached_property
    def taken(self) -> Mapping[str, tuple[int, ...]]:
        """Tokens whose rows are not the model's own: the numbers of the models they come from."""
        own = self._ids[self.own]
        return {
            text: self._source(text, range(len(self.vocabularies)))
            for text in self.target.tokens
            if text not in own or (text in self.rules and self.rules[text].force)
        }

    @cached_property
    def unchanged(self) -> bool:
        """Whether the tables are as they were, row by row."""
        rows = self.vocabularies[self.own].rows
        return self.keeps_ids and not self.taken and self.target.rows == rows

    @cached_property
    def keeps_ids(self) -> bool:
        """Whether every token of the model has the id and the row that it had."""
        own, target = self._ids[self.own], self.target.tokens
        same = all(target.get(text) == number for text, number in own.items())
        return same and own.keys().isdisjoint(self.taken)

    @cached_property
    def _ids(self) -> tuple[Mapping[str, int], ...]:
        """Of each model the rows of its tokens, as far as it has rows for them."""
        found = []
        for each in self.vocabularies:
            tokens = each.tokenizer.tokens
            if size_of(each.tokenizer) > each.rows:
                tokens = {text: i for text, i in tokens.items() if i < each.rows}
            found.append(tokens)
        return tuple(found)

    def _source(self, text: str, there: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the models that a token's row is the mean of, among those `there`."""
        rule = self.rules.get(text)
        if rule is not None:
            return () if rule.model is None else (rule.model,)
        having = [i for i in there if text in self._ids[i]]
        if self.base in having:
            return (self.base,)
        return tuple([i for i in having if i < self.merged] or having)

    def runs(self, there: tuple[int, ...]) -> Runs:
        """The rows of a table that the models `there` have, and bands that are the mean row.

        Tables are numbered as the models are. Rows that no token stands for are the model's own
        where it had such rows in their place; the others are to be the mean of all rows before.
        """
        if there not in self._runs:
            self._runs[there] = self._made(there)
        return self._runs[there]

    @cached_property
    def _runs(self) -> dict[tuple[int, ...], Runs]:
        return {}

    def _made(self, there: tuple[int, ...]) -> Runs:
        target, own = self.target, self._ids[self.own]
        rows: list[tuple[Part, ...]] = [()] * target.size
        for text, number in target.tokens.items():
            rule = self.rules.get(text)
            if text in own and not (rule and rule.force):
                rows[number] = (Part(self.own, own[text]),)
            else:
                rows[number] = tuple(
                    Part(i, self._ids[i][text] if rule is None or rule.row is None else rule.row)
                    for i in self._source(text, there)
                )
        mine = self.vocabularies[self.own]
        spare = range(max(target.size, size_of(mine.tokenizer)), min(mine.rows, target.rows))
        runs = _joined(rows)
        if len(spare):
            runs.append(Run(spare.start, len(spare), (Part(self.own, spare.start),)))
        ends = (target.size, *((spare.start, spare.stop) if len(spare) else ()), target.rows)
        bands = tuple((a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b)
        return tuple(runs), bands


def _joined(rows: Sequence[tuple[Part, ...]]) -> list[Run]:
    """Rows that follow each other in their tables as one run."""
    runs: list[Run] = []
    first, next_ = 0, None
    for number, parts in enumerate(rows):
        if parts != next_:
            if number > first:
                runs.append(Run(first, number - first, rows[first]))
            first = number
        next_ = tuple(Part(table, row + 1) for table, row in parts)
    if len(rows) > first:
        runs.append(Run(first, len(rows) - first, rows[first]))
    return runs
