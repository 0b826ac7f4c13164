"""Operators that move whole tensors: `stack`."""

from dataclasses import replace

from mergelang.ops.layout import Layout, LayoutError, Pick, several
from mergelang.ops.registry import operator
from mergelang.ops.signature import Layers
from mergelang.tensors import Inventory

OUTSIDE = "outside the layers, of the other pieces of a stack"
ALONE = "of the first layer alone, of the later pieces of a stack"


@operator(
    arranges=True,
    least=1,
    formula="layers of x_1, then those of x_2, ...",
    use="deeper models out of the layers of one or several, to be trained on",
)
def stack(*pieces: Layers) -> Layers:
    """Puts the layers of its inputs one upon another, in their order, renumbered from 0.

    Embeddings (tensors with the role `@embed`) come from the first input; all other tensors outside
    the layers (the final norm, the head) from the last.
    """
    first, last = pieces[0], len(pieces) - 1
    for index, piece in enumerate(pieces):
        if not piece.layering.count:
            raise LayoutError("E0707", index)
        if piece.layering.others:
            raise LayoutError("E2301", index, **several(piece.layering))
        if piece.layering.prefix != first.layering.prefix:
            raise LayoutError(
                "E0708", index, prefix=piece.layering.prefix, first=first.layering.prefix
            )
    count = sum(piece.layering.count for piece in pieces)
    origins: dict[str, Pick] = {}
    left_out = dict.fromkeys((OUTSIDE, ALONE), 0)
    for name in first:
        outside = first.layering.split(name)[0] is None
        if outside and ("embed" in first.roles.get(name, ()) or not last):
            origins[first.layering.moved(name, count)] = Pick(0, name)
    start = 0
    for index, piece in enumerate(pieces):
        for name in piece:
            layer, rest = piece.layering.split(name)
            new = piece.layering.moved(name, count)
            if layer is not None and index and rest in piece.layering.alone:
                left_out[ALONE] += 1
            elif layer is not None:
                origins[piece.layering.join(start + layer, rest)] = Pick(index, name)
            elif new not in origins and index == last:
                origins[new] = Pick(index, name)
            elif origins.get(new) != Pick(index, name):
                left_out[OUTSIDE] += 1
        start += piece.layering.count
    tensors = {name: pieces[index][origin] for name, (index, origin) in origins.items()}
    roles = {name: pieces[index].roles.get(origin, frozenset())
             for name, (index, origin) in origins.items()}  # fmt: skip
    layering = replace(first.layering, count=count)
    made = Inventory(tensors, layering, roles, first.architecture)
    edit = ("with_layers", {"count": count, "stated": layering.stated})
    dropped = {reason: number for reason, number in left_out.items() if number}
    return Layout(made, origins, (edit,), dropped)
