"""Derivation keys: what changes them, and what does not."""

from dataclasses import replace
from pathlib import Path

import pytest

import mergelang
from mergelang.ops import registry
from mergelang.ops.registry import operators
from mergelang.plan.cost import order
from mergelang.plan.keys import derivation, model_key, value_key
from tests.checkpoints import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for seed, name in enumerate("abc"):
        write_model(folder / name, seed=seed, layers=2)
    return folder


HEAD = 'model a = "a"\nmodel b = "b"\nmodel c = "c"\n'


def planned(folder: Path, text: str):
    (folder / "x.merge").write_text(text)
    return mergelang.load(folder / "x.merge").plan()


def derivations(folder: Path, expression: str, options: str = "", head: str = HEAD, digests=None):
    """The derivation of each tensor of a recipe; every file has its name as its digest."""
    plan = planned(folder, f'{head}output "out" = {expression} {options}\n')
    (output,) = plan.outputs
    names = {str(f): f.parent.name for c in plan.checkpoints.values() for f in c.files}
    names |= {str(folder / n / "model.safetensors"): d for n, d in (digests or {}).items()}
    names = {path: digest for path, digest in names.items() if digest}
    return {
        task.name: derivation(task, names) for task in output.tasks
    }


def keys(*arguments, **options):
    return {name: each.key for name, each in derivations(*arguments, **options).items()}


def changed(first: dict, second: dict) -> set[str]:
    return {name for name in first if first[name] != second[name]}


MATCH = "match {{ @attn => slerp(a, b, t: {t}), _ => linear(a, b) }}"


def test_a_recipe_written_otherwise_has_the_same_keys(folder):
    renamed = 'seed 0\nmodel one = "./a" # first\nmodel two = "b"\nlet soup = linear(\n one, two)\n'
    assert keys(folder, "linear(a, b)") == keys(folder, "soup", head=renamed)


def test_a_number_in_one_arm_changes_the_tensors_of_that_arm(folder):
    first = derivations(folder, MATCH.format(t="0.3"))
    second = derivations(folder, MATCH.format(t="0.31"))
    moved = changed(first, second)
    assert moved == {name for name in first if "_proj" in name and "self_attn" in name}
    one = next(iter(moved))
    assert first[one].inputs == second[one].inputs
    assert first[one].operators == second[one].operators == ("slerp 1",)


def test_other_bytes_of_an_input_change_what_is_made_of_it(folder):
    expression = "match { @attn => linear(a, b), _ => linear(a, c) }"
    first, second = (derivations(folder, expression, digests={"b": each}) for each in "xy")
    moved = changed(first, second)
    assert moved == {name for name in first if "_proj" in name and "self_attn" in name}
    assert all(first[name].inputs != second[name].inputs for name in moved)
    assert all(first[name].operators == second[name].operators for name in moved)


def test_an_input_of_the_same_bytes_at_another_place_changes_nothing(folder):
    one = keys(folder, "linear(a, b)", digests={"b": "same"})
    assert keys(folder, "linear(a, c)", digests={"c": "same"}) == one


def test_what_has_no_digest_yet_has_no_key(folder):
    found = derivations(folder, MATCH.format(t="0.3").replace("linear(a, b)", "a"),
                        digests={"b": None})  # fmt: skip
    assert {name for name, each in found.items() if each is None} == {
        name for name in found if "_proj" in name and "self_attn" in name
    }


def test_a_model_has_one_key_for_all_its_tensors(folder):
    plan = planned(folder, f'{HEAD}output "out" = linear(a, b)\n')
    tasks = plan.outputs[0].tasks
    names = {str(f): f.parent.name for c in plan.checkpoints.values() for f in c.files}
    key = model_key(tasks, names)
    assert key == model_key(tasks[::-1], names) != model_key(tasks[1:], names)
    b = str(folder / "b" / "model.safetensors")
    assert key != model_key(tasks, names | {b: "other"})
    del names[b]
    assert model_key(tasks, names) is None


