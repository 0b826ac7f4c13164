"""The same bytes however the work is cut, and on any CPU: every operator by whole recipes, every
kernel under several instruction sets of torch and numpy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

import mergelang
from tests.test_operators import CASES, recipe, write_models

SCRIPT = """
import hashlib, sys
from pathlib import Path
import numpy as np
from mergelang.ops import expr as e
from mergelang.run.evaluate import evaluate
from mergelang.tensors import TensorType

folder = Path(sys.argv[1])
n = 100_003
rng = np.random.default_rng(3)
def stored(name, scale):
    path = folder / name
    if not path.exists():
        path.write_bytes((rng.standard_normal(n) * scale).astype(np.float32).tobytes())
    kind = TensorType("F32", (n,))
    return e.load(e.Extent(str(path), 0, kind), name.encode(), e.Context(5, "w", kind))
x, y = stored("x", 1.0), stored("y", 0.01)
d = x - y
values = {
    "affine": x + 0.3 * (y - x) + d / 0.7,
    "slerp": e.sin(e.acos(e.dot(x, y) / (e.norm(x) * e.norm(y)))) * x,
    "root": e.sqrt(abs(x)) * e.sign(y) - 1.5 / (abs(y) + 0.1),
    "top": e.where(e.top(d, 0.21), d, 0.0),
    "keep": e.where(e.keep(d, 0.37), d / 0.37, y),
    "masks": e.where((x < y) & ~(x <= 0.0) | d.equals(0.0), x * e.total(d), y),
    "noise": e.noise(b"n", x.context) * e.largest(y),
}
for name, value in values.items():
    for dtype in ("F32", "BF16", "F16"):
        kind = TensorType(dtype, (n,))
        print(name, dtype, hashlib.sha256(evaluate(value.expr, kind)).hexdigest())
"""


def digests(folder: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        capture_output=True, text=True, env={**os.environ, **environment}, check=True,
    )  # fmt: skip
    return result.stdout


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("data")
    return folder, digests(folder)


@pytest.mark.parametrize(
    "environment",
    [
        {"ATEN_CPU_CAPABILITY": "default"},
        {"ATEN_CPU_CAPABILITY": "avx2"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"},
    ],
    ids=lambda e: "=".join(*e.items()),
)
def test_every_kernel_gives_the_same_bytes_on_a_lesser_cpu(usual, environment):
    folder, expected = usual
    assert digests(folder, **environment) == expected


FIRST: dict[str, str] = {}
"""Of each operator, of the sums and of nested calls, the first case."""
for case in CASES.strip().splitlines():
    FIRST.setdefault(case.partition("(")[0], case)


@pytest.fixture(scope="module")
def every(tmp_path_factory) -> Path:
    """A recipe with every operator, over tensors of several blocks and an odd rest."""
    folder = tmp_path_factory.mktemp("every")
    shapes = {"one": (1,), "blocks": (5, 7_001)}
    write_models(folder, shapes, "F32 BF16 F64", places=("layers.1.mlp",))
    (folder / "test.merge").write_text(recipe(*FIRST.values()))
    return folder


def bytes_of(folder: Path) -> dict[str, str]:
    """A digest of each output's weights, which are then removed."""
    found = {}
    for number in range(len(FIRST)):
        weights = folder / str(number) / "model.safetensors"
        found[str(number)] = blake3(weights.read_bytes()).hexdigest()
        weights.unlink()
    return found


@pytest.fixture(scope="module")
def usual_bytes(every) -> dict[str, str]:
    mergelang.load(every / "test.merge").run(threads=1, block=1 << 16, fresh=True)
    return bytes_of(every)


MIB = 1 << 20


@pytest.mark.parametrize(
    "cut",
    [
        {"threads": 2, "block": 1 << 14, "memory": 400 * MIB},
        {"threads": 1, "block": 1 << 15, "memory": 4096 * MIB},
        {"threads": 3, "block": 1 << 17, "memory": 700 * MIB},
        {"threads": 2},
        {"threads": 3, "processes": True, "block": 1 << 15},
    ],
    ids=str,
)
def test_every_operator_gives_the_same_bytes_however_the_work_is_cut(every, usual_bytes, cut):
    mergelang.load(every / "test.merge").run(**cut, fresh=True)
    assert bytes_of(every) == usual_bytes


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_every_operator_gives_the_same_bytes_on_a_lesser_cpu(every, usual_bytes, capability):
    """Without the built code, too, which the usual bytes come from where a compiler is."""
    settings = {"ATEN_CPU_CAPABILITY": capability, "MERGELANG_NATIVE": "0"}
    subprocess.run(
        [sys.executable, "-m", "mergelang", "run", "--fresh", str(every / "test.merge")],
        check=True, capture_output=True, env={**os.environ, **settings},
    )  # fmt: skip
    assert bytes_of(every) == usual_bytes
