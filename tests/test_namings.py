"""The same weights under other names: matched where that is known, else refused, never dropped."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import mergelang
from mergelang.errors import RecipeError
from tests import zoo
from tests.zoo import KINDS

INSIDE = ("mixtral", "qwen3_moe", "deepseek_v3", "llava", "qwen2_5_vl")
"""Kinds that transformers 5 calls otherwise inside than on disk."""


def run(folder, expression, **models):
    lines = [f'model {name} = "{path}"' for name, path in models.items()]
    recipe = "\n".join([*lines, f'output "{folder}/out" = {expression}', ""])
    mergelang.load(recipe).run()
    return load_file(folder / "out" / "model.safetensors")


@pytest.mark.parametrize("name", INSIDE)
def test_a_model_under_the_names_of_transformers_itself_merges_with_one_on_disk(
    name, tiny, tmp_path
):
    kind, folder = KINDS[name], tiny(name)
    zoo.load(kind, folder / "b").save_pretrained(tmp_path / "b", save_original_format=False)
    inside, disk = (load_file(each / "b" / "model.safetensors") for each in (tmp_path, folder))
    assert inside.keys() != disk.keys()
    made = run(tmp_path, "mean(a, b)", a=folder / "a", b=tmp_path / "b")
    wanted = run(tmp_path / "w", "mean(a, b)", a=folder / "a", b=folder / "b")
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[key], wanted[key]) for key in wanted)
    zoo.load(kind, tmp_path / "out")


def test_fused_experts_of_an_unknown_architecture_are_refused(tiny, tmp_path):
    folder = tiny("qwen3_moe")
    zoo.load(KINDS["qwen3_moe"], folder / "b").save_pretrained(
        tmp_path / "b", save_original_format=False
    )
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    (tmp_path / "b" / "config.json").write_text(json.dumps(config | {"model_type": "newest"}))
    with pytest.raises(RecipeError, match="E0701"):
        run(tmp_path, "mean(a, b)", a=folder / "a", b=tmp_path / "b")


@pytest.mark.parametrize("donor", ["bare", "whole"])
def test_a_bare_model_goes_with_one_that_has_a_head(donor, tiny, tmp_path):
    """A published GPT-2 begins with `h.0.`, what transformers saves of a fine-tune does not."""
    whole = tiny("gpt2") / "a"
    model = transformers.GPT2Model.from_pretrained(tiny("gpt2") / "b")
    model.save_pretrained(tmp_path / "bare")
    first, second = ("bare", "whole") if donor == "bare" else ("whole", "bare")
    made = run(tmp_path, f"mean({first}, {second})", bare=tmp_path / "bare", whole=whole)
    a, b = load_file(whole / "model.safetensors"), load_file(
        tmp_path / "bare" / "model.safetensors"
    )  # fmt: skip
    assert made.keys() == (a if donor == "whole" else b).keys()
    for key, tensor in b.items():
        name = f"transformer.{key}" if donor == "whole" else key
        wanted = (a[f"transformer.{key}"] + tensor) / 2
        assert torch.allclose(made[name], wanted, atol=1e-6), key


def test_what_one_side_lacks_besides_is_said(tiny, tmp_path):
    bare = tmp_path / "bare"
    transformers.BertModel.from_pretrained(tiny("bert") / "b").save_pretrained(bare)
    with pytest.raises(RecipeError, match=r"E0701.*\n.*") as told:
        run(tmp_path, "mean(a, bare)", a=tiny("bert") / "a", bare=bare)
    assert "cls.predictions" in str(told.value) and "encoder" not in str(told.value)
    made = run(
        tmp_path, "ties(bare, base: a, missing: from(a))", a=tiny("bert") / "a", bare=bare
    )
    assert made.keys() == load_file(tiny("bert") / "a" / "model.safetensors").keys()


def test_masks_do_not_hang_on_how_the_names_of_an_input_begin(tiny, tmp_path):
    shutil.copytree(tiny("gpt2") / "b", tmp_path / "b")
    call = "dare(b, base: a, density: 0.5)"
    wanted = run(tmp_path / "w", call, a=tiny("gpt2") / "a", b=tmp_path / "b")
    tensors = load_file(tmp_path / "b" / "model.safetensors")
    bare = {name.removeprefix("transformer."): each for name, each in tensors.items()}
    save_file(bare, tmp_path / "b" / "model.safetensors", {"format": "pt"})
    made = run(tmp_path, call, a=tiny("gpt2") / "a", b=tmp_path / "b")
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[key], wanted[key]) for key in wanted)
