"""What holds of methods whatever the numbers: order of inputs, scale, one input, no change."""

import re
from pathlib import Path

import pytest
import torch

from mergelang.ops.registry import operators
from mergelang.ops.signature import REQUIRED, Signature
from tests.interpret import read_tensors
from tests.test_operators import recipe, run, write_models

SHAPES = {"scalar": (), "empty": (0, 3), "one": (1,), "odd": (7, 33)}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    places = "layers.0.mlp", "layers.1.self_attn"
    return write_models(tmp_path_factory.mktemp("models"), SHAPES, "F32", places)


def pairs(models: Path, into: Path, expressions: list[tuple[str, str]]) -> list[tuple[dict, dict]]:
    """The tensors of both expressions of each pair."""
    run(models, recipe(*(each for pair in expressions for each in pair)), into)
    made = [read_tensors(into / str(number)) for number in range(2 * len(expressions))]
    for each in made:
        del each["layers.0.mixed"]  # its dtype is that of the first input
    return list(zip(made[::2], made[1::2], strict=True))


def assert_near(got: dict, wanted: dict, call: str) -> None:
    for name, tensor in wanted.items():
        assert torch.allclose(got[name], tensor, rtol=1e-5, atol=1e-5), (call, name)


SYMMETRIC = """
linear(a { weight: 0.2 }, b { weight: 0.7 }, c { weight: -0.4 })
mean(a, b, c)
nuslerp(a { weight: 0.3 }, b { weight: 0.9 })
nuslerp(a { weight: 0.3 }, b { weight: 0.9 }, base: base, flatten: false)
multislerp(a { weight: 0.2 }, b, c { weight: 0.4 })
karcher(a, b, c)
elect(a - base { weight: 0.4 }, b - base, c - base)
task_arithmetic(a { weight: 0.2 }, b { weight: 0.7 }, c, base: base)
ties(a { density: 0.4 }, b, c { weight: 0.6 }, base: base)
dare(a { density: 0.4 }, b, c { weight: 0.6 }, density: 0.7, base: base)
dare_ties(a { density: 0.4 }, b, c { weight: 0.6 }, density: 0.7, rescale: l1, base: base)
darex(a { q: 0.3 }, b, c { weight: 0.6 }, density: 0.2, q: 0.5, base: base)
lines(a { weight: 0.2 }, b, c, alpha: 0.2, beta: 0.8, base: base)
breadcrumbs(a { gamma: 0.1 }, b, c { density: 0.6 }, density: 0.4, base: base)
breadcrumbs_ties(a { gamma: 0.1 }, b, c { density: 0.6 }, density: 0.4, base: base)
della(a { weight: 0.4 }, b { epsilon: 0.05 }, c, density: 0.5, base: base)
della_linear(a { weight: 0.4 }, b { epsilon: 0.05 }, c, density: 0.5, base: base)
sce(a, b, c, select_topk: 0.5, base: base)
ram(a, b, c, epsilon: 0.2, base: base)
ramplus_tl(a, b, c, epsilon: 0.2, base: base)
consensus(a { threshold: 0.3 }, b { weight: 0.5 }, c, base: base)
pcb(a, b { weight: 0.7 }, c, density: 1, base: base)
model_stock(a, b, c, base: base)
tsv(a, b { weight: 0.5 }, c, base: base)
iso_c(a, b { weight: 0.5 }, c, base: base)
iso_cts(a, b { weight: 0.5 }, c, common: 0.5, base: base)
"""


def backwards(call: str) -> str:
    """A call with its inputs in the opposite order."""
    name, rest = call.split("(", 1)
    found = re.match(r"(?:[abc](?: - base)?(?: \{[^}]*\})?(?:, |\)))+", rest)
    inputs = found[0].removesuffix(", ").removesuffix(")")
    turned = ", ".join(reversed(re.split(", (?=[abc])", inputs)))
    return f"{name}({turned}{rest[len(inputs):]}"


def test_the_order_of_inputs_does_not_matter_where_the_method_has_none(models, tmp_path):
    calls = SYMMETRIC.strip().splitlines()
    turned = [(call, backwards(call)) for call in calls]
    for call, (one, other) in zip(calls, pairs(models, tmp_path, turned), strict=True):
        assert_near(other, one, call)


