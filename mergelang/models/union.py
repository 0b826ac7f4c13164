"""The tokenizer files of a target: the first model's, with the tokens of the others put in.

A word of another vocabulary becomes a word of this one, and the merges of a byte-pair vocabulary
that make new words follow those that are there; so text is cut as before wherever it could be, and
an extended vocabulary is cut as its own tokenizer does. Added tokens stay added tokens.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergelang.models.target import Target
from mergelang.models.tokenizer import Tokenizer
from mergelang.models.vocabulary import Vocabulary

STALE = ("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
         "sentencepiece.bpe.model")  # fmt: skip
"""Files of the first model that say nothing of the new tokens, where tokenizer.json does."""

KIND = ("normalizer", "pre_tokenizer", "decoder")
"""What two tokenizers have to have in common for the merges of one to serve the other."""


def tokenizer_files(target: Target | Vocabulary) -> tuple[dict[str, bytes], tuple[Path, ...]]:
    """The files to write, by name, and those to copy; of a model's own vocabulary all of its."""
    if isinstance(target, Vocabulary):
        return {}, tuple(target.tokenizer.files.values())
    first = target.first.tokenizer
    if not target.fresh:
        return {}, tuple(first.files.values())
    written: dict[str, bytes] = {}
    left_out: set[str] = set()
    if first.source == "tokenizer.json":
        written["tokenizer.json"] = _encoded(_content(target), indent=None)
        left_out.update(STALE)
    entries = {
        target.tokens[text]: _entry(text, owner) for text, owner in
        (*((text, None) for text in target.words if first.source != "tokenizer.json"),
         *target.added.items())
    }  # fmt: skip
    if "added_tokens_decoder" in first.config or first.source != "tokenizer.json":
        decoder = {**first.config.get("added_tokens_decoder", {})}
        decoder |= {str(number): entry for number, entry in entries.items()}
        config = {**first.config, "added_tokens_decoder": decoder}
        written["tokenizer_config.json"] = _encoded(config)
    if "added_tokens.json" in first.files or first.source != "tokenizer.json":
        tokens = {text: entry["id"] for text, entry in first.added.items()}
        tokens |= {entry["content"]: number for number, entry in entries.items()}
        written["added_tokens.json"] = _encoded(tokens)
    copied = (path for name, path in first.files.items() if name not in {*written, *left_out})
    return written, tuple(copied)


def _entry(text: str, owner: Tokenizer | None) -> dict[str, Any]:
    """How an added token is matched: as in the tokenizer that it comes from."""
    entry = owner.added.get(text, {}) if owner is not None else {}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}  # fmt: skip
    return {"content": text, **{key: entry.get(key, value) for key, value in plain.items()}}


def _content(target: Target) -> dict[str, Any]:
    first = target.first.tokenizer
    content = dict(first.content())
    ids = target.tokens
    content["added_tokens"] = [
        *(content.get("added_tokens") or ()),
        *({"id": ids[text], **_entry(text, owner)} for text, owner in target.added.items()),
    ]
    if not target.words:
        return content
    model = dict(content["model"])
    if isinstance(model["vocab"], list):
        content["model"] = {**model, "vocab": _scored(target, model["vocab"])}
        return content
    # With added tokens among the words every id is as written, whatever the numbers in between.
    added = {text: entry["id"] for text, entry in first.added.items()}
    model["vocab"] = {**model["vocab"], **added, **{text: ids[text] for text in target.fresh}}
    if "merges" in model:
        model["merges"] = _merges(target, content)
    return {**content, "model": model}


def _merges(target: Target, content: Mapping[str, Any]) -> list[Any]:
    """The merges, and those of the others that make words which are new."""
    merges = content["model"]["merges"]
    found = {tuple(each.split(" ")) if isinstance(each, str) else tuple(each): None
             for each in merges}  # fmt: skip
    before = len(found)
    for owner in dict.fromkeys(target.words.values()):
        theirs = owner.content() if owner.source == "tokenizer.json" else {}
        if not theirs or any(content.get(key) != theirs.get(key) for key in KIND):
            continue
        for each in theirs["model"].get("merges") or ():
            pair = tuple(each.split(" ")) if isinstance(each, str) else tuple(each)
            if "".join(pair) in target.words:
                found.setdefault(pair)
    if len(found) == before:
        return merges
    if merges and isinstance(merges[0], list):
        return [list(pair) for pair in found]
    return [" ".join(pair) for pair in found]


def _scored(target: Target, vocab: list[list[Any]]) -> list[list[Any]]:
    """The vocabulary of a Unigram tokenizer: a list, where the place of a word is its id.

    New words have the score that they have where they come from; added tokens, which are found
    before any words are, zero; numbers without a token an empty one that is never found.
    """
    scores: dict[str, float] = {}
    for owner in dict.fromkeys(target.words.values()):
        content = owner.content() if owner.source == "tokenizer.json" else {}
        model = content.get("model", {})
        if isinstance(model.get("vocab"), list):
            for text, score in model["vocab"]:
                scores.setdefault(text, score)
    least = min((score for _, score in vocab), default=0.0)
    by_id = {number: text for text, number in target.tokens.items()}
    found = list(vocab)
    for number in range(len(vocab), target.size):
        text = by_id.get(number, f"<unused{number}>")
        score = scores.get(text, least) if text in target.words else 0.0
        found.append([text, score])
    return found


def _encoded(value: Mapping[str, Any], indent: int | None = 2) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode()
