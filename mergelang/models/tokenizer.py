"""The tokenizer of a model on disk: its vocabulary, from whichever of the known files it has.

Read are tokenizer.json (BPE, WordPiece, WordLevel, Unigram), vocab.json, vocab.txt and the model of
sentencepiece; added tokens stand in tokenizer.json, tokenizer_config.json and added_tokens.json.
Nothing is encoded here, and no tokenizer library is needed.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from mergelang.errors import InputError
from mergelang.garbage import uncollected

VOCABULARIES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
"""Files that a vocabulary can be read from, the first that is there."""

FILES = (
    *VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "merges.txt", "*.tiktoken", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
"""Files that a tokenizer consists of."""


@dataclass(frozen=True, eq=False)
class _Parsed:
    """What is kept of the files of tokenizers, as long as one has them."""

    tokens: Mapping[str, int]
    added: Mapping[str, Mapping[str, Any]]


_parsed: "WeakValueDictionary[bytes, _Parsed]" = WeakValueDictionary()
"""Vocabularies by the digests of their files."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """The tokenizer files of a model by name; `shown` is how errors call the model."""

    shown: str
    files: Mapping[str, Path]

    @cached_property
    def source(self) -> str:
        """The name of the file that the vocabulary is read from."""
        return next(name for name in VOCABULARIES if name in self.files)

    @cached_property
    def digest(self) -> bytes:
        """Of the files that say what the vocabulary is."""
        digest = blake2b(digest_size=16)
        for name in (self.source, "added_tokens.json", "tokenizer_config.json"):
            if name in self.files:
                data = self._bytes(name)
                if name == "tokenizer_config.json":
                    data = json.dumps(self._decoder, sort_keys=True).encode()
                digest.update(name.encode() + blake2b(data, digest_size=16).digest())
        return digest.digest()

    @property
    def tokens(self) -> Mapping[str, int]:
        """The id of every token, added ones included, in the order of the ids."""
        return self._parsed.tokens

    @property
    def added(self) -> Mapping[str, Mapping[str, Any]]:
        """The added tokens by text: id, and how they are matched where that is known."""
        return self._parsed.added

    @cached_property
    def _parsed(self) -> "_Parsed":
        known = _parsed.get(self.digest)
        if known is None:
            content = self.content() if self.source == "tokenizer.json" else {}
            added = self._added(content)
            found = dict(self._words(content))
            for text, entry in added.items():
                found.setdefault(text, entry["id"])
            known = _Parsed(dict(sorted(found.items(), key=lambda item: item[1])), added)
            _parsed[self.digest] = known
        return known

    def _words(self, content: Mapping[str, Any]) -> Mapping[str, int]:
        """The tokens of the vocabulary itself."""
        match self.source:
            case "tokenizer.json":
                vocab = content.get("model", {}).get("vocab", {})
                if isinstance(vocab, list):
                    return {entry[0]: i for i, entry in enumerate(vocab)}
                return vocab
            case "vocab.json":
                return self._json("vocab.json")
            case "vocab.txt":
                lines = self._bytes("vocab.txt").decode("utf-8", "replace").split("\n")
                lines = lines[:-1] if lines[-1] == "" else lines
                return {line.rstrip("\r"): i for i, line in enumerate(lines)}
        return {piece: i for i, piece in enumerate(pieces(self._bytes(self.source)))}

    def _added(self, content: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        found = {each["content"]: each for each in content.get("added_tokens") or ()}
        for number, entry in self._decoder.items():
            found.setdefault(entry["content"], {"id": int(number), **entry})
        if "added_tokens.json" in self.files:
            for text, number in self._json("added_tokens.json").items():
                found.setdefault(text, {"id": number, "content": text, "special": False})
        return dict(sorted(found.items(), key=lambda item: item[1]["id"]))

    def content(self) -> Mapping[str, Any]:
        """What tokenizer.json says, parsed anew each time: it is large, and not kept."""
        return self._json("tokenizer.json")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What tokenizer_config.json says; empty without one."""
        return self._json("tokenizer_config.json") if "tokenizer_config.json" in self.files else {}

    @cached_property
    def special(self) -> Mapping[str, str]:
        """The tokens of a use, such as `eos_token`."""
        found = dict(self.config)
        if "special_tokens_map.json" in self.files:
            found = {**self._json("special_tokens_map.json"), **found}
        texts = {
            use: value.get("content") if isinstance(value, dict) else value
            for use, value in found.items() if use.endswith("_token")
        }  # fmt: skip
        return {use: text for use, text in texts.items() if isinstance(text, str)}

    @property
    def _decoder(self) -> Mapping[str, Mapping[str, Any]]:
        found = self.config.get("added_tokens_decoder")
        return found if isinstance(found, dict) else {}

    def same(self, other: "Tokenizer") -> bool:
        """Whether both give every token the same id. Parses only what differs."""
        return self is other or self.digest == other.digest or self.tokens == other.tokens

    def _bytes(self, name: str) -> bytes:
        try:
            return self.files[name].read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError("E0604", path=f"{self.shown}/{name}", reason=reason) from error

    def _json(self, name: str) -> Any:
        try:
            with uncollected():
                found = json.loads(self._bytes(name))
            if isinstance(found, dict):
                return found
        except (ValueError, RecursionError):
            pass
        raise InputError("E0615", path=self.shown, file=name)


def is_tokenizer_file(name: str) -> bool:
    """Whether a file of this name is part of a tokenizer."""
    return any(fnmatchcase(name, form) for form in FILES)


def tokenizer_of(paths: Iterable[Path], shown: str) -> Tokenizer | None:
    """The tokenizer among some files; None where there is none whose vocabulary can be read."""
    files = {each.name: each for each in paths if is_tokenizer_file(each.name)}
    return Tokenizer(shown, files) if files.keys() & set(VOCABULARIES) else None


def pieces(data: bytes) -> Iterator[str]:
    """The pieces of a sentencepiece model in the order of their ids.

    The file is a protocol buffer: field 1, repeated, is a piece, whose own field 1 is its text.
    """
    for number, body in _fields(data):
        if number == 1:
            yield next((text.decode("utf-8", "replace") for n, text in _fields(body) if n == 1), "")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the fields of a protocol buffer; of numbers the content is empty."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
            yield tag >> 3, b""
        elif kind == 2:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            at += struct.calcsize("q") if kind == 1 else struct.calcsize("i")
            yield tag >> 3, b""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, at
