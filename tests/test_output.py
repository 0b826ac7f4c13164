"""The folder of an output: weights, index, config, files of the donor, model card."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

import mergelang
from mergelang.errors import InputError
from tests.checkpoints import (
    llama_config,
    llama_shapes,
    write_adapter,
    write_model,
    write_tensors,
)
from tests.interpret import read_tensors

TOKENIZER = {"a": b'{"version": "a"}', "b": b'{"version": "b"}'}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two small Llamas with configs, tokenizers and other files of their own."""
    for seed, name in enumerate("ab"):
        model = write_model(tmp_path / name, seed=seed)
        config = llama_config() | {"marker": name, "layer_types": ["one", "two", "three", "four"]}
        (model / "config.json").write_text(json.dumps(config))
        (model / "tokenizer.json").write_bytes(TOKENIZER[name])
        (model / "generation_config.json").write_text(json.dumps({"max_length": len(name)}))
        (model / "chat_template.jinja").write_text(f"template of {name}")
        (model / "notes.txt").write_text("not part of a model")
    return tmp_path


def run(folder: Path, expression: str, options: str = "") -> Path:
    path = folder / "test.merge"
    path.write_text(
        'model a = "a"\nmodel b = "b"\nlet soup = mean(a, b)\n'
        f'output "out" = {expression} {options}\n'
    )
    mergelang.load(path).run()
    return folder / "out"


def config(out: Path) -> dict:
    return json.loads((out / "config.json").read_text())


def test_one_file_of_weights_in_the_order_and_dtypes_of_the_donor(folder):
    out = run(folder, "soup")
    with safe_open(out / "model.safetensors", framework="pt") as opened:
        assert opened.metadata()["format"] == "pt"
        assert set(opened.keys()) == set(read_tensors(folder / "a"))
        assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {"BF16"}  # noqa: SIM118
    assert not (out / "model.safetensors.index.json").exists()


def test_shards_hold_what_the_index_says_and_keep_to_their_size(folder):
    whole = read_tensors(run(folder, "soup"))
    out = run(folder, "soup", "{ shards: 0.002MB }")
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in whole.values())
    files = sorted(each.name for each in out.glob("*.safetensors"))
    assert len(files) > 2 and set(index["weight_map"].values()) == set(files)
    for file in files:
        tensors = read_tensors(out / file)
        assert sum(x.nbytes for x in tensors.values()) <= 2000
        for name, tensor in tensors.items():
            assert index["weight_map"][name] == file
            assert torch.equal(tensor, whole[name])


@pytest.mark.parametrize(
    ("dtype", "name", "kind"),
    [("bf16", "bfloat16", torch.bfloat16), ("f16", "float16", torch.float16),
     ("f32", "float32", torch.float32), ("f64", "float64", torch.float64)],
)  # fmt: skip
def test_a_dtype_is_that_of_every_tensor_and_of_the_config(folder, dtype, name, kind):
    out = run(folder, "soup", f"{{ dtype: {dtype} }}")
    assert {tensor.dtype for tensor in read_tensors(out).values()} == {kind}
    assert config(out)["torch_dtype"] == name


@pytest.mark.parametrize(
    ("expression", "donor"),
    [("soup", "a"), ("mean(b, a)", "b"), ("ties(a, base: b)", "b"), ("b + 0.1 * (a - b)", "b"),
     ("0.1 * (b - a) + a", "a"), ("linear(a, b, config: from(b))", "b"),
     ("match { @norm => b, _ => a }", "b"), ("stack(b[..2], a[2..])", "b")],
)  # fmt: skip
def test_config_and_files_come_from_the_donor(folder, expression, donor):
    out = run(folder, expression)
    assert config(out)["marker"] == donor
    assert (out / "tokenizer.json").read_bytes() == TOKENIZER[donor]
    assert (out / "chat_template.jinja").read_text() == f"template of {donor}"
    assert (out / "generation_config.json").exists()
    assert not (out / "notes.txt").exists()


