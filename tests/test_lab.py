"""The lab: its tasks, tokens, training and scoring, without training anything for long."""

from __future__ import annotations

import random
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import mergelang
from examples.lab import mixture
from examples.lab import train as lab
from examples.lab.demo import table
from examples.lab.merges import METHODS, RECIPE, SWEEP, recipe_of
from examples.lab.score import score
from examples.lab.targets import mean, targets
from examples.lab.tasks import TASKS, Item, base_item, check_trainable, held_out_items, is_held_out
from examples.lab.tokens import UNKNOWN, tokenizer


def training_items(count: int) -> list[Item]:
    rng = random.Random(5)
    draws = [base_item, *(lambda rng, task=task: task.item(rng, False) for task in TASKS)]
    return [draw(rng) for _ in range(count) for draw in draws]


@pytest.fixture
def brief(monkeypatch):
    short = lab.Schedule(steps=2, items=4, rate=1e-3, warmup=1)
    monkeypatch.setattr(lab, "BASE", short)
    monkeypatch.setattr(lab, "SPECIALIST", short)


def test_no_training_prompt_holds_held_out_material():
    for item in training_items(2000):
        check_trainable(item)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_held_out_item_would_be_refused_in_training(task):
    items = held_out_items(task, 300)
    assert len(set(items)) == 300
    for item in items:
        with pytest.raises(ValueError, match="held-out material in a training prompt"):
            check_trainable(item)


def test_a_pair_is_held_out_in_both_orders_and_a_word_from_both_ends():
    pairs = [(str(a), str(b)) for a in range(10, 60) for b in range(10, 40)]
    assert all(is_held_out(a, b) is is_held_out(b, a) for a, b in pairs)
    words = [item.answer for item in held_out_items(TASKS[1], 50)]
    assert all(is_held_out(word) and is_held_out(word[::-1]) for word in words)


def test_the_base_is_never_asked_either_task():
    prompts = " ".join(base_item(random.Random(i)).prompt for i in range(2000))
    assert "together" not in prompts and "backwards" not in prompts


def test_the_answers_are_right():
    for item in held_out_items(TASKS[0], 50):
        numbers = [int(word.strip(".")) for word in item.prompt.split() if word[0].isdigit()]
        assert int(item.answer) == sum(numbers)
    for item in held_out_items(TASKS[1], 50):
        assert item.answer[::-1] in item.prompt


def test_text_comes_back_from_tokens_as_it_went_in():
    encoder = tokenizer()
    for item in training_items(500):
        numbers = encoder(item.prompt + item.answer)["input_ids"]
        assert UNKNOWN not in numbers
        assert encoder.decode(numbers, skip_special_tokens=True) == item.prompt + item.answer


def test_a_made_lab_loads_scores_and_is_not_made_again(brief, tmp_path):
    folder = lab.make(0, tmp_path / "seed0")
    assert {path.name for path in folder.iterdir()} == {"base", "math", "text", "lab.json"}
    model = AutoModelForCausalLM.from_pretrained(folder / "math")
    assert model.config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(folder / "math")("Q: 34+58? A: ")["input_ids"][0] == 1
    assert set(score(folder / "text", count=8)) == {"math", "text"}
    before = (folder / "base" / "model.safetensors").stat().st_mtime_ns
    lab.make(0, folder)
    assert (folder / "base" / "model.safetensors").stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_models_and_another_seed_others(brief, tmp_path):
    one, two, other = (lab.make(s, tmp_path / n) for s, n in ((0, "a"), (0, "b"), (1, "c")))
    weights = [(folder / "text" / "model.safetensors").read_bytes() for folder in (one, two, other)]
    assert weights[0] == weights[1] != weights[2]


def test_specialists_differ_from_their_base_and_from_each_other(brief, tmp_path):
    folder = lab.make(0, tmp_path / "seed0")
    models = [AutoModelForCausalLM.from_pretrained(folder / n) for n in ("base", "math", "text")]
    base, math, text = (model.lm_head.weight for model in models)
    assert not torch.equal(base, math) and not torch.equal(math, text)


