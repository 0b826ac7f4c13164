"""Files of statistics against the model that they are said to be of."""

from collections.abc import Mapping, Sequence
from typing import Any

from mergelang.check.report import Report
from mergelang.check.terms import Input
from mergelang.check.value import Opened
from mergelang.ops.signature import Signature, Statistics
from mergelang.tensors import Inventory, TensorType


def check_statistics(
    report: Report, signature: Signature, inputs: Sequence[Input], options: Mapping[str, Any],
    inventory: Inventory | None,
) -> bool:  # fmt: skip
    """Whether the files given for the inputs fit the tensors that are merged; reported if not."""
    sound = True
    for option in signature.options:
        if not isinstance(option.kind, Statistics) or inventory is None:
            continue
        for each, opened in zip(inputs, options[option.name], strict=False):
            if isinstance(opened, Opened) and opened.checkpoint is not None:
                held = opened.checkpoint.inventory
                common = [name for name in held if name in inventory]
                odd = [n for n in common if not _fits(option.kind, held[n], inventory[n])]
                if odd or not common:
                    report.add(
                        "E0621", each.span, path=opened.reference.text, what=option.kind.what,
                        text=each.text, name=odd[0] if odd else None,
                        nothing=None if odd else "",
                    )  # fmt: skip
                    sound = False
    return sound


def _fits(kind: Statistics, held: TensorType, merged: TensorType) -> bool:
    if kind.what == "gram":
        width = merged.shape[-1] if merged.shape else 1
        return held.shape == (width, width)
    return held.shape == merged.shape
