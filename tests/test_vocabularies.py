"""Models of different vocabularies: what every row of an aligned table is, and where from."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

import mergelang
from mergelang.errors import RecipeError
from mergelang.models.vocabulary import vocabulary_of
from mergelang.tensors import Inventory, Layering, TensorType
from tests.checkpoints import MARKS, llama_shapes, write_arrays, write_tokenizer

HIDDEN = 6
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def write(folder: Path, words, seed: int, *, rows: int | None = None, **config) -> dict:
    """A small model of random float32 with a tokenizer of these words; gives its tensors."""
    random = np.random.default_rng(seed)
    size = rows or len(MARKS) + len(words)
    shapes = llama_shapes(layers=1, hidden=HIDDEN, vocabulary=size)
    tensors = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    write_arrays(folder, {name: (each, "F32") for name, each in tensors.items()})
    settings = {"model_type": "llama", "num_hidden_layers": 1, "vocab_size": size}
    (folder / "config.json").write_text(json.dumps({**settings, **config}))
    write_tokenizer(folder, words)
    return tensors


def run(folder: Path, text: str, **options) -> dict:
    """Runs a recipe over the models of a folder; gives the output's tensors."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "out")
    head = [f'model {name} = "{name}"' for name in names if re.search(rf"\b{name}\b", text)]
    path = folder / "test.merge"
    path.write_text("\n".join([*head, text]) + "\n")
    mergelang.load(path).run(**options)
    path.unlink()
    path.with_name("test.merge.lock").unlink(missing_ok=True)
    return load_file(folder / "out" / "model.safetensors")


WORDS = {"a": ["one", "two", "three"], "b": ["three", "two", "four"], "c": ["one", "four", "five"]}


@pytest.fixture
def models(tmp_path) -> tuple[Path, dict]:
    made = {name: write(tmp_path / name, words, i) for i, (name, words) in enumerate(WORDS.items())}
    return tmp_path, made


def row(made, model, word, name=EMBED):
    return made[model][name][len(MARKS) + WORDS[model].index(word)]


@pytest.mark.parametrize("name", [EMBED, HEAD])
def test_a_union_keeps_the_ids_of_the_first_and_appends_what_others_have_more(models, name):
    folder, made = models
    out = run(folder, 'output "out" = linear(a, b, c) { tokenizer: union(a, b, c) }')[name]
    assert out.shape == (len(MARKS) + 5, HIDDEN)
    of = {
        "one": [row(made, "a", "one", name), None, row(made, "c", "one", name)],
        "two": [row(made, "a", "two", name), row(made, "b", "two", name), None],
        "three": [row(made, "a", "three", name), row(made, "b", "three", name), None],
        "four": [None, row(made, "b", "four", name), row(made, "c", "four", name)],
        "five": [None, None, row(made, "c", "five", name)],
    }
    for number, rows in enumerate(of.values(), len(MARKS)):
        known = [each for each in rows if each is not None]
        mean = np.mean(known, axis=0)
        wanted = np.mean([mean if each is None else each for each in rows], axis=0)
        assert np.allclose(out[number], wanted, atol=1e-6)
    marks = np.mean([made[each][name][: len(MARKS)] for each in "abc"], axis=0)
    assert np.allclose(out[: len(MARKS)], marks, atol=1e-6)


def test_the_base_of_a_merge_gives_the_rows_that_it_has(models):
    """`one` is known to the base a and to c: b takes the base's, so its task vector is zero."""
    folder, made = models
    out = run(
        folder, 'output "out" = task_arithmetic(b, c, base: a) { tokenizer: union(a, b, c) }'
    )[EMBED]
    one = row(made, "a", "one") + (row(made, "c", "one") - row(made, "a", "one"))
    assert np.allclose(out[len(MARKS)], one, atol=1e-6)
    # `four` is not known to the base: it takes the mean of the two that have it.
    four = row(made, "b", "four"), row(made, "c", "four")
    base = (four[0] + four[1]) / 2
    wanted = base + (four[0] - base) + (four[1] - base)
    assert np.allclose(out[len(MARKS) + 3], wanted, atol=1e-6)


def test_a_base_may_be_named_where_the_merge_has_none(models):
    folder, made = models
    out = run(folder, 'output "out" = linear(a, b, c) { tokenizer: union(a, b, c, base: c) }')
    one = [row(made, "a", "one"), row(made, "c", "one"), row(made, "c", "one")]
    assert np.allclose(out[EMBED][len(MARKS)], np.mean(one, axis=0), atol=1e-6)


