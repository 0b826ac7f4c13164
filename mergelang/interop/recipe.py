"""Configurations to the text of one recipe: models, an expression for each merge, outputs.

A merge that others use is a `let`, so many documents become one graph. What mergekit computes is
what the recipe says; where defaults differ, its own are written out.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mergelang.interop.config import (
    RANDOM,
    Document,
    Expert,
    Merge,
    Mixture,
    Module,
    Part,
    Tokenizer,
)
from mergelang.interop.merges import Piecework
from mergelang.interop.methods import MODULES
from mergelang.interop.names import Model, name_of, source_text
from mergelang.interop.nodes import Reader
from mergelang.interop.settings import glob
from mergelang.lang import quoted


class Writer:
    """Writes the recipe of the documents of one file."""

    def __init__(self, reader: Reader, folder: Path, into: Path, stem: str):
        self.reader, self.folder, self.into, self.stem = reader, folder, into, stem
        self.models: list[str] = []
        self.steps: list[str] = []
        self.outputs: list[str] = []
        self._names: dict[Model | str, str] = {}
        self._documents: dict[str, Document] = {}
        self._pieces = Piecework(reader, self.name)
        self._used: set[str] = set()
        self._unnamed: Document | None = None

    def text(self, documents: Sequence[Document]) -> str:
        """The statements, unformatted; an empty line between their groups."""
        for document in documents:
            self._declare(document)
            if isinstance(document, Merge):
                self._pieces.check(document)
        if self.reader.has_errors:
            return ""
        ordered = self._ordered(documents)
        if self.reader.has_errors:
            return ""
        for document in ordered:
            if isinstance(document, Merge):
                self._prefer(document)
        for document in ordered:
            self._document(document)
        groups = (self.models, self.steps, self.outputs)
        return "\n\n".join("\n".join(group) for group in groups if group) + "\n"

    # Names

    def name(self, model: Model) -> str:
        """What the recipe calls a model; the statement that names it is written on first use."""
        if model in self._names:
            return self._names[model]
        if model.lora:
            base = self.name(Model(model.path, model.revision))
            made = name_of(model.lora, self._names.values())
            where = source_text(model.lora, model.lora_revision, self.folder, self.into)
            # With the base, adapters that are no difference by themselves are merged, too.
            self.steps.append(f"let {made} = {base} + lora({quoted(where)}, base: {base})")
        elif model.path in self._documents:
            return self._names[model.path]
        else:
            made = name_of(model.path, self._names.values())
            where = source_text(model.path, model.revision, self.folder, self.into)
            self.models.append(f"model {made} = {quoted(where)}")
        self._names[model] = made
        return made

    def _prefer(self, merge: Merge) -> None:
        """Names the base first, then the inputs in their order."""
        for model in _referenced(merge):
            self.name(Model(model.path, model.revision))

    # Documents that use each other

    def _declare(self, document: Document) -> None:
        keys = [key for key in (document.name, document.path) if key]
        if not keys:
            if self._unnamed is not None:
                self.reader.add("E1127", document.node, self._unnamed.node)
            self._unnamed = document
            return
        for key in keys:
            if key in self._documents:
                self.reader.add("E1115", document.node, self._documents[key].node, name=key)
                return
            self._documents[key] = document
        made = name_of(keys[0], self._names.values())
        self._names |= dict.fromkeys(keys, made)

    def _ordered(self, documents: Sequence[Document]) -> list[Document]:
        """Each document after those that it uses; notes which are used."""
        ordered: list[Document] = []
        open_: list[Document] = []

        def visit(document: Document) -> None:
            if document in ordered:
                return
            if document in open_:
                self.reader.add("E1116", document.node, name=document.name or document.path)
                return
            open_.append(document)
            for model in _referenced(document):
                if model.path in self._documents:
                    self._used.add(model.path)
                    visit(self._documents[model.path])
            open_.pop()
            ordered.append(document)

        for document in documents:
            visit(document)
        return ordered

    def _document(self, document: Document) -> None:
        keys = [key for key in (document.name, document.path) if key]
        used = any(key in self._used for key in keys)
        plain = isinstance(document, Mixture)
        expr = self._mixture(document) if plain else self._merge(document)
        tokenizer = None if plain else document.tokenizer
        if keys and (used or len(self._documents) > 1):
            name = self._names[keys[0]]
        else:
            name = name_of("merged", self._names.values())
        if used:
            if tokenizer is not None:
                self._plain_tokenizer(tokenizer)
                expr = f"retokenize({expr}, to: {self._vocabulary(document, tokenizer)})"
            if not plain and document.template is not None:
                why = "only the last merge has a tokenizer of its own"
                self.reader.add("W1103", document.template.key, what="`chat_template`", why=why)
            self.steps.append(f"let {name} = {expr}")
            return
        if not expr.isidentifier():
            self.steps.append(f"let {name} = {expr}")
            expr = name
        where = document.path or f"out/{document.name or self.stem}"
        self.outputs.append(f"output {quoted(where)} = {expr}{self._record(document)}")

    # Expressions

    def _merge(self, merge: Merge) -> str:
        self._pieces.check(merge)
        if len(merge.modules) <= 1:
            return "".join(self._module(merge, module) for module in merge.modules)
        arms = []
        for module in merge.modules:
            if any(part.inputs and part.inputs[0].layers for part in module.parts):
                what = "`slices` in one of several modules"
                self.reader.add("E1117", module.parts[0].node, what=what)
            arms.append((module.name, self._module(merge, module)))
        order = [*MODULES, *(module.name for module in merge.modules), "default"]
        arms.sort(key=lambda arm: (arm[0] == "default", order.index(arm[0])))
        rows = (f"{_pattern(module)} => {value}" for module, value in arms)
        return f"match {{ {', '.join(rows)} }}"

    def _module(self, merge: Merge, module: Module) -> str:
        wanted = merge.base
        single = len(module.parts) == 1
        texts, offset = [], 0
        for part in module.parts:
            texts.append(self._pieces.part(merge, module, part, offset, config=single))
            offset += _length(part)
        if single:
            return texts[0]
        donor = self._pieces.donor(merge, module.parts[0])
        if wanted is not None and wanted != donor:
            texts.append(f"config: from({self.name(wanted)})")
        return f"stack({', '.join(texts)})"

    def _mixture(self, mixture: Mixture) -> str:
        base = self.name(mixture.base)
        inputs = []
        for expert in mixture.experts:
            options = {"prompts": expert.prompts, "avoid": expert.avoid}
            given = {key: ", ".join(map(quoted, texts)) for key, texts in options.items() if texts}
            said = ["shared: true"] if expert.shared else []
            said += [f"{key}: [{texts}]" for key, texts in given.items()]
            amounts = {"noise": expert.noise, "residual_scale": expert.scale}
            said += [f"{key}: {amount}" for key, amount in amounts.items() if amount is not None]
            record = f" {{ {', '.join(said)} }}" if said else ""
            inputs.append(self.name(expert.model) + record)
        word = "hidden" if mixture.gate.startswith("hidden") else mixture.gate
        options = [f"base: {base}", f"gate: {word.removesuffix('_random')}"]
        options += ["pool: mean"] if mixture.gate == "hidden_avg" else []
        options += [f"top_k: {mixture.top_k}"]
        options += [f"architecture: {mixture.architecture}"] if mixture.architecture else []
        if _has_twins(mixture):
            options.append("allow_identical: true")
        return f"moe({', '.join((*inputs, *options))})"

    # Outputs

    def _record(self, document: Document) -> str:
        entries = [f"dtype: {document.dtype}"] if document.dtype else []
        if isinstance(document, Merge):
            entries += self._tokens(document)
            if document.template is not None:
                text = self.reader.scalar(document.template.value, "`chat_template`", str)
                entries.append(f"chat_template: {quoted(text or '')}")
        return f" {{ {', '.join(entries)} }}" if entries else ""

    def _tokens(self, merge: Merge) -> Iterable[str]:
        tokenizer = merge.tokenizer
        if tokenizer is None:
            return
        named = self._vocabulary(merge, tokenizer)
        yield f"tokenizer: {named if named.startswith('union(') else f'from({named})'}"
        pairs = []
        for text, token in tokenizer.tokens.items():
            force = ["force: true"] if token.force else []
            if token.zero:
                value = f"zero({force[0]})" if force else "zero"
            elif token.model is None:
                continue
            else:
                parts = [self.name(token.model), *force]
                if token.token is not None:
                    known = quoted(token.token) if isinstance(token.token, str) else token.token
                    parts.insert(1, str(known))
                value = f"{'from' if token.token is None else 'token'}({', '.join(parts)})"
            pairs.append(f"{quoted(text)}: {value}")
        if pairs:
            yield f"tokens: {{ {', '.join(pairs)} }}"
        if tokenizer.pad:
            yield f"pad_vocab: {tokenizer.pad}"

    def _vocabulary(self, merge: Merge, tokenizer: Tokenizer) -> str:
        if isinstance(tokenizer.source, Model):
            return self.name(tokenizer.source)
        if tokenizer.source == "base":
            if merge.base is None:
                self.reader.add("E1123", tokenizer.node, what="the tokenizer of the base")
                return ""
            return self.name(merge.base)
        names = list(dict.fromkeys(map(self.name, _referenced(merge))))
        if merge.base is not None and merge.method.base == "input" and len(names) > 2:
            # It is no base of our operator, and still preferred where a model lacks a token.
            names.append(f"base: {self.name(merge.base)}")
        return f"union({', '.join(names)})"

    def _plain_tokenizer(self, tokenizer: Tokenizer) -> None:
        if tokenizer.tokens or tokenizer.pad:
            what = "`tokens` and `pad_to_multiple_of` in a merge that another one uses"
            self.reader.add("E1117", tokenizer.node, what=what)


def _pattern(module: str) -> str:
    if module == "default":
        return "_"
    return MODULES.get(module) or (module if module.isidentifier() else quoted(f"{glob(module)}*"))


def _referenced(document: Document) -> list[Model]:
    """The models of a document, the base first, each once."""
    found = [document.base] if document.base else []
    if isinstance(document, Mixture):
        found += [each.model for each in document.experts]
    else:
        for module in document.modules:
            for part in module.parts:
                found += [part.base] if part.base else []
                found += [each.model for each in part.inputs]
    return list(dict.fromkeys(found))


def _has_twins(mixture: Mixture) -> bool:
    """Whether experts are alike that mergekit-moe takes without a word: any at random gates, else
    some, but not all, with the same prompts."""
    routed = [each for each in mixture.experts if not each.shared]
    if mixture.gate in RANDOM:
        return len({(each.model, *_amounts(each)) for each in routed}) < len(routed)
    texts = {(each.prompts, each.avoid) for each in routed}
    several = len({each.model for each in routed}) > 1
    return several and 1 < len(texts) < len(routed)


def _amounts(expert: Expert) -> tuple[float | None, ...]:
    """The noise and the scale of an expert as numbers, however they are written."""
    return tuple(text and float(text) for text in (expert.noise, expert.scale))


def _length(part: Part) -> int:
    low, high = part.inputs[0].layers if part.inputs and part.inputs[0].layers else (0, 0)
    return high - low


