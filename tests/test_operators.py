"""Every operator against its plain float64 reference, by whole recipes on odd shapes and dtypes.

A new operator takes one function in `tests/reference.py` and a line in `CASES`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import mergelang
from mergelang.ops.registry import operators
from mergelang.ops.signature import Statistics
from mergelang.run.reduce import SPAN
from tests.checkpoints import write_arrays
from tests.interpret import interpret, read_model, read_tensors

CASES = """
linear(a, b, c)
linear(a { weight: 0.2 }, b { weight: 0.7 }, c { weight: -0.4 })
linear(a { weight: 0.7 }, b { weight: 0.3 }, normalize: false)
linear(a { weight: curve(0.2, 0.8) }, b { weight: match { odd => 0.9, layers 1.. => 0.4, _ => 0.1 } })
mean(a, b, c)
slerp(a, b, t: 0.3)
slerp(a, b, t: match { @attn => curve(0, 0.5, 1), _ => 0.25 })
slerp(a, a + 0.001 * (b - a), t: 0.3)
slerp(a - base, b - base, t: 0.6)
task_arithmetic(a { weight: 0.5 }, b { weight: 0.8 }, c, base: base)
task_arithmetic(a, b, weight: curve(1, 0.1), base: base)
ties(a, b, c, base: base)
ties(a { weight: 0.5, density: 0.7 }, b, c { density: 1 }, density: 0.3, base: base)
ties(a, b { weight: curve(0.5, 2) }, density: curve(0.1, 0.9), normalize: false, base: base)
dare(a, b { weight: 0.4, density: 0.9 }, density: 0.2, base: base)
dare(a, b, density: match { odd => 0.5, _ => 1 }, rescale: none, draw: 3, base: base)
dare(a, density: curve(0.2, 0.95), rescale: l1, base: base)
dare_ties(a { weight: 0.3 }, b, c, density: 0.6, base: base)
dare_ties(a, b, density: 0.5, rescale: l1, normalize: true, base: base)
trim(a - base, density: 0)
trim(a - base, density: 0.25)
trim(a - base, density: curve(0.1, 1))
drop(a - base, density: 0.3)
drop(a - base, density: 0.4, rescale: l1, draw: 1)
elect(a - base, b - base, c - base)
elect(a - base { weight: 0.375 }, b - base { weight: 1.5 }, c - base, normalize: false)
scale(a - base, by: -0.7)
scale(a - base, by: curve(0, 2))
ema(a, b, c, decay: 0.8)
passthrough(a)
passthrough(a, scale: match { odd => 0, _ => 0.5 })
nuslerp(a, b { weight: 0.3 })
nuslerp(a, b { weight: curve(0.3, 3) }, base: base)
nuslerp(a, b, flatten: false)
nuslerp(a { weight: 0 }, b { weight: 0.4 }, flatten: false, row_wise: true, base: base)
multislerp(a, b { weight: 0.4 }, c)
multislerp(a { weight: 0.2 }, b, c { weight: 0.1 }, normalize_weights: false, base: base)
multislerp(a - base, base - a)
karcher(a, b, c)
karcher(a, b, c, max_iter: 0, base: base)
karcher(a, b, base: base, max_iter: 30, tol: 1e-6)
task_arithmetic(a, b { weight: 0.4 }, normalize: true, lambda: curve(0.3, 1), base: base)
ties(a, b, density: 0.3, rescale: l1, lambda: -0.7, base: base)
dare(a, b { weight: 0.5 }, density: 0.3, normalize: true, lambda: 0.8, base: base)
darex(a, b, density: 0.2, q: curve(0.4, 0.7), base: base)
lines(a { weight: 0.5 }, b, alpha: 0.2, beta: 0.7, base: base)
trim(a - base, density: 0.4, gamma: 0.05)
trim(a - base, density: 0.9, gamma: 0.3, rescale: l1)
breadcrumbs(a { density: 0.7 }, b { gamma: 0.2 }, density: 0.4, base: base)
breadcrumbs(a, b { weight: 0.2 }, density: 0.6, gamma: 0, normalize: true, rescale: l1, base: base)
breadcrumbs_ties(a, b, c { weight: 0.4 }, density: 0.5, gamma: 0.1, lambda: 1.2, base: base)
magprune(a - base, density: 0.5)
magprune(a - base, density: 0.9, rescale: l1)
magprune(a - base, density: curve(0.3, 0.8), epsilon: 0, rescale: none, draw: 2)
della(a, b { weight: 0.4 }, density: 0.5, base: base)
della(a, b { epsilon: 0.05 }, density: 0.7, rescale: l1, normalize: false, lambda: 0.5, base: base)
della_linear(a, b { weight: 0.4 }, density: 0.4, base: base)
sce(a, b, c, base: base)
sce(a, b, c, select_topk: 0.3, lambda: 0.9, base: base)
sce(a, b, select_topk: 0.6, epsilon: 0.4, base: base)
ram(a, b, c, epsilon: 0.2, base: base)
ramplus_tl(a, b, c, epsilon: 0.3, base: base)
ramplus_tl(a, b, r: 0.5, alpha: 3, epsilon: 0.2, base: base)
consensus(a, b, c, base: base)
consensus(a { threshold: 0.9 }, b { weight: 0.5 }, c, k: 1, lambda: 0.3, base: base)
pcb(a, b, base: base)
pcb(a { weight: 0.7 }, b, c, density: 0.6, lambda: 1.3, base: base)
model_stock(a, b, base: base)
model_stock(a, b, c, filter_wise: true, base: base)
model_stock(a, b, c, epsilon: 3, base: base)
nearswap(a, t: 0.2, base: base)
arcee_fusion(a, base: base)
tsv(a, b, c, base: base)
tsv(a { weight: 0.5 }, b, lambda: 1.2, base: base)
iso_c(a, b { weight: 0.4 }, lambda: 1.2, base: base)
iso_cts(a, b, base: base)
iso_cts(a, b, c, common: 0.5, lambda: 0.8, base: base)
a + 0.3 * (b - base) - (c - base) / 3
0.5 * linear(a, b) + 0.5 * slerp(b, c, t: 0.5) + scale(trim(a - base, density: 0.5), by: 0.2)
"""  # noqa: E501

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
}  # fmt: skip

SHAPES = {
    "scalar": (), "empty": (0, 3), "one": (1,), "odd": (7, 33), "blocks": (3, 5_463),
}  # fmt: skip
"""`blocks` is five elements more than the smallest block."""

ROUNDING = {"F64": 53, "F32": 24, "F16": 11, "BF16": 8}
"""Bits of a mantissa: rounding to the dtype errs by at most `2^-bits` of the number."""

SMALLEST = {"F64": 0.0, "F32": 2.0**-149, "F16": 2.0**-24, "BF16": 2.0**-133}
"""The spacing of the numbers next to 0."""

SLACK = 16
"""Roundings of the arithmetic that a result may err by beside the last one, each relative to the
sum of the magnitudes of what goes in."""


ROOM = {"pcb": 10, "tsv": 500, "iso_c": 500, "iso_cts": 500}
"""How many times the bound exponentials and the decompositions of LAPACK may err by."""

SELECTS = {"pcb"}
"""What selects by rounded numbers: of many elements, two may be too near to each other to tell."""

PLACES = ("embed_tokens", "layers.0.mlp", "layers.1.self_attn", "layers.2.mlp")


def write_models(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], dtypes: str, places: Sequence[str] = PLACES
) -> Path:
    """Four models `base`, `a`, `b`, `c`: every shape in every dtype, on three layers and outside
    them; and a tensor whose dtype differs between the models."""
    rng = np.random.default_rng(11)
    names = {
        f"{place}.{dtype.lower()}_{shape}.{shape}": (size, dtype)
        for place in places
        for dtype in dtypes.split()
        for shape, size in shapes.items()
    }
    base = {name: _normal(rng, size) for name, (size, _) in names.items()}
    for number, model in enumerate(("base", "a", "b", "c")):
        apart = 0.3 if number else 0.0
        tensors = {
            name: (base[name] + _normal(rng, size, apart), dtype)
            for name, (size, dtype) in names.items()
        }
        mixed = ("F32", "BF16", "F16", "F32")[number]
        tensors["layers.0.mixed"] = (rng.standard_normal(501), mixed)
        write_arrays(folder / model, tensors)
    return folder


def _normal(rng: np.random.Generator, size: tuple[int, ...], width: float = 1) -> np.ndarray:
    """Normal numbers on a grid, so that differences are exact in float32 and ranks are the same."""
    return np.round(rng.standard_normal(size) * width * 2**14) / 2**14


def recipe(*expressions: str) -> str:
    """Outputs `0`, `1`, ... of the four models; of task vectors too."""
    lines = ["seed 5", *(f'model {name} = "{name}"' for name in ("base", "a", "b", "c"))]
    for number, expression in enumerate(expressions):
        lines.append(f'output "{number}" = as_model({expression})')
    return "\n".join(lines) + "\n"


def run(folder: Path, text: str, into: Path, **options: object) -> None:
    """Runs every output of a recipe in a folder of models, into `into`."""
    path = into / "test.merge"
    into.mkdir(exist_ok=True)
    for name in ("base", "a", "b", "c"):
        if not (into / name).exists():
            (into / name).symlink_to(folder / name)
    path.write_text(text)
    mergelang.load(path).run(**options)


def compare(folder: Path, text: str, into: Path) -> float:
    """The largest error of the outputs that `run` made, in shares of the bound."""
    models = [read_model(folder / name) for name in ("base", "a", "b", "c")]
    worst = 0.0
    for output, wanted in interpret(text, folder).items():
        got = read_tensors(into / output)
        assert got.keys() == wanted.keys()
        for name, tensor in got.items():
            truth = wanted[name]
            assert tuple(tensor.shape) == truth.shape
            dtype = DTYPES[tensor.dtype]
            arithmetic = "F64" if "f64" in name else "F32"
            size = sum(abs(model[name]) for model in models)
            bound = abs(truth) * 2.0 ** -ROUNDING[dtype] + SMALLEST[dtype]
            bound = bound + SLACK * 2.0 ** -ROUNDING[arithmetic] * size
            error = abs(tensor.double().numpy() - truth)
            worst = max(worst, float((error / np.maximum(bound, 1e-300)).max(initial=0)))
    return worst


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), SHAPES, "F32 F16 BF16 F64")


@pytest.mark.parametrize("expression", CASES.strip().splitlines())
def test_an_operator_agrees_with_its_reference(models, tmp_path, expression):
    text = recipe(expression)
    name = expression.partition("(")[0]
    if name in SELECTS:
        models = write_models(tmp_path / "models", {"odd": (7, 33)}, "F32 F64")
    run(models, text, tmp_path, block=1 << 14, threads=2)
    assert compare(models, text, tmp_path) <= ROOM.get(name, 1)


def test_every_operator_on_values_has_a_case():
    called = set(re.findall(r"\b(\w+)\(", CASES))
    values = {
        name for name, each in operators().items()
        if not each.signature.arranges
        and not any(isinstance(option.kind, Statistics) for option in each.signature.options)
    }  # fmt: skip
    assert values <= called  # those that read statistics: tests/test_statistics.py


DEFINITION = re.compile(r"Written out: `([^`]+)` is (to rounding )?`([^`]+)`\.")
"""How the text of an operator says what it is made of, in a recipe's own words."""

