"""What may stand at a place of a recipe: names, operators, options. For editors.

Works on the text alone, which need not be right. Reads folders only for the path of a model.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mergelang.check.outputs import KNOWN as OUTPUT_OPTIONS
from mergelang.check.params import KNOWN as BOUNDS
from mergelang.check.patterns import ROLES
from mergelang.lang.highlight import CALL, COMMENT, KEYWORD, STATEMENTS, STRING, Word, words
from mergelang.ops.registry import operators
from mergelang.ops.signature import Boolean, Choice, Number, Option, Signature

DTYPES = ("bf16", "f16", "f32", "f64")

BEGINNINGS = {
    "model": 'model name = "./folder"', "let": "let name = expression",
    "param": "param t = 0.5 { min: 0, max: 1 }", "output": 'output "out/name" = expression',
    "use": 'use "other.merge" as name', "seed": "seed 0", "mergelang": "mergelang 1",
}  # fmt: skip
"""How each statement is written."""

_GIVEN = re.compile(r"^(model|let|param)[ \t]+([^\W\d]\w*)|^use\b.*\bas[ \t]+([^\W\d]\w*)", re.M)


class Candidate(NamedTuple):
    """`insert` takes the place of what is typed; `label` and `about` are for people."""

    insert: str
    label: str
    about: str = ""


@dataclass(frozen=True)
class Completion:
    """What may stand at characters `start` up to where it was asked."""

    start: int
    candidates: tuple[Candidate, ...]


def complete(text: str, offset: int, folder: Path | None = None) -> Completion:
    """What may stand at a place, those that begin with what is typed there."""
    every = words(text)
    if any(word.start < offset <= word.end and word.kind == COMMENT for word in every):
        return Completion(offset, ())
    before = [word for word in words(text[:offset]) if word.kind != COMMENT]
    last = before[-1] if before else None
    if last and last.kind == STRING and last.end == offset:
        if _is_closed(text[last.start : last.end]):
            return Completion(offset, ())
        return _paths(text, before, offset, folder)
    typed = re.search(r"@?\w*\Z", text[:offset])
    start = typed.start()
    before = [word for word in before if word.end <= start]
    found = [
        each for each in _candidates(text, before, start, _behind(text, every, offset))
        if each.insert.startswith(text[start:offset])
        and each.insert.rstrip("(: ") != text[start:offset]
    ]  # fmt: skip
    return Completion(start, tuple(found))


def given_names(text: str) -> dict[str, str]:
    """The names that a text gives, each with its statement word."""
    return {name or used: word or "use" for word, name, used in _GIVEN.findall(text)}


@dataclass(frozen=True)
class _Frame:
    """An open bracket: where, and the word before it."""

    mark: str
    at: int
    """The number of the bracket's word."""


def _candidates(
    text: str, before: list[Word], start: int, behind: set[str]
) -> Iterator[Candidate]:
    frames = _frames(text, before)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    if not frames and not line.strip():
        yield from (Candidate(word, word, form) for word, form in BEGINNINGS.items())
        return
    key = _option_before(text, before)
    signature = _call(text, before, frames)
    if frames and frames[-1].mark == "{":
        yield from _in_braces(text, before, frames, key, signature, behind)
        return
    option = signature.option(key) if signature and key else None
    if option is not None:
        yield from _values(text, option)
        return
    if frames and frames[-1].mark == "(" and signature and _begins_item(text, before):
        taken = _taken(text, before, frames[-1].at) | behind
        if signature.takes_base and "base" not in taken:
            yield Candidate("base: ", "base:", "the model that task vectors are taken from")
        yield from _options(signature.options, taken)
    if frames or "=" in line:
        yield from _expressions(text, before)


def _in_braces(
    text: str, before: list[Word], frames: list[_Frame], key: str | None,
    signature: Signature | None, behind: set[str],
) -> Iterator[Candidate]:  # fmt: skip
    """In a `match`, or in the record of an input, an output or a param."""
    opened = frames[-1].at
    word = text[before[opened - 1].start : before[opened - 1].end] if opened else ""
    if word == "match":
        if _begins_item(text, before) or _last(text, before) in ("!", "&", "|", "("):
            yield from (Candidate(f"@{role}", f"@{role}", "a role of tensors") for role in ROLES)
            yield Candidate("layers ", "layers a..b", "layers, 0-based, half open")
            yield Candidate("_ => ", "_ =>", "everything else")
        else:
            yield from _expressions(text, before)
        return
    taken = _taken(text, before, opened) | behind
    if signature is not None:
        each = [option for option in signature.options if option.each]
        option = signature.option(key) if key else None
        yield from _values(text, option) if option else _options(each, taken)
        return
    statement = text[before[_statement(text, before)].start :]
    if statement.startswith("output"):
        if key == "dtype":
            yield from (Candidate(name, name) for name in DTYPES)
        elif key is None:
            left = [name for name in OUTPUT_OPTIONS if name not in taken]
            yield from (Candidate(f"{name}: ", f"{name}:") for name in left)
    elif statement.startswith("param") and key is None:
        left = [name for name in BOUNDS if name not in taken]
        yield from (Candidate(f"{name}: ", f"{name}:") for name in left)


