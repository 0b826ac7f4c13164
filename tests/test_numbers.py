"""Numbers that passes over tensors give: kept in tables, and taken from there when an edit does not
change them."""

import os
import re
from array import array
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.draw.plan_text import plan_json
from mergelang.errors import Cancelled, MergelangError, RunError
from mergelang.plan import cached
from mergelang.run import events, output
from mergelang.run.workers import Control
from mergelang.store import numbers
from mergelang.store.blobs import Blobs
from mergelang.tensors import TensorType
from tests.checkpoints import write_arrays

MODELS = ("base", "a", "b", "c")
SHAPES = {
    "layers.0.mlp.w": (64, 600), "layers.0.mlp.v": (700,), "layers.1.self_attn.w": (40, 1000),
    "layers.1.self_attn.scale": (), "empty": (0, 3),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Four models of few different values, so that selections cut ties, and for whose numbers a
    table is worth it."""
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(cached, "MOMENT", 0)
    monkeypatch.setattr(cached, "FACTOR", 0)
    monkeypatch.setattr(cached.Cache, "keeps_tensor", lambda *_: False)
    rng = np.random.default_rng(7)
    for name in MODELS:
        arrays = {each: rng.integers(-4, 5, shape) / 8 for each, shape in SHAPES.items()}
        write_arrays(tmp_path / name, {each: (x, "BF16") for each, x in arrays.items()})
    return tmp_path


def recipe(folder: Path, expression: str, knob: float = 0.5, outputs: int = 1) -> mergelang.Recipe:
    lines = [f"param knob = {knob}", *(f'model {name} = "{name}"' for name in MODELS)]
    for number in range(outputs):
        text = expression.replace("knob", str(0.1 + number / 5)) if number else expression
        lines.append(f'output "out{number or ""}" = {text}')
    (folder / "x.merge").write_text("\n".join(lines) + "\n")
    (folder / "x.merge.lock").unlink(missing_ok=True)  # inputs are replaced
    return mergelang.load(folder / "x.merge")


def run(made: mergelang.Recipe, **options) -> dict[str, int]:
    """Runs a recipe; the passes that its tensors took, by output and name."""
    seen: list[events.Event] = []
    options = {"threads": 1, "processes": False, "fresh": True} | options
    made.run(listener=seen.append, **options)
    return {
        f"{each.output}:{each.tensor}": each.passes
        for each in seen if isinstance(each, events.TensorDone)
    }  # fmt: skip


def weights(folder: Path, output: str = "out") -> bytes:
    return (folder / output / "model.safetensors").read_bytes()


def tables() -> list:
    return [each for each in Blobs().entries() if each.what == numbers.WHAT]


TIES = "ties(a { weight: knob }, b { weight: 0.3 }, density: 0.4, base: base)"
SLERP = "slerp(a, b, t: knob)"
EDITS = {
    "slerp": SLERP,
    "rows": "nuslerp(a { weight: knob }, b { weight: 0.3 }, flatten: false)",
    "columns": "nuslerp(a { weight: knob }, b { weight: 0.3 }, flatten: false, row_wise: true)",
    "ties": TIES,
    "nested": f"base + 0.3 * (slerp(a, {TIES.replace('knob', '0.5')}, t: knob) - base)",
    "breadcrumbs": (
        "breadcrumbs(a { weight: knob }, b { weight: 0.3 }, density: 0.4, base: base)"
    ),
    "sce": "base + knob * (sce(a, b, c, select_topk: 0.3, base: base) - base)",
    "model_stock": "base + knob * (model_stock(a, b, base: base) - base)",
    "karcher": "base + knob * (karcher(a, b, c) - base)",
}


@pytest.mark.parametrize("expression", EDITS.values(), ids=EDITS)
def test_an_edit_on_which_no_number_hangs_takes_one_pass_and_gives_the_same_bytes(
    folder, expression
):
    first = run(recipe(folder, expression))
    assert max(first.values()) > 1
    edited = recipe(folder, expression, 0.25)
    plan = edited.plan(fresh=True)
    assert {task.passes for task in plan.outputs[0].tasks} == {1}
    assert "  with numbers from the store: " in str(plan)
    assert plan.bytes_read < edited.plan(fresh=True, cache="none").bytes_read
    assert set(run(edited).values()) == {1}
    found = weights(folder)
    assert run(edited, cache="none") == first
    assert weights(folder) == found


def test_a_number_that_the_edit_changes_is_computed_and_the_others_are_not(folder):
    nested = "slerp(a, ties(a { weight: knob }, b, density: 0.4, base: base), t: 0.3)"
    assert max(run(recipe(folder, nested)).values()) == 3
    assert max(run(recipe(folder, nested, 0.25)).values()) == 2
    cached_bytes = weights(folder)
    run(recipe(folder, nested, 0.25), cache="none")
    assert weights(folder) == cached_bytes
    assert set(run(recipe(folder, nested)).values()) == {1}, "what was there before is still there"


def test_where_ties_are_cut_is_known_to_blocks_of_any_size(folder):
    rng = np.random.default_rng(1)
    for name in MODELS:
        write_arrays(folder / name, {"w": (rng.integers(-3, 4, (300, 700)) / 8, "BF16")})
    run(recipe(folder, TIES), block=1 << 16)
    for block in (1 << 14, 1 << 15, 1 << 17, 1 << 18):
        edited = recipe(folder, TIES, 0.3)
        assert set(run(edited, block=block).values()) == {1}
        found = weights(folder)
        run(edited, cache="none")
        assert weights(folder) == found, block


def test_processes_tell_the_numbers_of_their_tensors(folder):
    run(recipe(folder, TIES), threads=2, processes=True)
    assert set(run(recipe(folder, TIES, 0.3), threads=2, processes=True).values()) == {1}
    found = weights(folder)
    run(recipe(folder, TIES, 0.3), cache="none")
    assert weights(folder) == found


def test_the_numbers_of_all_tensors_over_the_same_models_are_one_file(folder):
    run(recipe(folder, TIES))
    (table,) = tables()
    assert table.size < 2000
    run(recipe(folder, TIES.replace("0.4", "0.2")))
    (larger,) = tables()
    assert (larger.key, larger.size > table.size) == (table.key, True)
    run(recipe(folder, SLERP))
    assert len(tables()) == 2


def test_of_one_arm_that_changes_the_others_keep_their_numbers(folder):
    arms = "match {{ mlp => slerp(a, {other}, t: 0.2), _ => slerp(b, base, t: knob) }}"
    run(recipe(folder, arms.format(other="b")))
    found = run(recipe(folder, arms.format(other="c"), 0.1))
    assert {name.partition(":")[2]: passes for name, passes in found.items()} == {
        name: 2 if "mlp" in name else 1 for name in SHAPES
    }


def test_several_outputs_of_a_run_give_each_other_their_numbers_and_the_plan_says_so(folder):
    made = recipe(folder, TIES, outputs=3)
    plan = made.plan(fresh=True)
    passes = [max(task.passes for task in output.tasks) for output in plan.outputs]
    assert passes == [2, 1, 1]
    found = run(made)
    planned = {
        f"{output.destination.text}:{task.name}": task.passes
        for output in plan.outputs for task in output.tasks
    }  # fmt: skip
    assert found == planned
    kept = [weights(folder, f"out{number}") for number in ("", 1, 2)]
    run(made, cache="none")
    assert [weights(folder, f"out{number}") for number in ("", 1, 2)] == kept


def test_another_input_has_other_numbers(folder):
    run(recipe(folder, TIES))
    write_arrays(folder / "a", {name: (np.ones(shape), "BF16") for name, shape in SHAPES.items()})
    found = run(recipe(folder, TIES))
    assert max(found.values()) == 2
    kept = weights(folder)
    run(recipe(folder, TIES), cache="none")
    assert weights(folder) == kept


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_table_is_dropped_with_a_warning_and_its_numbers_are_made_again(folder, damage):
    first = run(recipe(folder, TIES))
    (table,) = tables()
    data = bytearray(table.path.read_bytes())
    data[-1] ^= 1
    table.path.write_bytes(data if damage == "flipped" else data[:-8])
    seen: list[events.Event] = []
    edited = recipe(folder, TIES, 0.3)
    edited.run(listener=seen.append, fresh=True)
    noted = [each for each in seen if isinstance(each, events.Noted)]
    assert [(each.code, each.message) for each in noted] == [
        ("W2004", "the numbers of earlier passes that lay in the store were damaged: they are "
                  "dropped and made anew"),
    ]  # fmt: skip
    assert sorted(each.passes for each in seen if isinstance(each, events.TensorDone)) == sorted(
        first.values()
    )
    found = weights(folder)
    run(edited, cache="none")
    assert weights(folder) == found
    assert set(run(recipe(folder, TIES, 0.2)).values()) == {1}


def test_nothing_is_kept_without_the_cache_beyond_the_limit_or_of_no_numbers(folder):
    run(recipe(folder, TIES), cache="none")
    assert tables() == []
    run(recipe(folder, TIES), cache_limit=600)
    assert tables() == []
    write_arrays(folder / "a", {
        name: (np.full(shape, np.nan), "BF16") for name, shape in SHAPES.items()
    })  # fmt: skip
    run(recipe(folder, TIES), allow_nonfinite=True)
    assert tables() == []
    with pytest.raises(RunError):
        run(recipe(folder, TIES))


def test_a_resumed_run_keeps_the_numbers_that_it_computed_itself(folder):
    control, done = Control(), set()

    def stop(event: events.Event) -> None:
        if isinstance(event, events.TensorDone):
            done.add(event.tensor)
            if event.passes > 1:
                control.cancel()

    made = recipe(folder, TIES)
    with pytest.raises(Cancelled):
        made.run(listener=stop, control=control, threads=1, processes=False)
    assert 0 < len(done) < len(SHAPES)
    run(made, fresh=False)
    resumed = weights(folder)
    assert any(SHAPES[name][:1] > (0,) for name in done), "one that has numbers"
    for expected in ({f"out:{name}" for name in done if SHAPES[name][:1] > (0,)}, set()):
        found = run(recipe(folder, TIES, 0.3))
        assert {name for name, passes in found.items() if passes > 1} == expected
    run(made, cache="none")
    assert weights(folder) == resumed


def test_a_frozen_run_takes_numbers_and_gives_the_bytes_that_it_gives_without(folder):
    made = recipe(folder, TIES)
    run(made)
    found = weights(folder)
    assert set(run(made, frozen=True).values()) == {1}
    assert weights(folder) == found
    run(made, frozen=True, cache="none")
    assert weights(folder) == found
    text = (folder / "x.merge").read_text()
    (folder / "x.merge").write_text(text.replace("knob = 0.5", "knob = 0.3"))
    with pytest.raises(MergelangError, match="E2133"):
        run(mergelang.load(folder / "x.merge"), frozen=True)
    assert weights(folder) == found


def test_a_table_that_is_used_is_the_last_to_go(folder):
    run(recipe(folder, TIES))
    (table,) = tables()
    for age, number in enumerate("123"):
        Blobs().put(number * 40, TensorType("F32", (1000,)), memoryview(bytes(4000)), "f", 1)
        os.utime(Blobs().find(number * 40).path, (10**9 + age, 10**9 + age))
    os.utime(table.path, (1, 1))
    recipe(folder, TIES, 0.3).plan()
    assert Blobs().entries()[-1].key == table.key, "to plan is not to use"
    run(recipe(folder, TIES, 0.3))
    assert Blobs().entries()[0].key == table.key


def test_by_itself_a_table_is_kept_only_where_it_is_worth_a_file(folder, monkeypatch):
    monkeypatch.setattr(cached, "MOMENT", 0.02)
    made = recipe(folder, TIES)
    assert "of numbers" not in str(made.plan())
    with monkeypatch.context() as patch:
        patch.delattr(output, "Prepared")  # no tensor is looked up where there is nothing to gain
        run(made)
    assert tables() == []
    run(made, cache="all")
    assert len(tables()) == 1


def test_the_plan_tells_what_is_kept_and_taken(folder):
    made = recipe(folder, TIES)
    said = r"store: keeps (\d+) B of numbers that passes over 3 tensors give: under 0.01 s"
    (nbytes,) = re.search(said, str(made.plan())).groups()
    (output,) = plan_json(made.plan())["outputs"]
    assert output["bytes_of_numbers_kept"] == int(nbytes)
    run(made)
    (table,) = tables()
    assert table.extent.type.nbytes == int(nbytes) + 8
    (output,) = plan_json(recipe(folder, TIES, 0.3).plan(fresh=True))["outputs"]
    assert output["bytes_of_numbers_kept"] == 0
    found = output["tensors"]
    told = {each["name"]: (each["numbers_stored"], each["passes"]) for each in found}
    assert told == {name: (2 if len(shape) and 0 not in shape else 0, 1)
                    for name, shape in SHAPES.items()}  # fmt: skip


def test_a_table_grows_to_some_bounds_and_what_was_added_last_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path))
    monkeypatch.setattr(numbers, "ROOM", 0)
    kept = numbers.Tables(Blobs())
    for number in range(20):
        kept.keep("f" * 40, {f"{number:040x}": array("d", [number, number / 3])}, 1)
    found = numbers.Tables(Blobs())["f" * 40]
    assert found == kept["f" * 40]
    assert list(found) == [f"{number:040x}" for number in range(19, 19 - numbers.TIMES, -1)]
    assert list(found[f"{19:040x}"]) == [19, 19 / 3]


def test_a_table_is_never_larger_than_a_plan_may_hold(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path))
    monkeypatch.setattr(numbers, "LARGEST", numbers.nbytes(1) * 3)
    kept = numbers.Tables(Blobs())
    for number in range(9):
        kept.keep("f" * 40, {f"{number:040x}": array("d", [number])}, 1)
    assert list(numbers.Tables(Blobs())["f" * 40]) == [f"{number:040x}" for number in (8, 7, 6)]


def test_a_table_that_another_run_writes_while_it_is_read_is_not_called_damaged(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path))
    one, two = ({letter * 40: array("d", [number])} for number, letter in enumerate("ab"))
    numbers.Tables(Blobs()).keep("f" * 40, one, 1)
    sound, others = numbers.sound, [two]

    def looked(entry) -> bool:
        if others:
            numbers.Tables(Blobs()).keep("f" * 40, others.pop(), 1)
        return sound(entry)

    monkeypatch.setattr(numbers, "sound", looked)
    tables = numbers.Tables(Blobs())
    assert (tables["f" * 40], tables.damaged) == ({**one, **two}, [])
    assert not tables.use()
    assert len(Blobs().entries()) == 1