DEFINED = {
    name: each.signature.text
    for name, each in operators().items()
    if "Written out" in each.signature.text
}


@pytest.mark.parametrize("name", DEFINED)
def test_a_method_is_what_its_documentation_writes_out(models, tmp_path, name):
    found = DEFINITION.search(" ".join(DEFINED[name].split()))
    assert found, "write: Written out: `CALL` is `EXPRESSION`."
    call, roughly, definition = found.groups()
    assert call.startswith(f"{name}(")
    run(models, recipe(call, definition), tmp_path)
    left, right = read_tensors(tmp_path / "0"), read_tensors(tmp_path / "1")
    for tensor in left:
        assert left[tensor].dtype == right[tensor].dtype
        bits = ROUNDING[DTYPES[left[tensor].dtype]]
        bound = {"rtol": SLACK * 2.0**-bits, "atol": SLACK * 2.0**-bits} if roughly else {}
        exact = torch.equal(left[tensor], right[tensor])
        assert exact or (bound and torch.allclose(left[tensor], right[tensor], **bound)), tensor


AVERAGES = """
0.3 * a + 0.9 * b - 0.2 * c
linear(a, b, c)
linear(a { weight: 0.3 }, b { weight: 1.9 }, c { weight: -0.7 })
mean(a, b, c)
slerp(a, b, t: 0.7)
ema(a, b, c, decay: 0.3)
nuslerp(a, b { weight: 0.3 })
multislerp(a, b { weight: 0.3 }, c)
karcher(a, b, c)
passthrough(a)
"""


