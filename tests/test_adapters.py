"""`lora("...")` is what peft merges, to rounding; and adapters meet in any operator.

What the rounding may be is told by peft itself, in float64: each element lies within a few units
of float32 of that, and all of a tensor no further from it than those that peft makes in float32.
"""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mergelang.api import load
from mergelang.errors import RecipeError

LINEAR = ["q_proj", "v_proj", "down_proj"]

WAYS = {
    "plain": {"target_modules": LINEAR, "lora_alpha": 12},
    "ranks and alphas by module": {
        "target_modules": LINEAR, "rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 7},
        "alpha_pattern": {r".*\.0\..*": 3},
    },
    "rsLoRA": {"target_modules": LINEAR, "use_rslora": True},
    "embeddings and head": {"target_modules": ["embed_tokens", "lm_head"]},
    "biases of the factors": {"target_modules": ["q_proj", "o_proj"], "lora_bias": True},
}
NEEDING_BASE = {
    "DoRA": {"target_modules": LINEAR, "use_dora": True},
    "DoRA on embeddings": {"target_modules": ["embed_tokens"], "use_dora": True},
    "modules saved whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]},
    "biases": {"target_modules": ["q_proj"], "bias": "all"},
}  # fmt: skip


def llama(**settings):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=70, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, attention_bias=True, **settings,
        )
    )  # fmt: skip


