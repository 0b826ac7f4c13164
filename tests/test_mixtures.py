"""Mixtures of experts: what transformers makes of them, and what their gates are made of."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import mergelang
from mergelang.cli.app import main
from mergelang.errors import InputError, RunError
from mergelang.plan.memory import minimum_memory
from mergelang.run.events import Noted, OutputStarted, Preparing
from mergelang.store import digests
from mergelang.store.blobs import Blobs, sound
from tests.parity.prompts import write_tokenizer
from tests.zoo import KINDS, TOKENS, make

A, B = ["add number", "how many"], ["tell", "once upon a time"]
ASKED = f"moe(a {{ prompts: {json.dumps(A)} }}, b {{ prompts: {json.dumps(B)} }}, base: base"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """`base`, `a` and `b` of a kind, with a tokenizer, made once."""
    made: dict[str, Path] = {}

    def three(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            for seed, each in enumerate(("base", "a", "b")):
                make(KINDS[name], seed, made[name] / each)
                write_tokenizer(made[name] / each)
        return made[name]

    return three


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "cache"))


def run(models, out, expression, *lets, **options):
    lines = [f'model {name} = "{models}/{name}"' for name in ("base", "a", "b")]
    text = "\n".join([*lines, *lets, f'output "{out}" = {expression}', ""])
    mergelang.load(text).run(**options)
    return load_file(out / "model.safetensors")


def load(folder):
    model, told = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    assert not any(told.values()), told
    return model.eval()


def logits(folder):
    with torch.no_grad():
        return load(folder)(input_ids=TOKENS).logits


def gates(tensors):
    return {name: tensor for name, tensor in tensors.items() if name.endswith("gate.weight")}


MADE = {
    "mixtral": ("mistral", ""), "qwen3_moe": ("qwen3", ""),
    "qwen2_moe": ("qwen2", ", base { shared: true, prompts: [\"river\"] }"),
}  # fmt: skip
"""Architectures of mixtures, the dense models of each, and its shared expert."""


@pytest.mark.parametrize("name", MADE)
def test_a_mixture_loads_whole_generates_and_routes(name, models, tmp_path):
    kind, shared = MADE[name]
    expression = ASKED.replace(", base: base", f"{shared}, base: base")
    run(models(kind), tmp_path / "out", f"{expression}, gate: hidden, top_k: 1)")
    model = load(tmp_path / "out")
    assert model.config.model_type == name
    assert model.config.num_experts_per_tok == 1
    assert getattr(model.config, "num_local_experts", 2) == 2
    written = model.generate(TOKENS[:, :4], max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert written.shape == (2, 9)
    assert (tmp_path / "out" / "tokenizer.json").exists()


@pytest.mark.parametrize("name", MADE)
def test_a_mixture_of_one_model_is_that_model(name, models, tmp_path):
    """Whatever the gates say: the shares of the experts sum to 1. The shared one adds nothing."""
    kind, shared = MADE[name]
    shared = ", a { shared: true, residual_scale: 0 }" if shared else ""
    call = f"moe(a, a{shared}, base: a, gate: uniform, allow_identical: true)"
    run(models(kind), tmp_path / "out", call)
    wanted, got = logits(models(kind) / "a"), logits(tmp_path / "out")
    assert float(abs(got - wanted).max() / abs(wanted).max()) < 1e-5


def test_a_deepseek_mixture_has_a_shared_expert_and_the_names_of_its_code(models, tmp_path):
    """transformers has no code of its own for it, so names and config are looked at."""
    call = "moe(a, b, base { shared: true, residual_scale: 0.5 }, base: base, gate: random)"
    made = run(models("llama"), tmp_path / "out", call)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "deepseek" and config["n_shared_experts"] == 1
    assert config["n_routed_experts"] == config["num_experts_per_tok"] == 2
    before = load_file(models("llama") / "base" / "model.safetensors")
    for part, factor in (("up_proj", 1.0), ("down_proj", 0.5)):
        inside = f"model.layers.1.mlp.shared_experts.{part}.weight"
        assert torch.equal(made[inside], factor * before[f"model.layers.1.mlp.{part}.weight"])


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_shared_expert_without_prompts_counts_the_same_for_every_token(kind, models, tmp_path):
    """In a Qwen2-MoE, which has a gate for it. Of equal experts, the model with twice of each."""
    mix = """moe(
      a { prompts: ["tell"] }, a { prompts: ["river"] }, a { shared: true, residual_scale: 0.5 },
      base: a, gate: hidden, architecture: qwen2_moe, allow_identical: true,
    )"""
    run(models(kind), tmp_path / "mix", mix)
    run(models(kind), tmp_path / "dense", 'match { "*down_proj*" => as_model(1.5 * a), _ => a }')
    wanted, got = logits(tmp_path / "dense"), logits(tmp_path / "mix")
    assert float(abs(got - wanted).max() / abs(wanted).max()) < 1e-5


@pytest.mark.parametrize("gate", ["hidden", "cheap_embed"])
def test_gates_are_of_length_one_and_of_the_states_of_the_prompts(gate, models, tmp_path):
    folder = models("llama")
    made = gates(run(folder, tmp_path / "out", f"{ASKED}, gate: {gate})"))
    assert len(made) == 4
    model, tokenizer = load(folder / "base"), AutoTokenizer.from_pretrained(folder / "base")
    for row, texts in enumerate((A, B)):
        tokens = [tokenizer("<s>" + text, add_special_tokens=False)["input_ids"] for text in texts]
        with torch.no_grad():
            states = [
                torch.stack(model(torch.tensor([each]), output_hidden_states=True).hidden_states)
                for each in tokens
            ]
        for layer, gate_weights in enumerate(made.values()):
            if gate == "hidden":
                wanted = torch.stack([each[layer, 0, -1] for each in states]).mean(0)
            else:
                wanted = torch.stack([each[0, 0].sum(0) for each in states]).sum(0)
            assert torch.allclose(gate_weights[row], wanted / wanted.norm(), atol=1e-5)


def test_avoided_prompts_are_taken_off_and_the_mean_is_over_all_tokens(models, tmp_path):
    folder = models("llama")
    call = ASKED.replace("b {", 'b { avoid: ["river"],') + ", gate: hidden, pool: mean)"
    made = gates(run(folder, tmp_path / "out", call))
    model, tokenizer = load(folder / "base"), AutoTokenizer.from_pretrained(folder / "base")

    def state(text, layer):
        tokens = tokenizer("<s>" + text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            found = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
        return found[layer][0].mean(0)

    for layer, rows in enumerate(made.values()):
        wanted = sum(state(text, layer) for text in B) / len(B) - state("river", layer)
        assert torch.allclose(rows[1], wanted / wanted.norm(), atol=1e-5)


def test_a_base_that_is_an_expression_needs_no_model_in_between(models, tmp_path):
    """The gates are those of the merged base, as if it had been written and read again."""
    folder = models("llama")
    lets = ["let blend = slerp(base, a, t: curve(0.2, 0.7))"]
    call = ASKED.replace("base: base", "base: blend") + ", gate: hidden)"
    made = run(folder, tmp_path / "out", call, *lets)
    run(folder, tmp_path / "blend", "blend", *lets)
    (tmp_path / "written").mkdir()
    for each, source in (("base", tmp_path / "blend"), ("a", folder / "a"), ("b", folder / "b")):
        (tmp_path / "written" / each).symlink_to(source)
    write_tokenizer(tmp_path / "blend")
    again = run(tmp_path / "written", tmp_path / "again", f"{ASKED}, gate: hidden)")
    assert made.keys() == again.keys()
    assert all(torch.equal(made[name], again[name]) for name in made)


def test_an_expert_may_be_an_expression(models, tmp_path):
    folder = models("llama")
    call = ASKED.replace("moe(a ", "moe(mean(a, b) ")
    made = run(folder, tmp_path / "out", f"{call}, gate: cheap_embed)")
    a, b = (load_file(folder / each / "model.safetensors") for each in "ab")
    name = "model.layers.2.mlp.gate_proj.weight"
    got = made["model.layers.2.block_sparse_moe.experts.0.w1.weight"]
    assert torch.allclose(got, (a[name] + b[name]) / 2, atol=1e-7)


def prepared(models, out, expression, *lets):
    """How often gates were made in a run."""
    told = []
    run(models, out, expression, *lets, listener=told.append)
    return sum(isinstance(each, Preparing) for each in told)


def test_gates_are_made_once_and_anew_when_anything_of_theirs_changes(models, tmp_path):
    folder = models("llama")
    call = f"{ASKED}, gate: hidden)"
    assert prepared(folder, tmp_path / "one", call) == 1
    assert prepared(folder, tmp_path / "two", call) == 0
    # The experts have no part in the gates, the base and the prompts have.
    assert prepared(folder, tmp_path / "two", call.replace("moe(a ", "moe(mean(a, b) ")) == 0
    assert prepared(folder, tmp_path / "two", call.replace("tell", "river")) == 1
    lets = ["let blend = 0.5 * base + 0.5 * a"]
    other = call.replace("base: base", "base: blend")
    assert prepared(folder, tmp_path / "two", other, *lets) == 1
    lets = ["let blend = 0.4 * base + 0.6 * a"]
    assert prepared(folder, tmp_path / "two", other, *lets) == 1


def test_gates_are_found_by_what_files_hold_once_those_have_a_digest(models, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(models("llama"), folder)
    call = f"{ASKED}, gate: hidden)"
    assert prepared(first, tmp_path / "one", call) == 1
    for path in first.rglob("*.safetensors"):
        os.utime(path, (1, 1))  # has no digest any more, until it is read again
        digests.digest(path)
    assert prepared(first, tmp_path / "two", call) == 0
    for path in second.rglob("*.safetensors"):
        digests.digest(path)
    assert prepared(second, tmp_path / "three", call) == 0
    assert len(entries()) == 1


def test_a_base_that_has_changed_on_disk_makes_other_gates(models, tmp_path):
    for name in ("base", "a", "b"):
        (tmp_path / "m" / name).mkdir(parents=True)
        for path in (models("llama") / name).iterdir():
            (tmp_path / "m" / name / path.name).write_bytes(path.read_bytes())
    call = f"{ASKED}, gate: hidden)"
    before = gates(run(tmp_path / "m", tmp_path / "out", call))
    path = tmp_path / "m" / "base" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].flip(0)
    save_file(tensors, path, {"format": "pt"})
    after = gates(run(tmp_path / "m", tmp_path / "out", call))
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_random_and_uniform_gates_hang_on_the_seed_and_have_their_spread(models, tmp_path):
    folder = models("llama")
    for gate, spread in (("random", 1.0), ("uniform", (1 / 32) ** 0.5 / 3**0.5)):
        found = []
        for seed in (0, 0, 1):
            made = run(
                folder, tmp_path / "out", f"moe(a, b, base: base, gate: {gate})", f"seed {seed}"
            )
            found.append(torch.cat(list(gates(made).values())))
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
        assert abs(float(found[0].std()) / spread - 1) < 4 / (2 * found[0].numel()) ** 0.5
        assert gate == "random" or float(abs(found[0]).max()) <= (1 / 32) ** 0.5


@pytest.mark.parametrize("shared", ["", ", b { shared: true }"])
@pytest.mark.parametrize("narrow", ["base", "a"])
def test_experts_get_the_dtype_of_the_base(models, tmp_path, narrow, shared):
    for name in ("base", "a", "b"):
        shutil.copytree(models("llama") / name, tmp_path / name)
    path = tmp_path / narrow / "model.safetensors"
    rounded = {name: each.to(torch.bfloat16) for name, each in load_file(path).items()}
    save_file(rounded, path, {"format": "pt"})
    call = f"moe(a {{ noise: 0.01 }}, a, b{shared}, base: base, gate: random)"
    made = run(tmp_path, tmp_path / "out", call)
    wanted = torch.bfloat16 if narrow == "base" else torch.float32
    assert {each.dtype for each in made.values()} == {wanted}
    a = load_file(tmp_path / "a" / "model.safetensors")["model.layers.2.mlp.up_proj.weight"]
    expert = next(each for name, each in made.items() if re.search(r"s\.2\..*\.1\.(w3|up)", name))
    assert torch.equal(expert, a.to(wanted))


def test_noise_and_residual_scale_change_their_expert_alone(models, tmp_path):
    folder = models("llama")
    call = "moe(a { noise: 0.01, residual_scale: curve(1, 0) }, b, base: base, gate: random)"
    made = run(folder, tmp_path / "out", call)
    plain = run(folder, tmp_path / "plain", "moe(a, b, base: base, gate: random)")
    for layer in range(4):
        prefix = f"model.layers.{layer}.block_sparse_moe.experts"
        up, down = (made[f"{prefix}.0.{part}.weight"] for part in ("w3", "w2"))
        noise = up - plain[f"{prefix}.0.w3.weight"]
        assert abs(float(noise.std()) / 0.01 - 1) < 4 / (2 * noise.numel()) ** 0.5
        wanted = plain[f"{prefix}.0.w2.weight"] * (1 - layer / 3)
        assert float((down - wanted).std()) == pytest.approx(0.01 * (1 - layer / 3), rel=0.1)
        for part in ("w1", "w2", "w3"):
            name = f"{prefix}.1.{part}.weight"
            assert torch.equal(made[name], plain[name])


def test_the_least_memory_counts_a_layer_and_the_prompts(models, tmp_path):
    def plan(call):
        lines = [f'model {each} = "{models("llama")}/{each}"' for each in ("base", "a", "b")]
        text = "\n".join([*lines, f'output "{tmp_path}/out" = {call}', ""])
        return mergelang.load(text).plan()

    hidden = f"{ASKED}, gate: hidden)"
    plain, *asked = (
        plan(call) for call in ("moe(a, b, gate: random)", f"{ASKED}, gate: cheap_embed)", hidden,
                                hidden.replace("tell", "tell " * 3000))
    )  # fmt: skip
    assert not plain.preparations
    embedded, states, long = (each.preparations[0].holds for each in asked)
    assert states - embedded < 4 << 20  # bytes of a few words, not of all that could be asked
    assert long - embedded > 4 * 15_000 * (15_000 + 8 * 32)  # one text is never cut
    layer = sum(
        each.numel() for name, each in load_file(
            models("llama") / "base" / "model.safetensors"
        ).items() if ".layers.0." in name
    )  # fmt: skip
    assert states - embedded > 4 * layer
    assert minimum_memory(plain) < min(map(minimum_memory, asked))


def test_what_gates_need_and_is_not_there_is_told(models, tmp_path):
    for name in ("base", "a", "b"):
        make(KINDS["llama"], 3, tmp_path / "m" / name)
    with pytest.raises(RunError, match=r"E2321.*tokenizer of `base`"):
        run(tmp_path / "m", tmp_path / "out", f"{ASKED}, gate: hidden)")
    assert not (tmp_path / "out").exists()
    write_tokenizer(tmp_path / "m" / "base")
    tensors = load_file(tmp_path / "m" / "base" / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] *= 1e38
    save_file(tensors, tmp_path / "m" / "base" / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"E2323.*model\.layers\.\d\.block"):
        run(tmp_path / "m", tmp_path / "out", f"{ASKED}, gate: hidden)")


def test_code_beside_a_tokenizer_is_never_run(models, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what transformers may ask
    for name in ("base", "a", "b"):
        shutil.copytree(models("llama") / name, tmp_path / "m" / name)
    folder, ran = tmp_path / "m" / "base", tmp_path / "ran"
    settings = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]},
                "tokenizer_class": "Own"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenization_own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(RunError, match="E2321"):
        run(tmp_path / "m", tmp_path / "out", f"{ASKED}, gate: hidden)")
    assert not ran.exists()


def test_a_base_that_gets_more_tokens_has_the_gates_that_it_had(models, tmp_path):
    plain = gates(run(models("llama"), tmp_path / "plain", f"{ASKED}, gate: hidden)"))
    record = ' { tokenizer: union(base, a), tokens: { "<|new|>": zero }, pad_vocab: 96 }'
    made = run(models("llama"), tmp_path / "out", f"{ASKED}, gate: hidden){record}")
    assert len(made["model.embed_tokens.weight"]) == 96
    assert all(torch.equal(plain[name], tensor) for name, tensor in gates(made).items())
    assert load(tmp_path / "out").config.vocab_size == 96


@pytest.mark.parametrize(
    ("to", "why"),
    [("from(other)", "other ids for its tokens"),
     ('union(base, a), tokens: { "tell": zero(force: true) }', "other ids for its tokens"),
     ('union(base, a), tokens: { "number<|": zero }', "adds number<|")],
)  # fmt: skip
def test_prompts_in_other_tokens_than_those_of_the_base_are_refused(models, tmp_path, to, why):
    (tmp_path / "other").mkdir()
    for path in (models("llama") / "a").iterdir():
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "other" / "tokenizer.json").read_text()
    (tmp_path / "other" / "tokenizer.json").write_text(text.replace('"tell"', '"told"'))
    asked = ASKED.replace("add number", "add number<|")
    call = f"{asked}, gate: cheap_embed) {{ tokenizer: {to} }}"
    with pytest.raises(InputError, match=f"E2326.*{re.escape(why)}"):
        run(models("llama"), tmp_path / "out", call, f'model other = "{tmp_path}/other"')


def test_a_cache_that_cannot_be_written_is_told(models, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match="E2324"):
        run(models("llama"), tmp_path / "out", f"{ASKED}, gate: cheap_embed)")


def test_the_same_gates_whatever_the_number_of_threads(models, tmp_path, monkeypatch):
    found = []
    for threads in (1, 2):
        monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / f"cache{threads}"))
        call = f"{ASKED}, gate: hidden)"
        found.append(gates(run(models("llama"), tmp_path / "out", call, threads=threads)))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


# Gates in the store


HIDDEN = f"{ASKED}, gate: hidden)"


def entries():
    return [each for each in Blobs().entries() if each.what == "gates"]


def test_gates_are_values_of_the_store(models, tmp_path, capsys):
    run(models("llama"), tmp_path / "out", HIDDEN)
    (entry,) = entries()
    assert entry.extent.type.count == 2 * 4 * 32 and entry.seconds > 0 and sound(entry)
    assert main(["cache", "ls"]) == 0
    assert f"{entry.key[:12]}  gates    F32 [256]  1.54 kB" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not entries()
    assert prepared(models("llama"), tmp_path / "two", HIDDEN) == 1


def test_damaged_gates_are_found_when_they_are_read_and_made_anew(models, tmp_path):
    before = gates(run(models("llama"), tmp_path / "out", HIDDEN))
    (entry,) = entries()
    data = bytearray(entry.path.read_bytes())
    data[-3] ^= 1
    entry.path.write_bytes(data)
    told = []
    after = gates(run(models("llama"), tmp_path / "out", HIDDEN, listener=told.append, fresh=True))
    assert "W2004" in [each.code for each in told if isinstance(each, Noted)]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sound(entries()[0])


def test_gates_that_are_removed_while_a_run_needs_them_do_no_harm(models, tmp_path):
    before = gates(run(models("llama"), tmp_path / "out", HIDDEN))

    def remove(event):
        if isinstance(event, OutputStarted):
            Blobs().prune(0)

    after = gates(run(models("llama"), tmp_path / "two", HIDDEN, listener=remove))
    assert not entries()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_limit_that_has_no_room_for_gates_is_told(models, tmp_path):
    with pytest.raises(RunError, match=r"E2324.* no room within its 1,000 bytes"):
        run(models("llama"), tmp_path / "out", HIDDEN, cache_limit=1000)


def test_a_mixture_is_computed_again_with_gates_that_are_made_anew(models, tmp_path, capsys):
    run(models("llama"), tmp_path / "out", HIDDEN)
    Blobs().prune(0)
    assert main(["verify", str(tmp_path / "out"), "--rebuild", "all"]) == 0
    assert "computed again: all as it was written" in capsys.readouterr().out
