"""Low-rank products: exact sums, the same bits however the work is cut."""

import math

import numpy as np
import pytest

from mergelang.ops import expr as e
from mergelang.ops.low_rank import product
from mergelang.plan.cost import cost
from mergelang.tensors import TensorType
from tests.blocks import value_of

CUTS = [(1 << 14, 1), (1 << 14, 2), (1 << 15, 1), (1 << 18, 2)]


def factors(folder, left, right, dtype=np.float32, *, turned=False):
    """The product of two arrays as a value, and the arrays."""
    made = []
    for name, array in (("left", left), ("right", right)):
        data = np.ascontiguousarray(array.T if turned else array, dtype=dtype)
        (folder / name).write_bytes(data.tobytes())
        kind = TensorType({4: "F32", 8: "F64"}[data.itemsize], data.shape)
        made.append(e.Extent(str(folder / name), 0, kind))
    kind = TensorType(made[0].type.dtype, (left.shape[0], right.shape[1]))
    return product(*made, turned, b"key", e.Context(0, "w", kind))


def arrays(rows, rank, columns, dtype=np.float32):
    rng = np.random.default_rng(rank)
    spread = 10.0 ** rng.integers(-6, 3, (rows, 1))
    left = (rng.standard_normal((rows, rank)) * spread).astype(dtype)
    return left, rng.standard_normal((rank, columns)).astype(dtype)


SIZES = [(1, 1, 1), (3, 1, 70_000), (300, 5, 257), (129, 64, 130), (40_000, 8, 1)]


@pytest.mark.parametrize(("rows", "rank", "columns"), SIZES)
@pytest.mark.parametrize("turned", [False, True])
def test_each_element_is_the_exact_sum_rounded_once(tmp_path, rows, rank, columns, turned):
    left, right = arrays(rows, rank, columns)
    x = factors(tmp_path, left, right, turned=turned)
    found = {value_of(x, block, threads).tobytes() for block, threads in CUTS}
    assert len(found) == 1
    got = value_of(x)
    rng = np.random.default_rng(0)
    for i, j in zip(rng.integers(0, rows, 200), rng.integers(0, columns, 200), strict=True):
        exact = math.fsum(float(a) * float(b) for a, b in zip(left[i], right[:, j], strict=True))
        assert got[i, j] == np.float32(exact)


def test_entries_far_below_the_largest_still_count(tmp_path):
    left = np.array([[1.0, 2.0**-20, 2.0**-30]], dtype=np.float32)
    right = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 0.0]], dtype=np.float32)
    got = value_of(factors(tmp_path, left, right))
    assert got.tolist() == [[2.0**-20 + 3 * 2.0**-30, 1.0]]


def test_float64_factors_give_float64(tmp_path):
    left, right = arrays(50, 16, 60, np.float64)
    got = value_of(factors(tmp_path, left, right, np.float64))
    exact = np.array([[math.fsum(a * b) for b in right.T] for a in left])
    scale = np.abs(left) @ np.abs(right)
    assert np.max(np.abs(got - exact) / scale) < 2**-52


def test_the_plan_counts_what_factors_hold(tmp_path):
    left, right = arrays(300, 4, 200)
    x = factors(tmp_path, left, right)
    passes, reads, holds = cost(x.expr, x.context.type)
    assert (passes, reads) == (1, 4 * (left.size + right.size))
    assert holds >= 4 * left.size + 16 * right.size
