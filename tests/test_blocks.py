"""Evaluation by blocks: against plain numpy, and the same bytes however the work is cut."""

import numpy as np
import pytest

from mergelang.errors import RunError
from mergelang.ops import expr as e
from mergelang.plan.cost import sample_pieces
from mergelang.run.evaluate import as_array, evaluate
from mergelang.tensors import TensorType
from tests.blocks import between, pair, stored, value_of

SIZES = [0, 1, 2, 16_383, 16_384, 16_385, 70_001]
CUTS = [(1 << 14, 2), (1 << 15, 1), (1 << 16, 1), (1 << 17, 2)]


@pytest.mark.parametrize("n", SIZES)
def test_elementwise_arithmetic_rounds_each_operation_once(tmp_path, n):
    x, y, a, b = pair(tmp_path, n)
    half = np.float32(0.3)
    assert np.array_equal(value_of(x + 0.3 * (y - x)), a + half * (b - a))
    assert np.array_equal(value_of(1 - x * y), 1 - a * b)
    assert np.array_equal(value_of(e.sqrt(abs(x)) / 0.7), np.sqrt(abs(a)) / np.float32(0.7))
    assert np.array_equal(value_of(e.where(x < y, x, -y)), np.where(a < b, a, -b))
    assert np.array_equal(value_of(e.sign(x) * 2.0), np.sign(a) * 2)


@pytest.mark.parametrize("n", SIZES)
def test_reductions_agree_with_float64_sums(tmp_path, n):
    x, y, a, b = pair(tmp_path, n)
    wide = a.astype(np.float64)
    one = stored(tmp_path, "one", np.ones(n, dtype=np.float32))
    for scalar, truth in [
        (e.total(x), wide.sum()),
        (e.dot(x, y), (wide * b).sum()),
        (e.norm(x), np.sqrt((wide * wide).sum())),
        (e.largest(x), abs(wide).max(initial=0)),
        (e.total(x > 0.0), (a > 0).sum()),
    ]:
        np.testing.assert_allclose(value_of(one * scalar), np.full(n, truth), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_top_keeps_the_largest_magnitudes_and_cuts_ties_by_position(tmp_path, n, density):
    x, _, a, _ = pair(tmp_path, n)
    coarse = np.round(a * 4).astype(np.float32)
    y = stored(tmp_path, "coarse", coarse)
    for value, data in ((x, a), (y, coarse)):
        k = min(n, max(int(density * 1000 * n / 1000 + 1e-9), 1 if density else 0))
        first = np.lexsort((np.arange(n), -abs(data)))[:k]
        truth = np.zeros(n, dtype=np.float32)
        truth[first] = data[first] + 1
        got = value_of(e.where(e.top(value, density), value + 1.0, 0.0))
        assert np.array_equal(got, truth)


@pytest.mark.parametrize("inside", ["all equal", "few magnitudes", "larger", "smaller"])
def test_a_sample_that_misleads_changes_nothing(tmp_path, inside):
    n = 600_000
    data = np.random.default_rng(3).uniform(0.1, 1, n).astype(np.float32)
    for start, count in sample_pieces(n, 0):
        piece = data[start : start + count]
        piece[:] = {
            "all equal": piece * 0 + 2, "few magnitudes": np.ceil(piece * 3), "larger": piece + 5,
            "smaller": piece / 99,
        }[inside]  # fmt: skip
    x = stored(tmp_path, "x", data)
    for k in (500, 60_000, 70_000, 300_000, 599_000):
        truth = np.zeros(n, dtype=np.float32)
        first = np.lexsort((np.arange(n), -data))[:k]
        truth[first] = data[first]
        for block, threads in CUTS:
            got = value_of(e.where(e.top(x, k / n), x, 0.0), block, threads)
            assert np.array_equal(got, truth)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_float64_is_rounded_once_between_any_two_numbers_of_16_bits(tmp_path, dtype):
    x, truth = between(tmp_path, dtype)
    kind = TensorType(dtype, x.context.type.shape)
    assert evaluate(x.expr, kind, allow_nonfinite=True) == truth


def test_every_cut_into_blocks_and_threads_gives_the_same_bytes(tmp_path):
    x, y, _, _ = pair(tmp_path, 300_001)
    delta = x - y
    nested = e.where(e.top(delta * e.norm(delta), 0.2), delta, 0.0)
    dropped = e.where(e.keep(delta, 0.37), nested / 0.37, nested * e.dot(nested, x))
    results = {evaluate(dropped.expr, delta.context.type, block=b, threads=t) for b, t in CUTS}
    assert len(results) == 1


def test_float64_inputs_are_computed_in_float64(tmp_path):
    a = np.random.default_rng(1).standard_normal(5000)
    x = stored(tmp_path, "a64", a)
    assert np.array_equal(value_of(x * (1 / 3)), a * (1 / 3))
    np.testing.assert_allclose(value_of(x / e.norm(x)), a / np.sqrt((a * a).sum()), rtol=1e-14)
    k = 1250
    truth = np.zeros_like(a)
    first = np.argsort(-abs(a), kind="stable")[:k]
    truth[first] = a[first]
    assert np.array_equal(value_of(e.where(e.top(x, 0.25), x, 0.0)), truth)


def test_nan_in_an_input_stops_with_tensor_and_position(tmp_path):
    a = np.zeros(70_000, dtype=np.float32)
    a[66_000] = np.nan
    x = stored(tmp_path, "nan", a)
    with pytest.raises(RunError) as caught:
        evaluate((x * 2).expr, x.context.type, name="layer.weight")
    assert caught.value.facts["position"] == 66_000
    assert str(caught.value).startswith(
        f"error[E0903]: tensor layer.weight of {tmp_path / 'nan'} holds nan at element 66000"
    )
    assert np.isnan(value_of(x * 2, allow_nonfinite=True)[66_000])


@pytest.mark.parametrize(("dtype", "bound"), [("F16", 65504.0), ("BF16", 3.3895313892515355e38)])
def test_a_result_that_its_dtype_cannot_hold_stops_the_run(tmp_path, dtype, bound):
    for data, fits in ((bound, True), (bound * 1.003, False)):
        x = stored(tmp_path, f"x{data}", np.array([0.0, data], dtype=np.float32))
        kind = TensorType(dtype, (2,))
        if fits:
            assert as_array(evaluate((x * 1.0).expr, kind), kind)[1] == np.float32(bound)
        else:
            with pytest.raises(RunError, match="E0904"):
                evaluate((x * 1.0).expr, kind)


def test_a_file_that_was_cut_short_is_named(tmp_path):
    x = stored(tmp_path, "short", np.zeros(5000, dtype=np.float32))
    (tmp_path / "short").write_bytes(b"\0" * 4096)
    with pytest.raises(RunError, match="short ends at byte 4096"):
        evaluate((x * 2).expr, x.context.type)
