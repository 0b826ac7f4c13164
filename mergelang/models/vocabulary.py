"""Which tensors of a model have a row for each token, and what those rows stand for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mergelang.models.tokenizer import Tokenizer
from mergelang.models.towers import alike
from mergelang.tensors import Inventory, along_last

EMBEDDINGS = {"embed_tokens", "wte", "word_embeddings", "embed_in", "shared", "tok_embeddings",
              "token_embedding", "word_embedding"}  # fmt: skip
"""Words in the names of the embedding of tokens."""

HEADS = {"lm_head", "embed_out", "output_projection"}

KNOWN = re.compile(
    r"(.*\.)?(cls\.predictions\.(bias|decoder\..*)|generator_lm_head\..*|final_logits_bias)"
)
"""Tensors of the size of the vocabulary by other names."""

OTHERS = {"wpe", "position_embeddings", "token_type_embeddings", "embed_positions", "score",
          "classifier", "pos_embed", "position_embedding"}  # fmt: skip
"""Words in the names of tables that have no row for each token, whatever their size."""

_NUMBERED = re.compile(r"\.\d+\.")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The vocabulary of a model: how many rows its tables have, and whose tokenizer counts them.

    `tensors` are the names of the tables; `unknown` those of tensors that have its size and a name
    that does not say what they are. `tokenizer` is None where the model comes without one.
    """

    rows: int
    tensors: tuple[str, ...]
    unknown: tuple[str, ...]
    tokenizer: Tokenizer | None
    shown: str

    def same(self, other: "Vocabulary") -> bool:
        """Whether the rows stand for the same tokens, as far as files tell."""
        if self is other:
            return True
        if self.tokenizer is None or other.tokenizer is None:
            return self.rows == other.rows
        return self.rows == other.rows and self.tokenizer.same(other.tokenizer)


def vocabulary_of(
    inventory: Inventory, config: Mapping[str, Any], tokenizer: Tokenizer | None, shown: str
) -> Vocabulary | None:
    """The vocabulary of a model; None where it has no table of embeddings of tokens.

    Such a table is called so and lies outside the layers; its rows are those that the config says
    the vocabulary has, if it says.
    """
    said = set(found_sizes(config))
    named = [name for name in _embeddings(tuple(inventory)) if len(inventory[name].shape) == 2]
    chosen = [name for name in named if inventory[name].shape[0] in said] or named
    if not chosen:
        return None
    rows, width = inventory[chosen[0]].shape
    tables, unknown = [], []
    for name, (_, shape) in inventory.tensors.items():
        if rows not in shape:
            continue
        first = shape[0] == rows
        last = len(shape) > 1 and shape[-1] == rows != width
        if (first or (last and along_last(shape))) and (is_embedding(name) or is_head(name)):
            tables.append(name)
        elif (first or last) and not _other(inventory, name):
            unknown.append(name)
    return Vocabulary(rows, tuple(tables), tuple(unknown), tokenizer, shown)


def found_sizes(config: Mapping[str, Any]) -> Iterator[int]:
    """Every `vocab_size` of a config, those of nested configs too."""
    for key, value in config.items():
        if key == "vocab_size" and isinstance(value, int):
            yield value
        elif isinstance(value, dict):
            yield from found_sizes(value)


@lru_cache(maxsize=8)
def _embeddings(names: tuple[str, ...]) -> tuple[str, ...]:
    """Kept, since the models of one recipe mostly have the same names."""
    patterns = alike(names)
    chosen = set(filter(is_embedding, set(patterns.values())))
    return tuple(name for name, pattern in patterns.items() if pattern in chosen)


def is_embedding(name: str) -> bool:
    """Whether a tensor of this name is the embedding of tokens."""
    words = name.split(".")
    return words[-2:] == ["embeddings", "weight"] or not EMBEDDINGS.isdisjoint(words)


def is_head(name: str) -> bool:
    """Whether a tensor of this name gives a number to each token."""
    return not HEADS.isdisjoint(name.split(".")) or KNOWN.fullmatch(name) is not None


def _other(inventory: Inventory, name: str) -> bool:
    """Whether a tensor has the size of the vocabulary by chance."""
    words = set(name.split("."))
    return bool(
        OTHERS & words
        or _NUMBERED.search(name)
        or inventory.layering.split(name)[0] is not None
        or "norm" in inventory.roles.get(name, ())
    )
