"""Outputs as transformers sees them: nothing missing, nothing made anew, the merge's logits."""

import json
from pathlib import Path

import pytest
import torch

import mergelang
from tests.interpret import interpret, read_tensors

transformers = pytest.importorskip("transformers")

TOKENS = torch.arange(24).reshape(2, 12) % 64

DTYPES = {"F32": (torch.float32, 1e-5), "BF16": (torch.bfloat16, 2.0**-8)}
"""How far the logits of the merge may lie from those of the float64 reference rounded to the dtype,
as a share of the largest logit. In bfloat16 a weight that lies between two numbers may go to the
other one."""


def tiny(folder: Path, seed: int, kind: str = "Llama", **changes: object) -> None:
    """A small random model of 4 layers, saved as transformers saves it."""
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(
        **{"vocab_size": 64} | changes, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        initializer_range=0.2,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    model.to(torch.bfloat16 if changes.get("dtype") == "bfloat16" else torch.float32)
    model.save_pretrained(folder)


def run(folder: Path, expression: str, options: str = "") -> str:
    names = [each.name for each in sorted(folder.iterdir()) if each.is_dir() and each.name != "out"]
    lines = [*(f'model {name} = "{name}"' for name in names), f'output "out" = {expression}']
    text = "\n".join(lines) + f" {options}\n"
    (folder / "test.merge").write_text(text)
    mergelang.load(folder / "test.merge").run()
    return text


def load(folder: Path, dtype: torch.dtype = torch.float32):
    """The model of an output, whole: every key found, none left over, none made anew."""
    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=dtype
    )
    assert not told["missing_keys"] and not told["unexpected_keys"], told
    assert not told["mismatched_keys"], told
    return model.eval()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits.double()


@pytest.mark.parametrize(
    ("expression", "layers"),
    [
        ("0.6 * a + 0.4 * b", 4),
        ("slerp(a, b, t: curve(0.2, 0.8))", 4),
        ("dare_ties(a, b { weight: 0.5 }, density: 0.6, base: base)", 4),
        ("stack(a[..3], mean(a, b)[1..])", 6),
        ("match { @attn => slerp(a, b, t: 0.3), @embed => base, _ => mean(a, b) }", 4),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_merge_loads_and_has_the_logits_of_the_reference(tmp_path, expression, layers, dtype):
    for seed, name in enumerate(("base", "a", "b")):
        tiny(tmp_path / name, seed)
    text = run(tmp_path, expression, f"{{ dtype: {dtype.lower()} }}")
    model = load(tmp_path / "out")
    assert model.config.num_hidden_layers == layers == len(model.model.layers)
    got = logits(model)
    state = {
        name: torch.from_numpy(array).to(DTYPES[dtype][0]).double()
        for name, array in interpret(text, tmp_path)["out"].items()
    }
    wanted = logits(_double(model, state))
    assert float(abs(got - wanted).max() / abs(wanted).max()) < DTYPES[dtype][1]


def _double(model, state: dict[str, torch.Tensor]):
    """The same architecture in float64 with these weights."""
    double = type(model)(model.config).double().eval()
    double.load_state_dict(state)
    return double


def test_tied_embeddings_stay_tied(tmp_path):
    for seed, name in enumerate(("a", "b")):
        tiny(tmp_path / name, seed, tie_word_embeddings=True)
    assert "lm_head.weight" not in read_tensors(tmp_path / "a")
    run(tmp_path, "mean(a, b)")
    assert "lm_head.weight" not in read_tensors(tmp_path / "out")
    model = load(tmp_path / "out")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    embeddings = [read_tensors(tmp_path / n)["model.embed_tokens.weight"] for n in ("a", "b")]
    assert torch.allclose(model.lm_head.weight, (embeddings[0] + embeddings[1]) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("expression", "rows", "own"),
    [
        ("mean(a, wide, mismatch: from(wide))", 80, True),
        ("mean(a, tied, missing: skip)", 64, False),
        ("mean(tied, a, missing: from(a))", 64, True),
    ],
)
def test_tables_that_are_not_the_donors_are_loaded_as_they_are(tmp_path, expression, rows, own):
    tiny(tmp_path / "a", 0)
    tiny(tmp_path / "wide", 1, vocab_size=80)
    tiny(tmp_path / "tied", 2, tie_word_embeddings=True)
    run(tmp_path, expression)
    model = load(tmp_path / "out")
    written = read_tensors(tmp_path / "out")
    table = "lm_head.weight" if own else "model.embed_tokens.weight"
    assert torch.equal(model.lm_head.weight.detach(), written[table])
    assert model.lm_head.weight.shape[0] == model.config.vocab_size == rows


@pytest.mark.parametrize("kind", ["Llama", "Mistral"])
def test_a_mixture_loads_as_mixtral_with_every_weight_and_generates(tmp_path, kind):
    for seed, name in enumerate(("a", "b")):
        tiny(tmp_path / name, seed, kind)
    run(tmp_path, "moe(a, b, base: a, gate: random)")
    model = load(tmp_path / "out")
    assert type(model).__name__ == "MixtralForCausalLM"
    assert model.config.num_local_experts == model.config.num_experts_per_tok == 2
    generated = model.generate(TOKENS[:, :4], max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert generated.shape == (2, 10)


@pytest.mark.parametrize("kind", ["Llama", "Mistral"])
def test_a_mixture_of_equals_is_the_model_itself(tmp_path, kind):
    """Whatever the gates say, weights of experts that sum to 1 give the dense model's layer."""
    for name in ("a", "b"):
        tiny(tmp_path / name, 0, kind)
    run(tmp_path, "moe(a, b, gate: random)")
    wanted, got = logits(load(tmp_path / "a")), logits(load(tmp_path / "out"))
    assert float(abs(got - wanted).max() / abs(wanted).max()) < 1e-5


def test_the_gates_of_a_mixture_hang_on_the_seed_and_have_variance_one(tmp_path):
    for seed, name in enumerate(("a", "b")):
        tiny(tmp_path / name, seed)
    gates = []
    for seed in (0, 0, 1):
        run(tmp_path, f"moe(a, b, gate: random)\nseed {seed}")
        tensors = read_tensors(tmp_path / "out")
        found = [each for name, each in tensors.items() if name.endswith("gate.weight")]
        gates.append(torch.cat(found))
    assert torch.equal(gates[0], gates[1]) and not torch.equal(gates[0], gates[2])
    assert abs(float(gates[0].std()) - 1) < 4 / (2 * gates[0].numel()) ** 0.5


def test_the_config_says_what_transformers_wrote_but_for_the_merge(tmp_path):
    for seed, name in enumerate(("a", "b")):
        tiny(tmp_path / name, seed)
    run(tmp_path, "stack(a, b[2..])", "{ dtype: bf16 }")
    before = json.loads((tmp_path / "a" / "config.json").read_text())
    after = json.loads((tmp_path / "out" / "config.json").read_text())
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {"num_hidden_layers", "dtype"}
