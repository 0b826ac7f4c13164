"""What an adapter does to one tensor of its base, as expressions: alone, and with the base."""

from mergelang.models.adapter import LowRank, Offset, Part
from mergelang.ops.expr import Context, Value, load
from mergelang.ops.low_rank import delta, with_magnitude


def added_by(part: Part, key: bytes, context: Context) -> Value:
    """What a part adds to whatever base."""
    if isinstance(part, Offset):
        return load(part.offset, key, context) * part.scale
    assert isinstance(part, LowRank) and not part.needs_base, "the checker has seen to that"
    return delta(part.left, part.right, part.turned, part.scale, key, context)


def merged(base: Value, part: Part, key: bytes, placed: bool) -> Value:
    """What a part makes of its base, as `merge_and_unload` of peft does.

    `placed`: the whole tensor that the part holds stands in the base already.
    """
    context = base.context
    if isinstance(part, Offset):
        return base + added_by(part, key, context)
    if not isinstance(part, LowRank):
        return base if placed else load(part.saved, key, context)
    if part.base is not None and not placed:
        base = load(part.base, key, context)
    result = base + delta(part.left, part.right, part.turned, part.scale, key, context)
    if part.magnitude is None:
        return result
    return with_magnitude(result, part.magnitude, part.turned)
