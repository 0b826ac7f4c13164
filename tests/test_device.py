"""What is computed on a device has the bytes of ordinary runs: every operator, kind of step and
reduction, by the steps of a card taken by torch on the processor.

With a card: MERGELANG_TEST_DEVICE=cuda pytest tests/test_device.py tests/test_card.py
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mergelang
from mergelang.errors import RunError
from mergelang.ops import expr as e
from mergelang.ops.rows import Part, Rows, Run, gather, padded
from mergelang.run.device import open_device, steps
from mergelang.run.evaluate import evaluate
from mergelang.run.machine import Choice, Frame
from mergelang.run.tape import Slot, Step
from mergelang.tensors import UNBOUND, TensorType
from tests.blocks import between, pair, stored
from tests.checkpoints import write_adapter, write_arrays, write_model, write_tokenizer
from tests.test_determinism import FIRST, bytes_of
from tests.test_native import BY_ROWS, COUNT, EXPRESSIONS
from tests.test_native import pair as two  # noqa: F401 - a fixture
from tests.test_operators import recipe, write_models
from tests.test_product import arrays, factors

DEVICE = os.environ.get("MERGELANG_TEST_DEVICE", "torch")
LIBRARY = re.compile(r"(tsv|iso_c|iso_cts|regmean|arcee_fusion)\(")
"""The operators whose bytes depend on the library of the device."""

SMALL, LARGE = {"block": 1 << 14, "threads": 2}, {"block": 1 << 22}


def on_device(root: e.Expr, kind: TensorType, **options: object) -> bytes:
    return evaluate(root, kind, device=open_device(DEVICE), **options)


def assert_same(x: e.Value, dtype: str = "", **options: object) -> None:
    """The value has the same bytes both ways, in blocks of several sizes."""
    kind = x.context.type
    kind = TensorType(dtype or kind.dtype, kind.shape)
    usual = evaluate(x.expr, kind, **options)
    for cut in (SMALL, LARGE):
        assert on_device(x.expr, kind, **cut, **options) == usual


# Steps and reductions


@pytest.mark.parametrize("dtype", ["BF16", "F32", "F16"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_elementwise_steps_sums_and_selections_have_the_usual_bytes(name, dtype, two):  # noqa: F811
    assert_same(EXPRESSIONS[name](*two), dtype, allow_nonfinite=name == "large")


@pytest.mark.parametrize("width", [1790, 22, 1])
@pytest.mark.parametrize("name", BY_ROWS)
def test_ranks_and_numbers_of_rows_have_the_usual_bytes(name, width, two):  # noqa: F811
    context = e.Context(7, "w", TensorType(two[0].expr.attr.type.dtype, (COUNT // width, width)))
    x, y = (
        e.load(e.Extent(each.expr.attr.path, 0, context.type), each.key, context) for each in two
    )
    assert_same(BY_ROWS[name](x, y), "F32")


WIDE = {
    **{name: EXPRESSIONS[name] for name in ("arithmetic", "signs", "random", "selection", "sums")},
    "ranks": lambda x, y: e.rank(e.sign(x) * 3) + x,
    "noise": lambda x, y: x * e.noise(b"n", x.context) + e.uniform(y),
    "largest": lambda x, y: x * e.largest(y) - e.greatest(x) * e.kth(y, 100),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDE)
def test_float64_has_the_usual_bytes(name, tmp_path):
    x, y, _, _ = pair(tmp_path, (70, 503), np.float64)
    for dtype in ("F64", "F16"):
        assert_same(WIDE[name](x, y), dtype)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_float64_is_rounded_once_there_too(dtype, tmp_path):
    x, truth = between(tmp_path, dtype)
    kind = TensorType(dtype, x.context.type.shape)
    assert on_device(x.expr, kind, allow_nonfinite=True) == truth


SHAPES = [(), (0,), (1,), (7,), (3, 5), (4, 0), (200, 257), (2, 70_000), (5, 3, 129), (70_001, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tensors_of_any_shape_have_the_usual_bytes(shape, tmp_path):
    x, y, _, _ = pair(tmp_path, shape, np.float64)  # of which the last digits of sums show
    for kind in (e.ROWS, e.COLUMNS):
        ratio = e.dot(x, y, kind) / e.norm(x, kind)
        assert_same(e.where(e.dot(x, y, kind) < 0, y, x * ratio * e.total(y)))
    assert_same(e.where(e.top(x - y, 0.3), x, 0.0) * e.norm(y) + e.where(e.keep(x, 0.4), y, 0.0))


@pytest.mark.parametrize("shape", [(810, 4099), (3_200_001, 1)], ids=str)
def test_columns_of_several_spans_are_added_up_in_their_order(shape, tmp_path):
    x, y, _, _ = pair(tmp_path, shape, np.float64)
    value = x * e.dot(x, y, e.COLUMNS)
    usual = evaluate(value.expr, x.context.type)
    for block in (1 << 17, 5 << 19, 1 << 22):
        assert on_device(value.expr, x.context.type, block=block, threads=2) == usual


@pytest.mark.parametrize("inside", ["ties", "all equal", "misled"])
def test_selections_cut_ties_and_survive_samples_that_mislead(inside, tmp_path):
    n = 600_000
    data = np.random.default_rng(3).standard_normal(n).astype(np.float32)
    data = {"ties": np.round(data, 1), "all equal": data * 0 + 1, "misled": data}[inside]
    if inside == "misled":
        data[::9000] *= 50
        data[:70_000] *= 9
    x = stored(tmp_path, "x", data)
    for density in (0.001, 0.31, 0.95):
        assert_same(e.where(e.top(x, density), x, 0.5))
    assert_same(e.where(e.top_nonzero(x, 0.4), x, 0.5))


@pytest.mark.parametrize(("rows", "rank", "columns"), [(1, 1, 1), (300, 5, 257), (3, 2, 70_000)])
def test_low_rank_products_have_the_usual_bytes(rows, rank, columns, tmp_path):
    for dtype in (np.float32, np.float64):
        left, right = arrays(rows, rank, columns, dtype)
        assert_same(factors(tmp_path, left, right, dtype) * 3.0)


def test_tables_that_are_put_together_have_the_usual_bytes(tmp_path):
    x, y, _, _ = pair(tmp_path, (500, 333))
    tables = [x.expr.attr, y.expr.attr]
    runs = [Run(0, 300, (Part(0, 100),)), Run(310, 150, (Part(0, 7), Part(1, 300)))]
    context = e.Context(7, "w", TensorType("F32", (600, 333)))
    table = gather(Rows(tables, runs, 600), context, b"t")
    assert_same(table * 1.5)
    assert_same(padded(table, [(460, 480), (590, 600)], 450) + 1.0)


class Watch(TorchDispatchMode):
    """The operations that a number of Python takes part in, and those of tensors that lie apart."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: set[str] = set()
        self.apart: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = str(func), tree_leaves((args, kwargs))
        if any(isinstance(each, float) for each in tree_leaves(args)):
            self.numbers.add(name)
        devices = {each.device for each in given if isinstance(each, torch.Tensor)}
        if len(devices) > 1:
            self.apart.add(name)
        return func(*args, **kwargs or {})


