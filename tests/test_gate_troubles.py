"""Gates that tell experts apart badly, and what else goes wrong while they are made of prompts."""

import json
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

import mergelang
from mergelang.errors import RunError
from mergelang.run.events import Noted
from tests.parity.prompts import write_tokenizer
from tests.zoo import KINDS, make

APART = 5
"""The condition number up to which mergekit-moe is content with a gate."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for seed, name in enumerate(("base", "a", "b")):
        write_tokenizer(make(KINDS["llama"], seed, tmp_path / name))
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(folder, a, b, gate="hidden"):
    """What a run of a mixture notes; it is written to `out`."""
    prompts = [f"{{ prompts: {json.dumps(texts)} }}" for texts in (a, b)]
    (folder / "x.merge").write_text(
        "".join(f'model {name} = "{name}"\n' for name in ("base", "a", "b"))
        + f'output "out" = moe(a {prompts[0]}, b {prompts[1]}, base: base, gate: {gate})\n'
    )
    told = []
    mergelang.load(folder / "x.merge").run(listener=told.append)
    return [each for each in told if isinstance(each, Noted)]


def conditions(folder):
    """The condition number of the gate of each layer."""
    tensors = load_file(folder / "out" / "model.safetensors")
    gates = [tensors[name] for name in sorted(tensors) if name.endswith("gate.weight")]
    return [float(np.linalg.cond(each.double().numpy())) for each in gates]


def test_gates_that_hardly_tell_experts_apart_are_a_warning_that_names_their_layers(folder):
    """Both prompts end with one word, whose embedding is all that the first layer sees."""
    (noted,) = run(folder, ["add number tell"], ["once upon a time tell"])
    found = conditions(folder)
    weak = [layer for layer, number in enumerate(found) if number > APART]
    assert weak == [0] and found[0] > 1e6
    said = "the gates of `moe` hardly tell its experts apart in layer 0"
    assert noted == Noted("W2310", said, (
        "give prompts that differ more, or name what an expert is not for with `avoid`",
    ))  # fmt: skip


def test_where_it_is_so_in_all_layers_that_is_said(folder):
    (noted,) = run(folder, ["add number"], ["number add"], gate="cheap_embed")
    assert min(conditions(folder)) > APART
    said = "the gates of `moe` hardly tell its experts apart in all layers"
    assert (noted.code, noted.message) == ("W2310", said)


def test_gates_that_tell_experts_apart_are_no_warning(folder):
    assert run(folder, ["add number", "how many"], ["tell", "once upon a time"]) == []
    assert max(conditions(folder)) < APART


def test_without_transformers_the_way_to_it_is_told(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RunError, match=r"E2320(.|\n)*pip install 'mergelang\[transformers\]'"):
        run(folder, ["tell"], ["river"])


def test_a_config_that_transformers_does_not_build_is_told(folder):
    for name in ("base", "a", "b"):
        config = json.loads((folder / name / "config.json").read_text())
        (folder / name / "config.json").write_text(json.dumps(config | {"hidden_act": "wobble"}))
    with pytest.raises(RunError, match=r"E2322.*config of `base`.*wobble"):
        run(folder, ["tell"], ["river"])


def test_a_tokenizer_of_another_model_is_told(folder):
    """It has more tokens than the base has rows."""
    path = folder / "base" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["tell"] = 900
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"E2325.*token 900, .*embeddings of 64"):
        run(folder, ["tell"], ["river"])


@pytest.mark.parametrize(
    "call",
    [
        'a { prompts: ["add"] }, a { prompts: ["tell"] }, b { prompts: ["once"] }, gate: hidden',
        'a { prompts: ["add"] }, b { prompts: ["add"], avoid: ["tell"] }, gate: hidden',
        "a { noise: 0.1 }, a { noise: 0.2 }, b, gate: random",
        "a, a { noise: 0.1 }, a { noise: 0.2 }, base: b, gate: random",
        "a { residual_scale: 0.5 }, a { residual_scale: curve(1, 0.5) }, base: b, gate: random",
        "a, b, a { shared: true }, gate: random, architecture: qwen2_moe",
        "a, a, b { shared: true }, gate: random, architecture: qwen2_moe, allow_identical: true",
        "a, a, b, gate: random, allow_identical: true",
        'a { prompts: ["add"] }, b { prompts: ["add"] }, gate: hidden, allow_identical: true',
    ],
)
def test_experts_that_differ_in_something_are_taken_and_equal_ones_where_it_is_said(folder, call):
    (folder / "x.merge").write_text(
        f'model a = "a"\nmodel b = "b"\noutput "out" = moe({call})\n'
    )
    assert mergelang.load(folder / "x.merge").check().warnings == ()