@pytest.fixture(scope="module")
def equals(tmp_path_factory) -> Path:
    """Three files of the same tensors: every finite number of 16 bits, and of 32 a sample."""
    folder = tmp_path_factory.mktemp("equals")
    bits = np.random.default_rng(2).integers(0, 2**32, 1 << 16, dtype=np.uint32)
    wide = bits.view(np.float32)
    words = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    tensors = {"F32": torch.from_numpy(wide[np.isfinite(wide)])}
    for dtype, kind in (("F16", torch.float16), ("BF16", torch.bfloat16)):
        numbers = words.view(kind)
        tensors[dtype] = numbers[numbers.isfinite()]
    for name in ("base", "a", "b", "c"):
        write_arrays(folder / name, {dtype: (x, dtype) for dtype, x in tensors.items()})
    return folder


@pytest.mark.parametrize("expression", AVERAGES.strip().splitlines())
def test_the_average_of_equals_is_what_they_are(equals, tmp_path, expression):
    run(equals, recipe(expression), tmp_path)
    wanted, got = read_tensors(equals / "a"), read_tensors(tmp_path / "0")
    assert torch.equal(got["F16"], wanted["F16"])
    assert torch.equal(got["BF16"], wanted["BF16"])
    apart = abs(got["F32"].numpy() - wanted["F32"].numpy())
    assert (apart <= np.spacing(abs(wanted["F32"].numpy()))).all()


def test_a_fifth_of_ten_directions_is_two(tmp_path):
    folder = write_models(tmp_path / "models", {"ten": (10, 12)}, "F32", places=("a",))
    text = recipe("iso_cts(a, b, common: 0.8, base: base)")
    run(folder, text, tmp_path)
    assert compare(folder, text, tmp_path) <= ROOM["iso_cts"]


def test_tensors_longer_than_a_span_agree_with_the_reference(tmp_path):
    folder = write_models(tmp_path / "models", {"long": (SPAN + 5,)}, "F32", places=("a",))
    text = recipe(
        "dare_ties(a, b, density: 0.3, rescale: l1, normalize: true, base: base)",
        "ties(a, b, density: 0.4, base: base)",
    )
    run(folder, text, tmp_path, threads=2)
    assert compare(folder, text, tmp_path) <= 1
