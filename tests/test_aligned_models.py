"""Outputs over one vocabulary as transformers sees them: whole, and saying what they should."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mergelang
from mergelang.run.events import RunDone
from tests.checkpoints import write_tokenizer
from tests.interpret import read_tensors

transformers = pytest.importorskip("transformers")

WORDS = [f"w{number}" for number in range(20)]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {**SIZES, "intermediate_size": 24, "num_key_value_heads": 1}
KINDS = {
    "Llama": ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": False}),
    "tied Llama": ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True}),
    "GPT-2": ("GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}),
    "BERT": ("BertForMaskedLM", {**SIZES, "intermediate_size": 24}),
    "BERT with its own head": (
        "BertForMaskedLM", {**SIZES, "intermediate_size": 24, "tie_word_embeddings": False}
    ),
    "RoBERTa": ("RobertaForMaskedLM", {**SIZES, "intermediate_size": 24}),
    "T5": ("T5ForConditionalGeneration", {
        "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
    }),
    "Mamba": ("MambaForCausalLM", {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}),
    "GPT-NeoX": ("GPTNeoXForCausalLM", {**SIZES, "intermediate_size": 24}),
}  # fmt: skip
"""Classes and settings; the sizes of 20, 24 and 32 are those of vocabularies too, on purpose."""


def save(folder: Path, kind: str, words: list[str], seed: int, **more: object):
    torch.manual_seed(seed)
    name, settings = KINDS[kind]
    class_ = getattr(transformers, name)
    config = class_.config_class(vocab_size=len(words), **settings, **more)
    model = class_(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    marks = [word for word in words if word.startswith("<")]
    write_tokenizer(folder, [word for word in words if word not in marks], (), marks)
    return model


def run(folder: Path, text: str, **options) -> list:
    events: list = []
    recipe(folder, text).run(listener=events.append, **options)
    return events


def recipe(folder: Path, text: str) -> mergelang.Recipe:
    names = sorted(each.name for each in folder.iterdir() if (each / "config.json").is_file())
    lines = [f'model {name} = "{name}"' for name in names if name != "out"]
    (folder / "test.merge").write_text("\n".join([*lines, text]) + "\n")
    return mergelang.load(folder / "test.merge")


def load(folder: Path, kind: str):
    class_ = getattr(transformers, KINDS[kind][0])
    model, told = class_.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["mismatched_keys"], told
    assert not told["unexpected_keys"], told
    return model.eval()


def logits(model, ids: list[int]) -> torch.Tensor:
    ids = torch.tensor([ids])
    more = {"decoder_input_ids": ids} if hasattr(model, "decoder") else {}
    with torch.no_grad():
        return model(input_ids=ids, **more).logits[0].double()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_over_another_vocabulary_says_the_same_in_other_numbers(tmp_path, kind):
    """The words in another order, and more of them: the model's logits are in that order."""
    model = save(tmp_path / "a", kind, WORDS, 0)
    other = [*WORDS[:2], *WORDS[:1:-1], "new", "newer"]  # RoBERTa counts places from id 1
    save(tmp_path / "b", kind, other, 1)
    run(tmp_path, 'output "out" = a { tokenizer: union(b, a) }')
    made = load(tmp_path / "out", kind)
    assert made.config.vocab_size == 22
    said = ["w3", "w1", "w19", "w0", "w7"]
    wanted = logits(model, [WORDS.index(word) for word in said])
    got = logits(made, [other.index(word) for word in said])
    order = [other.index(word) for word in WORDS]
    assert float(abs(got[:, order] - wanted).max()) < 1e-5


def test_two_models_with_tokens_of_their_own_merge_and_generate(tmp_path):
    marks = {"a": ["<|a|>"], "b": ["<|b|>", "<|end|>"]}
    for seed, (name, more) in enumerate(marks.items()):
        save(tmp_path / name, "Llama", [*WORDS, *more], seed, eos_token_id=20, bos_token_id=0)
    run(tmp_path, 'output "out" = slerp(a, b, t: 0.4) { tokenizer: union(a, b), pad_vocab: 8 }')
    model = load(tmp_path / "out", "Llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model.get_input_embeddings().weight.shape[0] == 24 == model.config.vocab_size
    ids = tokenizer("w1 <|b|> w2", return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[1, 21, 2]]
    model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)


def test_the_config_and_ids_of_another_donor_are_put_over_the_vocabulary(tmp_path):
    save(tmp_path / "a", "Llama", [*WORDS, "<|a|>"], 0, eos_token_id=20)
    save(tmp_path / "b", "Llama", [*WORDS, "<|b|>"], 1, eos_token_id=20)
    run(tmp_path, 'output "out" = mean(a, b, config: from(b)) { tokenizer: union(a, b) }')
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert config["eos_token_id"] == generation["eos_token_id"] == 21
    assert config["vocab_size"] == 22


OPTIONS = ("", "pad_vocab: 4096", 'tokens: { "w1": zero(force: true) }')
MERGES = ("a", "dare_ties(a, b, density: 0.5, base: c)", "slerp(a, b, t: 1)")


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("merge", MERGES)
def test_a_plan_says_what_is_read(tmp_path, merge, options):
    for seed, (name, words) in enumerate({"a": WORDS, "b": WORDS[::-1], "c": WORDS[3:]}.items()):
        save(tmp_path / name, "Llama", [*words, f"<|{name}|>"], seed)
    text = f'output "out" = {merge} {{ tokenizer: union(a, b, c), {options} }}'
    plan = recipe(tmp_path, text).plan()
    done = next(each for each in run(tmp_path, text) if isinstance(each, RunDone))
    assert plan.bytes_read == done.bytes_read
    tensors = read_tensors(tmp_path / "out")
    assert all(np.isfinite(each).all() for each in tensors.values())


def test_rows_that_are_not_finite_stop_the_run_with_their_place(tmp_path):
    from mergelang.errors import RunError

    model = save(tmp_path / "a", "Llama", WORDS, 0)
    with torch.no_grad():
        model.model.embed_tokens.weight[4, 2] = float("nan")
    model.save_pretrained(tmp_path / "a")
    save(tmp_path / "b", "Llama", WORDS[::-1], 1)
    with pytest.raises(RunError) as raised:
        run(tmp_path, 'output "out" = mean(b, a) { tokenizer: union(b, a) }')
    assert raised.value.code == "E0903"
    assert raised.value.facts["position"] == 4 * 16 + 2
    assert not (tmp_path / "out").exists()