@pytest.fixture
def tables(tmp_path) -> Path:
    """Models whose tables of tokens differ: `u` has a head, `w` has more rows, the head of `t` is
    its embedding, and so is that of `c` and of `d`, which have stored it; `p` and `q` have rows of
    which their configs say nothing. The adapter `adh` changes the head, `ad` does not."""
    kinds = {
        "u": {}, "w": {"vocabulary": 40}, "p": {"vocab_size": 30},
        "q": {"vocabulary": 40, "vocab_size": 30}, "c": {"tie_word_embeddings": True},
        "d": {"tie_word_embeddings": True},
        "t": {"lack": ["lm_head.weight"], "tie_word_embeddings": True},
    }  # fmt: skip
    for seed, (name, facts) in enumerate(kinds.items()):
        write_model(tmp_path / name, seed=seed, **facts)
    write_adapter(tmp_path / "ad")
    write_adapter(tmp_path / "adh", modules=("q_proj", "lm_head"))
    return tmp_path


@pytest.mark.parametrize(
    ("expression", "rows", "said", "tied", "head"),
    [
        ("mean(u, w, mismatch: from(w))", 40, 40, False, True),
        ("mean(w, u, mismatch: from(u))", 32, 32, False, True),
        ("ties(w, base: u, mismatch: from(w))", 40, 40, False, True),
        ("mean(u, w, mismatch: from(w))[..2]", 40, 40, False, True),
        ("match { @attn => u, _ => w }", 40, 40, False, True),
        ("mean(p, q, mismatch: from(q))", 40, 30, False, True),
        ("mean(p, p)", 32, 30, False, True),
        ("mean(u, t, missing: skip)", 32, 32, True, False),
        ("mean(t, u, missing: skip)", 32, 32, True, False),
        ("mean(u, t, missing: from(u))", 32, 32, False, True),
        ("mean(t, u, missing: from(u))", 32, 32, False, True),
        ("mean(u, u, config: from(t))", 32, 32, False, True),
        ("match { @attn => t, _ => u }", 32, 32, False, True),
        ("stack(t[..2], u[2..])", 32, 32, False, True),
        ("stack(u[..2], t[2..])", 32, 32, True, False),
        ("mean(t, c, missing: from(c))", 32, 32, True, True),
        ("mean(mean(u, t, missing: skip), t)", 32, 32, True, False),
        ("stack(t[..1], c[1..2], u[2..])", 32, 32, False, True),
        ("stack(c[..2], u[2..])", 32, 32, False, True),
        ("stack(u[..2], c[2..])", 32, 32, False, True),
        ("stack(c[..2], d[2..])", 32, 32, True, True),
        ("match { layers 0..1 => c, @head => u, _ => t }", 32, 32, False, True),
        ("match { layers 0..1 => c, @head => d, _ => t }", 32, 32, True, True),
        ("match { layers 0..1 => c, @embed => u, _ => d }", 32, 32, False, True),
        ("mean(c, u)", 32, 32, False, True),
        ("mean(u, c)", 32, 32, False, True),
        ("mean(c, d)", 32, 32, True, True),
        ("mean(c, d, missing: from(u))", 32, 32, True, True),
        ("mean(t, c, missing: from(u))", 32, 32, False, True),
        ("mean(c, w, mismatch: from(w))", 40, 40, False, True),
        ("mean(c, w, mismatch: from(c))", 32, 32, True, True),
        ("slerp(c, u, t: 0.5)", 32, 32, False, True),
        ("ties(u, base: c)", 32, 32, False, True),
        ("ties(t, base: c, missing: from(u))", 32, 32, False, True),
        ("c + 0.5 * (u - c)", 32, 32, False, True),
        ("c + 0.5 * (d - c)", 32, 32, True, True),
        ('c + lora("ad")', 32, 32, True, True),
        ('c + lora("adh")', 32, 32, False, True),
    ],
)
def test_the_config_says_what_the_tables_of_tokens_are(
    tables, expression, rows, said, tied, head
):
    """The number of their rows, where that was so of its donor; and whether the head is one."""
    names = "".join(f'model {name} = "{name}"\n' for name in "uwpqcdt")
    (tables / "x.merge").write_text(f'{names}output "out" = {expression}\n')
    plan = mergelang.load(tables / "x.merge").plan()
    shapes = {task.name: task.type.shape for task in plan.outputs[0].tasks}
    assert shapes["model.embed_tokens.weight"] == (rows, 8)
    assert shapes.get("lm_head.weight") == ((rows, 8) if head else None)
    found = json.loads(plan.outputs[0].documents["config.json"])
    assert (found["vocab_size"], found["tie_word_embeddings"]) == (said, tied)


