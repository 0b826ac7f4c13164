"""Numbers for each row and column, ranks, solved scalars: against plain numpy, however cut."""

import numpy as np
import pytest

from mergelang.ops import expr as e
from tests.blocks import pair, stored, value_of

SHAPES = [(), (0,), (1,), (7,), (70_001,), (3, 5), (4, 0), (200, 257), (2, 70_000), (5, 3, 129)]
CUTS = [(1 << 14, 2), (1 << 16, 1), (1 << 17, 2)]


def row_dot(a, b):
    wide = a.astype(np.float64) * b
    return wide.sum(axis=-1, keepdims=True) if a.ndim else wide


def column_dot(a, b):
    wide = a.astype(np.float64) * b
    return wide.sum(axis=0, keepdims=True) if a.ndim else wide


def divided(a, b):
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "truth"), [(e.ROWS, row_dot), (e.COLUMNS, column_dot)])
def test_numbers_of_rows_and_columns_go_back_to_their_elements(tmp_path, shape, kind, truth):
    x, y, a, b = pair(tmp_path, shape)
    ratio = e.dot(x, y, kind) / e.norm(x, kind)
    quotient = divided(truth(a, b), np.sqrt(truth(a, a)))
    expected = a * quotient
    for block, threads in CUTS:
        np.testing.assert_allclose(value_of(x * ratio, block, threads), expected, rtol=1e-6)
    angles = e.where(e.dot(x, y, kind) < 0, y, x * e.cos(e.acos(ratio / 9)))
    expected = np.where(truth(a, b) < 0, b, a * (quotient / 9).clip(-1, 1))
    found = {value_of(angles, block, threads).tobytes() for block, threads in CUTS}
    assert len(found) == 1
    np.testing.assert_allclose(value_of(angles), expected, rtol=1e-6, atol=1e-7)


def test_rows_and_columns_meet_as_elements(tmp_path):
    x, y, a, b = pair(tmp_path, (30, 40))
    expected = a * (row_dot(a, a) + column_dot(b, b))
    both = x * (e.dot(x, x, e.ROWS) + e.dot(y, y, e.COLUMNS))
    np.testing.assert_allclose(value_of(both), expected, rtol=1e-6)


def test_sums_over_all_elements_stay_right_where_rows_keep_together(tmp_path):
    x, y, a, b = pair(tmp_path, (200, 257))
    scaled = x * e.norm(x, e.ROWS) * e.total(y)
    expected = a * np.sqrt(row_dot(a, a)) * b.astype(np.float64).sum()
    np.testing.assert_allclose(value_of(scaled), expected, rtol=1e-6)
    assert len({value_of(scaled, *cut).tobytes() for cut in CUTS}) == 1


def short(x):
    """The numbers as bfloat16 would hold them."""
    wide = x.astype(np.float32).view(np.uint32)
    return ((wide + 0x7FFF + (wide >> 16 & 1)) & 0xFFFF0000).view(np.float32)


GRAINS = {
    "coarse": lambda a, b: np.round(a * 4),
    "fine": lambda a, b: a,
    "differences of bfloat16": lambda a, b: short(a + b / 50) - short(a),
    "coarse with a few fine ones": lambda a, b: np.where(abs(b) < 0.02, a, np.round(a * 4)),
    "subnormal": lambda a, b: np.round(a * 4) * 2.0**-149,
    "of all sizes": lambda a, b: short(a) * 2.0 ** np.round(b * 9),
    "equal": lambda a, b: np.sign(a),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("shape", [*SHAPES, (3, 4097), (2, 65_536)])
def test_ranks_count_the_smaller_magnitudes_of_a_row_and_favour_what_stands_first(
    tmp_path, shape, dtype, grain
):
    _, _, a, b = pair(tmp_path, shape, dtype)
    grained = GRAINS[grain](a, b).astype(dtype)
    x = stored(tmp_path, "grained", grained)
    rows = grained.reshape(int(np.prod(shape[:-1])), int(np.prod(shape[-1:])))
    expected = np.empty(rows.shape)
    for row, places in zip(rows, expected, strict=True):
        order = np.lexsort((-np.arange(len(row)), abs(row)))
        places[order] = np.arange(len(row))
    assert np.array_equal(value_of(e.rank(x) * 1), expected.reshape(shape))


def test_uniform_numbers_are_even_and_the_same_however_cut(tmp_path):
    x, _, _, _ = pair(tmp_path, (300, 701))
    numbers = value_of(e.uniform(x) * 1)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 4 * (1 / 12 / numbers.size) ** 0.5
    in_rows = e.uniform(x) + 0 * e.dot(x, x, e.ROWS)
    assert np.array_equal(value_of(in_rows), numbers)


def test_the_kth_largest_magnitude_and_the_largest_of_what_is_not_zero(tmp_path):
    _, _, a, _ = pair(tmp_path, (70_001,))
    a[::3] = 0
    x = stored(tmp_path, "holes", a)
    magnitudes = np.sort(abs(a))[::-1]
    for k in (1, 2, 30_000, 70_001):
        assert np.array_equal(value_of(x * 0 + e.kth(x, k)), np.full(a.shape, magnitudes[k - 1]))
    kept = value_of(e.where(e.top_nonzero(x, 0.5), x, 0))
    assert np.count_nonzero(kept) == np.count_nonzero(a) // 2
    assert not value_of(e.where(e.top_nonzero(x, 1e-5), x, 0)).any()
    nothing = stored(tmp_path, "nothing", np.zeros(9, dtype=np.float32))
    assert not value_of(e.where(e.top_nonzero(nothing, 0.5), nothing + 1, 0)).any()


def twice(numbers, by):
    return [by * number for number in numbers]


def test_a_function_of_scalars_is_called_by_name(tmp_path):
    x, y, a, b = pair(tmp_path, (100,))
    one, two = e.solve("tests.test_rows:twice", [e.total(x), e.total(y)], 2, by=2)
    expected = a * (2 * a.astype(np.float64).sum()) + 2 * b.astype(np.float64).sum()
    np.testing.assert_allclose(value_of(x * one + two), expected, rtol=1e-6)


def spread(rows):
    return (rows.max(dim=1).values - rows.min(dim=1).values).double()


def test_a_function_of_whole_rows_gives_a_number_for_each(tmp_path):
    x, _, a, _ = pair(tmp_path, (200, 257))
    expected = a * np.ptp(a, axis=1, keepdims=True)
    for cut in CUTS:
        assert np.array_equal(value_of(x * e.rowwise("tests.test_rows:spread", x), *cut), expected)
