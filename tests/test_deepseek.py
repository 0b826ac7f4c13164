"""What a DeepSeek-MoE says that `moe` makes: transformers has no code of its own for it, so its
layers are written out here, after the paper (arXiv 2401.06066) and what its config means."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2MoeForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

import mergelang
from tests.checkpoints import write_tokenizer
from tests.zoo import KINDS, TOKENS, make


class Experts(nn.Module):
    """The mean of the `top_k` experts that the gate likes best, and the shared expert."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.gate = nn.Linear(config.hidden_size, config.n_routed_experts, bias=False)
        self.experts = nn.ModuleList(LlamaMLP(config) for _ in range(config.n_routed_experts))
        if config.n_shared_experts:
            self.shared_experts = LlamaMLP(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(self.top_k, -1)
        if self.top_k > 1:
            weights = weights / weights.sum(-1, keepdim=True)
        every = torch.stack([each(x) for each in self.experts], -2)
        picked = every.gather(-2, chosen[..., None].expand(*chosen.shape, every.shape[-1]))
        result = (weights[..., None] * picked).sum(-2)
        return result + self.shared_experts(x) if hasattr(self, "shared_experts") else result


def load(folder):
    """The mixture of a folder: every tensor has its place, and every place its tensor."""
    settings = json.loads((folder / "config.json").read_text())
    assert settings["scoring_func"] == "softmax" and settings["norm_topk_prob"]
    assert settings["first_k_dense_replace"] == 0 and settings["moe_layer_freq"] == 1
    model = LlamaForCausalLM(LlamaConfig(**settings))
    for layer in model.model.layers:
        layer.mlp = Experts(model.config)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("base", "a", "b")):
        make(KINDS["llama"], seed, tmp_path / name)
    return tmp_path


def run(folder, expression, out="out"):
    lines = [f'model {name} = "{name}"' for name in ("base", "a", "b")]
    (folder / "x.merge").write_text("\n".join([*lines, f'output "{out}" = {expression}', ""]))
    mergelang.load(folder / "x.merge").run()
    return folder / out


def test_every_weight_has_its_place_and_it_generates(folder):
    call = "moe(a, b, base { shared: true }, base: base, gate: random, top_k: 1)"
    model = load(run(folder, call))
    assert model.config.model_type == "deepseek" and model.config.n_shared_experts == 1
    written = model.generate(TOKENS[:, :4], max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert written.shape == (2, 9)


@pytest.mark.parametrize("shared", [0.5, 0])
def test_of_equal_experts_it_is_the_model_with_that_share_more(folder, shared):
    """Whatever the gates say. What is shared comes on top of what is chosen."""
    mix = run(folder, f"""moe(
      a, a, a {{ shared: true, residual_scale: {shared} }}, base: a, gate: random,
      architecture: deepseek, allow_identical: true,
    )""")
    dense = run(
        folder, f'match {{ "*down_proj*" => as_model({1 + shared} * a), _ => a }}', "dense"
    )
    wanted = logits(LlamaForCausalLM.from_pretrained(dense).eval())
    assert float(abs(logits(load(mix)) - wanted).max() / abs(wanted).max()) < 1e-5


def test_a_qwen2_moe_with_gates_from_prompts_says_the_same(folder):
    for name in ("base", "a", "b"):
        write_tokenizer(folder / name, [f"w{i}" for i in range(60)])
    call = """moe(
      a { prompts: ["w1 w2"] }, b { prompts: ["w7 w9 w8"] }, base { shared: true }, base: base,
      gate: hidden, architecture: %s,
    )"""
    other = Qwen2MoeForCausalLM.from_pretrained(run(folder, call % "qwen2_moe", "other")).eval()
    got, wanted = logits(load(run(folder, call % "deepseek"))), logits(other)
    assert float(abs(got - wanted).max() / abs(wanted).max()) < 1e-5
