"""The built code gives the bytes of the kernels of torch and numpy; without a compiler they run."""

import os
import subprocess
import sys
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from mergelang.errors import RunError
from mergelang.ops import expr as e
from mergelang.run import compiler, program
from mergelang.run.evaluate import Memory, evaluate
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from mergelang.run.workers import finish
from mergelang.tensors import Extent, TensorType

COUNT = (1 << 16) + 777


@pytest.fixture(params=["BF16", "F32", "F16"])
def pair(request, tmp_path) -> tuple[e.Value, e.Value]:
    """Two stored tensors of 66,313 elements, with zeros, subnormal and equal ones among them."""
    rng = np.random.default_rng(5)
    values = []
    for name in ("x", "y"):
        numbers = rng.standard_normal(COUNT).astype(np.float32)
        numbers[:2000] = 0
        numbers[2000:2500] *= 1e-39
        numbers[2500:3000] *= 1e-6  # subnormal in float16
        numbers[3000:9000] = np.round(numbers[3000:9000], 1)
        if request.param == "BF16":
            raw = (numbers.view(np.uint32) >> 16).astype(np.uint16)
        else:
            raw = numbers.astype({"F32": np.float32, "F16": np.float16}[request.param])
        path = tmp_path / name
        path.write_bytes(raw.tobytes())
        kind = TensorType(request.param, (COUNT,))
        context = e.Context(7, "w", kind)
        values.append(e.load(Extent(str(path), 0, kind), name.encode(), context))
    return tuple(values)


EXPRESSIONS = {
    "arithmetic": lambda x, y: (x + y * 0.3 - 2.0 * (x - y) / 0.7) / (1.5 - 1.0 / (1 + x * x)),
    "signs": lambda x, y: e.sign(x) * e.sqrt(abs(y)) - (-x),
    "masks": lambda x, y: e.where((x < y) & ~(x <= 0.1) | y.equals(0.0) | (x > 0.5), x, y),
    "numbers": lambda x, y: e.where(x >= y, 1.0, e.where(x > 0, y, e.where(y < x, -2.0, 3.0))),
    "random": lambda x, y: e.where(e.keep(x, 0.37), x / 0.37, e.uniform(y)),
    "noise": lambda x, y: x + e.noise(b"n", x.context),
    "edges": lambda x, y: e.where(e.keep(x, 0.3 + 2.0**-30), x, 0.0),
    "sums": lambda x, y: x * e.dot(x, y) / e.norm(y) + e.total(x) * 1e-3,
    "selection": lambda x, y: e.where(e.top(x - y, 0.21), x, 0.0) + e.where(e.top(y, 0.9), y, 0.0),
    "large": lambda x, y: e.where(x < 1e300, x, y * 1e300),
    "counts": lambda x, y: x * e.total(x < y) * 1e-4 + y * e.largest(x),
}  # fmt: skip


