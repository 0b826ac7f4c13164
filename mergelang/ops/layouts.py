"""Operators that move whole tensors: `stack`."""

from mergelang.ops.layout import Layout, LayoutError, Pick
from mergelang.ops.registry import operator
from mergelang.ops.signature import Layers
from mergelang.tensors import Inventory, Layering


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
    first = pieces[0]
    for index, piece in enumerate(pieces):
        if not piece.layering.count:
            raise LayoutError("E0707", index)
        if piece.layering.prefix != first.layering.prefix:
            raise LayoutError(
                "E0708", index, prefix=piece.layering.prefix, first=first.layering.prefix
            )
    count = sum(piece.layering.count for piece in pieces)
    origins: dict[str, Pick] = {}
    left_out = 0
    last = len(pieces) - 1
    for name in _outside(first):
        if "embed" in first.roles.get(name, ()) or not last:
            origins[name] = Pick(0, name)
    start = 0
    for index, piece in enumerate(pieces):
        for name in piece:
            layer, rest = piece.layering.split(name)
            if layer is not None:
                origins[piece.layering.join(start + layer, rest)] = Pick(index, name)
            elif name not in origins and index == last:
                origins[name] = Pick(index, name)
            elif origins.get(name) != Pick(index, name):
                left_out += 1
        start += piece.layering.count
    tensors = {name: pieces[index][origin] for name, (index, origin) in origins.items()}
    roles = {name: pieces[index].roles.get(origin, frozenset())
             for name, (index, origin) in origins.items()}  # fmt: skip
    made = Inventory(tensors, Layering(first.layering.prefix, count), roles, first.architecture)
    dropped = {"outside the layers, of the other pieces of a stack": left_out} if left_out else {}
    return Layout(made, origins, (("with_layers", {"count": count}),), dropped)


def _outside(inventory: Inventory) -> list[str]:
    return [name for name in inventory if inventory.layering.split(name)[0] is None]
