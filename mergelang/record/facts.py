"""What a recipe comes to, fact by fact: nodes, options with their defaults, versions, seeds.

A fact has a name of a few words and a value, both text. Two recipes of the same facts make the same
models of the same sources, however they are laid out. Locks hold them, `diff` compares them.
"""

from collections.abc import Mapping
from typing import Any

from mergelang.check.program import Program, Term
from mergelang.check.schedule import Arithmetic, Arms, Constant, Curve
from mergelang.check.suggest import show
from mergelang.check.value import Opened
from mergelang.draw.words import schedule_text
from mergelang.graph.build import pattern_text
from mergelang.lang import ast, canonical
from mergelang.models.reference import Reference
from mergelang.ops.registry import operators
from mergelang.plan.origin import exact_text
from mergelang.store.digests import BLAKE3, of_bytes

Name = tuple[str, ...]
Facts = dict[Name, str]

LONGEST = 300
"""Characters of a value that is not replaced by its digest."""

STRUCTURE = frozenset({"reference", "low", "high", "patterns", "names", "words"})
"""Options that a node's text shows already, or that its sources make."""


def facts_of(program: Program) -> Facts:
    """The facts of a checked recipe, but for what its sources hold. By their names, sorted."""
    found: Facts = {("recipe",): _digest(canonical(program.tree))}
    for path, tree in program.used.items():
        found["use", path] = _digest(canonical(tree))
        for each in tree.statements:
            if isinstance(each, ast.Seed):
                found["seed", path] = str(each.value)
    found["seed",] = str(program.seed)
    for name, param in program.params.items():
        if param.value != param.default:
            found["set", name] = exact_text(param.value)
    texts = _Texts(program)
    for name, term in program.terms.items():
        found["node", name] = texts.of(term, but=name)
        if texts.names.get(id(term)) == name:
            found |= texts.options(term, name)
    for output in program.declared:
        text = output.text
        found["output", text] = texts.of(output.term)
        found |= {
            ("option", text, key): texts.value(value)
            for key, value in output.options.items() if value is not None
        }  # fmt: skip
        if output.template is not None:
            found["option", text, "chat_template"] = texts.value(output.template)
        if id(output.term) not in texts.names:
            found |= texts.options(output.term, text)
    for op in sorted(texts.used):
        found["operator", op] = str(operators()[op].signature.version)
    return dict(sorted(found.items()))


def _digest(text: str) -> str:
    return f"{BLAKE3}:{of_bytes(text.encode())}"


def _is_operator(term: Term) -> bool:
    """`scale` is the algebra's `by * x`, too, and that one has no version of its own."""
    return term.op in operators() and term.op != "scale"


class _Texts:
    """Terms as text. Named ones go by their names; `used` are the operators that were met."""

    def __init__(self, program: Program):
        self.names: dict[int, str] = {}
        for name, term in program.terms.items():
            self.names.setdefault(id(term), name)
        self.used: set[str] = set()

    def of(self, term: Term, but: str = "") -> str:
        """A term by its name, unless that is `but`; others written out, options left out."""
        name = self.names.get(id(term))
        if name is not None and name != but:
            return name
        op, inputs, options = self.parts(term)
        texts = [self.of(each) for _, each in inputs]
        match op:
            case "source":
                return f'"{options["reference"].text}"'
            case "add":
                return f"{texts[0]} + {texts[1]}"
            case "sub":
                right = self.parts(inputs[1][1])[0]
                named = id(inputs[1][1]) in self.names
                bare = named or right not in ("add", "sub")
                return f"{texts[0]} - {texts[1] if bare else f'({texts[1]})'}"
            case "scale":
                inner = inputs[0][1]
                bare = id(inner) in self.names or self.parts(inner)[0] not in ("add", "sub")
                return f"by * {texts[0] if bare else f'({texts[0]})'}"
            case "renamed" | "resized":
                return texts[0]
            case "slice":
                low, high = options["low"], options["high"]
                return f"{texts[0]}[{low or 0}..{'' if high is None else high}]"
            case "match":
                patterns = map(pattern_text, options["patterns"])
                arms = (f"{p} => {x}" for p, x in zip(patterns, texts, strict=True))
                return f"match {{ {', '.join(arms)} }}"
        labels = (label for label, _ in inputs)
        said = [f"{label}: {x}" if label else x for label, x in zip(labels, texts, strict=True)]
        if "reference" in options:
            said.append(f'"{options["reference"].text}"')
        return f"{op}({', '.join(said)})"

    def parts(self, term: Term) -> tuple[str, list[tuple[str, Term]], Mapping[str, Any]]:
        """Operation, inputs with what they are given by, options: a call with `base:` as one."""
        policy = dict(term.policy)
        if term.op == "from_base":
            base, delta = term.inputs
            subs = all(each.op == "sub" and each.inputs[1] is base for each in delta.inputs)
            if subs and id(delta) not in self.names and _is_operator(delta):
                self.used.add(delta.op)
                inputs = [*(("", each.inputs[0]) for each in delta.inputs), ("base", base)]
                options = {**delta.options, **delta.policy, **policy}
                return delta.op, inputs, options | self._config(term, base)
            return "add", [("", base), ("", delta)], policy
        options = {**term.options, **policy}
        if _is_operator(term):
            self.used.add(term.op)
            options |= self._config(term, term.inputs[0])
        return term.op, [("", each) for each in term.inputs], options

    def _config(self, term: Term, usual: Term) -> dict[str, Any]:
        """What `config: from(x)` says, where it says something."""
        plain = term.donor is None or term.donor is usual or term.donor in term.inputs
        return {} if plain else {"config": term.donor}

    def options(self, term: Term, path: str) -> Facts:
        """The options of a term and of those in it that have no name, by where they stand."""
        found: Facts = {}
        stack = [(term, path)]
        while stack:
            each, at = stack.pop()
            _, inputs, options = self.parts(each)
            for key, value in options.items():
                if key not in STRUCTURE or _is_operator(each):
                    found["option", at, key] = self.value(value)
            for number, (_, below) in enumerate(inputs, 1):
                if id(below) not in self.names:
                    stack.append((below, f"{at}.{number}"))
        return found

    def value(self, value: Any) -> str:
        """An option's value, to the last digit; of a long text a digest."""
        text = self._written(value)
        return text if len(text) <= LONGEST and "\n" not in text else _digest(text)

    def _written(self, value: Any) -> str:
        match value:
            case None:
                return "none"
            case bool():
                return str(value).lower()
            case Constant() | Curve() | Arms() | Arithmetic():
                return schedule_text(value, exact_text)
            case int() | float():
                return show(value) if isinstance(value, float) else str(value)
            case Term():
                return self.of(value)
            case Reference() | Opened():
                reference = value.reference if isinstance(value, Opened) else value
                return f'"{reference.text}"'
            case Mapping():
                return f"{{ {', '.join(f'{k}: {self.value(x)}' for k, x in value.items())} }}"
            case tuple() | list():
                texts = [self.value(each) for each in value]
                same = len(set(texts)) == 1
                return texts[0] if same else f"[{', '.join(texts)}]"
            case _ if type(value).__str__ is object.__str__:
                # Read from files of the sources, which have facts of their own.
                return str(getattr(value, "shown", type(value).__name__.lower()))
        return str(value)