def test_the_vocabulary_of_one_model_drops_the_others_tokens(models):
    folder, made = models
    out = run(folder, 'output "out" = linear(a, b) { tokenizer: from(b) }')[EMBED]
    assert len(out) == len(MARKS) + 3
    two = (row(made, "a", "two") + row(made, "b", "two")) / 2
    assert np.allclose(out[len(MARKS) + 1], two, atol=1e-6)
    assert np.array_equal(out[len(MARKS) + 2], row(made, "b", "four"))


def test_rows_of_tokens_are_taken_from_where_the_recipe_says(models):
    folder, made = models
    out = run(
        folder,
        """output "out" = linear(a, b) { tokenizer: union(a, b), tokens: {
          "one": from(a), "two": from(b, force: true), "three": zero, "four": zero,
          "new": token(b, "four"), "last": token(a, 5, force: true),
          "none": zero(force: true) } }""",
    )[EMBED][len(MARKS) :]
    wanted = [
        row(made, "a", "one"), row(made, "b", "two"),
        (row(made, "a", "three") + row(made, "b", "three")) / 2, row(made, "b", "four") / 2,
        row(made, "b", "four"), made["a"][EMBED][5], np.zeros(HIDDEN),
    ]  # fmt: skip
    assert np.allclose(out, wanted, atol=1e-6)


def test_rows_without_a_token_are_the_mean_of_all_others(models):
    folder, _ = models
    out = run(folder, 'output "out" = a { tokenizer: from(a), pad_vocab: 16 }')
    for name in (EMBED, HEAD):
        assert len(out[name]) == 16
        mean = out[name][:7].astype(np.float64).mean(axis=0)
        assert np.allclose(out[name][7:], mean, atol=1e-6)


def test_a_padded_vocabulary_stays_padded_and_keeps_its_spare_rows(tmp_path):
    made = write(tmp_path / "a", ["x", "y"], 0, rows=12)
    write(tmp_path / "b", ["x", "y", "z"], 1)
    out = run(tmp_path, 'output "out" = a { tokenizer: union(a, b) }')
    assert len(out[EMBED]) == 12
    assert np.array_equal(out[EMBED][:6], made[EMBED][:6])
    assert np.array_equal(out[EMBED][7:], made[EMBED][7:])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vocab_size"] == 12
    words = [f"w{i}" for i in range(20)]
    write(tmp_path / "b", words, 1)
    out = run(tmp_path, 'output "out" = a { tokenizer: union(a, b) }')
    assert len(out[EMBED]) == 28  # 26 tokens, and as before a multiple of 4


def test_of_a_merge_every_model_is_aligned_before_it_is_merged(models):
    """The option of an output and `retokenize` are one thing, wherever the merge has its name."""
    folder, _ = models
    let = "let merged = slerp(dare(b, c, density: 0.5, base: a), a, t: 0.3)\n"
    options = run(folder, let + 'output "out" = merged { tokenizer: union(a, b, c) }')
    called = run(folder, let + 'output "out" = retokenize(merged, to: union(a, b, c))')
    leaves = run(
        folder,
        "\n".join(f"let {x}{x} = retokenize({x}, to: union(a, b, c, base: a))" for x in "abc")
        + '\noutput "out" = slerp(dare(bb, cc, density: 0.5, base: aa), aa, t: 0.3)',
    )
    for name, each in options.items():
        assert np.array_equal(each, called[name])
        if name not in (EMBED, HEAD):
            assert np.array_equal(each, leaves[name])
        assert each.shape == leaves[name].shape


def test_models_are_stacked_over_one_vocabulary(models):
    folder, made = models
    out = run(folder, 'output "out" = stack(a, b) { tokenizer: union(a, b) }')
    assert np.array_equal(out[EMBED][:7], made["a"][EMBED])
    assert np.array_equal(out[EMBED][7], row(made, "b", "four"))
    assert np.array_equal(out[HEAD][len(MARKS) + 1], row(made, "b", "two", HEAD))


def test_a_mismatch_policy_answers_for_other_tokens_of_the_same_number(models):
    folder, made = models
    out = run(folder, 'output "out" = mean(a, b, mismatch: from(b), config: from(b))')
    assert np.array_equal(out[EMBED], made["b"][EMBED])
    norm = "model.norm.weight"
    assert np.allclose(out[norm], (made["a"][norm] + made["b"][norm]) / 2, atol=1e-6)