@pytest.mark.parametrize("stored", ["BF16", "F32", "F16"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_built_code_and_the_kernels_of_torch_give_the_same_bytes(
    name, stored, pair, monkeypatch
):
    if compiler.library() is None:
        pytest.skip("no C compiler")
    root, kind = EXPRESSIONS[name](*pair).expr, TensorType(stored, (COUNT,))
    built = evaluate(root, kind, block=1 << 15, allow_nonfinite=name == "large")
    monkeypatch.setattr(compiler, "library", lambda: None)
    assert evaluate(root, kind, block=1 << 16, allow_nonfinite=name == "large") == built


def all_dots(*vectors: e.Value) -> list[e.Value]:
    return [e.dot(a, b) for a, b in combinations_with_replacement(vectors, 2)]


DOTS = {
    "a norm": (1, lambda x, y, z, b: all_dots(x)),
    "two tensors": (2, lambda x, y, z, b: all_dots(x, y)),
    "task vectors": (2, lambda x, y, z, b: all_dots(x - b, y - b)),
    "a tensor and changes": (3, lambda x, y, z, b: all_dots(x, y - x, z - b)),
    "four": (4, lambda x, y, z, b: all_dots(x - b, y - b, z - b, b)),
    "some of three": (3, lambda x, y, z, b: [e.dot(x, y), e.dot(z, y), e.dot(z, z)]),
    "five": (0, lambda x, y, z, b: all_dots(x - b, y - b, z - b, b, x - y)),
    "few of four": (0, lambda x, y, z, b: [e.dot(x, y), e.dot(z, b)]),
    "a sum, too": (0, lambda x, y, z, b: [*all_dots(x, y), e.total(x)]),
    "a selection, too": (0, lambda x, y, z, b: [*all_dots(x, y), e.kth(z - b, 1)]),
    "of a product": (0, lambda x, y, z, b: all_dots(x, y * z)),
}  # fmt: skip
"""Numbers of four tensors, and how many vectors these are all dots of, or 0 where they are not."""


@pytest.mark.parametrize("count", [1, 16_384, COUNT, 3 << 17])
@pytest.mark.parametrize("name", DOTS)
def test_dots_of_a_few_vectors_have_the_same_last_digits(name, count, tmp_path, monkeypatch):
    if compiler.library() is None:
        pytest.skip("no C compiler")
    rng, kind = np.random.default_rng(7), TensorType("BF16", (count,))
    tensors = []
    for each in "xyzb":
        raw = rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16
        (tmp_path / each).write_bytes(raw.astype(np.uint16).tobytes())
        extent = Extent(str(tmp_path / each), 0, kind)
        tensors.append(e.load(extent, each.encode(), e.Context(7, "w", kind)))
    vectors, make = DOTS[name]
    numbers = make(*tensors)
    value = sum((tensors[0] * each for each in numbers), tensors[0])

    def outcome() -> tuple[float, ...]:
        files = Files()
        job = Job(
            "w", value.expr, kind, Memory(kind.nbytes), block=1 << 15, files=files,
            allow_nonfinite=True, wants=[each.expr for each in numbers],
        )  # fmt: skip
        built = job._program
        assert built is None or len(built.vectors) == vectors
        try:
            return finish(0, job, Machine(1 << 15, files), lambda: None).numbers
        finally:
            files.close()

    built = outcome()
    monkeypatch.setattr(compiler, "library", lambda: None)
    assert outcome() == built


BY_ROWS = {
    "ranks": lambda x, y: e.where(e.uniform(x) < e.rank(x - y) * 1e-3, x / (e.rank(y) + 1), y * 2),
    "rank of ranks": lambda x, y: e.rank(e.rank(x) * e.sign(y) + y) + e.where(e.keep(x, 0.3), x, 0),
    "sums": lambda x, y: x / (e.norm(y, e.ROWS) + 1) + y * e.total(e.rank(x)) * 1e-9,
    "selection": lambda x, y: e.where(e.top(e.rank(x) * y, 0.3), x, y),
}  # fmt: skip


@pytest.mark.parametrize("width", [1790, 2048, 22])
@pytest.mark.parametrize("name", BY_ROWS)
def test_the_built_code_goes_row_by_row_as_numpy_does(name, width, pair, tmp_path, monkeypatch):
    if compiler.library() is None:
        pytest.skip("no C compiler")
    x, y = pair
    kind = TensorType(x.expr.attr.type.dtype, (COUNT // width, width))
    context = e.Context(7, "w", kind)
    x, y = (
        e.load(Extent(each.expr.attr.path, 0, kind), each.key, context) for each in (x, y)
    )
    root, kind = BY_ROWS[name](x, y).expr, TensorType("F32", kind.shape)
    assert not program.needs_torch(root, kind)
    built = evaluate(root, kind)
    program.needs_torch.cache_clear()
    monkeypatch.setattr(compiler, "library", lambda: None)
    assert evaluate(root, kind) == built


def test_float16_is_read_and_rounded_as_numpy_does(tmp_path):
    """All of it, and what lies between and halfway between two of it."""
    halves = np.arange(1 << 15, dtype=np.uint16)
    halves = np.concatenate([halves, halves | 0x8000]).view(np.float16)
    halves = halves[np.isfinite(halves)]
    bits = halves.astype(np.float32).view(np.uint32)
    between = np.concatenate([bits + each for each in (0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF)])
    numbers = np.concatenate([between.view(np.float32), np.float32(2.0**-26) * np.arange(99)])
    numbers = np.abs(numbers[np.abs(numbers) < 65519]).astype(np.float32)
    numbers = np.concatenate([numbers, -numbers])
    for name, stored, wanted, dtype in (
        ("read", halves, halves.astype(np.float32), "F32"),
        ("written", numbers, numbers.astype(np.float16), "F16"),
    ):
        (tmp_path / name).write_bytes(stored.tobytes())
        kind = TensorType({2: "F16", 4: "F32"}[stored.itemsize], stored.shape)
        x = e.load(Extent(str(tmp_path / name), 0, kind), b"x", e.Context(7, "w", kind))
        assert evaluate((x * 1.0).expr, TensorType(dtype, stored.shape)) == wanted.tobytes()


def test_numbers_that_are_not_finite_are_found_and_let_through_as_the_kernels_do(
    tmp_path, monkeypatch
):
    raw = np.zeros(COUNT, np.uint16)
    raw[40_000:40_003] = 0x7FC1, 0xFF80, 0x7F80
    (tmp_path / "x").write_bytes(raw.tobytes())
    kind = TensorType("BF16", (COUNT,))
    x = e.load(Extent(str(tmp_path / "x"), 0, kind), b"x", e.Context(7, "w", kind))
    root = (x * 3.0 + 1.0).expr
    let_through = evaluate(root, kind, allow_nonfinite=True)
    with pytest.raises(Exception, match="holds nan at element 40000"):
        evaluate(root, kind)
    monkeypatch.setattr(compiler, "library", lambda: None)
    assert evaluate(root, kind, allow_nonfinite=True) == let_through


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_what_is_no_number_has_the_same_bytes_however_it_came_to_be(dtype, tmp_path, monkeypatch):
    kind, number = TensorType(dtype, (4,)), {"F32": np.float32, "F64": np.float64}[dtype]
    tensors = []
    for name, numbers in (("x", [np.nan, np.inf, -np.nan, 1]), ("y", [-np.nan, np.inf, 1, 2])):
        (tmp_path / name).write_bytes(np.array(numbers, number).tobytes())
        extent = Extent(str(tmp_path / name), 0, kind)
        tensors.append(e.load(extent, name.encode(), e.Context(7, "w", kind)))
    x, y = tensors
    wanted = np.array([np.nan, np.nan, np.nan, -1], number).tobytes()
    for _ in range(2):
        for root in (x - y, (x + y * -1.0)):
            assert evaluate(root.expr, kind, allow_nonfinite=True) == wanted
        monkeypatch.setattr(compiler, "library", lambda: None)


def test_sums_of_what_is_not_finite_warn_of_nothing(tmp_path, recwarn):
    numbers = np.full(COUNT, np.inf, np.float32)
    numbers[::2] *= -1
    (tmp_path / "x").write_bytes(numbers.tobytes())
    kind = TensorType("F32", (COUNT,))
    x = e.load(Extent(str(tmp_path / "x"), 0, kind), b"x", e.Context(7, "w", kind))
    evaluate((x * e.total(x)).expr, kind, allow_nonfinite=True)
    assert not recwarn.list


def test_what_is_not_finite_is_found_where_it_is_only_added_up(tmp_path):
    raw = np.zeros(3 << 17, np.uint16)
    raw[[-1, 200_000]] = 0xFF80, 0x7FC1
    (tmp_path / "x").write_bytes(raw.tobytes())
    kind = TensorType("BF16", raw.shape)
    x = e.load(Extent(str(tmp_path / "x"), 0, kind), b"x", e.Context(7, "w", kind))
    with pytest.raises(Exception, match="holds nan at element 200000"):
        evaluate((x * e.norm(x)).expr, kind, block=1 << 16)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    ("name", "code", "facts"),
    [("short", "E0902", {"offset": 100_000}), ("folder", "E0901", {"reason": "Is a directory"})],
)
def test_a_file_that_cannot_be_read_to_the_end_is_told(
    name, code, facts, built, tmp_path, monkeypatch
):
    (tmp_path / "short").write_bytes(bytes(100_000))
    (tmp_path / "folder").mkdir()
    if not built:
        monkeypatch.setattr(compiler, "library", lambda: None)
    kind = TensorType("BF16", (COUNT,))
    x = e.load(Extent(str(tmp_path / name), 0, kind), b"x", e.Context(7, "w", kind))
    with pytest.raises(RunError) as told:
        evaluate((x * e.norm(x)).expr, kind)
    assert told.value.diagnostics[0].code == code
    assert told.value.diagnostics[0].facts == {"path": str(tmp_path / name), **facts}


@pytest.mark.parametrize("settings", [{"CC": "/bin/false"}, {"MERGELANG_NATIVE": "0"}])
def test_where_nothing_can_be_built_blocks_are_computed_all_the_same(settings, tmp_path):
    script = "from mergelang.run.compiler import library; print(library())"
    settings = {**os.environ, **settings, "MERGELANG_CACHE": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=settings, capture_output=True, text=True, check=True
    )
    assert said.stdout == "None\n"
    assert not list(Path(tmp_path).rglob("*.so"))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_built_file_that_was_cut_short_is_built_anew(damage, tmp_path, monkeypatch):
    if compiler.library() is None:
        pytest.skip("no C compiler")
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path))
    assert compiler.library.__wrapped__() is not None
    (built,) = tmp_path.rglob("*.so")
    data = built.read_bytes()
    built.unlink()  # this process has it loaded
    built.write_bytes(damage(data))
    assert compiler.library.__wrapped__() is not None
    assert len(built.read_bytes()) == len(data)
