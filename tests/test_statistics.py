"""Statistics of data, and the means that they weigh: against numpy and against autograd itself."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import mergelang
from mergelang.cli.app import main
from mergelang.errors import InputError, RecipeError, RunError
from mergelang.stats import collect
from tests.checkpoints import write_arrays

SHAPES = {
    "layers.0.w": (5, 8), "layers.0.bias": (5,), "layers.1.w": (6, 6), "scalar": (),
    "empty": (0, 3),
}  # fmt: skip


@pytest.fixture
def models(tmp_path) -> Path:
    """Two models, `a` and `b`, with the statistics of each beside it."""
    rng = np.random.default_rng(4)
    for name in "ab":
        tensors = {key: rng.standard_normal(shape) for key, shape in SHAPES.items()}
        write_arrays(tmp_path / name, {key: (x, "F32") for key, x in tensors.items()})
        scores = {key: torch.rand(shape) ** 4 for key, shape in SHAPES.items()}
        save_file(scores, tmp_path / f"{name}.fisher.safetensors")
        inputs = {key: torch.randn(40, SHAPES[key][1]) for key in ("layers.0.w", "layers.1.w")}
        grams = {key: x.T @ x for key, x in inputs.items()}
        save_file(grams, tmp_path / f"{name}.gram.safetensors")
    return tmp_path


def merged(folder: Path, expression: str) -> dict[str, np.ndarray]:
    text = f'model a = "a"\nmodel b = "b"\noutput "out" = {expression}\n'
    (folder / "test.merge").write_text(text)
    mergelang.load(folder / "test.merge").run()
    return {k: v.double().numpy() for k, v in load_file(folder / "out/model.safetensors").items()}


def read(folder: Path, kind: str = "") -> list[dict[str, np.ndarray]]:
    form = f"{{}}.{kind}.safetensors" if kind else "{}/model.safetensors"
    paths = [folder / form.format(name) for name in "ab"]
    return [{k: v.double().numpy() for k, v in load_file(path).items()} for path in paths]


FISHER = (
    'fisher(a { stats: "a.fisher.safetensors", weight: 0.3 }, b { stats: "b.fisher.safetensors" }'
)
REGMEAN = 'regmean(a { stats: "a.gram.safetensors" }, b { stats: "b.gram.safetensors", weight: 2 }'


@pytest.mark.parametrize("normalize", [False, True])
def test_fisher_weighs_each_element_by_its_information(models, normalize):
    got = merged(models, f"{FISHER}, normalize: {str(normalize).lower()}, epsilon: 0.001)")
    (a, b), scores = read(models), read(models, "fisher")
    for name in SHAPES:
        f, g = (each[name] / (np.linalg.norm(each[name]) if normalize else 1) for each in scores)
        f, g = 0.3 * np.maximum(f, 0.001), np.maximum(g, 0.001)
        truth = (f * a[name] + g * b[name]) / (f + g)
        np.testing.assert_allclose(got[name], truth, rtol=1e-5, atol=1e-6)


def test_regmean_solves_the_least_squares_problem_of_each_linear_layer(models):
    got = merged(models, f"{REGMEAN}, reduce: 0.7)")
    (a, b), grams = read(models), read(models, "gram")
    for name in SHAPES:
        if name in grams[0]:
            g, h = (0.7 * x[name] + 0.3 * np.diag(np.diag(x[name])) for x in grams)
            truth = np.linalg.solve(g + 2 * h, g @ a[name].T + 2 * h @ b[name].T).T
        else:
            truth = (a[name] + 2 * b[name]) / 3
        np.testing.assert_allclose(got[name], truth, rtol=1e-4, atol=1e-5)


def test_equal_models_give_that_model_whatever_the_statistics(models):
    text = 'fisher(a { stats: "a.fisher.safetensors" }, a { stats: "b.fisher.safetensors" })'
    got, (a, _) = merged(models, text), read(models)
    assert all(np.array_equal(got[name], a[name]) for name in SHAPES)


@pytest.mark.parametrize(("kind", "expression"), [("fisher", FISHER), ("gram", REGMEAN)])
def test_statistics_that_are_not_finite_stop_the_run_with_their_file(models, kind, expression):
    path = models / f"b.{kind}.safetensors"
    tensors = load_file(path)
    tensors["layers.1.w"][3, 4] = float("inf")
    save_file(tensors, path)
    said = rf"tensor layers.1.w of .*b.{kind}.safetensors holds inf at element 22"
    with pytest.raises(RunError, match=said):
        merged(models, expression + ")")
    assert not (models / "out").exists()


def test_statistics_of_another_kind_or_model_are_refused_at_their_input(models):
    with pytest.raises(RecipeError) as caught:
        merged(models, FISHER.replace("b.fisher", "b.gram") + ")")
    assert "does not hold the fisher statistics of `b`" in str(caught.value)
    assert "test.merge:3:" in str(caught.value)
    with pytest.raises(RecipeError, match="there is no model at"):
        merged(models, FISHER.replace("b.fisher", "c.fisher") + ")")


@pytest.mark.parametrize("call", [FISHER, REGMEAN])
def test_weights_that_sum_to_zero_are_refused_before_anything_is_read(models, call):
    weightless = re.sub(r", weight: [\d.]+", "", call)
    with pytest.raises(RecipeError, match=r"E0415.*\n --> .*test.merge:3:16"):
        merged(models, f"{weightless}, weight: 0)")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A very small Llama with a tokenizer of letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("lab")
    letters = {letter: i for i, letter in enumerate("abcdefgh ")}
    tokenizer = Tokenizer(models.WordLevel(letters | {"?": 9}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=10, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_fisher_statistics_are_mean_squared_gradients_of_the_log_likelihood(lab, tmp_path):
    from transformers import AutoModelForCausalLM

    rows = [{"text": "abcd"}, {"prompt": "ab", "completion": "hg"}]
    data, out = tmp_path / "data.jsonl", tmp_path / "f.safetensors"
    data.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert collect(lab, data, "fisher", out) == 2
    found = load_file(out)
    network = AutoModelForCausalLM.from_pretrained(lab, dtype=torch.float32)
    parameters = dict(network.named_parameters())
    squares = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for tokens, learnt in (([0, 1, 2, 3], 1), ([0, 1, 7, 6], 2)):
        logits = network(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
        likelihood = sum(logits[i - 1, tokens[i]] for i in range(learnt, 4))
        for each, gradient in zip(parameters, torch.autograd.grad(likelihood, parameters.values()),
                                  strict=True):  # fmt: skip
            squares[each] += gradient**2 / 2
    assert found.keys() == squares.keys()
    for name, truth in squares.items():
        torch.testing.assert_close(found[name], truth, rtol=1e-4, atol=1e-7)


def test_gram_statistics_are_mean_products_of_inputs_and_serve_regmean(lab, tmp_path):
    data, out = tmp_path / "data.txt", tmp_path / "g.safetensors"
    data.write_text("abc\nhgfedcba\n")
    collect(lab, data, "gram", out, length=4)
    found = load_file(out)
    from transformers import AutoModelForCausalLM

    network, seen = AutoModelForCausalLM.from_pretrained(lab, dtype=torch.float32), []
    network.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    for tokens in ([0, 1, 2], [7, 6, 5, 4]):
        network(input_ids=torch.tensor([tokens]))
    x = torch.cat([each[0] for each in seen])
    truth = x.T @ x / 7
    gram = found["model.layers.1.mlp.down_proj.weight"]
    torch.testing.assert_close(gram, truth, rtol=1e-4, atol=1e-7)
    with safe_open(out, "pt") as file:
        assert file.metadata()["mergelang.stats"] == "gram"
    one = f'a {{ stats: "{out}" }}'
    mergelang.load(f'model a = "{lab}"\noutput "{tmp_path}/o" = regmean({one}, {one})\n').run()
    before, after = (load_file(path / "model.safetensors") for path in (lab, tmp_path / "o"))
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=1e-4, atol=1e-5)


def test_the_command_says_what_it_wrote(lab, tmp_path, capsys):
    (tmp_path / "data.txt").write_text("abc\nhgf\nab\n")
    out = tmp_path / "f.safetensors"
    words = ["stats", str(lab), "--data", str(tmp_path / "data.txt"), "--kind", "fisher"]
    assert main([*words, "-o", str(out), "--limit", "2"]) == 0
    assert capsys.readouterr().out == f"{out}: fisher statistics of {lab} on 2 texts\n"
    with safe_open(out, "pt") as file:
        assert file.metadata()["texts"] == "2"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("empty.txt", "\n\n", "E1031"), ("short.txt", "a\n", "E1031"), ("no.jsonl", "{\n", "E1034"),
        ("other.jsonl", '{"texts": "a"}\n', "E1034"), ("wrong.jsonl", '{"text": 3}\n', "E1034"),
    ],
)  # fmt: skip
def test_data_that_hold_no_texts_are_refused(lab, tmp_path, name, text, code):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        collect(lab, tmp_path / name, "gram", tmp_path / "out.safetensors")
    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("out", "help"),
    [
        ("nowhere/x.safetensors", "there is no folder .*nowhere: make it first"),
        ("x.bin", r"-o .*x\.bin\.safetensors"),
    ],
)
def test_where_statistics_cannot_go_is_told_before_the_model_is_run(tmp_path, out, help):
    with pytest.raises(InputError, match=help) as caught:
        collect(tmp_path / "no-model", tmp_path / "no-data.txt", "gram", tmp_path / out)
    assert caught.value.code == "E1035"


def test_a_folder_that_transformers_cannot_open_is_told(tmp_path):
    (tmp_path / "data.txt").write_text("abc\n")
    (tmp_path / "m").mkdir()
    with pytest.raises(InputError, match="transformers cannot open"):
        collect(tmp_path / "m", tmp_path / "data.txt", "gram", tmp_path / "out.safetensors")