def _options(options: Iterable[Option], taken: set[str]) -> Iterator[Candidate]:
    for option in options:
        if option.name not in taken:
            yield Candidate(f"{option.name}: ", f"{option.name}:", str(option.kind))


def _values(text: str, option: Option) -> Iterator[Candidate]:
    match option.kind:
        case Choice(words=known):
            yield from (Candidate(word, word) for word in known)
        case Boolean():
            yield from (Candidate(word, word) for word in ("true", "false"))
        case Number():
            params = (name for name, word in given_names(text).items() if word == "param")
            yield from (Candidate(name, name, "a param") for name in params)
            yield Candidate("curve(", "curve(...)", "along the layers")
            yield Candidate("match { ", "match { ... }", "from tensor to tensor")


def _expressions(text: str, before: list[Word]) -> Iterator[Candidate]:
    for name, word in given_names(text[: before[_statement(text, before)].start]).items():
        yield Candidate(name, name, {"use": "a used recipe", "let": "an expression"}.get(
            word, f"a {word}"
        ))  # fmt: skip
    for each in operators().values():
        yield Candidate(f"{each.name}(", f"{each.name}(...)", each.signature.summary)
    yield Candidate("match { ", "match { ... }", "other methods for other tensors")


def _frames(text: str, before: list[Word]) -> list[_Frame]:
    """The brackets that are open, of the statement that is being written."""
    frames: list[_Frame] = []
    for number, word in enumerate(before):
        mark = text[word.start : word.end]
        begins = text[word.start - 1 : word.start] in ("", "\n")
        if word.kind == KEYWORD and mark in STATEMENTS and begins:
            frames.clear()
        elif mark in ("(", "[", "{"):
            frames.append(_Frame(mark, number))
        elif mark in (")", "]", "}") and frames:
            frames.pop()
    return frames


def _call(text: str, before: list[Word], frames: list[_Frame]) -> Signature | None:
    """The operator whose argument or record is being written."""
    if not frames:
        return None
    frame = frames[-1]
    if frame.mark == "{" and len(frames) > 1:
        frame = frames[-2]
    if frame.mark != "(" or not frame.at or before[frame.at - 1].kind != CALL:
        return None
    word = before[frame.at - 1]
    known = operators().get(text[word.start : word.end])
    return known.signature if known else None


def call_at(text: str, offset: int) -> Signature | None:
    """The operator whose argument or record a place is in."""
    before = [word for word in words(text[:offset]) if word.kind != COMMENT]
    return _call(text, before, _frames(text, before))


def _option_before(text: str, before: list[Word]) -> str | None:
    """The option whose value comes next."""
    if len(before) > 1 and _last(text, before) == ":":
        return text[before[-2].start : before[-2].end]
    return None


def _begins_item(text: str, before: list[Word]) -> bool:
    return _last(text, before) in ("(", ",", "{")


def _last(text: str, before: list[Word]) -> str:
    return text[before[-1].start : before[-1].end] if before else ""


def _taken(text: str, before: list[Word], opened: int) -> set[str]:
    """Options that are written already between the bracket and here."""
    return _options_in(text, before[opened + 1 :])


def _behind(text: str, every: list[Word], offset: int) -> set[str]:
    """Options that are written behind a place, in the brackets it is in."""
    return _options_in(text, [word for word in every if word.start >= offset])


def _options_in(text: str, some: list[Word]) -> set[str]:
    """Names before a colon, up to the bracket that closes; not those in brackets of their own."""
    found, depth, name = set(), 0, ""
    for word in some:
        mark = text[word.start : word.end]
        begins = text[word.start - 1 : word.start] in ("", "\n")
        if word.kind == KEYWORD and mark in STATEMENTS and begins:
            break
        depth += (mark in ("(", "[", "{")) - (mark in (")", "]", "}"))
        if depth < 0:
            break
        if mark == ":" and not depth:
            found.add(name)
        name = mark
    return found


def _statement(text: str, before: list[Word]) -> int:
    """The number of the word that the statement begins with."""
    return max(
        (i for i, word in enumerate(before)
         if word.kind == KEYWORD and text[word.start : word.end] in STATEMENTS),
        default=0,
    )  # fmt: skip


def _is_closed(string: str) -> bool:
    return len(string) > 1 and string.endswith('"') and not string.endswith('\\"')


def _paths(text: str, before: list[Word], offset: int, folder: Path | None) -> Completion:
    """Folders and models under the path that is being typed."""
    typed = text[before[-1].start + 1 : offset]
    head, _, tail = typed.rpartition("/")
    if folder is None or typed.startswith("hf:") or len(before) < 2:
        return Completion(offset, ())
    found = []
    try:
        for each in sorted((folder / (f"{head}/" if head else "")).iterdir()):
            if each.name.startswith(".") or not each.name.startswith(tail):
                continue
            if (each / "config.json").is_file():
                found.append(Candidate(each.name, each.name, "a model"))
            elif each.is_dir():
                found.append(Candidate(f"{each.name}/", f"{each.name}/"))
            elif each.suffix in (".safetensors", ".merge"):
                found.append(Candidate(each.name, each.name))
    except OSError:
        pass
    return Completion(offset - len(tail), tuple(found))
