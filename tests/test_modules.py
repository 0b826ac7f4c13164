"""Modules of models: seen by themselves, merged, and put back."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import mergelang
from mergelang.errors import RecipeError
from tests import zoo
from tests.zoo import KINDS, make

PARTS = {"llava": ("language_model.", "llama"), "qwen2_5_vl": ("", "qwen2")}
"""What stands before the names of the text model inside, and the kind of it alone."""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text model of the shape that the vision-language models have inside."""
    folder = tmp_path_factory.mktemp("text")
    return {name: make(KINDS[name], 7, folder / name) for name in ("llama", "qwen2")}


def run(folder, expression, **models):
    lines = [f'model {name} = "{path}"' for name, path in models.items()]
    recipe = "\n".join([*lines, f'output "{folder}/out" = {expression}', ""])
    mergelang.load(recipe).run()
    return load_file(folder / "out" / "model.safetensors")


@pytest.mark.parametrize("name", PARTS)
def test_a_text_model_is_merged_into_a_vision_language_model_by_one_line(
    name, tiny, text, tmp_path
):
    (before, kind), vlm = PARTS[name], tiny(name) / "a"
    line = "graft(vlm, language_model: mean(vlm.language_model, text))"
    made = run(tmp_path, line, vlm=vlm, text=text[kind])
    whole, alone = load_file(vlm / "model.safetensors"), load_file(
        text[kind] / "model.safetensors"
    )  # fmt: skip
    assert made.keys() == whole.keys()
    for key, tensor in made.items():
        inside = key.removeprefix(before) if key.startswith(before) else None
        if inside in alone:
            wanted = (whole[key].double() + alone[inside].double()) / 2
            assert torch.allclose(tensor.double(), wanted, atol=1e-7), key
        else:
            assert torch.equal(tensor, whole[key]), key
    assert sum(key.removeprefix(before) in alone for key in made) == len(alone)
    assert (tmp_path / "out" / "config.json").read_text() == (vlm / "config.json").read_text()
    zoo.logits(zoo.load(KINDS[name], tmp_path / "out"), KINDS[name])


def reads_alike(out, whole, kind, name):
    """The text model of a folder loads as it is, and says of text what the whole says."""
    loaded, told = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(told.values()) and type(loaded).__name__ == name
    inside = zoo.load(kind, whole)
    with torch.no_grad():
        wanted = inside(input_ids=zoo.TOKENS).logits
        assert torch.allclose(loaded.eval()(input_ids=zoo.TOKENS).logits, wanted, atol=1e-5)


def test_the_text_model_inside_is_a_model_of_its_own(tiny, tmp_path):
    vlm = tiny("llava") / "a"
    made = run(tmp_path, "vlm.language_model", vlm=vlm)
    whole = load_file(vlm / "model.safetensors")
    assert made.keys() == {
        key.removeprefix("language_model.") for key in whole if key.startswith("language_model.")
    }
    reads_alike(tmp_path / "out", vlm, KINDS["llava"], "LlamaForCausalLM")


SEEING = {
    "qwen2_vl": {"depth": 3, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
    "qwen2_5_vl": {"depth": 3, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 32,
                   "fullatt_block_indexes": [1], "window_size": 8, "intermediate_size": 24},
    "qwen3_vl": {"depth": 3, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 32,
                 "intermediate_size": 24, "deepstack_visual_indexes": [1]},
}  # fmt: skip
"""What sees in the Qwens that see, none of whose text models transformers takes by its own name."""


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", SEEING)
def test_the_text_model_of_a_qwen_that_sees_is_a_qwen(name, tied, tmp_path):
    import transformers

    camel = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[name]
    settings = zoo.TEXT | {"rope_parameters": zoo.ROPE, "tie_word_embeddings": tied}
    kind = zoo.Kind(
        f"{camel}ForConditionalGeneration",
        lambda: getattr(transformers, f"{camel}Config")(
            text_config=settings | ({"head_dim": 8} if name == "qwen3_vl" else {}),
            vision_config=SEEING[name] | {"patch_size": 4, "spatial_merge_size": 1},
            image_token_id=63, video_token_id=62, tie_word_embeddings=tied,
        ),
    )  # fmt: skip
    vlm = make(kind, 3, tmp_path / "vlm")
    made = run(tmp_path, "vlm.language_model", vlm=vlm)
    assert ("lm_head.weight" in made) is not tied
    wanted = "Qwen3ForCausalLM" if name == "qwen3_vl" else "Qwen2ForCausalLM"
    reads_alike(tmp_path / "out", vlm, kind, wanted)


def test_a_config_that_speaks_of_the_text_without_a_section_is_one_of_the_text_model(
    tiny, tmp_path
):
    """As those of the published Qwen2-VLs and Qwen2.5-VLs do."""
    vlm = shutil.copytree(tiny("qwen2_5_vl") / "a", tmp_path / "vlm")
    config = json.loads((vlm / "config.json").read_text())
    section = config.pop("text_config")
    rope = section.pop("rope_parameters")
    flat = {
        **section, **config, "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }  # fmt: skip
    (vlm / "config.json").write_text(json.dumps(flat))
    made = run(tmp_path, "stack(vlm.language_model[..3], vlm.language_model[3..])", vlm=vlm)
    assert not any("visual" in key for key in made)
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["vocab_size"] == 64 and not any("vision" in key for key in told)
    reads_alike(tmp_path / "out", vlm, KINDS["qwen2_5_vl"], "Qwen2ForCausalLM")


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("llava", "graft(a, language_model: a.language_model)"),
        ("llava", "graft(a, text_model: a.text_model, vision_tower: a.vision_tower)"),
        ("qwen2_5_vl", "graft(a, visual: a.vision_tower)"),
        ("t5", "graft(a, encoder: a.encoder, decoder: a.decoder)"),
        ("whisper", "graft(a, encoder: a.model.encoder)"),
        ("llama", "graft(a, model: a.model)"),
    ],
)
def test_what_is_taken_out_and_put_back_is_the_model_itself(name, expression, tiny, tmp_path):
    before = tiny(name) / "a"
    made, whole = run(tmp_path, expression, a=before), load_file(before / "model.safetensors")
    assert made.keys() == whole.keys()
    assert all(torch.equal(made[key], whole[key]) for key in whole)
    config = (tmp_path / "out" / "config.json").read_text()
    assert json.loads(config) == json.loads((before / "config.json").read_text())


