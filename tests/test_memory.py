"""The memory of a run stays under its bound, whatever the size of the model."""

import json
import sys
from pathlib import Path

import pytest

import mergelang
from mergelang.errors import RunError
from mergelang.models.headers import read_header
from mergelang.plan.memory import minimum_memory
from tests.bench.process import weighed
from tests.checkpoints import write_arrays

MIB = 1 << 20

def write_sparse(folder: Path, tensors: int, rows: int) -> Path:
    """A model of zeros that takes no room on the disk: float32 matrices of `rows` times 1024."""
    folder.mkdir()
    size = rows * 1024 * 4
    header = {
        f"layers.{i}.w": {
            "dtype": "F32", "shape": [rows, 1024], "data_offsets": [i * size, (i + 1) * size]
        }
        for i in range(tensors)
    }  # fmt: skip
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + tensors * size)
    assert len(read_header(path, "")) == tensors
    return folder


def test_a_merge_of_models_larger_than_the_bound_stays_below_it(tmp_path):
    for name in ("a", "b"):
        write_sparse(tmp_path / name, tensors=2, rows=70_000)  # 573 MB
    expression = "slerp(a, b, t: 0.5) { dtype: bf16 }"
    path = tmp_path / "test.merge"
    path.write_text(f'model a = "a"\nmodel b = "b"\noutput "out" = {expression}\n')
    command = [sys.executable, "-m", "mergelang", "run", str(path), "--memory", "512MiB"]
    _, peak = weighed(command, 0.02)  # of all its processes together
    assert 30 * MIB < peak < 512 * MIB
    (tmp_path / "out" / "model.safetensors").unlink()


def test_too_little_memory_is_refused_before_the_run_with_the_least_named(tmp_path):
    for name in ("a", "b"):
        write_arrays(tmp_path / name, {"w": ([[1.0, 2.0], [3.0, 4.0]], "F32")})
    path = tmp_path / "test.merge"
    path.write_text('model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')
    recipe = mergelang.load(path)
    least = minimum_memory(recipe.plan())
    said = rf"{least // MIB - 1}MiB of memory is too little .* at least {least // MIB}MiB"
    with pytest.raises(RunError, match=said):
        recipe.run(memory=least - MIB)
    assert not (tmp_path / "out").exists()
    recipe.run(memory=least)
    assert (tmp_path / "out").exists()


def test_an_operator_on_whole_tensors_names_what_it_holds(tmp_path):
    for name in ("a", "b"):
        write_sparse(tmp_path / name, tensors=1, rows=20_000)
    path = tmp_path / "test.merge"
    path.write_text('model a = "a"\nmodel b = "b"\noutput "out" = iso_c(a, base: b)\n')
    plan = mergelang.load(path).plan()
    assert plan.holds >= 20_000 * 1024 * 4 * 2  # at least the task vector and the result
    with pytest.raises(RunError, match="E0908"):
        mergelang.load(path).run(memory=400 * MIB)