HOMOGENEOUS = """
linear(X, Y { weight: 0.4 })
mean(X, Y)
ema(X, Y, decay: 0.3)
slerp(X, Y, t: 0.3)
nuslerp(X, Y { weight: 0.4 })
trim(X, density: 0.4, gamma: 0.1)
drop(X, density: 0.4)
magprune(X, density: 0.4, rescale: l1)
elect(X, Y { weight: 0.4 })
task_arithmetic(X, Y { weight: 0.4 })
ties(X, Y { weight: 0.4 }, rescale: l1)
dare(X, Y { weight: 0.4 }, density: 0.4)
dare_ties(X, Y { weight: 0.4 }, density: 0.4)
darex(X, Y, density: 0.2, q: 0.5)
lines(X, Y, alpha: 0.2, beta: 0.8)
breadcrumbs(X, Y { weight: 0.4 }, density: 0.4, gamma: 0.1)
breadcrumbs_ties(X, Y { weight: 0.4 }, density: 0.4, gamma: 0.1)
della(X, Y { weight: 0.4 }, density: 0.4)
della_linear(X, Y { weight: 0.4 }, density: 0.4)
sce(X, Y, select_topk: 0.5)
consensus(X, Y, threshold: 0.6)
pcb(X, Y)
model_stock(X, Y)
model_stock(X, Y, filter_wise: true)
multislerp(X, Y, eps: 0)
karcher(X, Y, tol: 0)
tsv(X, Y)
iso_c(X, Y)
iso_cts(X, Y)
"""


def test_task_vectors_four_times_as_long_give_one_four_times_as_long(models, tmp_path):
    calls = HOMOGENEOUS.strip().splitlines()
    # Scaled on both sides, since a mask depends on how its task vector was written.
    scaled = [(f"4 * {of_vectors(call, 0.5)}", of_vectors(call, 2)) for call in calls]
    for call, (one, other) in zip(calls, pairs(models, tmp_path, scaled), strict=True):
        assert_near(other, one, call)


def of_vectors(call: str, by: float) -> str:
    """A call whose X and Y are task vectors, `by` times as long as those of `a` and `b`."""
    return call.replace("X", f"{by} * (a - base)").replace("Y", f"{by} * (b - base)")


def test_lambda_scales_what_a_method_gives(models, tmp_path):
    with_lambda = [each for each in methods() if each.option("lambda")]
    calls = [call_of(each, "a - base", "b - base") for each in with_lambda]
    scaled = [(f"-2 * {call}", f"{call[:-1]}, lambda: -2)") for call in calls]
    for call, (one, other) in zip(calls, pairs(models, tmp_path, scaled), strict=True):
        assert_near(other, one, call)


SINGLE = """
linear(a)
linear(a, weight: 0.3)
mean(a)
ema(a, decay: 0.9)
passthrough(a)
multislerp(a, base: base)
karcher(a, base: base)
task_arithmetic(a, base: base)
ties(a, density: 1, weight: 0.3, base: base)
dare(a, density: 1, base: base)
dare_ties(a, density: 1, base: base)
darex(a, density: 1, q: 1, base: base)
lines(a, alpha: 1, beta: 0, base: base)
breadcrumbs(a, density: 1, base: base)
breadcrumbs_ties(a, density: 1, base: base)
della(a, density: 1, weight: 0.3, base: base)
della_linear(a, density: 1, base: base)
sce(a, base: base)
ram(a, epsilon: 0, base: base)
ramplus_tl(a, epsilon: 0, base: base)
pcb(a, density: 1, base: base)
nearswap(a, t: 100, base: base)
tsv(a, base: base)
"""


def test_one_input_of_which_nothing_is_left_out_is_the_result(models, tmp_path):
    calls = SINGLE.strip().splitlines()
    alone = [("a", call) for call in calls]
    for call, (one, other) in zip(calls, pairs(models, tmp_path, alone), strict=True):
        assert_near(other, one, call)


def test_where_nothing_changed_every_method_gives_the_base_to_the_byte(models, tmp_path):
    calls = [f"{call_of(each, 'base', 'base')[:-1]}, base: base)" for each in methods(named=True)]
    unchanged = [("base", call) for call in calls]
    for call, (one, other) in zip(calls, pairs(models, tmp_path, unchanged), strict=True):
        for name, tensor in one.items():
            assert torch.equal(other[name], tensor), (call, name)


def methods(named: bool = False) -> list[Signature]:
    """The methods on task vectors; with `named` all that take a base."""
    known = [each.signature for each in operators().values() if not each.signature.arranges]
    return [each for each in known if each.task_vectors or (named and each.takes_base)]


def call_of(method: Signature, *inputs: str) -> str:
    """A call with what has no default."""
    numbers = {"density": 0.4, "q": 0.5, "t": 0.3, "alpha": 0.2, "beta": 0.8}
    needed = [each.name for each in method.options if each.default is REQUIRED]
    options = [f"{name}: {numbers[name]}" for name in needed]
    return f"{method.name}({', '.join([*inputs[: method.most], *options])})"
