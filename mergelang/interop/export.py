"""Recipes to the YAML of mergekit, where they fit into it.

One output becomes one merge; merges that it is made of become documents with a `name`, as
mergekit-multi reads them. Sums of models become `linear` without normalising. What has no
counterpart is an error at its place. Works on the tree; that the recipe is sound, others check.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mergelang.errors import Diagnostic, RecipeError
from mergelang.interop.calls import Calls
from mergelang.interop.config import DTYPES
from mergelang.interop.methods import METHODS, MODULES, Method
from mergelang.interop.values import Flow, Numbers, Unfit, plain
from mergelang.lang import ast

WRITTEN = {ours: theirs for theirs, ours in DTYPES.items()}
"""Mergekit's dtypes by ours."""

_FORMS = {
    ast.Attribute: "what another recipe gives",
}


class Exporter:
    """Makes the documents of one output."""

    def __init__(self, tree: ast.Recipe, settings: Mapping[str, str]):
        self._tree = tree
        self._named = {
            each.name.id: each
            for each in tree.statements
            if isinstance(each, ast.Model | ast.Let | ast.Param | ast.Use)
        }
        self._paths = {
            _path(each.source)
            for each in tree.statements
            if isinstance(each, ast.Model)
        }
        self._numbers = Numbers(self._named, settings)
        self._calls = Calls(self._numbers, self.reference)
        self._documents: list[dict[str, Any]] = []
        self._done: dict[str, str] = {}
        self.found: list[Diagnostic] = []

    def documents(self, output: ast.Output) -> list[dict[str, Any]]:
        """Mappings to be written as YAML, the last of them the output. Raises RecipeError."""
        for each in self._tree.statements:
            if isinstance(each, ast.Seed):
                self.found.append(Diagnostic("W1131", each.span, {"seed": each.value}))
        try:
            made = self._document(output.value)
            self._options(made, output.record)
        except Unfit as error:
            self.found.append(error.diagnostic)
            made = {}
        if any(each.is_error for each in self.found):
            raise RecipeError(sorted(self.found, key=lambda each: each.span.start))
        single = not self._documents
        if not single:
            for each in (*self._documents, made):
                if "experts" in each:
                    raise RecipeError([*self.found, _mixed(output)])
        return [*self._documents, made]

    # References

    def reference(self, expr: ast.Expr) -> str:
        """What YAML calls a model; an expression becomes a document of its own."""
        if isinstance(expr, ast.Name):
            statement = self._named.get(expr.id)
            if isinstance(statement, ast.Model):
                return _path(statement.source)
            if isinstance(statement, ast.Let):
                return self._step(statement.name.id, statement.value)
        adapter = self._adapter(expr)
        return adapter or self._step("step", expr)

    def _adapter(self, expr: ast.Expr) -> str | None:
        """`model+adapter` for the sum of a model and an adapter, or one and its adapter."""
        match expr:
            case ast.Binary("+", ast.Name() as base, ast.Call(ast.Name("lora"), (first, *more))):
                statement = self._named.get(base.id)
                same = all(isinstance(x.value, ast.Name) and x.value.id == base.id for x in more)
                named = isinstance(statement, ast.Model) and isinstance(first.value, ast.String)
                if named and same:
                    return f"{_path(statement.source)}+{_path(first.value)}"
        return None

    def _step(self, name: str, expr: ast.Expr) -> str:
        """The name of the document for an expression that others use."""
        adapter = self._adapter(expr)
        if adapter is not None:
            return adapter
        if isinstance(expr, ast.Name):
            return self.reference(expr)
        key = name if name != "step" else f"step at {expr.span.start}"
        if key in self._done:
            return self._done[key]
        number, unlike = 2, name
        while unlike in self._paths or unlike in self._done.values():
            number, unlike = number + 1, f"{name}_{number}"
        self._done[key] = unlike
        try:
            made = self._document(expr)
        except Unfit as error:
            self.found.append(error.diagnostic)
        else:
            self._documents.append({"name": unlike, **made, "dtype": "float32"})
        return unlike

    # Documents

    def _document(self, expr: ast.Expr) -> dict[str, Any]:
        """The merge that an expression is."""
        expr = _bare(self._numbers.resolved(expr))
        match expr:
            case ast.Name():
                return self._passthrough([{"model": self.reference(expr)}])
            case ast.Slice():
                return self._stack([expr], None)
            case ast.Binary() | ast.Unary():
                return self._calls.sum(expr)
            case ast.Call(ast.Name("stack")):
                pieces = [each.value for each in expr.arguments if each.name is None]
                return self._stack(pieces, self._calls.config(expr))
            case ast.Call(ast.Name("moe")):
                return self._calls.mixture(expr)
            case ast.Call(ast.Name("retokenize"), (ast.Argument(None, inner, None), to)):
                made = self._document(inner)
                return {**made, "tokenizer": {"source": self._vocabulary(to.value, made)}}
            case ast.Match((arm,)) if module_of(arm.pattern) is None:
                # It names every tensor, or the recipe is not sound.
                return self._document(arm.value)
            case ast.Match(arms):
                return self._modules(arms)
            case ast.Call():
                return self._calls.merge(expr)
        what = _FORMS.get(type(expr), "this expression")
        raise Unfit("E1130", expr.span, what=what)

    def _passthrough(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        return {"merge_method": "passthrough", "models": models}

    def _stack(self, pieces: list[ast.Expr], config: ast.Expr | None) -> dict[str, Any]:
        """`slices`: of one method, or copied from documents of their own."""
        pieces = [_bare(piece) for piece in pieces]
        methods = {self._method_of(piece) for piece in pieces}
        method = methods.pop() if len(methods) == 1 else None
        slices, offset = [], 0
        for piece in pieces:
            if method is not None:
                made = self._calls.slice(piece, offset)
            else:
                made = {"sources": [self._source(piece)]}
            slices.append(made)
            low, high = made["sources"][0]["layer_range"]
            offset += high - low
        method = method or METHODS["passthrough"]
        base = self._calls.donor(method, slices, config)
        if base is None:
            return {"merge_method": method.name, "slices": slices}
        return {"merge_method": method.name, "base_model": base, "slices": slices}

    def _modules(self, arms: tuple[ast.Arm, ...]) -> dict[str, Any]:
        """`modules`: a merge for each, all of one method and base."""
        made: dict[str, Any] = {}
        merges = [self._document(arm.value) for arm in arms]
        donors = {merge.get("base_model") for merge in merges}
        for arm, merge in zip(arms, merges, strict=True):
            name = module_of(arm.pattern)
            if len(donors) > 1 and METHODS[merge["merge_method"]].base == "input":
                # It would be one of the models of every module.
                merge.pop("base_model", None)
            part = {key: merge.pop(key) for key in ("models", "parameters") if key in merge}
            shared = {key: each for key, each in made.items() if key != "modules"} or merge
            if name is None or merge != shared or "models" not in part:
                raise Unfit("E1130", arm.span, what="a `match` between models")
            made |= merge
            made.setdefault("modules", {})[name] = part
        return made

    def _method_of(self, piece: ast.Expr) -> Method | None:
        """The method that a piece of a stack is made with; None for one of its own making."""
        if isinstance(piece, ast.Slice) and not isinstance(piece.value, ast.Call):
            return METHODS["passthrough"]
        return self._calls.sliced_method(piece)

    def _source(self, piece: ast.Expr) -> dict[str, Any]:
        if isinstance(piece, ast.Slice):
            return self._calls.source(piece)
        length = self._calls.length(piece)
        return {"model": self._step("step", piece), "layer_range": Flow([0, length])}

    # Outputs

    def _options(self, made: dict[str, Any], record: ast.Record | None) -> None:
        for entry in record.entries if record else ():
            name, value = entry.key.id, entry.value
            if name == "dtype":
                written = WRITTEN[_dtype(value)]
                wide = written in ("float32", "float64") or "experts" in made
                made["dtype"] = written if wide else "float32"
                if not wide:
                    made["out_dtype"] = written
            elif name == "shards":
                self.found.append(Diagnostic("W1132", entry.span, {"size": value.span.text}))
            elif name == "chat_template" and isinstance(value, ast.String):
                made["chat_template"] = value.value
            elif name == "chat_template" and isinstance(value, ast.Name) and value.id == "auto":
                made["chat_template"] = "auto"
            elif name == "pad_vocab":
                made.setdefault("tokenizer", {})["pad_to_multiple_of"] = int(plain(value))
            elif name == "tokenizer":
                made["tokenizer"] = {"source": self._vocabulary(value, made)}
            elif name == "tokens" and isinstance(value, ast.Map):
                tokens = {each.key.value: self._token(each.value) for each in value.entries}
                made.setdefault("tokenizer", {})["tokens"] = tokens
            else:
                raise Unfit("E1130", entry.span, what=f"the output option `{name}`")

    def _vocabulary(self, value: ast.Expr, made: Mapping[str, Any]) -> str:
        match value:
            case ast.Call(ast.Name("union"), arguments):
                given = {self.reference(each.value) for each in arguments if each.name is None}
                preferred = [self.reference(each.value) for each in arguments if each.name]
                if given != _models(made) or preferred not in ([], [made.get("base_model")]):
                    raise Unfit("E1130", value.span, what="a union of other tokenizers")
                return "union"
            case ast.Call(ast.Name("from"), (ast.Argument(None, inner, None),)):
                return self.reference(inner)
        return self.reference(value)

    def _token(self, value: ast.Expr) -> dict[str, Any]:
        if isinstance(value, ast.Name):
            return {"source": {"kind": "zero"}}
        plain_ = [each.value for each in value.arguments if each.name is None]
        forced = any(each.value.span.text == "true" for each in value.arguments if each.name)
        source: Any = {"kind": "zero"}
        if value.function.id == "from":
            source = self.reference(plain_[0])
        elif value.function.id == "token":
            of, which = plain_
            key = "token" if isinstance(which, ast.String) else "token_id"
            token = which.value if isinstance(which, ast.String) else int(plain(which))
            source = {"kind": "model_token", "model": self.reference(of), key: token}
        return {"source": source, "force": True} if forced else {"source": source}


def _bare(expr: ast.Expr) -> ast.Expr:
    """What stands in `as_model(...)`: mergekit asks for no mass."""
    match expr:
        case ast.Call(ast.Name("as_model"), (ast.Argument(None, inner, None),)):
            return inner
    return expr


def module_of(pattern: ast.Pattern) -> str | None:
    """The module of mergekit that a pattern stands for."""
    match pattern:
        case ast.Anything():
            return "default"
        case ast.Word(name):
            return name
        case ast.Glob(text) if text.endswith("*") and not re.search(r"[*?[]", text[:-1]):
            return text[:-1]
    text = " ".join(pattern.span.text.split())
    return next((name for name, known in MODULES.items() if known == text), None)


def _models(made: Mapping[str, Any]) -> set[str]:
    """The models that a document names."""
    sources: Iterable[Mapping[str, Any]] = [
        *made.get("models", ()),
        *(each for piece in made.get("slices", ()) for each in piece["sources"]),
        *(each for module in made.get("modules", {}).values() for each in module["models"]),
    ]
    base = {made["base_model"]} if "base_model" in made else set()
    return {each["model"] for each in sources} | base


def _path(source: ast.String) -> str:
    return source.value.removeprefix("hf:")


def _dtype(value: ast.Expr) -> str:
    text = value.id if isinstance(value, ast.Name) else value.value
    text = text.lower().replace("fp", "f")
    return DTYPES.get(text, DTYPES.get(text.replace("f", "float"), text))


def _mixed(output: ast.Output) -> Diagnostic:
    what = "a mixture of experts made of merges"
    return Diagnostic("E1130", replace(output.value.span), {"what": what})
