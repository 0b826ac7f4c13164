"""Adapters name tensors as they were called in memory when they were trained, models as on disk."""

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

from mergelang.errors import RecipeError
from tests.checkpoints import write_adapter
from tests.test_adapters import assert_equal_to_rounding, load_text, result, trained
from tests.zoo import KINDS, load

GPT = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}
WAYS = {
    "plain": GPT,
    "DoRA": GPT | {"use_dora": True},
    "the embedding alone": {"target_modules": ["wte"]},
    "modules saved whole": GPT | {"modules_to_save": ["ln_f"]},
}


def bare(folder, name):
    """A GPT-2 as it is published, whose names begin with `h.0.`."""
    model = transformers.GPT2Model.from_pretrained(folder)
    model.save_pretrained(name)
    assert "h.0.attn.c_attn.weight" in load_file(name / "model.safetensors")
    return name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trained_on", ["GPT2LMHeadModel", "GPT2Model"])
def test_what_stands_in_front_may_differ(trained_on, way, tiny, tmp_path):
    whole = tiny("gpt2") / "a"
    bare(whole, tmp_path / "bare")
    kind = getattr(transformers, trained_on)
    adapter = trained(kind.from_pretrained(whole), tmp_path / "adapter", **WAYS[way])
    calls = ['lora("adapter", base: m)'] + (['lora("adapter")'] if way[0] in "pt" else [])
    for name in ("bare", str(whole)):
        for call in calls:
            text = f'model m = "{name}"\noutput "out" = m + {call}\n'
            found = result(tmp_path, text)
            assert found.keys() == load_file(tmp_path / name / "model.safetensors").keys()
            inside = "transformer." if trained_on == "GPT2LMHeadModel" else ""
            found = {inside + name.removeprefix("transformer."): each
                     for name, each in found.items()}  # fmt: skip
            assert_equal_to_rounding(found, lambda: kind.from_pretrained(whole), adapter)


def test_layers_are_those_of_the_model_wherever_a_schedule_looks(tiny, tmp_path):
    """The adapter changes the first two of four layers; a curve runs over all four."""
    whole = tiny("gpt2") / "a"
    bare(whole, tmp_path / "bare")
    trained(
        transformers.GPT2LMHeadModel.from_pretrained(whole), tmp_path / "adapter",
        layers_to_transform=[0, 1], layers_pattern="h", **GPT,
    )  # fmt: skip
    lora = 'lora("adapter")'
    expr = f"0.5 * (curve(0, 1) * {lora}) + match {{ layers 1.. => 2, _ => 1 }} * {lora}"
    found = [
        result(tmp_path, f'model m = "{name}"\noutput "out" = m + {expr}\n')
        for name in ("bare", whole)
    ]
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][f"transformer.{name}"])
    before = load_file(tmp_path / "bare" / "model.safetensors")
    step = [found[0][n] - before[n] for n in (f"h.{i}.attn.c_attn.weight" for i in range(3))]
    plain = result(tmp_path, 'model m = "bare"\noutput "out" = m + lora("adapter")\n')
    once = plain["h.1.attn.c_attn.weight"] - before["h.1.attn.c_attn.weight"]
    assert torch.allclose(step[1], (2 + 0.5 / 3) * once, atol=1e-5)
    assert not step[2].any()


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_names_inside_transformers_are_those_on_disk(name, tiny, tmp_path):
    kind, folder = KINDS[name], tiny(name) / "a"
    targets = {"target_modules": ["q_proj", "lm_head", "fc1", "qkv"], "exclude_modules": None}
    adapter = trained(load(kind, folder), tmp_path / "adapter", **targets)
    merged = PeftModel.from_pretrained(load(kind, folder), adapter).merge_and_unload()
    merged.save_pretrained(tmp_path / "peft")
    names = load_file(tmp_path / "peft" / "model.safetensors").keys()
    for call in ('lora("adapter")', 'lora("adapter", base: m)'):
        found = result(tmp_path, f'model m = "{folder}"\noutput "out" = m + {call}\n')
        assert found.keys() == names
        found = load(kind, tmp_path / "out").state_dict()
        assert_equal_to_rounding(found, lambda: load(kind, folder), adapter)


INSIDE = r".*language_model.*\.(q_proj|down_proj)"


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("settings", [
    {}, {"use_dora": True}, {"modules_to_save": ["lm_head"]},
], ids=["plain", "DoRA", "head saved whole"])  # fmt: skip
def test_an_adapter_of_the_whole_is_one_of_the_module_that_it_changes(
    name, settings, tiny, tmp_path
):
    """Trained on a vision-language model, used on the language model inside it."""
    kind, folder = KINDS[name], tiny(name) / "a"
    adapter = trained(load(kind, folder), tmp_path / "a", target_modules=INSIDE, **settings)
    lines = ['vlm.language_model + lora("a", base: vlm.language_model)']
    lines += [] if settings else ['vlm.language_model + lora("a")']
    for line in lines:
        expr = f"graft(vlm, language_model: {line})"
        result(tmp_path, f'model vlm = "{folder}"\noutput "out" = {expr}\n')
        found = load(kind, tmp_path / "out").state_dict()
        assert_equal_to_rounding(found, lambda: load(kind, folder), adapter)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_an_adapter_of_the_text_model_is_one_of_the_whole_that_has_it_inside(name, tiny, tmp_path):
    """Both ways to the same bytes."""
    folder = tiny(name) / "a"
    names = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(4)]
    shapes = {f"{each}.lora_A.weight": (2, 32) for each in names}
    shapes |= {f"{each}.lora_B.weight": (32, 2) for each in names}
    write_adapter(tmp_path / "a", modules=(), extra=shapes, seed=5)
    whole = result(tmp_path, f'model vlm = "{folder}"\noutput "out" = vlm + lora("a")\n')
    expr = 'graft(vlm, language_model: vlm.language_model + lora("a"))'
    inside = result(tmp_path, f'model vlm = "{folder}"\noutput "out" = {expr}\n')
    assert all(torch.equal(whole[key], tensor) for key, tensor in inside.items())
    before = load_file(folder / "model.safetensors")
    assert sum(not torch.equal(before[key], tensor) for key, tensor in whole.items()) == 4


def test_what_an_adapter_of_the_whole_changes_beside_the_module_is_named(tiny, tmp_path):
    kind, folder = KINDS["llava"], tiny("llava") / "a"
    trained(load(kind, folder), tmp_path / "a", target_modules=["q_proj"])
    recipe = f'model vlm = "{folder}"\nlet x = vlm.language_model + lora("a")\n'
    with pytest.raises(RecipeError, match="E2206") as told:
        load_text(tmp_path, recipe).check()
    text = str(told.value)
    assert "vision_tower.encoder" in text and "language_model.layers" not in text
    assert "help: the other 4 fit: is it for a larger model" in text


def test_an_adapter_of_more_than_the_model_is_refused_whatever_its_names(tiny, tmp_path):
    whole = tiny("gpt2") / "a"
    bare(whole, tmp_path / "bare")
    config = transformers.GPT2Config.from_pretrained(whole, n_layer=5)
    trained(transformers.GPT2LMHeadModel(config), tmp_path / "adapter", **GPT)
    for call in ('lora("adapter")', 'lora("adapter", base: m)'):
        with pytest.raises(RecipeError, match="E2206"):
            load_text(tmp_path, f'model m = "bare"\noutput "out" = m + {call}\n').check()