@pytest.mark.parametrize(
    ("expression", "kinds"),
    [
        ("match { layers ..2 => a[..2], _ => b }", "aabb"),
        ("match { mlp & layers ..2 => a[..2], _ => b }", "aabb"),
        ("match { layers ..3 & mlp => b[..3], _ => a }", "bbba"),
        ("match { layers 2.. => b, _ => a[..2] }", "bbbb"),
        ("mean(a[..2], b, missing: from(b))", "aabb"),
        ("mean(a[..3], b, missing: from(b), config: from(b))", "bbbb"),
        ("mean(a, b[..2], missing: skip)", "aa"),
        ("ties(a, b[..2], base: a, missing: skip)", "aa"),
        ("mean(a, b[..2], missing: skip)[..1]", "a"),
        ("stack(mean(a, b[..2], missing: skip), b[3..])", "aab"),
    ],
)
def test_the_config_says_how_many_layers_a_match_or_missing_leaves(tmp_path, expression, kinds):
    """And what it lists of each is that of the model which has it."""
    for name in "ab":
        write_model(tmp_path / name, layer_types=[name] * 4, no_rope_layers=[0, 3])
    text = f'model a = "a"\nmodel b = "b"\noutput "out" = {expression}\n'
    (tmp_path / "x.merge").write_text(text)
    plan = mergelang.load(tmp_path / "x.merge").plan().outputs[0]
    layers = {int(each.name.split(".")[2]) for each in plan.tasks if ".layers." in each.name}
    found = json.loads(plan.documents["config.json"])
    assert layers == set(range(len(kinds)))
    assert found["num_hidden_layers"] == len(kinds)
    assert found["layer_types"] == list(kinds)
    last = [3] if len(kinds) == 4 else [2] if "stack" in expression else []
    assert found["no_rope_layers"] == [0, *last]


def test_a_list_that_the_model_of_new_layers_lacks_is_told(tmp_path):
    write_model(tmp_path / "a", layer_types=["a"] * 4)
    write_model(tmp_path / "b")
    text = 'model a = "a"\nmodel b = "b"\noutput "out" = mean(a[..2], b, missing: from(b))\n'
    (tmp_path / "x.merge").write_text(text)
    with pytest.raises(InputError) as told:
        mergelang.load(tmp_path / "x.merge").plan()
    assert str(told.value) == """\
error[E0801]: the config of the result cannot be made: mean needs layer_types in config.json
help: take the config from a model that has it: `config: from(x)`"""


def test_nested_configs_say_it_too(tmp_path):
    for name, tied in (("u", False), ("t", True)):
        shapes = {f"language_model.{each}": shape for each, shape in llama_shapes().items()}
        if tied:
            del shapes["language_model.lm_head.weight"]
        path = write_model(tmp_path / name)
        write_tensors(path / "model.safetensors", shapes, dict.fromkeys(shapes, "BF16"))
        text = llama_config() | {"tie_word_embeddings": tied}
        facts = {"text_config": text, "vision_config": {"depth": 1}, "tie_word_embeddings": tied}
        (path / "config.json").write_text(json.dumps(facts))
    (tmp_path / "x.merge").write_text(
        'model u = "u"\nmodel t = "t"\noutput "out" = mean(u, t, missing: skip)\n'
    )
    plan = mergelang.load(tmp_path / "x.merge").plan()
    found = json.loads(plan.outputs[0].documents["config.json"])
    assert found["tie_word_embeddings"] and found["text_config"]["tie_word_embeddings"]
    assert found["vision_config"] == {"depth": 1}


def test_that_the_head_is_the_embedding_may_be_said_in_a_nested_config_alone(tmp_path):
    for name, tied in (("c", True), ("d", True), ("u", False)):
        path = write_model(tmp_path / name)
        shapes = {f"language_model.{each}": shape for each, shape in llama_shapes().items()}
        write_tensors(path / "model.safetensors", shapes, dict.fromkeys(shapes, "BF16"))
        text = llama_config() | {"tie_word_embeddings": tied}
        (path / "config.json").write_text(json.dumps({"text_config": text}))
    names = "".join(f'model {name} = "{name}"\n' for name in "cdu")
    (tmp_path / "x.merge").write_text(
        f'{names}output "alike" = mean(c, d)\noutput "own" = mean(c, u)\n'
    )
    plan = mergelang.load(tmp_path / "x.merge").plan()
    alike, own = (json.loads(each.documents["config.json"]) for each in plan.outputs)
    assert alike["text_config"]["tie_word_embeddings"] and "tie_word_embeddings" not in alike
    assert not own["text_config"]["tie_word_embeddings"] and not own["tie_word_embeddings"]


