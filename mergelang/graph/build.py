"""Lowers a typed program to its graph, then runs the passes, with the verifier after each.

Structural keys are made here and nowhere else. Nothing of a tensor is looked at but which names a
`missing:` or `mismatch:` policy takes from elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mergelang.check.givers import compared, policy_for
from mergelang.check.program import Program, Term
from mergelang.check.schedule import ONE, Constant
from mergelang.graph.node import Graph, Interner, Node, assemble, postorder
from mergelang.graph.passes import PASSES
from mergelang.graph.verify import verify
from mergelang.lang import ast
from mergelang.ops.expr import structure
from mergelang.ops.registry import operators

MINUS_ONE = Constant(-ONE.value)

Pass = Callable[[Graph], Graph]


def build(program: Program, passes: Sequence[Pass] = PASSES) -> Graph:
    """The graph of a program after the passes: what plan and run work on."""
    graph = lower(program)
    verify(graph, "build")
    for each in passes:
        before, graph = graph, each(graph)
        verify(graph, each.__name__, before)
    return graph


def lower(program: Program) -> Graph:
    """Terms to interned nodes, one for one except that a policy adds a `patch`."""
    intern = Interner()
    nodes: dict[Term, Node] = {}
    roots = [*(output.term for output in program.outputs), *program.terms.values()]
    for term in postorder(roots, _below):
        nodes[term] = _patched(intern, term, _node(intern, term, nodes), nodes)
    names: dict[Node, str] = {}
    for name, term in program.terms.items():
        names.setdefault(nodes[term], name)
    return assemble(program, ((each, nodes[each.term]) for each in program.outputs), names)


def _below(term: Term) -> Iterator[Term]:
    yield from term.inputs
    yield from (choice for choice in term.policy.values() if isinstance(choice, Term))


def _node(intern: Interner, term: Term, nodes: Mapping[Term, Node]) -> Node:
    inputs = [nodes[each] for each in term.inputs]
    key = _key(term, [each.key for each in inputs])
    identity = {"key": key, "seed": term.seed, "term": term}
    match term.op:
        case "add" | "from_base":
            return intern.affine([(each, ONE) for each in inputs], **identity)
        case "sub":
            return intern.affine(zip(inputs, (ONE, MINUS_ONE), strict=True), **identity)
        case "scale":
            return intern.affine([(inputs[0], term.options["by"])], **identity)
        case "as_model":
            return intern.affine([(inputs[0], ONE)], **identity)
    options = {name: _frozen(value) for name, value in term.options.items()}
    return intern.node(term.op, inputs, options, **identity)


def _patched(intern: Interner, term: Term, node: Node, nodes: Mapping[Term, Node]) -> Node:
    """The node with the tensors that the call's policies take from elsewhere."""
    taken = _taken(term)
    for word in ("missing", "mismatch"):
        choice = term.policy.get(word)
        if not isinstance(choice, Term):
            continue
        names = taken.get(word, frozenset())
        if names or term.inventory is None:
            other = nodes[choice]
            node = intern.node(
                "patch", (node, other), {"names": names},
                key=structure("patch", node.key, other.key), seed=term.seed, term=term,
            )  # fmt: skip
    return node


def _taken(term: Term) -> dict[str, frozenset[str]]:
    """The tensors of a term that not all its inputs have alike, by the policy that answers."""
    if not term.policy or term.inventory is None:
        return {}
    inputs = compared(term)
    found: dict[str, set[str]] = {"missing": set(), "mismatch": set()}
    for name in term.inventory:
        word = policy_for(term, inputs, name)
        if word is not None:
            found[word].add(name)
    return {word: frozenset(names) for word, names in found.items()}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _key(term: Term, inputs: list[bytes]) -> bytes:
    match term.op:
        case "source" | "lora" | "adapted":
            return structure(term.op, *inputs, term.options["reference"].text)
        case "add" | "from_base":
            return structure("add", *inputs)
        case "sub" | "scale":
            return structure(term.op, *inputs)
        case "as_model" | "renamed" | "resized":
            return inputs[0]
        case "module" | "graft":
            return structure(term.op, *inputs, *term.options["words"])
        case "slice":
            low, high = term.options["low"], term.options["high"]
            return structure("slice", *inputs, _bounds(low, high))
        case "match":
            return structure("match", *inputs, *map(pattern_text, term.options["patterns"]))
        case "retokenize":
            return structure("retokenize", inputs[0])
    return operators()[term.op].key(inputs, term.options)


def pattern_text(pattern: ast.Pattern) -> str:
    """A pattern as text that stays the same however it was written, fully in parentheses."""
    match pattern:
        case ast.Anything():
            return "_"
        case ast.Word(word):
            return word
        case ast.Glob(glob):
            return f'"{glob}"'
        case ast.Role(role):
            return f"@{role}"
        case ast.Layers(layers, module):
            tower = f"({module})" if module else ""
            return f"layers{tower} {_bounds(layers.low, layers.high)}"
        case ast.Not(operand):
            return f"!{pattern_text(operand)}"
        case ast.And(left, right):
            return f"({pattern_text(left)} & {pattern_text(right)})"
        case ast.Or(left, right):
            return f"({pattern_text(left)} | {pattern_text(right)})"


def _bounds(low: int | None, high: int | None) -> str:
    return f"{low or 0}..{'' if high is None else high}"
