"""`mergelang extract-lora`: an adapter that peft loads, as near as its ranks allow."""

import json
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mergelang import load
from mergelang.cli.app import main
from tests import zoo

LLAMA = LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, architectures=["LlamaForCausalLM"],
)  # fmt: skip
GPT = GPT2Config(
    vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4,
    architectures=["GPT2LMHeadModel"],
)  # fmt: skip
KINDS = {"llama": (LlamaForCausalLM, LLAMA), "gpt": (GPT2LMHeadModel, GPT)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tuned(folder, kind="llama", rank=3, changed=lambda name, shape: len(shape) == 2):
    """Saves a base and a fine-tune whose matrices differ by random ones of a rank."""
    torch.manual_seed(1)
    make, config = KINDS[kind]
    model = make(config)
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        for number, (name, each) in enumerate(model.named_parameters()):
            if not changed(name, each.shape):
                continue
            if each.ndim < 2:
                each += 0.1
                continue
            r = rank + number % 3
            each += torch.randn(each.shape[0], r) @ torch.randn(r, each.shape[1]) * 0.1
    model.save_pretrained(folder / "tuned")
    return make


def weights(folder, name):
    return load_file(folder / name / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_low_rank_comes_back_by_peft_and_by_lora(folder, capsys, kind):
    make = tuned(folder, kind)
    command = ["extract-lora", "tuned", "--base", "base", "-o", "a", "--energy", "99.9999999%"]
    assert main(command) == 0
    config = json.loads((folder / "a" / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM" and config["rank_pattern"]
    ranks = {line.split()[2] for line in capsys.readouterr().out.splitlines() if "weight" in line}
    assert len(ranks) > 1 and ranks <= {"3", "4", "5"}
    merged = PeftModel.from_pretrained(make.from_pretrained("base"), "a").merge_and_unload()
    (folder / "x.merge").write_text('model b = "base"\noutput "out" = b + lora("a")\n')
    load(folder / "x.merge").run()
    by_peft, by_lora = merged.state_dict(), weights(folder, "out")
    for name, wanted in weights(folder, "tuned").items():
        for found in (by_peft, by_lora):
            torch.testing.assert_close(found[name], wanted, rtol=0, atol=1e-5)


def test_the_report_says_how_near_each_tensor_comes(folder, capsys):
    tuned(folder, rank=8)
    command = ["extract-lora", "tuned", "--base", "base", "-o", "a", "--rank", "4", "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    base, model = weights(folder, "base"), weights(folder, "tuned")
    held = load_file(folder / "a" / "adapter_model.safetensors")
    assert {each["name"] for each in report["tensors"]} == {
        name for name in base if base[name].ndim == 2
    }
    for each in report["tensors"]:
        module = "base_model.model." + each["name"].removesuffix(".weight")
        embedding = f"{module}.lora_embedding_A" in held
        a, b = (
            held[f"{module}.lora_embedding_{x}" if embedding else f"{module}.lora_{x}.weight"]
            for x in "AB"
        )
        product = (b @ a).T if embedding else b @ a
        delta = (model[each["name"]] - base[each["name"]]).double()
        error = torch.linalg.norm(delta - product) / torch.linalg.norm(delta)
        values = torch.linalg.svdvals(delta).square()
        assert each["rank"] == 4 and abs(each["error"] - error) < 1e-6
        assert abs(each["energy"] - values[:4].sum() / values.sum()) < 1e-6
        # No product of this rank comes nearer.
        assert abs(each["error"] ** 2 - values[4:].sum() / values.sum()) < 1e-6


def test_energy_takes_the_least_rank_that_has_it(folder, capsys):
    tuned(folder, rank=8)
    command = ["extract-lora", "tuned", "--base", "base", "-o", "a", "--energy", "0.8", "--json"]
    assert main(command) == 0
    base, model = weights(folder, "base"), weights(folder, "tuned")
    for each in json.loads(capsys.readouterr().out)["tensors"]:
        values = torch.linalg.svdvals((model[each["name"]] - base[each["name"]]).double()).square()
        share = values.cumsum(0) / values.sum()
        assert share[each["rank"] - 1] >= 0.8 > (share[each["rank"] - 2] if each["rank"] > 1 else 0)


def test_what_cannot_be_low_rank_is_left_out_and_told(folder, capsys):
    tuned(folder, changed=lambda name, shape: "norm" in name or "q_proj" in name)
    assert main(["extract-lora", "tuned", "--base", "base", "-o", "a", "--rank", "9"]) == 0
    said = capsys.readouterr().out
    assert "a: 2 tensors, " in said and "; 14 did not differ\n" in said
    assert (
        "left out: 5 tensors differ and cannot be low-rank: model.layers.0.input_layernorm.weight, "
        "model.layers.0.post_attention_layernorm.weight, model.layers.1.input_layernorm.weight, ..."
    ) in said
    assert len(load_file(folder / "a" / "adapter_model.safetensors")) == 4


def test_the_same_models_give_the_same_bytes(folder):
    tuned(folder)
    for name in ("a", "b"):
        assert main(["extract-lora", "tuned", "--base", "base", "-o", name, "--rank", "2"]) == 0
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()


def other(folder):
    save_file({"a.weight": torch.ones(2, 2)}, folder / "other.safetensors")
    return "other.safetensors"


def wider(folder):
    held = weights(folder, "tuned")
    held["lm_head.weight"] = torch.ones(60, 32)
    save_file(held, folder / "wider.safetensors")
    return "wider.safetensors"


def equal(folder):
    return "base"


def taken(folder):
    (folder / "a").mkdir()
    (folder / "a" / "notes.txt").write_text("mine")
    return "tuned"


WRONG = {
    other: "error[E2240]: `other.safetensors` is no fine-tune of `base`: only `base` has "
    "lm_head.weight and 20 more\nhelp: name the model that it was tuned from with `--base`\n",
    wider: "error[E2240]: `wider.safetensors` is no fine-tune of `base`: lm_head.weight is "
    "[60, 32] and [50, 32]\nhelp: name the model that it was tuned from with `--base`\n",
    equal: "error[E2241]: `base` and `base` differ in no matrix of a layer\n"
    "help: are they the models that you meant?\n",
    taken: "error[E2242]: there is something at `a` already\nhelp: name a new folder with `-o`\n",
}


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)
def test_models_that_do_not_fit_are_told(folder, capsys, make):
    tuned(folder)
    model = make(folder)
    capsys.readouterr()
    before = sorted(folder.rglob("*"))
    assert main(["extract-lora", model, "--base", "base", "-o", "a", "--rank", "2"]) == 1
    assert capsys.readouterr().err == WRONG[make]
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gpt2"])
def test_an_adapter_has_the_names_that_peft_knows_where_those_on_disk_are_others(
    name, tiny, tmp_path
):
    """Of models inside others, and of one that was published without what it stands in."""
    kind = zoo.KINDS[name]
    for each in ("a", "b"):
        model = zoo.load(kind, tiny(name) / "a")
        with torch.no_grad():
            for parameter in model.parameters() if each == "b" else ():
                if parameter.ndim == 2:
                    parameter += torch.outer(*(torch.randn(size) for size in parameter.shape))
        model.save_pretrained(tmp_path / each)
        if name == "gpt2":
            config = (tmp_path / each / "config.json").read_text()
            model.transformer.save_pretrained(tmp_path / each)
            (tmp_path / each / "config.json").write_text(config)
    base, tuned = tmp_path / "a", tmp_path / "b"
    command = ["extract-lora", str(tuned), "--base", str(base), "-o", str(tmp_path / "adapter")]
    assert main([*command, "--rank", "1"]) == 0
    with warnings.catch_warnings(record=True) as told:
        adapted = PeftModel.from_pretrained(zoo.load(kind, base), tmp_path / "adapter")
    assert not [each for each in told if "missing adapter keys" in str(each.message)]
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged, wanted = weights(tmp_path, "merged"), weights(tmp_path, "b")
    fronts = ("", "transformer.")
    for key, tensor in wanted.items():
        found = next(merged[front + key] for front in fronts if front + key in merged)
        torch.testing.assert_close(found, tensor, rtol=0, atol=1e-4)