def gpt():
    sizes = {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 4}
    return GPT2LMHeadModel(GPT2Config(vocab_size=70, **sizes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(1)
    for name, model in (("llama", llama()), ("gpt", gpt())):
        with torch.no_grad():
            for each in model.parameters():
                each.normal_(std=0.3)
        model.save_pretrained(folder / name)
    return folder


def trained(model, folder, seed=2, **config):
    """Saves an adapter with random numbers for every tensor that it trains."""
    torch.manual_seed(seed)
    adapted = get_peft_model(model, LoraConfig(**{"r": 4, **config}))
    with torch.no_grad():
        for name, each in adapted.named_parameters():
            if each.requires_grad:
                each.normal_(std=0.3)
                if "magnitude" in name:
                    each.abs_().add_(0.5)
    adapted.save_pretrained(folder)
    return folder


def merged(model, adapter):
    """What peft makes of both."""
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()


def exact(model, adapter):
    """What peft makes of both in float64."""
    adapted = PeftModel.from_pretrained(model.double(), adapter).double()
    return adapted.merge_and_unload().state_dict()


def result(folder, text, **options):
    """The tensors of the output `out` of a recipe."""
    load_text(folder, text).run(**options)
    return load_file(folder / "out" / "model.safetensors")


def load_text(folder, text):
    (folder / "x.merge").write_text(text)
    return load(folder / "x.merge")


UNIT = 2.0**-24
"""Half a unit in the last place of float32, by which one operation on 1 is off at most."""


def assert_equal_to_rounding(found, model, adapter):
    """Each element is as near to what peft makes in float64 as float32 allows, and all are nearer
    than what peft makes in float32. `model` makes the base anew.

    A product, scaled and added, is rounded three times; the norms of DoRA add three more.
    """
    base, expected = model().state_dict(), merged(model(), adapter)
    truth = exact(model(), adapter)
    roundings = 6 if json.loads((adapter / "adapter_config.json").read_text())["use_dora"] else 3
    ours = theirs = 0
    for name, tensor in found.items():
        true = truth[name]
        unit = UNIT * (base[name].abs() + true.abs())
        off, off_theirs = (tensor - true).abs(), (expected[name] - true).abs()
        assert (off <= roundings * unit).all(), (name, float((off / unit).max()))
        ours, theirs = ours + off.square().sum(), theirs + off_theirs.square().sum()
    assert ours <= theirs


@pytest.mark.parametrize("way", [*WAYS, *NEEDING_BASE])
def test_an_adapter_is_what_peft_makes_of_it(folder, tmp_path, way):
    def model():
        return LlamaForCausalLM.from_pretrained(base)

    base = folder / "llama"
    adapter = trained(model(), tmp_path / "a", **(WAYS | NEEDING_BASE)[way])
    calls = ['lora("a", base: base)'] + (['lora("a")'] if way in WAYS else [])
    for call in calls:
        found = result(tmp_path, f'model base = "{base}"\noutput "out" = base + {call}\n')
        assert found.keys() == load_file(base / "model.safetensors").keys()
        assert_equal_to_rounding(found, model, adapter)


@pytest.mark.parametrize("way", ["rsLoRA", "DoRA"])
def test_a_base_of_16_bits_is_rounded_once(folder, tmp_path, way):
    def model():
        return LlamaForCausalLM.from_pretrained(folder / "llama").bfloat16()

    model().save_pretrained(tmp_path / "base")
    adapter = trained(model().float(), tmp_path / "a", **(WAYS | NEEDING_BASE)[way])
    found = result(tmp_path, 'model base = "base"\noutput "out" = base + lora("a", base: base)\n')
    for name, true in exact(model(), adapter).items():
        assert found[name].dtype == torch.bfloat16
        # Half a unit in the last place of bfloat16, and the roundings of float32 before.
        bound = 2.0**-8 * true.abs() + 6 * UNIT * (1 + true.abs())
        assert ((found[name].double() - true).abs() <= bound).all(), name


@pytest.mark.parametrize("config", [{}, {"use_dora": True}])
def test_weights_that_lie_transposed_are_adapted_so(folder, tmp_path, config):
    def model():
        return GPT2LMHeadModel.from_pretrained(folder / "gpt")

    config |= {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}
    adapter = trained(model(), tmp_path / "a", **config)
    found = result(
        tmp_path, f'model base = "{folder}/gpt"\noutput "out" = base + lora("a", base: base)\n'
    )
    assert_equal_to_rounding(found, model, adapter)


def test_convolutions_are_adapted(tmp_path):
    def model():
        torch.manual_seed(3)
        return torch.nn.Sequential(torch.nn.Conv2d(6, 5, 3), torch.nn.Conv2d(5, 4, 1))

    save_file(model().state_dict(), tmp_path / "base.safetensors")
    adapter = trained(model(), tmp_path / "a", target_modules=["0", "1"])
    found = result(tmp_path, 'model base = "base.safetensors"\noutput "out" = base + lora("a")\n')
    assert_equal_to_rounding(found, model, adapter)
    trained(model(), tmp_path / "b", target_modules=["0"], use_dora=True)
    with pytest.raises(RecipeError, match=r"E2202.*DoRA on a convolution"):
        load_text(tmp_path, 'model base = "base.safetensors"\nlet x = lora("b")\n').check()


# Adapters in operators: against the same differences, stored whole

BOTH = (
    'ties(lora("a") { weight: 0.5 }, lora("b"), density: 0.4)',
    '0.3 * lora("a") - lora("b")',
    'linear(lora("a"), a - zero, lora("b"))',
    'curve(0, 1) * lora("a")',
    'match { layers 1.. => 2, _ => 1 } * (lora("a") + lora("b"))',
    'match { q_proj => lora("a"), @attn => lora("b"), _ => a - zero }',
    'trim(match { layers 0..1 => lora("a"), _ => lora("b") }, density: 0.5)',
    'linear(lora("a") { weight: curve(1, 0) }, lora("b") { weight: curve(0, 1) })',
)


@pytest.mark.parametrize("expr", BOTH)
def test_adapters_in_an_operator_are_differences_like_others(folder, tmp_path, expr):
    stored = load_file(folder / "llama" / "model.safetensors")
    (tmp_path / "zero").mkdir()
    zeros = {name: torch.zeros_like(each) for name, each in stored.items()}
    save_file(zeros, tmp_path / "zero" / "model.safetensors")
    trained(llama(), tmp_path / "a", 2, target_modules=["q_proj", "v_proj"], r=3)
    trained(
        llama(), tmp_path / "b", 3, target_modules=["v_proj", "up_proj"], layers_to_transform=[0]
    )
    head = 'model zero = "zero"\n'
    for name in "ab":
        found = result(tmp_path, f'{head}output "out" = zero + lora("{name}")\n')
        (tmp_path / f"whole-{name}").mkdir()
        save_file(found, tmp_path / f"whole-{name}" / "model.safetensors")
        head += f'model {name} = "whole-{name}"\n'
    whole = expr.replace('lora("a")', "(a - zero)").replace('lora("b")', "(b - zero)")
    found = result(tmp_path, f'{head}output "out" = zero + {expr}\n')
    expected = result(tmp_path, f'{head}output "out" = zero + {whole}\n')
    for name in stored:
        assert torch.equal(found[name], expected[name]), name


def test_what_no_adapter_touches_is_copied(folder, tmp_path):
    trained(llama(), tmp_path / "a", target_modules=["q_proj"])
    recipe = load_text(
        tmp_path, f'model base = "{folder}/llama"\noutput "out" = base + 0.8 * lora("a")\n'
    )
    output = recipe.plan().outputs[0]
    computed = [task.name for task in output.tasks if task.action == "compute"]
    assert computed == [f"model.layers.{i}.self_attn.q_proj.weight" for i in range(3)]
    assert "bytes of base as they are" in str(recipe.plan())


def test_the_base_of_a_full_step_is_not_even_rounded(folder, tmp_path):
    adapter = tmp_path / "a"
    trained(llama(), adapter, target_modules=["q_proj"], modules_to_save=["lm_head"])
    found = result(
        tmp_path,
        f'model base = "{folder}/llama"\noutput "out" = base + lora("a", base: base)\n',
    )
    saved = load_file(adapter / "adapter_model.safetensors")["base_model.model.lm_head.weight"]
    assert torch.equal(found["lm_head.weight"], saved)


# Files of mergekit


def test_a_model_with_an_adapter_in_a_file_of_mergekit_is_merged_with_it(folder, tmp_path):
    def model():
        return LlamaForCausalLM.from_pretrained(base)

    base = folder / "llama"
    adapter = trained(model(), tmp_path / "a", **NEEDING_BASE["DoRA"])
    (tmp_path / "config.yml").write_text(
        f"models:\n  - model: {base}+a\nmerge_method: passthrough\n"
    )
    load(tmp_path / "config.yml").run(into=tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert_equal_to_rounding(found, model, adapter)


@pytest.mark.parametrize("call", ['lora("a")', 'lora("a", base: base)'])
def test_a_model_with_an_adapter_is_exported_as_mergekit_writes_it(tmp_path, call):
    from mergelang.api import export

    text = f'model base = "m"\nmodel chat = "c"\nlet coder = base + {call}\n'
    written, notes = export(load_text(tmp_path, f'{text}output "out" = mean(coder, chat)\n'))
    assert "- model: m+a\n" in written and not notes


def test_a_share_of_an_adapter_does_not_fit_into_a_file_of_mergekit(tmp_path):
    from mergelang.api import export

    text = 'model base = "m"\noutput "out" = base + 0.5 * lora("a")\n'
    with pytest.raises(RecipeError, match="E1130"):
        export(load_text(tmp_path, text))
