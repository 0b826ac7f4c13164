"""Random masks end to end: what they depend on and what not, and how many elements they keep."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mergelang
from tests.checkpoints import write_arrays
from tests.interpret import read_tensors

COUNT = 200_003
NAMES = "seed 5", 'model base = "base"', 'model a = "a"', 'model b = "b"'


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """`base` of zeros, `a` and `b` without a zero, so that an output shows its mask."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(4)
    for name in ("base", "a", "b"):
        tensors = {}
        for tensor in ("w", "v"):
            data = rng.uniform(0.5, 2, COUNT) if name != "base" else np.zeros(COUNT)
            tensors[tensor] = (data, "F32")
        write_arrays(folder / name, tensors)
    return folder


def outputs(folder: Path, *lines: str, names: tuple[str, ...] = NAMES) -> list[torch.Tensor]:
    """Tensor `w` of the outputs of these lines: an expression is an output, another a statement."""
    text, count = list(names), 0
    for line in lines:
        if line.startswith(("let ", "seed ", "model ")):
            text.append(line)
        else:
            text.append(f'output "out/{count}" = {line}')
            count += 1
    path = folder / "test.merge"
    path.write_text("\n".join(text) + "\n")
    mergelang.load(path).run()
    return [read_tensors(folder / "out" / str(number))["w"] for number in range(count)]


def agree(x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of elements that both keep or both drop."""
    return float(((x != 0) == (y != 0)).double().mean())


@pytest.mark.parametrize("density", [0.05, 0.5, 0.9])
def test_dare_keeps_its_share_within_four_sigma_and_divides_by_it(models, density):
    (got,) = outputs(models, f"dare(a, density: {density}, base: base)")
    kept = got != 0
    sigma = np.sqrt(COUNT * density * (1 - density))
    assert abs(int(kept.sum()) - COUNT * density) < 4 * sigma
    a = read_tensors(models / "a")["w"]
    assert torch.equal(got[kept], (a / np.float32(density))[kept])


def test_rescaling_by_l1_keeps_the_sum_of_magnitudes(models):
    (got,) = outputs(models, "dare(a, density: 0.3, rescale: l1, base: base)")
    a = read_tensors(models / "a")["w"]
    assert float(abs(got.double()).sum()) == pytest.approx(float(abs(a.double()).sum()), rel=1e-6)


def test_a_lower_density_keeps_a_subset(models):
    fewer, more = outputs(
        models, "dare(a, density: 0.2, base: base)", "dare(a, density: 0.21, base: base)"
    )
    assert not ((fewer != 0) & (more == 0)).any()
    assert ((fewer == 0) & (more != 0)).any()


CALL = "dare(a, density: 0.5, base: base)"


@pytest.mark.parametrize(
    "lines",
    [
        ("let code = a - base", "base + dare(code, density: 0.5)"),
        ("dare(a { weight: 0.3 }, density: 0.5, base: base)",),
        ("dare(b, a, density: match { w => 0.5, _ => 0.1 }, base: base) - dare(b, density: 0.5, "
         "base: base) + base",),
        ("dare(a, density: 0.5, draw: 0, base: base)",),
        ("let other = mean(a, b)", "other", "base + 0.5 * drop(a - base, density: 0.5)"),
    ],
    ids=["named", "weighed", "beside another", "default draw", "in other company"],
)  # fmt: skip
def test_what_a_mask_does_not_hang_on(models, lines):
    usual, *others = outputs(models, CALL, *lines)
    assert agree(usual, others[-1]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "dare(a, density: 0.5, draw: 1, base: base)",
        "dare(b, density: 0.5, base: base)",
        "base + drop(trim(a - base, density: 1), density: 0.5)",
    ],
    ids=["draw", "input", "structure"],
)
def test_what_a_mask_hangs_on(models, line):
    usual, other = outputs(models, CALL, line)
    assert abs(agree(usual, other) - 0.5) < 4 * 0.5 / np.sqrt(COUNT)


def test_another_seed_and_another_tensor_are_other_masks(models):
    (usual,) = outputs(models, CALL)
    here = read_tensors(models / "out" / "0")["v"]
    (other,) = outputs(models, CALL, names=("seed 6", *NAMES[1:]))
    for different in (here, other):
        assert abs(agree(usual, different) - 0.5) < 4 * 0.5 / np.sqrt(COUNT)


def test_renaming_changes_no_byte(models):
    lines = "let blend = dare_ties(a, b, density: 0.4, base: base)", "let more = mean(blend, a)"
    (before,) = outputs(models, *lines, "more + 0.1 * drop(blend - base, density: 0.3)")
    names = "seed 5", 'model zero = "base"', 'model x = "a"', 'model a = "b"'
    lines = "let soup = dare_ties(x, a, density: 0.4, base: zero)", "let b = mean(soup, x)"
    (after,) = outputs(models, *lines, "b + 0.1 * drop(soup - zero, density: 0.3)", names=names)
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dare(a, b { weight: 0.3 }, density: 0.4, base: base)",
         "dare(b { weight: 0.3 }, a, density: 0.4, base: base)"),
        ("dare_ties(a, b, density: 0.4, normalize: true, base: base)",
         "dare_ties(b, a, density: 0.4, normalize: true, base: base)"),
        ("ties(a, b { weight: 0.3 }, base: base)", "ties(b { weight: 0.3 }, a, base: base)"),
        ("task_arithmetic(a, b { weight: 0.3 }, base: base)",
         "task_arithmetic(b { weight: 0.3 }, a, base: base)"),
    ],
)  # fmt: skip
def test_the_order_of_two_task_vectors_changes_no_byte(models, one, other):
    left, right = outputs(models, one, other)
    assert torch.equal(left, right)
