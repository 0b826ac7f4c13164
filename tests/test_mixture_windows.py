"""Mixtures of models that attend to near tokens only, in some layers or in all."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import mergelang
from mergelang.errors import RecipeError
from tests import zoo

WINDOW = {"use_sliding_window": True, "sliding_window": 3}
SETTINGS = {
    ("mistral", "mixtral"): {"sliding_window": 3},
    ("mistral", "qwen2_moe"): {"sliding_window": 3},
    ("qwen2", "qwen2_moe"): WINDOW | {"max_window_layers": 2},
    ("qwen3", "qwen3_moe"): WINDOW | {"max_window_layers": 0},
}


def dense(folder, name, settings):
    """A model whose config lists nothing layer by layer, as most that are published."""
    zoo.make(zoo.KINDS[name], 1, folder)
    config = json.loads((folder / "config.json").read_text()) | settings
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))


def mixed(folder, family):
    shared = ", a { shared: true, residual_scale: 0 }" if family == "qwen2_moe" else ""
    text = (
        f'model a = "{folder}/a"\noutput "{folder}/out" = moe(\n  a, a{shared}, '
        f"gate: uniform, architecture: {family}, allow_identical: true,\n)\n"
    )
    mergelang.load(text).run()


@pytest.mark.parametrize(("name", "family"), SETTINGS)
def test_a_mixture_of_one_model_sees_as_far_as_it(name, family, tmp_path):
    settings = SETTINGS[name, family]
    dense(tmp_path / "a", name, settings)
    kind = zoo.KINDS[name]
    wanted = zoo.logits(zoo.load(kind, tmp_path / "a"), kind)
    mixed(tmp_path, family)
    model = {"mixtral": "Mixtral", "qwen2_moe": "Qwen2Moe", "qwen3_moe": "Qwen3Moe"}[family]
    made = replace(kind, model=f"{model}ForCausalLM")
    got = zoo.logits(zoo.load(made, tmp_path / "out"), made)
    assert float(abs(got - wanted).max() / abs(wanted).max()) < 1e-5
    dense(tmp_path / "far", name, settings | {"sliding_window": 64})
    far = zoo.logits(zoo.load(kind, tmp_path / "far"), kind)
    assert float(abs(far - wanted).max() / abs(wanted).max()) > 1e-2
    assert all(torch.isfinite(each).all() for each in load_file(
        tmp_path / "out" / "model.safetensors"
    ).values())  # fmt: skip


def test_layers_of_two_kinds_are_none_of_a_qwen3_moe(tmp_path):
    dense(tmp_path / "a", "qwen3", WINDOW | {"max_window_layers": 2})
    with pytest.raises(RecipeError, match=r"E2327.*some layers of `a` attend to near tokens only"):
        mixed(tmp_path, "qwen3_moe")