@pytest.mark.parametrize(
    ("expression", "layers", "kinds"),
    [
        ("a[1..3]", 2, ["two", "three"]),
        ("stack(a, a[2..])", 6, ["one", "two", "three", "four", "three", "four"]),
        ("stack(a[..3], b[1..2], a)", 8,
         ["one", "two", "three", "two", "one", "two", "three", "four"]),
        ("stack(soup[1..3], stack(a[3..], b[..1]))", 4, ["two", "three", "four", "one"]),
    ],
)  # fmt: skip
def test_a_stack_has_its_layers_in_the_config(folder, expression, layers, kinds):
    out = run(folder, expression)
    assert config(out)["num_hidden_layers"] == layers
    assert config(out)["layer_types"] == kinds
    found = {int(n.split(".")[2]) for n in read_tensors(out) if n.startswith("model.layers.")}
    assert found == set(range(layers))


def test_the_model_card_names_parents_recipe_and_graph(folder):
    out = run(folder, "b + 0.2 * (soup - b)")
    text = (out / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["tags"] == ["merge", "mergelang"]
    assert facts["library_name"] == "transformers"
    assert "base_model" not in facts  # folders are no repositories
    recipe = re.search(r"```merge\n(.*?)```", body, re.DOTALL)[1]
    assert mergelang.load(recipe).check(sources=False)
    assert 'output "out" = b + 0.2 * (soup - b)' in recipe
    assert re.search(r"```mermaid\nflowchart", body)
    assert body.index("- `b`") < body.index("- `a`")


def test_the_record_lists_every_file_with_its_size(folder):
    out = run(folder, "soup")
    record = json.loads((out / "mergelang.json").read_text())
    sizes = {p.name: p.stat().st_size for p in out.iterdir() if p.name != "mergelang.json"}
    assert {name: each["size"] for name, each in record["files"].items()} == sizes
    assert record["tensors"].keys() == read_tensors(folder / "a").keys()


def test_the_same_run_gives_the_same_folder(folder):
    first = {each.name: each.read_bytes() for each in run(folder, "soup").iterdir()}
    shutil.rmtree(folder / "out")
    assert {each.name: each.read_bytes() for each in run(folder, "soup").iterdir()} == first


def test_a_stack_on_a_model_without_the_lists_of_the_donor_is_told(folder):
    (folder / "b" / "config.json").write_text(json.dumps(llama_config()))
    with pytest.raises(InputError, match=r"stack needs layer_types in config\.json"):
        run(folder, "stack(a[..2], b[2..])")


def test_modules_behind_a_model_come_along_in_their_folders(folder):
    """What sentence-transformers writes: a list of modules, each with a folder of its own."""
    files = {
        "modules.json": '[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, '
        '{"path": "3_Normalize"}, {"path": "../a"}]',
        "sentence_bert_config.json": '{"max_seq_length": 8}',
        "config_sentence_transformers.json": "{}",
        "preprocessor_config.json": "{}",
        "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
        "2_Dense/config.json": '{"in_features": 8}',
        "2_Dense/model.safetensors": "weights",
    }
    for name, text in files.items():
        (folder / "b" / name).parent.mkdir(exist_ok=True)
        (folder / "b" / name).write_text(text)
    (folder / "b" / "other").mkdir()
    (folder / "b" / "other" / "notes.txt").write_text("not of the model")
    out = run(folder, "b + 0.5 * (a - b)")
    for name, text in files.items():
        assert (out / name).read_text() == text
    assert not (out / "other").exists()
    record = json.loads((out / "mergelang.json").read_text())
    assert files.keys() <= record["files"].keys()
    assert run(folder, "b + 0.5 * (a - b)") == out  # a folder of ours is replaced
