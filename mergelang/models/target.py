"""The vocabulary of an output: one model's, or the union of several.

The first model's tokens keep their ids. What the others have more stands behind them, in their
order: first the words of their vocabularies, then their added tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from mergelang.models.tokenizer import Tokenizer
from mergelang.models.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Target:
    """What an output's tables have rows for.

    `first` is the model whose tokenizer files are kept. `tokens` gives every token its id; `words`
    and `added` are those that `first` does not have, by the tokenizer that they come from (None for
    one that a recipe adds). `rows` of a table, `size` of them for ids that tokens may have.
    """

    first: Vocabulary
    tokens: Mapping[str, int]
    words: Mapping[str, Tokenizer]
    added: Mapping[str, Tokenizer | None]
    size: int
    rows: int

    @property
    def fresh(self) -> tuple[str, ...]:
        """The tokens that the first model does not have, in the order of their ids."""
        return (*self.words, *self.added)


def target_of(
    vocabularies: Sequence[Vocabulary], extra: Iterable[str] = (), pad: int | None = None
) -> Target:
    """The union of some vocabularies, which all have tokenizers, and of `extra` tokens.

    Rows are a multiple of `pad`. Without it a vocabulary that had rows to spare keeps some: as many
    as the first model has, or the next multiple of the power of two that those are one of.
    """
    first, *others = vocabularies
    known = first.tokenizer.tokens
    words: dict[str, Tokenizer] = {}
    added: dict[str, Tokenizer | None] = {}
    for each in others:
        tokenizer = each.tokenizer
        if tokenizer.same(first.tokenizer):
            continue
        for text, number in tokenizer.tokens.items():
            if number < each.rows and text not in known and text not in tokenizer.added:
                words.setdefault(text, tokenizer)
    for each in others:
        tokenizer = each.tokenizer
        for text, entry in tokenizer.added.items():
            if entry["id"] < each.rows and text not in known and text not in words:
                added.setdefault(text, tokenizer)
    for text in extra:
        if text not in known and text not in words:
            added.setdefault(text, None)
    before = size_of(first.tokenizer)
    tokens = dict(known)
    for number, text in enumerate((*words, *added), before):
        tokens[text] = number
    size = before + len(words) + len(added)
    if pad is None and first.rows > before:
        rows = max(first.rows, _multiple(size, gcd(first.rows, 128)))
    else:
        rows = _multiple(size, pad or 1)
    return Target(first, tokens, words, added, size, rows)


def renumbered(mine: Vocabulary, words: Vocabulary | Target) -> dict[str, Any]:
    """What changes in a model's config with its vocabulary: arguments of `with_vocabulary`.

    A token that the new vocabulary does not have becomes its token of the same use (begin, end,
    padding), where there is one.
    """
    target = isinstance(words, Target)
    tokens = words.tokens if target else words.tokenizer.tokens
    uses = (words.first if target else words).tokenizer.special
    instead = {text: uses.get(use) for use, text in mine.tokenizer.special.items()}
    ids = {}
    for text, number in mine.tokenizer.tokens.items():
        new = tokens.get(text, tokens.get(instead.get(text)))
        if new is not None and new != number:
            ids[number] = new
    return {"rows": words.rows, "was": mine.rows, "ids": ids}


def size_of(tokenizer: Tokenizer) -> int:
    """One more than the greatest id."""
    return max(tokenizer.tokens.values(), default=-1) + 1


def _multiple(size: int, of: int) -> int:
    return -(-size // of) * of