@pytest.mark.parametrize(
    ("name", "word", "fix"),
    [
        ("qwen2_5_vl", "language_modle", "did you mean `language_model`?"),
        ("qwen2_5_vl", "text_of_it", "its modules are `language_model`, `vision_tower`, `model`"),
        ("llava", "vison_tower", "did you mean `vision_tower`?"),
    ],
)
def test_a_word_that_says_more_than_a_part_is_no_name_of_one(name, word, fix, tiny, tmp_path):
    with pytest.raises(RecipeError) as caught:
        run(tmp_path, f"vlm.{word}", vlm=tiny(name) / "a")
    assert f"error[E2307]: `vlm` has no module `{word}`\n" in str(caught.value)
    assert f"\nhelp: {fix}" in str(caught.value)


def test_a_task_vector_of_text_is_added_to_the_text_model_inside(tiny, text, tmp_path):
    vlm, base = tiny("llava") / "a", text["llama"]
    tuned = make(KINDS["llama"], 8, tmp_path / "tuned")
    line = "graft(vlm, language_model: vlm.language_model + 0.5 * (tuned - base))"
    made = run(tmp_path, line, vlm=vlm, base=base, tuned=tuned)
    name = "model.layers.2.mlp.up_proj.weight"
    old, new = (load_file(each / "model.safetensors")[name] for each in (base, tuned))
    whole = load_file(vlm / "model.safetensors")["language_model." + name]
    assert torch.allclose(made["language_model." + name], whole + 0.5 * (new - old), atol=1e-6)


def test_a_module_of_a_delta_is_a_delta(tiny, tmp_path):
    a, b = (tiny("t5") / each for each in "ab")
    line = "graft(a, decoder: a.decoder + (b - a).decoder)"
    made, wanted = run(tmp_path, line, a=a, b=b), load_file(b / "model.safetensors")
    name = "decoder.block.1.layer.2.DenseReluDense.wi.weight"
    assert torch.allclose(made[name], wanted[name], atol=1e-6)


def test_schedules_run_along_each_tower_and_layers_name_theirs(tiny, tmp_path):
    a, b = (tiny("whisper") / each for each in "ab")
    one, two = (load_file(each / "model.safetensors") for each in (a, b))

    def share(made, name):
        return float((made[name] - one[name]).norm() / (two[name] - one[name]).norm())

    made = run(tmp_path, "linear(a { weight: curve(1, 0) }, b { weight: curve(0, 1) })", a=a, b=b)
    for side, layers in (("encoder", 4), ("decoder", 3)):
        for layer in range(layers):
            got = share(made, f"model.{side}.layers.{layer}.fc1.weight")
            assert abs(got - layer / (layers - 1)) < 1e-5
    inside = "match { layers(encoder) 1..3 | layers(model.decoder) ..1 => 1, _ => 0 }"
    line = f"linear(a {{ weight: 1 - {inside} }}, b {{ weight: {inside} }})"
    made = run(tmp_path, line, a=a, b=b)
    for side, changed in (("encoder", [0, 1, 1, 0]), ("decoder", [1, 0, 0])):
        got = [share(made, f"model.{side}.layers.{i}.fc1.weight") for i in range(len(changed))]
        assert got == pytest.approx(changed, abs=1e-5)


def test_a_module_of_a_used_recipes_model_is_reached_by_two_dots(tiny, tmp_path):
    (tmp_path / "house.merge").write_text(f'model big = "{tiny("t5")}/a"\n')
    recipe = 'use "house.merge" as house\noutput "out" = graft(house.big, '
    (tmp_path / "x.merge").write_text(recipe + "encoder: house.big.encoder)\n")
    program = mergelang.load(tmp_path / "x.merge").check()
    assert len(program.outputs[0].term.inventory) == len(
        load_file(tiny("t5") / "a" / "model.safetensors")
    )


def test_a_module_of_another_shape_is_refused(tiny, text, tmp_path):
    with pytest.raises(RecipeError, match="E2304"):
        run(
            tmp_path, "graft(vlm, language_model: text)",
            vlm=tiny("llava") / "a", text=text["qwen2"],
        )  # fmt: skip


def test_the_example_adds_what_text_tuning_changed(tiny, text, tmp_path):
    """examples/vision.merge, on small models."""
    (tmp_path / "models").mkdir()
    sources = {"seeing": tiny("llava") / "a", "base": text["llama"], "tuned": None}
    sources["tuned"] = make(KINDS["llama"], 8, tmp_path / "tuned")
    for name, source in sources.items():
        (tmp_path / "models" / name).symlink_to(source)
    shutil.copy(Path(__file__).parent.parent / "examples" / "vision.merge", tmp_path)
    mergelang.load(tmp_path / "vision.merge").run()
    before, after = (zoo.load(KINDS["llava"], each) for each in (
        sources["seeing"], tmp_path / "out" / "wiser"
    ))  # fmt: skip
    for key, tensor in after.state_dict().items():
        changed = "language_model" in key or "lm_head" in key
        assert torch.equal(tensor, before.state_dict()[key]) is not changed, key
