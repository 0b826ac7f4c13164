"""Inputs of a call that are one and the same where that is of no use, as the experts of a mixture.

Of no use are inputs that are all one model, also when those are that an option like `shared` does
not set aside, and two that are one model with the same options. Numbers of an input, as its noise,
make another model of it, which texts like prompts do not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mergelang.check.report import Report
from mergelang.check.terms import Input, same
from mergelang.ops.signature import Boolean, Number, Signature


def check_apart(
    report: Report, signature: Signature, inputs: Sequence[Input], options: Mapping[str, Any]
) -> bool:
    """Whether the inputs differ as they have to; E2312 or E2318 where they do not."""
    if not signature.apart or options[signature.apart]:
        return True
    each = [option for option in signature.options if option.each]
    marks = [option.name for option in each if isinstance(option.kind, Boolean)]
    numbers = [option.name for option in each if isinstance(option.kind, Number)]
    every = list(range(len(inputs)))
    plain = [i for i in every if not any(options[mark][i] for mark in marks)]
    facts = {"operator": signature.name, "option": signature.apart}

    def alike(i: int, j: int) -> bool:
        steered = all(options[name][i] == options[name][j] for name in numbers)
        return steered and same(inputs[i].term, inputs[j].term)

    for group in (every, plain):
        if len(group) > 1 and all(alike(i, group[0]) for i in group):
            but = " or ".join(f"`{mark}`" for mark in marks) if group is plain else ""
            facts |= {"count": len(group), "but": f" that are not {but}" if but else ""}
            report.add("E2312", inputs[group[1]].span, inputs[group[0]].span, **facts)
            return False
    said = [[options[option.name][i] for option in each] for i in every]
    for j in every:
        for i in every[:j]:
            if said[i] == said[j] and same(inputs[i].term, inputs[j].term):
                report.add("E2318", inputs[j].span, inputs[i].span, **facts)
                return False
    return True