def test_ids_in_the_config_follow_their_tokens(tmp_path):
    ids = {"bos_token_id": 0, "eos_token_id": [1, 5], "pad_token_id": 6, "image_token_index": 4}
    write(tmp_path / "a", ["x", "y", "z"], 0)
    text = {"vocab_size": 7, "eos_token_id": 5}
    write(tmp_path / "b", ["p", "q", "z"], 1, text_config=text, **ids)
    generation = {"eos_token_id": [1, 5], "suppress_tokens": [4, 6], "bad_words_ids": [[4, 5], [6]]}
    (tmp_path / "b" / "generation_config.json").write_text(json.dumps(generation))
    run(tmp_path, 'output "out" = b { tokenizer: union(a, b) }')
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vocab_size"] == config["text_config"]["vocab_size"] == 9
    assert config["text_config"]["eos_token_id"] == 8
    assert {key: config[key] for key in ids} == {
        "bos_token_id": 0, "eos_token_id": [1, 8], "pad_token_id": 6, "image_token_index": 7
    }  # fmt: skip
    made = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert made == {
        "eos_token_id": [1, 8], "suppress_tokens": [7, 6], "bad_words_ids": [[7, 8], [6]]
    }  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
def test_an_aligned_merge_has_the_same_bytes_for_any_block_and_number_of_threads(models, threads):
    folder, _ = models
    text = """output "out" = dare_ties(b, c, density: 0.5, base: a) {
      tokenizer: union(a, b, c), pad_vocab: 8192 }"""
    first = run(folder, text)
    again = run(folder, text, threads=threads, block=1 << 14)
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    "merge", ["match { !(@embed | @head) => a, _ => b }", "mean(a, b, mismatch: from(b))"]
)
def test_the_tokenizer_of_an_output_is_that_of_its_tables(models, merge):
    """Whatever model the config comes from: its tokenizer, its size and its ids are put right."""
    folder, made = models
    settings = json.loads((folder / "a" / "config.json").read_text())
    settings |= {"eos_token_id": len(MARKS) + WORDS["a"].index("three"), "bos_token_id": 0}
    (folder / "a" / "config.json").write_text(json.dumps(settings))
    out = run(folder, f'output "out" = {merge}')
    assert np.array_equal(out[EMBED], made["b"][EMBED])
    config = json.loads((folder / "out" / "config.json").read_text())
    assert config["eos_token_id"] == len(MARKS) + WORDS["b"].index("three")
    written = (folder / "out" / "tokenizer.json").read_bytes()
    assert written == (folder / "b" / "tokenizer.json").read_bytes()


def test_a_plan_a_graph_and_a_card_say_whose_rows_are_taken(models):
    from mergelang.draw.graph_json import graph_json
    from mergelang.draw.plan_text import plan_json

    folder, _ = models
    lines = [f'model {name} = "{name}"' for name in "abc"]
    option = 'tokenizer: union(a, b, c), tokens: { "two": zero, "new": token(a, 1) }, pad_vocab: 8'
    text = f'output "out" = linear(a, b, c) {{ {option} }}'
    (folder / "test.merge").write_text("\n".join([*lines, text]) + "\n")
    recipe = mergelang.load(folder / "test.merge")
    said = str(recipe.plan())
    for line in (
        "  vocabulary: that of a, 10 tokens in 16 rows\n",
        "  new, from b: `four`\n  new, from c: `five`\n  new, of the recipe: `new`\n",
        "  a takes 1 row as the mean of b and c: `four`\n  a takes 1 row from c: `five`\n",
        "  a takes 1 row from a: `new`\n",
        "  c takes 1 row of zeros: `two`\n  c takes 1 row as the mean of a and b: `three`\n",
    ):
        assert line in said
    report = plan_json(recipe.plan())["outputs"][0]["vocabulary"]
    assert report["new"] == {"from b": ["four"], "from c": ["five"], "of the recipe": ["new"]}
    assert report["taken"]["b"]["as the mean of a and c"] == ["one"]
    nodes = [each for each in graph_json(recipe.graph())["nodes"] if each.get("op") == "retokenize"]
    assert {each["options"]["alignment"] for each in nodes} == {
        "to 10 tokens, 3 rows from other models"
    }
    recipe.run()
    card = (folder / "out" / "README.md").read_text()
    assert "## Vocabulary" in card and "- c takes 1 row of zeros: `two`\n" in card


