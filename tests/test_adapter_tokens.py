"""Adapters that were trained with more tokens than their base has: they hold tables of their own,
and bring the tokenizer that counts their rows."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from mergelang.api import load
from mergelang.errors import RecipeError
from tests import zoo
from tests.checkpoints import write_tokenizer
from tests.test_adapters import assert_equal_to_rounding, llama, load_text, result, trained

WORDS = [f"w{i}" for i in range(66)]
NEW = ["<|user|>", "<|end|>", "<|pad|>"]
WAYS = {
    "modules saved whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "tables saved since they grew": {},
    "factors": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "DoRA": {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "use_dora": True},
}
FULL = (
    'model base = "base"\n'
    'output "out" = base + lora("a", base: base) { tokenizer: from(lora("a")) }\n'
)


@pytest.fixture
def folder(tmp_path):
    """Two models of 70 tokens, every weight random."""
    for seed, name in enumerate(("base", "other")):
        torch.manual_seed(seed)
        model = llama()
        with torch.no_grad():
            for each in model.parameters():
                each.normal_(std=0.3)
        model.save_pretrained(tmp_path / name)
        write_tokenizer(tmp_path / name, WORDS)
    return tmp_path


def resized(folder):
    """The base as somebody has it before training with three tokens more."""
    torch.manual_seed(7)
    model = LlamaForCausalLM.from_pretrained(folder / "base")
    model.resize_token_embeddings(73, mean_resizing=False)
    return model


def adapter(folder, settings=WAYS["modules saved whole"], name="a", new=NEW):
    made = trained(resized(folder), folder / name, **{"target_modules": ["q_proj"], **settings})
    return with_tokens(folder, made, new)


def with_tokens(folder, made, new=NEW):
    """Puts the tokenizer of the base with more tokens beside an adapter."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    tokenizer.add_tokens(new, special_tokens=True)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(made)
    return made


@pytest.mark.parametrize("way", WAYS)
def test_it_is_what_peft_makes_of_the_resized_base(folder, way):
    made = adapter(folder, WAYS[way])
    found = result(folder, FULL)
    assert_equal_to_rounding(found, lambda: resized(folder), made)
    assert json.loads((folder / "out" / "config.json").read_text())["vocab_size"] == 73
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    assert tokenizer.convert_tokens_to_ids(NEW) == [70, 71, 72]
    assert tokenizer.chat_template == "{{ messages }}"
    _, told = LlamaForCausalLM.from_pretrained(folder / "out", output_loading_info=True)
    assert not any(told.values())


@pytest.mark.parametrize("rows", [73, 80])
def test_a_base_with_rows_to_spare_may_have_been_cut_or_left_as_it_was(folder, rows):
    """Some training cuts the tables to the tokens, some puts new ones into the spare rows."""
    model = LlamaForCausalLM.from_pretrained(folder / "base")
    model.resize_token_embeddings(80, mean_resizing=False)
    model.save_pretrained(folder / "base")

    def cut():
        model = LlamaForCausalLM.from_pretrained(folder / "base")
        model.resize_token_embeddings(rows, mean_resizing=False)
        return model

    made = trained(cut(), folder / "a", target_modules=["q_proj"], **WAYS["modules saved whole"])
    with_tokens(folder, made)
    with pytest.raises(RecipeError, match=r"E2401.*3 tokens more"):
        load_text(folder, FULL.partition("{")[0] + "\n").check()
    found = result(folder, FULL)
    assert_equal_to_rounding(found, cut, made)
    assert len(found["lm_head.weight"]) == rows
    wide = result(folder, FULL.replace('from(lora("a"))', 'union(base, lora("a"))'))
    assert len(wide["lm_head.weight"]) == 80
    assert torch.equal(wide["lm_head.weight"][:73], found["lm_head.weight"][:73])


def test_a_share_of_it_meets_models_that_lack_its_tokens(folder):
    """Each row goes to its token, whatever the order; new ones are the adapter's."""
    made = adapter(folder, new=NEW[::-1])
    found = result(
        folder,
        'model base = "base"\nmodel other = "other"\n'
        'output "out" = base + 0.5 * lora("a", base: base) + 0.25 * (other - base) {\n'
        f'  tokenizer: union(base, lora("a")), tokens: {{ "{NEW[0]}": zero }}, pad_vocab: 8\n}}\n',
    )
    whole = PeftModel.from_pretrained(resized(folder), made).merge_and_unload().state_dict()
    base, other = (load_file(folder / each / "model.safetensors") for each in ("base", "other"))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert found[name].shape == (80, 32)
        mixed = 0.25 * base[name] + 0.5 * whole[name][:70] + 0.25 * other[name]
        assert torch.allclose(found[name][:70], mixed, atol=1e-6)
        # Of the two that are taken from the adapter all have the same row; the third is zero where
        # it is lacking.
        assert torch.equal(found[name][70:72], whole[name][70:72])
        assert torch.allclose(found[name][72], 0.5 * whole[name][72], atol=1e-6)
    name = "model.layers.0.self_attn.q_proj.weight"
    mixed = 0.25 * base[name] + 0.5 * whole[name] + 0.25 * other[name]
    assert torch.allclose(found[name], mixed, atol=1e-6)


