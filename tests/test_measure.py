"""Measuring weights: histograms, differences and task vectors, against numpy on whole tensors."""

import struct
from math import isclose

import numpy as np
import pytest

from mergelang import measure
from mergelang.errors import InputError
from mergelang.measure import blocks, comparable, histogram, sums
from mergelang.tensors import Extent, TensorType


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "__defaults__", (7,))


def stored(path, values, dtype="F32") -> Extent:
    """A tensor in a file, eight bytes into it."""
    data = np.asarray(values, dtype=np.float32)
    raw = {
        "F32": data, "F64": data.astype(np.float64), "F16": data.astype(np.float16),
        "BF16": (data.view(np.uint32) >> 16).astype(np.uint16),
    }[dtype]  # fmt: skip
    path.write_bytes(struct.pack("<Q", 0) + raw.tobytes())
    return Extent(str(path), 8, TensorType(dtype, (len(data),)))


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_tensors_are_read_block_by_block(tmp_path, dtype):
    values = [0.5, -1, 2, 0, 1.5, -0.25, 8, 3, -3]
    read = [part.tolist() for part in blocks(stored(tmp_path / "t", values, dtype))]
    assert read == [values[:7], values[7:]]


def test_a_file_that_is_too_short_is_told(tmp_path):
    extent = stored(tmp_path / "t", range(20))
    with pytest.raises(InputError, match="E0604"):
        list(blocks(extent._replace(offset=60)))


def test_differences_and_task_vectors(tmp_path):
    random = np.random.default_rng(1)
    a, b, base = random.normal(size=(3, 100)).astype(np.float32)
    b[:10] = base[:10]
    extents = [stored(tmp_path / str(i), each) for i, each in enumerate((a, b, base))]
    found = sums(*extents)
    x, y, z = (each.astype(np.float64) for each in (a, b, base))
    assert isclose(found.difference, np.linalg.norm(x - y) / np.linalg.norm(x))
    u, v = x - z, y - z
    assert isclose(found.cosine, u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    both = (u != 0) & (v != 0)
    assert isclose(found.conflicts, np.mean((np.sign(u) != np.sign(v))[both]))
    alone = sums(*extents[:2])
    assert (alone.cosine, alone.conflicts) == (None, None)


def test_sums_of_parts_are_those_of_the_whole(tmp_path):
    a, b = stored(tmp_path / "a", range(40)), stored(tmp_path / "b", range(1, 41))
    half = TensorType("F32", (20,))
    parts = [
        sums(a._replace(offset=at, type=half), b._replace(offset=at, type=half)) for at in (8, 88)
    ]
    assert parts[0] + parts[1] == sums(a, b)
    assert sums(b, b).difference == 0 and sums(a._replace(type=TensorType("F32", (1,))), b._replace(
        type=TensorType("F32", (1,)))).difference is None  # fmt: skip


def test_a_histogram_counts_every_finite_value(tmp_path):
    values = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, float("nan"), float("inf")]
    found = histogram(stored(tmp_path / "t", values), 4)
    assert (found.low, found.high, found.counts) == (0, 8, (3, 2, 2, 3))
    assert (found.count, found.zeros, found.nonfinite) == (10, 2, 2)
    assert isclose(found.mean, 3.6) and isclose(found.deviation, np.std(values[:10]))


def test_a_constant_tensor_has_a_histogram(tmp_path):
    found = histogram(stored(tmp_path / "t", [2, 2, 2]), 3)
    assert (found.low, found.high, found.counts) == (1.5, 2.5, (0, 3, 0))
    assert histogram(stored(tmp_path / "t", [float("nan")]), 2).count == 0


def test_work_that_is_no_longer_wanted_ends(tmp_path):
    extent = stored(tmp_path / "t", range(100))
    asked = []

    def wanted() -> bool:
        asked.append(1)
        return False

    assert histogram(extent, 4, wanted) is None
    sums(extent, extent, wanted=wanted)
    assert len(asked) == 2


def test_only_tensors_of_one_shape_are_compared():
    kinds = {"x": "F32", "y": "I64", "z": "F32"}
    one = {name: Extent("f", 0, TensorType(kind, (2,))) for name, kind in kinds.items()}
    other = {**one, "z": Extent("f", 0, TensorType("F32", (3,)))}
    assert comparable(one, other) == ["x"] and comparable(one) == ["x", "z"]
    assert measure.measurable(TensorType("F32", (0,))) is False
