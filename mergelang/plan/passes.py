"""The passes over one tensor: what each of them computes, and what it evaluates on the way.

Between two passes only numbers and the values of calls on whole tensors are kept, such a value
until the last pass that reads it. All else that a later pass needs is evaluated again there, from
the stored tensors: to hold it would take the memory that a run does not have.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from mergelang.ops.expr import BLOCK, MASK, REDUCTIONS, Expr

NOTHING: frozenset[Expr] = frozenset()


def evaluated(targets: Iterable[Expr]) -> list[Expr]:
    """The block and mask expressions that a pass for these targets evaluates, inputs first, once.

    Goes through no reduction and no call: those are data by the time the pass runs.
    """
    seen: set[Expr] = set()
    result: list[Expr] = []
    stack = [(target, False) for target in reversed(list(targets))]
    while stack:
        expr, done = stack.pop()
        if done:
            result.append(expr)
        elif expr not in seen and expr.kind in (BLOCK, MASK):
            seen.add(expr)
            stack.append((expr, True))
            if expr.op != "whole":
                stack.extend((arg, False) for arg in reversed(expr.args))
    return result


def pending(root: Expr, known: Collection[Expr] = NOTHING) -> list[Expr]:
    """All reductions and calls on whole tensors below an expression, inner ones first, but for
    those that are `known` and what is below those alone."""
    seen: set[Expr] = set()
    result: list[Expr] = []
    stack = [(root, False)]
    while stack:
        expr, done = stack.pop()
        if done:
            if expr.op in REDUCTIONS or expr.op == "whole":
                result.append(expr)
        elif expr not in seen and expr not in known:
            seen.add(expr)
            stack.append((expr, True))
            stack.extend((arg, False) for arg in reversed(expr.args))
    return result


@lru_cache(maxsize=1024)
def reductions(root: Expr) -> tuple[Expr, ...]:
    """All reductions below an expression, inner ones first."""
    return tuple(expr for expr in pending(root) if expr.op in REDUCTIONS)


@lru_cache(maxsize=512)
def needs(root: Expr, known: frozenset[Expr] = NOTHING) -> dict[Expr, list[Expr]]:
    """All that is pending below an expression, each with what of it has to be known first."""
    return {
        expr: [each for arg in expr.args for each in pending(arg, known)]
        for expr in pending(root, known)
    }


def startable(
    todo: Iterable[Expr], known: Collection[Expr], needed: Mapping[Expr, Sequence[Expr]],
    apart: bool,
) -> list[Expr]:  # fmt: skip
    """What of the things still to be done the next pass can do: all of which the inputs are known.

    With `apart` only the first call on whole tensors among them, so that no two are held at once.
    """
    ready = [expr for expr in todo if all(each in known for each in needed[expr])]
    calls = [expr for expr in ready if expr.op == "whole"]
    later = set(calls[1:]) if apart else ()
    return [expr for expr in ready if expr not in later]


@lru_cache(maxsize=1024)
def turns(
    root: Expr, apart: bool = False, given: frozenset[Expr] = NOTHING
) -> tuple[tuple[Expr, ...], ...]:
    """What each pass over the tensor of `root` computes before the last one, which is the tensor's
    own. `given`: reductions whose outcome is known."""
    needed = needs(root, given)
    todo, known = list(needed), set()
    found: list[tuple[Expr, ...]] = []
    while todo:
        now = startable(todo, known, needed, apart)
        found.append(tuple(now))
        known.update(now)
        todo = [expr for expr in todo if expr not in known]
    return tuple(found)


def targets(
    root: Expr, apart: bool = False, given: frozenset[Expr] = NOTHING
) -> list[list[Expr]]:
    """What each pass evaluates, with the last one, which evaluates the tensor itself."""
    blocks = [
        [arg for expr in turn for arg in expr.args if arg.kind in (BLOCK, MASK)]
        for turn in turns(root, apart, given)
    ]
    return [*blocks, [root]]


def readers(
    root: Expr, apart: bool = False, given: frozenset[Expr] = NOTHING
) -> dict[Expr, list[int]]:
    """Of each block expression the numbers of the passes that evaluate it, or read its value."""
    found: dict[Expr, list[int]] = {}
    for number, each in enumerate(targets(root, apart, given)):
        for expr in evaluated(each):
            found.setdefault(expr, []).append(number)
    return found