def test_two_of_them_with_other_tokens_each_become_one_model(folder):
    adapter(folder, new=NEW[:1], name="a")
    adapter(folder, new=NEW[1:2], name="b")
    recipe = (
        'model base = "base"\nlet x = ties(lora("a", base: base), lora("b", base: base))\n'
        'output "out" = base + x { tokenizer: union(base, lora("a"), lora("b")) }\n'
    )
    result(folder, recipe)
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    assert tokenizer.convert_tokens_to_ids(NEW[:2]) == [70, 71]
    assert "new, from b: `<|end|>`" in str(load(folder / "x.merge").plan(fresh=True))


def test_a_row_is_taken_of_it_by_name(folder):
    made = adapter(folder)
    found = result(
        folder,
        'model base = "base"\noutput "out" = base { tokenizer: from(base), tokens: {\n'
        '  "w1": from(lora("a")), "w2": token(lora("a"), "<|end|>", force: true),\n'
        '  "<|pad|>": from(lora("a")),\n} }\n',
    )
    before = load_file(folder / "base" / "model.safetensors")["lm_head.weight"]
    saved = load_file(made / "adapter_model.safetensors")["base_model.model.lm_head.weight"]
    ids = AutoTokenizer.from_pretrained(folder / "base").get_vocab()
    head = found["lm_head.weight"]
    # What the base has is its own, unless it is forced.
    assert torch.equal(head[ids["w1"]], before[ids["w1"]])
    assert torch.equal(head[ids["w2"]], saved[71])
    assert torch.equal(head[70], saved[72])


def test_its_chat_template_is_named_alone(folder):
    adapter(folder)
    result(
        folder,
        'model base = "base"\n'
        'output "out" = base { tokenizer: from(base), chat_template: from(lora("a")) }\n',
    )
    assert (folder / "out" / "chat_template.jinja").read_text() == "{{ messages }}"


@pytest.mark.parametrize("option", ["", "{ tokenizer: from(base), pad_vocab: 8 }"])
def test_tables_of_as_many_tokens_have_those_of_the_base(folder, option):
    """An adapter without a tokenizer was trained with that of its base."""
    model = LlamaForCausalLM.from_pretrained(folder / "base")
    made = trained(model, folder / "a", target_modules=["q_proj"], modules_to_save=["lm_head"])
    found = result(
        folder, f'model base = "base"\noutput "out" = base + lora("a", base: base) {option}\n'
    )
    expected = load_file(made / "adapter_model.safetensors")["base_model.model.lm_head.weight"]
    assert torch.equal(found["lm_head.weight"][:70], expected)
    assert len(found["lm_head.weight"]) == (72 if option else 70)


INSIDE = "graft(base, language_model: base.language_model + lora(A, base: base.language_model))"


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("expr", ["base + lora(A, base: base)", INSIDE], ids=["whole", "inside"])
def test_a_vision_language_model_gets_tokens_by_an_adapter(kind, expr, tiny, tmp_path):
    def grown():
        torch.manual_seed(3)
        model = zoo.load(zoo.KINDS[kind], tmp_path / "base")
        model.resize_token_embeddings(67, mean_resizing=False)
        return model

    shutil.copytree(tiny(kind) / "a", tmp_path / "base")
    write_tokenizer(tmp_path / "base", WORDS[:60])
    settings = {"target_modules": r".*language_model.*\.q_proj"} | WAYS["modules saved whole"]
    made = with_tokens(tmp_path, trained(grown(), tmp_path / "a", **settings))
    expr = expr.replace("lora(A", 'lora("a"')
    result(
        tmp_path, f'model base = "base"\noutput "out" = {expr} {{ tokenizer: from(lora("a")) }}\n'
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == 67
    found = zoo.load(zoo.KINDS[kind], tmp_path / "out").state_dict()
    assert_equal_to_rounding(found, grown, made)


# Bases whose head is their embedding, with one table for both


@pytest.fixture
def tied(folder):
    torch.manual_seed(5)
    model = llama(tie_word_embeddings=True)
    with torch.no_grad():
        for each in model.parameters():
            each.normal_(std=0.3)
    model.save_pretrained(folder / "base")
    assert "lm_head.weight" not in load_file(folder / "base" / "model.safetensors")
    return folder


@pytest.mark.parametrize("modules", [["q_proj"], ["q_proj", "embed_tokens"]])
def test_a_head_that_is_the_embedding_saved_once_more_is_no_other(tied, modules):
    made = adapter(tied, {"target_modules": modules})
    found = result(tied, FULL)
    assert "lm_head.weight" not in found
    assert_equal_to_rounding(found, lambda: resized(tied), made)


@pytest.mark.parametrize("modules", [["embed_tokens", "lm_head"], ["lm_head"], ["embed_tokens"]])
def test_a_head_trained_by_itself_needs_a_base_that_has_one(tied, modules):
    made = adapter(tied, {"modules_to_save": modules})
    expected = PeftModel.from_pretrained(resized(tied), made).merge_and_unload().state_dict()
    with pytest.raises(RecipeError, match="E2209") as told:
        load_text(tied, FULL).check()
    # What the error says to do, done.
    model = LlamaForCausalLM.from_pretrained(tied / "base")
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    model.config.tie_word_embeddings = False
    assert "torch.nn.Parameter(model.lm_head.weight.clone())" in str(told.value)
    assert "model.config.tie_word_embeddings = False" in str(told.value)
    model.save_pretrained(tied / "base")
    found = result(tied, FULL)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(found[name], expected[name]), name