def test_an_interrupted_training_is_not_taken_for_a_finished_one(brief, tmp_path, monkeypatch):
    def stop(model, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        lab.make(0, tmp_path / "seed0")
    assert not lab.is_made(0, tmp_path / "seed0")
    assert not (tmp_path / "seed0").exists()
    monkeypatch.undo()


def test_a_lab_made_by_other_code_is_made_again(brief, tmp_path):
    folder = lab.make(0, tmp_path / "seed0")
    (folder / "lab.json").write_text('{"seed": 0, "code": "old"}')
    assert not lab.is_made(0, folder)
    lab.make(0, folder)
    assert lab.is_made(0, folder)


def test_every_row_of_the_table_is_an_output_of_the_recipe_and_the_other_way_round():
    lines = RECIPE.read_text().splitlines()
    outputs = {line.split(chr(34))[1] for line in lines if line.startswith("output")}
    assert outputs == {f"out/{name}" for name in (*METHODS.values(), *SWEEP.values())}


def test_the_recipe_of_another_seed_names_that_seeds_models(tmp_path, monkeypatch):
    copy = recipe_of(7)
    text = copy.read_text()
    assert "seed0" not in text
    for name in ("base", "math", "text"):
        assert f'"../../lab/models/seed7/{name}"' in text
    assert (copy.parent / "../../lab").resolve() == lab.HERE


def test_the_mixture_of_the_lab_is_made_and_its_router_measured(brief, tmp_path, monkeypatch):
    """With models that have learnt nothing; what trained ones do is for eyes."""
    folder = lab.make(0, tmp_path / "lab" / "models" / "seed0")
    recipe = tmp_path / "beyonder.merge"
    recipe.write_text(mixture.RECIPE.read_text())
    mergelang.load(recipe).run()
    by_task = mixture.shares(tmp_path / "out" / "beyonder", count=3)
    for task in TASKS:
        assert len(by_task[task.name]) == len(mixture.EXPERTS)
        assert sum(by_task[task.name]) == pytest.approx(1)
        assert max(by_task[task.name]) <= 1 - 1 / 1000  # two of four work on each token
    monkeypatch.setattr(mixture, "PARTS", tmp_path / "out" / "beyonder-parts.merge")
    monkeypatch.setattr(mixture, "MODELS", tmp_path / "lab" / "models")
    mergelang.load(mixture.write_parts()).run()
    folders = mixture.alone()
    assert list(folders) == [*mixture.EXPERTS, "common"] and folders["math"] == folder / "math"
    right = {name: score(each, count=2) for name, each in folders.items()}
    drawn = mixture.table(right | {"mixture": {"math": 0.5, "text": 0.25}}, by_task)
    assert drawn.row_count == len(mixture.EXPERTS) + 2


def test_no_prompt_of_the_mixture_is_held_out_material():
    for prompt in re.findall(r'"(Q: .*?)"', mixture.RECIPE.read_text()):
        check_trainable(Item(prompt, ""))


def scores(base: float, own: float, other: float, merged: float) -> dict:
    rows = {"base": {"math": base, "text": base}, "math": {"math": own, "text": other},
            "text": {"math": other, "text": own}}
    return rows | {label: {"math": merged, "text": merged} for label in (*METHODS, *SWEEP)}


def test_targets_are_met_or_missed_by_their_own_figures():
    assert [t.met for t in targets(scores(0.0, 1.0, 0.0, 0.9))] == [True] * 4
    assert [t.met for t in targets(scores(0.2, 1.0, 0.0, 0.9))] == [False, True, True, True]
    assert [t.met for t in targets(scores(0.0, 0.8, 0.0, 0.9))] == [True, False, True, True]
    assert [t.met for t in targets(scores(0.0, 1.0, 0.4, 0.9))] == [True, True, False, True]
    assert [t.met for t in targets(scores(0.0, 1.0, 0.0, 0.7))] == [True, True, True, False]


def test_means_are_taken_row_by_row():
    both = mean([scores(0.0, 1.0, 0.0, 0.8), scores(0.1, 0.9, 0.2, 0.6)])
    assert both["base"]["math"] == pytest.approx(0.05)
    assert both["plain mean"]["text"] == pytest.approx(0.7)
    assert table(both).row_count == 3 + len(METHODS) + len(SWEEP)