def test_a_token_without_a_row_takes_one_from_where_there_is_one(tmp_path):
    """A tokenizer that was given a token for padding, while the embedding was left as it was."""
    made = {"a": write(tmp_path / "a", ["x", "y"], 0), "b": write(tmp_path / "b", ["y", "pad"], 1)}
    write_tokenizer(tmp_path / "a", ["x", "y"], behind=["pad"])
    write_tokenizer(tmp_path / "b", ["y", "pad"], behind=["lost"])
    out = run(tmp_path, 'output "out" = linear(a, b) { tokenizer: union(a, b) }')[EMBED]
    assert len(out) == len(MARKS) + 3  # `lost` has a row nowhere, and is no token of the union
    assert np.array_equal(out[len(MARKS) + 2], made["b"][EMBED][len(MARKS) + 1])
    out = run(tmp_path, 'output "out" = linear(a, b) { tokenizer: from(b) }')[EMBED]
    assert len(out) == len(MARKS) + 3 and not out[len(MARKS) + 2].any()


def test_rows_of_a_head_come_from_the_embedding_of_a_model_that_has_no_head(models):
    from safetensors.numpy import save_file

    folder, made = models
    tied = {name: each for name, each in made["b"].items() if name != HEAD}
    save_file(tied, folder / "b" / "model.safetensors")
    out = run(folder, 'output "out" = linear(a, b, missing: from(a)) { tokenizer: union(a, b) }')
    assert np.array_equal(out[HEAD][:7], made["a"][HEAD])
    assert np.array_equal(out[HEAD][7], row(made, "b", "four"))


@pytest.fixture
def larger(models) -> Path:
    """`d` has more tokens than `a`, and no head but its embedding."""
    from safetensors.numpy import save_file

    folder, _ = models
    made = write(folder / "d", ["one", "two", "three", "four", "five"], 7, tie_word_embeddings=True)
    tied = {name: each for name, each in made.items() if name != HEAD}
    save_file(tied, folder / "d" / "model.safetensors")
    return folder


@pytest.mark.parametrize("merge", ["linear(a, d", "linear(d, a"])
@pytest.mark.parametrize("missing", ["skip", "from(a)"])
@pytest.mark.parametrize("tokenizer", ["union(a, d)", "from(a)"])
def test_tables_are_aligned_in_a_merge_that_also_says_what_to_do_with_a_missing_head(
    larger, merge, missing, tokenizer
):
    """No `mismatch:` is needed, and it would change nothing."""
    option = f"{{ tokenizer: {tokenizer} }}"
    call = f'output "out" = {merge}, missing: {missing}'
    out = run(larger, f"{call}) {option}")
    said = run(larger, f"{call}, mismatch: from(a)) {option}")
    assert len(out[EMBED]) == len(MARKS) + (3 if tokenizer == "from(a)" else 5)
    assert (HEAD in out) is (missing != "skip") and out.keys() == said.keys()
    assert all(np.array_equal(each, said[name]) for name, each in out.items())


def test_tables_of_task_vectors_are_aligned_where_a_head_is_missing_too(larger):
    call = "task_arithmetic(d, base: a, missing: from(a), weight: 1)"
    out = run(larger, f'output "out" = {call} {{ tokenizer: union(a, d) }}')
    expected = load_file(larger / "d" / "model.safetensors")[EMBED]
    assert np.allclose(out[EMBED][len(MARKS) :], expected[len(MARKS) :], atol=1e-6)
    assert len(out[HEAD]) == len(expected)


@pytest.mark.parametrize("call", ["ties(d, base: a", "ties(a, base: d", "dare(d, a, base: a"])
@pytest.mark.parametrize("missing", ["skip", "from(a)"])
def test_what_is_said_of_tables_that_an_output_aligns_changes_nothing(larger, call, missing):
    option = f"missing: {missing}) {{ tokenizer: union(a, d) }}"
    out = run(larger, f'output "out" = {call}, density: 0.5, {option}')
    said = run(larger, f'output "out" = {call}, density: 0.5, mismatch: from(a), {option}')
    assert len(out[EMBED]) == len(MARKS) + 5 and out.keys() == said.keys()
    assert all(np.array_equal(each, said[name]) for name, each in out.items())


@pytest.mark.parametrize("missing", ["skip", "from(a)"])
def test_tables_that_no_output_aligns_are_told_where_a_head_is_missing_too(larger, missing):
    with pytest.raises(RecipeError) as told:
        run(larger, f'output "out" = linear(a, d, missing: {missing})')
    assert [each.code for each in told.value.diagnostics if each.is_error] == ["E2401"]


