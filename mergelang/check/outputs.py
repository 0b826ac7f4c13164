"""`output` statements: their options, and whether their folders may be written."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mergelang.check import wish
from mergelang.check.config import part_without_config
from mergelang.check.expressions import Expressions
from mergelang.check.program import Destination
from mergelang.check.retokenize import retokenize
from mergelang.check.suggest import listed, nearest
from mergelang.check.template import Reader, chat_template, settled
from mergelang.check.terms import Input
from mergelang.check.value import Number, Unknown, describe, exactly
from mergelang.errors import Diagnostic, InputError
from mergelang.lang import ast
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference, local_path
from mergelang.source import Span

DTYPES = {
    "bf16": "BF16", "bfloat16": "BF16", "f16": "F16", "float16": "F16", "fp16": "F16",
    "f32": "F32", "float32": "F32", "fp32": "F32", "f64": "F64", "float64": "F64", "fp64": "F64",
}  # fmt: skip
"""What people write, and the name in safetensors."""

SHARDS = 5 * 10**9
"""Bytes of a shard unless said otherwise."""

KNOWN = ("dtype", "shards", "tokenizer", "tokens", "pad_vocab", "chat_template")

RECORD = "mergelang.json"


def check_output(
    output: ast.Output, expressions: Expressions, folder: Path, read: Reader
) -> Destination | None:
    """The destination of an output; None, and reported, when anything in it is wrong.

    `read` gives the text of a file that it names.
    """
    term = expressions.model(output.value)
    options = _options(output.record, expressions, folder, read)
    text = output.path.value
    part = term and part_without_config(term)
    if part:
        whole = part.inputs[0].name or part.inputs[0].span.text
        expressions.report.add(
            "E2309", output.value.span, text=output.value.span.text, whole=whole,
            word=part.options["words"][0],
        )  # fmt: skip
        return None
    if not text.strip():
        expressions.report.add("E0813", output.path.span)
        return None
    if term is None or options is None:
        if term is not None:
            # What an option might have aligned is not told besides what is wrong with the options.
            expressions.terms.vocabularies.refuse(term)
        return None
    if term.inventory is not None and term.inventory.sparse:
        expressions.report.add("E2208", output.value.span, text=output.value.span.text)
        return None
    try:
        path = local_path(text, folder)
    except InputError as error:
        expressions.report.extend([error.at(output.path.span)])
        return None
    wanted, template = options["tokenizer"], options["chat_template"]
    vocabularies = expressions.terms.vocabularies
    if wanted is not None:
        one = Input(term, output.value.span)
        term = retokenize(one, wanted, vocabularies, expressions.report, wanted.span)
        if term is None:
            vocabularies.refuse(one.term)
            return None
    words = vocabularies.one(expressions.report, term, output.value.span)
    if template is not None:
        span = options["places"]["chat_template"]
        template = settled(template, term, span, expressions)
    kept = {name: options[name] for name in ("dtype", "shards")}
    return Destination(
        text, _normal(str(path.absolute())), term, kept, output.path.span, template,
        vocabularies.foreign(term, words),
    )  # fmt: skip


def _options(
    record: ast.Record | None, expressions: Expressions, folder: Path, read: Reader
) -> dict[str, Any] | None:
    report = expressions.report
    options: dict[str, Any] = dict.fromkeys(KNOWN) | {"shards": SHARDS}
    said: dict[str, Any] = {}
    places: dict[str, Span] = {}
    sound = True
    for entry in record.entries if record else ():
        name = entry.key.id if isinstance(entry.key, ast.Name) else entry.key.value
        span = entry.key.span
        if name in places:
            report.add("E0306", span, places[name], name=name)
        elif name == "dtype":
            options[name] = _dtype(entry.value, expressions)
            sound &= options[name] is not None
        elif name == "shards":
            options[name] = _size(entry.value, expressions)
            sound &= options[name] is not None
        elif name == "tokenizer":
            options[name] = wish.vocabulary(entry.value, expressions)
            sound &= options[name] is not None
        elif name in ("tokens", "pad_vocab"):
            wished = wish.tokens if name == "tokens" else wish.rows
            said[name] = wished(entry.value, expressions)
            sound &= said[name] is not None
        elif name == "chat_template":
            options[name] = chat_template(entry.value, expressions, folder, read)
            sound &= options[name] is not None
        else:
            suggestion = nearest(name, KNOWN)
            known = None if suggestion else listed(KNOWN)
            report.add("E0802", span, name=name, suggestion=suggestion, known=known)
        sound &= name not in places and name in KNOWN
        places.setdefault(name, span)
    for name in said:
        if "tokenizer" not in places:
            report.add("E2413", places[name], name=name)
            sound = False
    if sound and said:
        options["tokenizer"] = replace(
            options["tokenizer"], tokens=said.get("tokens", {}), pad=said.get("pad_vocab")
        )
    options["places"] = places
    return options if sound else None


def _dtype(expr: ast.Expr, expressions: Expressions) -> str | None:
    text = expr.id if isinstance(expr, ast.Name) else None
    binding = text and expressions.scope.bindings.get(text)
    if text not in DTYPES and (text is None or binding):
        value = expressions.value(expr)
        if isinstance(value, Unknown):
            return None
        text = value if isinstance(value, str) else expr.span.text
    if text.lower() in DTYPES:
        return DTYPES[text.lower()]
    known = ("bf16", "f16", "f32", "f64")
    expressions.report.add(
        "E0803", expr.span, text=text, suggestion=nearest(text, DTYPES), known=listed(known)
    )
    return None


def _size(expr: ast.Expr, expressions: Expressions) -> int | None:
    value = expressions.value(expr)
    if isinstance(value, Unknown):
        return None
    if isinstance(value, Number) and value.size:
        size = value.schedule.value
        if size >= 1:
            return int(size)
        got = "less than a byte"
    else:
        got = expr.span.text if exactly(value) is not None else describe(value)
    expressions.report.add("E0804", expr.span, got=got)
    return None


Spares = Callable[[Destination, Mapping[Reference, Checkpoint]], bool]
"""Whether nothing would be written to an output, of a recipe with these sources."""


def check_outputs(
    outputs: Sequence[Destination], checkpoints: Mapping[Reference, Checkpoint],
    spares: Spares = lambda output, checkpoints: False,
) -> list[Diagnostic]:  # fmt: skip
    """Where outputs would overwrite each other, an input, or what is not ours. Reads folders.

    Of a folder that it `spares`, what lies there besides is no matter.
    """
    found = list(_collisions(outputs))
    for output in outputs:
        try:
            found += list(_inputs(output, checkpoints)) or [
                each for each in _foreign(output)
                if each.code != "E0811" or not spares(output, checkpoints)
            ]  # fmt: skip
        except OSError as error:
            facts = {"path": output.text, "reason": (error.strerror or str(error)).lower()}
            found.append(Diagnostic("E0604", output.span, facts))
    return found


def _collisions(outputs: Sequence[Destination]) -> Iterable[Diagnostic]:
    for index, output in enumerate(outputs):
        for other in outputs[:index]:
            facts = {"text": output.text, "other": other.text}
            if output.path == other.path:
                yield Diagnostic("E0807", output.span, facts, (other.span,))
                break
            if _inside(output.path, other.path) or _inside(other.path, output.path):
                yield Diagnostic("E0808", output.span, facts, (other.span,))
                break


def _inputs(
    output: Destination, checkpoints: Mapping[Reference, Checkpoint]
) -> Iterable[Diagnostic]:
    real = _real(output.path)
    for reference in checkpoints:
        if reference.path is None:
            continue
        source = _real(str(reference.path))
        facts = {"text": output.text, "source": reference.text}
        if real == source:
            yield Diagnostic("E0809", output.span, facts)
        elif _inside(real, source):
            yield Diagnostic("E0810", output.span, {**facts, "how": "inside"})
        elif _inside(source, real):
            yield Diagnostic("E0810", output.span, {**facts, "how": "around"})
        else:
            continue
        return


def _foreign(output: Destination) -> Iterable[Diagnostic]:
    """The output's place taken by a file, or by a folder with files that we did not write."""
    path = Path(output.path)
    for parent in path.parents:
        if parent.is_dir():
            break
        if parent.exists():
            yield Diagnostic("E0812", output.span, {"text": output.text, "file": parent.name})
            return
    if not path.exists():
        return
    if not path.is_dir():
        yield Diagnostic("E0812", output.span, {"text": output.text, "file": path.name})
        return
    foreign = foreign_files(path)
    if foreign:
        facts = {"text": output.text, "names": listed(foreign, 3)}
        yield Diagnostic("E0811", output.span, facts)


def foreign_files(folder: Path) -> list[str]:
    """The files in a folder, if it is there, that its own record does not say we wrote."""
    ours = _ours(folder)
    return sorted(
        str(each.relative_to(folder))
        for each in folder.rglob("*")
        if not each.is_dir() and str(each.relative_to(folder)) not in ours
    )


def _ours(folder: Path) -> set[str]:
    """Names of the files that the folder's own record says we wrote."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return {RECORD, *record["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _inside(path: str, folder: str) -> bool:
    return Path(folder) in Path(path).parents


def _normal(path: str) -> str:
    import os.path

    return os.path.normpath(path)


def _real(path: str) -> str:
    return str(Path(path).resolve())
