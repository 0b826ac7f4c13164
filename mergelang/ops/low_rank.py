"""What an adapter does to one tensor, as expressions: low-rank products, DoRA's magnitudes.

LoRA: Hu et al., arXiv 2106.09685; rsLoRA: arXiv 2312.03732; DoRA: Liu et al., arXiv 2402.09353. The
results are those of `merge_and_unload` of peft.
"""

from mergelang.ops.expr import (
    BLOCK,
    COLUMNS,
    FILE,
    ROWS,
    Context,
    Extent,
    Value,
    make,
    norm,
    structure,
)  # fmt: skip
from mergelang.ops.sums import divided


def product(left: Extent, right: Extent, turned: bool, key: bytes, context: Context) -> Value:
    """`left @ right`, as exact as the dtype is: the sums over the rank are rounded once.

    `left` is stored as [rows, r] and `right` as [r, ...]; with `turned` as [r, rows] and [..., r].
    Both are flattened to matrices, and held whole.
    """
    factors = (
        make(FILE, "factor", (), (left, "left", turned)),
        make(FILE, "factor", (), (right, "right", turned)),
    )
    return Value(make(BLOCK, "product", factors), structure("product", key), context)


def magnitudes(stored: Extent, kind: str, key: bytes, context: Context) -> Value:
    """A stored vector as one number for each of the ROWS or COLUMNS."""
    return Value(make(kind, "vector", (), stored), structure("vector", key), context)


def delta(
    left: Extent, right: Extent, turned: bool, scale: float, key: bytes, context: Context
) -> Value:
    """`scale * left @ right`: what a LoRA adds."""
    return product(left, right, turned, key, context) * scale


def with_magnitude(merged: Value, magnitude: Extent, turned: bool) -> Value:
    """The merged matrix scaled so that its rows (`turned`: its columns) have these norms."""
    kind = COLUMNS if turned else ROWS
    wanted = magnitudes(magnitude, kind, merged.key, merged.context)
    return merged * divided(wanted, norm(merged, kind))
