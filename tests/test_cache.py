"""The store of values: what runs keep for later ones, what is taken from there, and its limits."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.draw.units import size
from mergelang.errors import RunError
from mergelang.plan import cached
from mergelang.run import events, output
from mergelang.store import blobs, notes, rates
from mergelang.store.blobs import Blobs
from tests.checkpoints import write_arrays

RECIPE = """\
param scale = 1
model base = "base"
model a = "a"
model b = "b"
output "out" = {expression}
"""
SVD = "iso_c(a, b, lambda: scale, base: base)"
KERNEL = "mergelang.ops.kernels.spectral:iso_c"


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def folder(tmp_path, store, monkeypatch) -> Path:
    """Three models of four matrices and a vector, for whose calls a cache is worth it."""
    monkeypatch.setattr(cached, "MOMENT", 0)
    monkeypatch.setattr(rates, "FUNCTION", 1e-5)
    rng = np.random.default_rng(0)
    for name in ("base", "a", "b"):
        tensors = {f"w{i}": (rng.normal(size=(24, 16)), "F32") for i in range(4)}
        write_arrays(tmp_path / name, tensors | {"v": (rng.normal(size=16), "F32")})
    return tmp_path


def recipe(folder: Path, expression: str = SVD, scale: str = "1") -> mergelang.Recipe:
    (folder / "x.merge").write_text(RECIPE.format(expression=expression))
    return mergelang.load(folder / "x.merge", {"scale": scale})


def run(made: mergelang.Recipe, **options) -> list[events.Event]:
    seen: list[events.Event] = []
    made.run(listener=seen.append, threads=1, **options)
    return seen


def weights(folder: Path) -> bytes:
    return (folder / "out" / "model.safetensors").read_bytes()


def calls(monkeypatch) -> list[str]:
    """The functions on whole tensors that are called from now on."""
    from mergelang.run import kernel

    found = []
    named = kernel.kernel

    def noted(name: str):
        found.append(name)
        return named(name)

    monkeypatch.setattr(kernel, "kernel", noted)
    return found


def test_a_cheap_step_after_a_costly_one_changes_and_the_costly_one_is_not_done_again(
    folder, monkeypatch
):
    called = calls(monkeypatch)
    run(recipe(folder))
    assert called == [KERNEL] * 4
    assert len(Blobs().entries()) == 4
    called.clear()
    changed = recipe(folder, scale="0.5")
    assert {task.stored for task in changed.plan().outputs[0].tasks} == {0, 1}
    run(changed)
    assert called == []
    found = weights(folder)
    run(changed, fresh=True, cache="none")
    assert called == [KERNEL] * 4
    assert weights(folder) == found


def test_of_nested_calls_the_outer_one_is_kept_though_the_inner_one_was_there(folder, monkeypatch):
    inner = "iso_c(a - base, b - base)"
    run(recipe(folder, f"base + {inner}"), cache="all")
    nested = recipe(folder, f"base + 0.5 * iso_c({inner}, b - base)")
    called = calls(monkeypatch)
    run(nested, cache="all")
    assert called == [KERNEL] * 4
    assert [each.what for each in Blobs().entries()].count(KERNEL) == 8
    called.clear()
    nested = recipe(folder, f"base + 0.4 * iso_c({inner}, b - base)")
    run(nested, cache="all")
    assert called == []
    found = weights(folder)
    run(nested, fresh=True, cache="none")
    assert weights(folder) == found


def test_sums_after_a_stored_value_are_added_up_as_without_it(tmp_path, store, monkeypatch):
    monkeypatch.setattr(cached, "MOMENT", 0)
    monkeypatch.setattr(rates, "FUNCTION", 1e-3)
    rng = np.random.default_rng(1)
    for name in ("base", "a", "b"):
        tensors = {f"w{i}": (rng.normal(size=(60, 700)), "F64") for i in range(8)}
        write_arrays(tmp_path / name, tensors)
    pruned = "della(a, density: 0.5, base: base) - base"  # ranks within rows, so rows stay together
    made = recipe(tmp_path, f"slerp(base + iso_c({pruned}, b - base), b, t: 0.3)")
    run(made, cache="all")
    assert all(task.rows for task in made.plan(fresh=True).outputs[0].tasks)
    found = weights(tmp_path)
    monkeypatch.setattr(cached.Cache, "keeps_tensor", lambda *_: False)
    called = calls(monkeypatch)
    run(made, fresh=True, cache="all")
    assert called == []
    assert weights(tmp_path) == found


def test_a_value_is_found_by_what_it_is_made_of_and_not_by_where_it_stands(folder, monkeypatch):
    run(recipe(folder))
    called = calls(monkeypatch)
    run(recipe(folder, "base + 0.3 * iso_c(a - base, b - base)"))
    assert called == []
    run(recipe(folder, "iso_c(b, a, base: base)"))
    assert called == [KERNEL] * 4


def test_an_input_without_a_digest_is_not_looked_up_and_its_values_are_published_after(
    folder, monkeypatch
):
    made = recipe(folder)
    assert all(task.keeps for task in made.plan().outputs[0].tasks if len(task.type.shape) == 2)
    run(made)
    keys = [each.key for each in Blobs().entries()]
    assert len(keys) == 4 and not any(key.startswith("pending") for key in keys)


def test_what_two_outputs_share_is_computed_once(folder, monkeypatch):
    (folder / "x.merge").write_text(
        RECIPE.format(expression=SVD) + 'output "half" = iso_c(a, b, lambda: 0.5, base: base)\n'
    )
    called = calls(monkeypatch)
    run(mergelang.load(folder / "x.merge"))
    assert called == [KERNEL] * 4


def test_nothing_is_read_or_written_without_the_cache(folder, store, monkeypatch):
    run(recipe(folder), cache="none")
    assert Blobs().entries() == []
    run(recipe(folder), fresh=True)
    called = calls(monkeypatch)
    run(recipe(folder), fresh=True, cache="none")
    assert called == [KERNEL] * 4


def test_with_all_every_computed_tensor_is_kept_and_taken(folder):
    run(recipe(folder, "linear(a, b)"), cache="all")
    found = weights(folder)
    assert len(Blobs().entries()) == 5
    seen = run(recipe(folder, "linear(a, b)"), cache="all", fresh=True)
    done = {each.action for each in seen if isinstance(each, events.TensorDone)}
    assert done == {"cached"}
    assert weights(folder) == found


def test_by_itself_only_what_is_worth_it_is_kept(folder, monkeypatch):
    run(recipe(folder, "linear(a, b)"))
    assert Blobs().entries() == []
    monkeypatch.setattr(cached, "MOMENT", 1e9)
    run(recipe(folder))
    assert Blobs().entries() == []


@pytest.mark.parametrize("expression", [SVD, "linear(a, b)"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_entry_is_dropped_with_a_warning_and_made_again(folder, expression, damage):
    run(recipe(folder, expression), cache="all")
    found = weights(folder)
    plan = recipe(folder, expression).plan(fresh=True, cache="all")
    entries = [each for each in Blobs().entries()]
    for each in entries:
        if damage == "gone":
            each.path.unlink()
            continue
        data = bytearray(each.path.read_bytes())
        data[-1] ^= 1
        each.path.write_bytes(data if damage == "flipped" else data[:-8])
    seen: list[events.Event] = []
    mergelang.api.run(plan, listener=seen.append, threads=1, fresh=True)
    noted = {each.code for each in seen if isinstance(each, events.Noted)}
    assert noted == {"W2003"} or (damage == "gone" and expression == SVD and not noted)
    assert weights(folder) == found
    assert all(blobs.sound(each) for each in Blobs().entries())


def test_the_bytes_are_the_same_with_every_cache(folder):
    made = recipe(folder)
    run(made, cache="none")
    found = weights(folder)
    for cache in ("auto", "auto", "all", "all", "none"):
        run(made, cache=cache, fresh=True)
        assert weights(folder) == found, cache


# Notes


def test_the_command_counts_checks_and_clears_what_is_remembered_of_files(folder, call, store):
    run(recipe(folder))
    small = notes.notes()
    kinds = {each.kind for each in small}
    assert kinds == {"digests", "outputs", "locks", "rates.json"}
    total = sum(each.size for each in small)
    assert json.loads(call("cache", "size", "--json")[1]) == {
        "folder": str(store), "bytes": Blobs().size() + total, "notes": total
    }  # fmt: skip
    lines = call("cache", "ls")[1].splitlines()
    assert f"states of outputs: 1 note, {size(notes_of('outputs'))}" in lines
    listed = json.loads(call("cache", "ls", "--json")[1])
    assert sum(each["bytes"] for each in listed if "note" in each) == total
    hub = store / "hub" / "org--name" / ("c" * 40)
    (hub / "headers").mkdir(parents=True)
    (hub / "files.json").write_text("{")
    (hub / "headers" / "model.safetensors").write_bytes(bytes([9, *[0] * 7]) + b"{}")
    (store / "digests" / ".new-1").write_text("{")  # of a process that was killed
    assert call("cache", "verify") == (
        1,
        f"damaged, removed: {hub / 'files.json'}\n"
        f"damaged, removed: {hub / 'headers' / 'model.safetensors'}\n"
        f"4 values of 4 as written\n{len(small) + 1} notes of {len(small) + 3} can be read\n",
        "",
    )
    assert call("cache", "clear")[1].endswith("; 0 B are left\n")
    assert notes.notes() == [] and Blobs().entries() == []
    assert recipe(folder).up_to_date() == ()


def notes_of(kind: str) -> int:
    return sum(each.size for each in notes.notes() if each.kind == kind)


def test_a_cache_that_cannot_be_written_is_a_warning_to_a_run_and_an_error_to_its_command(
    folder, call, monkeypatch
):
    run(recipe(folder), cache="none")
    found = weights(folder)
    (folder / "file").touch()
    monkeypatch.setenv("MERGELANG_CACHE", str(folder / "file"))
    seen = run(recipe(folder), fresh=True, cache="all")
    assert [(each.code, each.message) for each in seen if isinstance(each, events.Noted)] == [
        ("W2005", "nothing is kept for later runs: the cache in "
                  f"{folder / 'file'} cannot be written: not a directory"),
    ]  # fmt: skip
    assert weights(folder) == found
    assert call("cache", "clear") == (
        3, "",
        f"error[E2006]: the cache in {folder / 'file'} cannot be used: not a directory\n"
        "help: let its folders be read and written, or set `MERGELANG_CACHE` to another place\n",
    )  # fmt: skip
    assert call("cache", "ls")[:2] == (0, "0 values, 0 B\n")


@pytest.mark.parametrize("cache", ["auto", "all", "none"])
@pytest.mark.parametrize("limit", [0, 1500, 6000])
def test_after_a_run_the_store_keeps_to_its_limit_with_all_that_was_noted(folder, cache, limit):
    made = recipe(folder)
    run(made)
    assert Blobs().size() + notes.size() > 6000
    found = weights(folder)
    run(made, fresh=True, cache=cache, cache_limit=limit)
    assert Blobs().size() + notes.size() <= limit
    run(made, cache=cache, cache_limit=limit)  # whether it is up to date or not
    assert Blobs().size() + notes.size() <= limit
    assert weights(folder) == found


def test_what_passes_take_is_measured_by_their_operators_and_decides_what_is_kept(
    folder, monkeypatch, store
):
    monkeypatch.setattr(output, "MEASURED_FROM", 1)
    made = recipe(folder, "slerp(a, b, t: 0.3)")
    run(made)
    measured = rates.rates()
    assert measured["pass slerp"] > 0
    task = made.plan(fresh=True).outputs[0].tasks[0]
    assert task.keeps == 0 or task.seconds > 0
    (store / "rates.json").write_text(json.dumps({"pass slerp": 0.9, "pass": 1e-12}))
    kept = made.plan(fresh=True)
    assert all(task.keeps == task.type.nbytes for task in kept.outputs[0].tasks)
    assert "store: keeps 6.21 kB of 5 tensors: " in str(kept)
    assert "none of" not in str(kept)
    (store / "rates.json").write_text(json.dumps({"pass slerp": 0.9}))
    assert re.search(r"5 tensors: [1-9]\d*,\d{3} s to compute", str(made.plan(fresh=True)))
    (store / "rates.json").write_text(json.dumps({"pass slerp": 1e-12, "pass": 0.9}))
    plan = made.plan(fresh=True)
    assert not any(task.keeps for task in plan.outputs[0].tasks)
    none = "store: keeps none of 5 tensors: under 0.01 s to compute, under 0.01 s to keep"
    assert none in str(plan).splitlines()
    assert "store:" not in str(made.plan(fresh=True, cache="none"))


def test_a_function_that_was_never_measured_is_judged_by_what_it_takes(folder, monkeypatch):
    monkeypatch.setattr(rates, "FUNCTION", 0.0)  # as if it took nothing
    monkeypatch.setattr(cached, "FACTOR", 0)
    monkeypatch.setattr(cached, "MOMENT", 1e-7)
    made = recipe(folder)
    assert not any(task.keeps for task in made.plan().outputs[0].tasks)
    run(made)
    assert len(Blobs().entries()) == 4
    Blobs().prune(0)
    monkeypatch.setattr(cached, "MOMENT", 10)  # what is known by now decides
    monkeypatch.setattr(rates, "seconds", lambda *_: 0.0)
    run(made, fresh=True)
    assert not Blobs().entries()


def test_torch_is_not_loaded_for_what_the_store_has(folder):
    from mergelang.run.compiler import library

    if library() is None:
        pytest.skip("no C compiler: torch computes all blocks")
    recipe(folder)
    script = (
        "import sys\n"
        "from mergelang.api import load\n"
        "from mergelang.plan import cached\n"
        "cached.MOMENT = cached.FACTOR = 0\n"
        "load('x.merge', {'scale': sys.argv[1]}).run(processes=False)\n"
        "print('torch' in sys.modules)\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", script, scale], cwd=folder, capture_output=True,
                       text=True, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()}).stdout
        for scale in ("1", "0.5")
    ]  # fmt: skip
    assert said == ["True\n", "False\n"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("expression", [SVD, "slerp(a, b, t: scale)"])
def test_nothing_is_kept_of_an_input_that_is_replaced_while_it_is_read(
    folder, monkeypatch, expression, first
):
    """`first`: before a byte of it is read, and after the run has looked at it; else after all."""
    monkeypatch.setattr(cached, "FACTOR", 0)
    monkeypatch.setattr(cached.Cache, "keeps_tensor", lambda *_: False)
    place, lock = folder / "a" / "model.safetensors", folder / "x.merge.lock"
    contents = [(folder / name / "model.safetensors").read_bytes() for name in ("a", "base")]

    def put(data: bytes) -> None:
        (folder / "new").write_bytes(data)
        (folder / "new").rename(place)
        lock.unlink(missing_ok=True)

    def made(**options) -> bytes:
        run(recipe(folder, expression, "0.3"), fresh=True, processes=False, **options)
        return weights(folder)

    wanted = []
    for data in contents:
        put(data)
        wanted.append(made(cache="none"))
    assert wanted[0] != wanted[1]
    put(contents[0])
    made(cache="none")  # so that its digest is known
    lock.unlink()
    done, left = [], output.tasks_left

    def begun(*given):
        if first:
            put(contents[1])
        return left(*given)

    def listen(event: events.Event) -> None:
        done.extend([event] if isinstance(event, events.TensorDone) else ())
        if len(done) == 5 and not first:
            done.clear()
            put(contents[1])

    with monkeypatch.context() as patch, pytest.raises(RunError, match="E2001"):
        patch.setattr(output, "tasks_left", begun)
        recipe(folder, expression, "0.5").run(
            listener=listen, threads=1, processes=False, fresh=True
        )
    for data, expected in zip(contents[::-1], wanted[::-1], strict=True):
        put(data)
        assert made() == expected