def test_rows_are_found_in_a_model_that_calls_its_tables_otherwise(models):
    from safetensors.numpy import save_file

    folder, made = models
    inside = {f"language_model.{name}": each for name, each in made["b"].items()}
    save_file(inside, folder / "b" / "model.safetensors")
    out = run(folder, 'output "out" = a { tokenizer: union(a, b) }')
    for name in (EMBED, HEAD):
        assert np.array_equal(out[name][7], row(made, "b", "four", name))


def test_a_base_that_is_not_merged_gives_its_rows_too(models):
    folder, made = models
    out = run(folder, 'output "out" = linear(a, c) { tokenizer: union(a, c, base: b) }')[EMBED]
    four = (row(made, "b", "four") + row(made, "c", "four")) / 2
    assert np.allclose(out[len(MARKS) + 3], four, atol=1e-6)


def test_a_lock_and_a_later_run_know_the_vocabulary_and_the_template(models):
    folder, _ = models
    lines = [f'model {name} = "{name}"' for name in "ab"]
    option = 'tokenizer: union(a, b), chat_template: file("talk.jinja")'
    text = f'output "out" = mean(a, b) {{ {option} }}'
    path = folder / "test.merge"
    path.write_text("\n".join([*lines, text]) + "\n")
    (folder / "talk.jinja").write_text("{{ 1 }}")
    mergelang.load(path).run()
    facts = (folder / "test.merge.lock").read_text()
    assert "node out" not in facts and len(facts) < 3000
    assert "\noutput out = mean(retokenize(a, b), retokenize(b, a))\n" in facts
    assert "alignment = to 8 tokens, 1 row from other models\n" in facts
    (folder / "talk.jinja").write_text("{{ 2 }}")
    again = mergelang.load(path)
    again.run()
    assert (folder / "out" / "chat_template.jinja").read_text() == "{{ 2 }}"
    assert facts != (folder / "test.merge.lock").read_text()


def bart(folder: Path, words, seed: int) -> dict:
    """A tiny BART with random biases for its tokens, which lie along the last axis: [1, tokens]."""
    torch.manual_seed(seed)
    small = {
        f"{side}_{name}": size for side in ("encoder", "decoder")
        for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 8))
    }  # fmt: skip
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(
        vocab_size=len(MARKS) + len(words), d_model=HIDDEN, max_position_embeddings=16, **small
    ))  # fmt: skip
    model.final_logits_bias.normal_()
    model.save_pretrained(folder)
    write_tokenizer(folder, words)
    return load_file(folder / "model.safetensors")


def test_biases_along_the_last_axis_are_aligned_as_the_rows_are(tmp_path):
    made = {name: bart(tmp_path / name, WORDS[name], seed) for seed, name in enumerate("ab")}
    name = "final_logits_bias"
    with pytest.raises(RecipeError, match="E2401"):
        run(tmp_path, 'output "out" = linear(a, b)')
    out = run(tmp_path, 'output "out" = linear(a, b) { tokenizer: union(a, b), pad_vocab: 11 }')
    a, b = (made[each][name][0] for each in "ab")
    marks = len(MARKS)
    mine = np.concatenate([a, b[marks + 2 :]])
    other = np.concatenate([b[:marks], a[marks : marks + 1], b[[marks + 1, marks, marks + 2]]])
    assert out[name].shape == (1, 11)
    assert np.allclose(out[name][0][: marks + 4], (mine + other) / 2, atol=1e-6)
    mean = (mine.mean(dtype=np.float64) + other.mean(dtype=np.float64)) / 2
    assert np.allclose(out[name][0][marks + 4 :], mean, atol=1e-6)
    _, told = transformers.BartForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(told.values())
    kept = run(tmp_path, 'output "out" = b { tokenizer: union(b) }')
    assert np.array_equal(kept[name], made["b"][name])


def test_an_unknown_tensor_with_a_column_for_each_token_is_not_passed_over():
    types = {EMBED: TensorType("F32", (9, 6)), "odd.weight": TensorType("F32", (6, 9)),
             "model.layers.0.mlp.weight": TensorType("F32", (6, 9))}  # fmt: skip
    inventory = Inventory(types, Layering("model.layers.", 1))
    assert vocabulary_of(inventory, {}, None, "x").unknown == ("odd.weight",)