def test_numbers_are_brought_to_the_device_before_anything_is_divided_by_them():
    """A card multiplies by the reciprocal of a number that lies on the processor."""
    blocks = [torch.empty(4096, device="meta") for _ in range(3)]
    masks = [torch.empty(4096, dtype=torch.bool, device="meta")]
    first, second = Slot(0), Slot(1)
    steps_of = [
        *(Step(op, 2, "block", args, None) for op in ("add", "sub", "mul", "div")
          for args in ((first, second), (first, 0.3), (0.3, first))),
        *(Step(op, 0, "mask", (first, 0.3), None) for op in ("lt", "le", "eq")),
        *(Step("where", 2, "block", (first, *args), None)
          for args in ((0.3, first), (1.0, 0.3))),
        Step("fill", 2, "block", (), 0.3),
        Step("rank", 2, "block", (first,), None),
        Step("chosen", 0, "mask", (first, Choice(0.3, 100, 0)), None),
        Step("spread", 2, "block", (np.arange(64.0),), e.ROWS),
    ]  # fmt: skip
    frame = Frame(UNBOUND, (64, 64), {}, [])
    with Watch() as seen:
        for step in steps_of:
            steps.take(step, 0, blocks, masks, frame, None)
    assert seen.numbers == {"aten.full.default"}
    assert seen.apart <= {"aten._to_copy.default", "aten.copy_.default"}


# Whole recipes


@pytest.fixture(scope="module")
def every(tmp_path_factory) -> Path:
    """A recipe with every operator, over tensors of several blocks and an odd rest."""
    folder = tmp_path_factory.mktemp("every")
    shapes = {"scalar": (), "empty": (0, 3), "one": (1,), "blocks": (5, 7_001)}
    write_models(folder, shapes, "F32 BF16 F16 F64", places=("layers.1.mlp",))
    tied = [each for each in FIRST.values() if LIBRARY.search(each) and DEVICE != "torch"]
    cases = [each for each in FIRST.values() if each not in tied]
    (folder / "test.merge").write_text(recipe(*cases, *["mean(a, b)"] * len(tied)))
    return folder


def test_every_operator_has_the_usual_bytes(every):
    one = mergelang.load(every / "test.merge")
    one.run(fresh=True, cache="none")
    usual = bytes_of(every)
    one.run(device=DEVICE, fresh=True, cache="none", **SMALL)
    assert bytes_of(every) == usual


ADAPTED = """\
model a = "a"
model b = "b"
let code = lora("code")
output "out" = slerp(a, b, t: 0.3) + 0.7 * code { tokenizer: union(a, b), pad_vocab: 16 }
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes()
            for each in sorted(folder.rglob("*")) if each.is_file()}  # fmt: skip


def test_adapters_and_new_vocabularies_give_the_same_folder_record_and_all(tmp_path):
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed)
        write_tokenizer(tmp_path / name, [f"w{i + 5 * seed}" for i in range(28)])
    write_adapter(tmp_path / "code", seed=3)
    (tmp_path / "x.merge").write_text(ADAPTED)
    one = mergelang.load(tmp_path / "x.merge")
    one.run()
    usual = files(tmp_path / "out")
    one.run(device=DEVICE, fresh=True)
    assert files(tmp_path / "out") == usual


# What is refused


def test_what_is_not_finite_is_refused_in_the_usual_words(tmp_path):
    data = np.ones(70_000, np.float32)
    data[66_001], data[66_500] = np.inf, np.nan
    write_arrays(tmp_path / "a", {"w": (data, "BF16"), "v": (data[:100], "F32")})
    write_arrays(tmp_path / "b", {"w": (np.full(70_000, 3e4), "F16"), "v": (data[:100], "F16")})
    for number, expression in enumerate(("0.5 * a + 0.5 * b", "as_model(3 * b - b / 3)")):
        path = tmp_path / f"{number}.merge"
        path.write_text(f'model a = "a"\nmodel b = "b"\noutput "out" = {expression}\n')
        said = set()
        for device in ("cpu", DEVICE):
            with pytest.raises(RunError) as caught:
                mergelang.load(path).run(device=device, block=1 << 14)
            said.add(str(caught.value))
        assert len(said) == 1
        assert ("holds inf at element 66001", "gives 80000.0 for tensor w at element 0")[
            number
        ] in said.pop()