def versioned(monkeypatch, name: str, version: int) -> None:
    known = operators()[name]
    signature = replace(known.signature, version=version)
    monkeypatch.setitem(registry._operators, name, replace(known, signature=signature))


def test_a_new_version_of_an_operator_changes_what_it_makes(folder, monkeypatch):
    expression = "match { @attn => slerp(a, b, t: 0.5), _ => a }"
    first = derivations(folder, expression)
    versioned(monkeypatch, "slerp", 2)
    second = derivations(folder, expression)
    moved = changed(first, second)
    assert moved == {name for name in first if "_proj" in name and "self_attn" in name}
    assert {second[name].operators for name in moved} == {("slerp 2",)}


@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("linear(a, b)", "{ dtype: f32 }"),
        ("linear(b, a { weight: 2 })", ""),
        ("linear(a, c)", ""),
        ("nuslerp(a, b)", ""),
    ],
)
def test_what_changes_bytes_changes_every_key(folder, expression, options):
    first, second = keys(folder, "linear(a, b)"), keys(folder, expression, options)
    assert changed(first, second) == set(first)


def test_the_seed_is_in_the_keys_of_what_is_random(folder):
    first = keys(folder, "dare(b, density: 0.5, base: a)")
    second = keys(folder, "dare(b, density: 0.5, base: a)", head="seed 1\n" + HEAD)
    assert changed(first, second) == set(first)
    still = "linear(a, b)"
    assert keys(folder, still) == keys(folder, still, head="seed 1\n" + HEAD)


def test_a_copied_tensor_hangs_on_its_own_bytes_alone(folder):
    assert keys(folder, "a") == keys(folder, "match { @attn => a, _ => a }")
    assert keys(folder, "stack(a[..1], b[1..])") != keys(folder, "a")


def whole_key(
    folder: Path, expression: str, name: str = "model.layers.0.mlp.up_proj.weight", **changed
):
    """The key of the one call on whole tensors within a tensor; its task with fields changed."""
    plan = planned(folder, f'{HEAD}output "out" = {expression}\n')
    names = {str(f): f.parent.name for c in plan.checkpoints.values() for f in c.files}
    (task,) = [each for each in plan.outputs[0].tasks if each.name == name]
    (expr,) = [each for each in order(task.root) if each.op == "whole"]
    return value_key(expr, task.type, task._replace(**changed), names)


def test_the_value_of_a_call_on_whole_tensors_outlives_what_is_done_with_it(folder, monkeypatch):
    first = whole_key(folder, "iso_c(b, c, base: a)")
    assert whole_key(folder, "iso_c(b, c, base: a, lambda: 1.5)") == first
    assert whole_key(folder, "a + 0.7 * iso_c(b - a, c - a)") == first
    assert whole_key(folder, "iso_c(b { weight: 0.5 }, c, base: a)") != first
    assert whole_key(folder, "tsv(b, c, base: a)") != first
    assert whole_key(folder, "iso_c(b, c, base: a)", rows=64) != first  # sums of other blocks
    versioned(monkeypatch, "slerp", 2)
    assert whole_key(folder, "slerp(a, iso_c(b, c, base: a), t: 0.5)") == first
    versioned(monkeypatch, "iso_c", 2)
    assert whole_key(folder, "iso_c(b, c, base: a)") != first


def test_other_arithmetic_changes_what_goes_through_it_and_nothing_else(folder, monkeypatch):
    first = derivations(folder, "match { @attn => iso_c(b, c, base: a), _ => linear(a, b) }")
    monkeypatch.setattr("mergelang.plan.keys.arithmetic", lambda: "torch 0, abacus")
    second = derivations(folder, "match { @attn => iso_c(b, c, base: a), _ => linear(a, b) }")
    moved = changed(first, second)
    assert moved == {name for name in first if "_proj" in name and "self_attn" in name}
    assert {second[name].operators for name in moved} == {("iso_c 1", "torch 0, abacus")}
