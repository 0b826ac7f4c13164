"""Which tensors each node of a graph takes part in: what progress by node and its bytes count."""

import pytest

from mergelang.source import Source
from mergelang.tui.look import look
from mergelang.tui.parts import Parts, key_of
from tests.views import write_models

HEAD = 'model base = "models/base"\nmodel chat = "models/chat"\nmodel math = "models/math"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("parts")).parent


def shares(folder, text: str, done=()) -> dict[str, tuple[int, int]]:
    """For each box by what stands in it how many of its tensors are done, and all of them."""
    found = look(Source("x.merge", HEAD + text), folder / "x.merge", folder, {})
    parts = Parts(found.seen.picture, found.plan, "")
    heard = {"out": {name: 1.0 for name in done}}
    shown = {box.name or box.text: parts.share(box.id, heard) for box in found.seen.picture.boxes}
    return {name: (each.done, each.of) for name, each in shown.items()}


def test_an_arm_takes_part_in_the_tensors_that_take_it(folder):
    found = shares(folder, """\
let mixed = slerp(chat, math, t: 0.3)
let soup = linear(chat, base)
output "out" = match { @attn => mixed, _ => soup }
""", ["model.layers.0.self_attn.q_proj.weight", "model.norm.weight"])  # fmt: skip
    assert found["out"] == found["match"] == (2, 39)
    assert (found["mixed"], found["soup"]) == ((1, 16), (1, 23))
    assert (found["math"], found["base"], found["chat"]) == ((1, 16), (1, 23), (2, 39))


def test_layers_that_are_stacked_take_part_where_they_go(folder):
    done = ["model.layers.3.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]
    found = shares(folder, 'output "out" = stack(chat[..2], math[1..])\n', done)
    # Of nine tensors a layer two layers are the first model's, and three the second one's, with
    # what stands before the layers and behind them.
    assert (found["chat"], found["math"]) == ((1, 19), (1, 29))
    assert found["out"] == (2, 48)


def test_a_long_chain_of_nodes_has_parts_and_keys(folder):
    steps = "".join(f"let s{i} = 0.5 * s{i - 1} + 0.5 * chat\n" for i in range(1, 200))
    text = f'{HEAD}let s0 = base\n{steps}output "out" = s199\n'
    found = look(Source("x.merge", text), folder / "x.merge", folder, {})
    parts = Parts(found.seen.picture, found.plan, "")
    boxes = {box.name or box.text: box for box in found.seen.picture.boxes}
    assert parts.share(boxes["s7"].id, {}).of == 39
    # The sources were never hashed.
    assert {key_of(boxes[name], found.plan) for name in ("s199", "out", "chat")} == {""}
