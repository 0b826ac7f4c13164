"""How the benchmark of devices compares two outputs: by units in the last place, and by whether an
element that is far lies at a decision."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.models.headers import read_header
from tests.bench.agreement import Agreement, agreement, units
from tests.checkpoints import write_arrays


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_units_count_the_numbers_between_across_zero_too(dtype):
    kind = {"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype]
    one = np.array([1, 0.0, -0.0, 1], kind)
    least = np.nextafter(kind(0), kind(1))
    other = np.array([np.nextafter(kind(1), kind(2)), -0.0, -least, 1], kind)
    assert units(one.view(np.uint8), other.view(np.uint8), dtype).tolist() == [1, 0, 1, 0]


CLOSE = {
    "ties(a, b, density: 1, base: base)": ([1, 1, 0.5, 0], [1, -1.0000001, 0.25, 1]),
    "as_model(trim(a - base, density: 0.5))": ([2, 1.5, 1.5000001, 1], [0, 0, 0, 0]),
    "nearswap(a, t: 1, base: base)": ([3, -1.0000001, 0.5, 9], [0, 0, 0, 0]),
}
"""Of each merge two inputs over a base of zeros: their second elements lie at a decision."""


@pytest.mark.parametrize("expression", CLOSE)
def test_what_is_far_is_counted_apart_where_it_lies_at_a_decision(expression, tmp_path):
    for name, data in zip("ab", CLOSE[expression], strict=True):
        write_arrays(tmp_path / name, {"w": (np.array(data), "F32"), "v": (np.ones(9), "F32")})
    write_arrays(tmp_path / "base", {"w": (np.zeros(4), "F32"), "v": (np.zeros(9), "F32")})
    models = "".join(f'model {name} = "{name}"\n' for name in ("a", "b", "base"))
    (tmp_path / "x.merge").write_text(f'{models}output "out" = {expression}\n')
    plan = mergelang.load(tmp_path / "x.merge").run()
    shutil.copytree(tmp_path / "out", tmp_path / "other")
    assert agreement(plan, tmp_path / "out", tmp_path / "other") == Agreement(13)
    changed(tmp_path / "other", {0: 3, 1: 40, 3: 1})
    found = agreement(plan, tmp_path / "out", tmp_path / "other")
    assert found == Agreement(13, differ=3, far=2, near=1, most=40)


def changed(folder: Path, by: dict[int, int]) -> None:
    """Changes elements of the tensor `w` by some units in the last place."""
    extent = read_header(folder / "model.safetensors", "model")["w"]
    data = bytearray(Path(extent.path).read_bytes())
    numbers = np.frombuffer(data, np.int32, 4, extent.offset)
    for position, count in by.items():
        numbers[position] += count
    Path(extent.path).write_bytes(data)
