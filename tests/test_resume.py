"""Runs that were interrupted: what is taken over, what is not and why, and who may write."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mergelang
from mergelang.errors import Cancelled, RunError
from mergelang.run import disk, events, journal
from mergelang.run.workers import Control
from tests.checkpoints import write_model

RECIPE = """\
param t = 0.3
model a = "a"
model b = "b"
output "out" = slerp(a, b, t: t)
"""
TENSORS = 21


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed, layers=2)
    (tmp_path / "x.merge").write_text(RECIPE)
    return tmp_path


def run(folder: Path, settings=None, stop: int = 0, **options) -> list[events.Event]:
    """Runs the recipe, cancelled after `stop` tensors if that is given; gives the events."""
    seen: list[events.Event] = []
    control = Control()

    def listen(event: events.Event) -> None:
        seen.append(event)
        if sum(isinstance(each, events.TensorDone) for each in seen) == stop > 0:
            control.cancel()

    recipe = mergelang.load(folder / "x.merge", settings)
    if not stop:
        recipe.run(listener=listen, **options)
        return seen
    with pytest.raises(Cancelled):
        recipe.run(listener=listen, control=control, threads=1, **options)
    return seen


def actions(seen: list[events.Event]) -> list[str]:
    return sorted(each.action for each in seen if isinstance(each, events.TensorDone))


def of_kind(seen: list[events.Event], kind: type) -> list[events.Event]:
    return [each for each in seen if isinstance(each, kind)]


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def same(folder: Path, settings=None) -> bool:
    """Whether the output is what a run writes that nothing comes between."""
    found = contents(folder / "out")
    mergelang.load(folder / "x.merge", settings).run(fresh=True)
    return contents(folder / "out") == found


def test_a_run_goes_on_where_an_interrupted_one_ended(folder):
    stopped = run(folder, stop=5)
    assert of_kind(stopped, events.Left) == [events.Left("out", 5, TENSORS)]
    seen = run(folder)
    (resumed,) = of_kind(seen, events.Resumed)
    assert (resumed.tensors, resumed.of) == (5, TENSORS)
    assert actions(seen) == ["compute"] * (TENSORS - 5) + ["resume"] * 5
    assert not (folder / "out.partial").exists()
    assert same(folder)


def test_a_run_may_be_interrupted_again_and_again(folder):
    for stop in (3, 7, 12):
        run(folder, stop=stop)
    seen = run(folder)
    assert actions(seen).count("resume") == 12
    assert same(folder)


def test_what_is_recorded_is_looked_at_and_made_anew_where_it_is_not_so(folder):
    run(folder, stop=5)
    file = folder / "out.partial" / "model" / "model.safetensors"
    found = journal.read(folder / "out.partial" / "journal")
    plan = mergelang.load(folder / "x.merge").plan()
    first = next(iter(found[1]))
    with open(file, "r+b") as opened:
        opened.seek(plan.outputs[0].shards[0].offsets[first])
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 1]))
    seen = run(folder)
    assert [each.code for each in of_kind(seen, events.Noted)] == ["W2001"]
    assert actions(seen) == ["compute"] * (TENSORS - 4) + ["resume"] * 4
    assert same(folder)


@pytest.mark.parametrize("gone", ["file", "folder", "cut"])
def test_a_partial_folder_that_lost_its_weights_is_filled_again(folder, gone):
    run(folder, stop=5)
    file = folder / "out.partial" / "model" / "model.safetensors"
    if gone == "cut":
        os.truncate(file, 100)
    else:
        file.unlink()
    if gone == "folder":
        disk.remove(file.parent)
    run(folder)
    assert same(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [("setting", "it is of another recipe"), ("recipe", "it is of another recipe"),
     ("input", "b/model.safetensors has changed")],
)  # fmt: skip
def test_the_work_of_another_run_is_not_used_and_the_reason_is_said(folder, change, why):
    run(folder, stop=5)
    settings = None
    if change == "setting":
        settings = {"t": "0.4"}
    elif change == "recipe":
        (folder / "x.merge").write_text(RECIPE.replace("slerp(a, b,", "slerp(b, a,"))
    else:
        os.utime(folder / "b" / "model.safetensors")
    seen = run(folder, settings)
    (note,) = of_kind(seen, events.Noted)
    assert note.code == "W2002" and note.message.endswith(why)
    assert set(actions(seen)) == {"compute"}
    assert same(folder, settings)


def test_a_recipe_written_otherwise_goes_on(folder):
    run(folder, stop=5)
    (folder / "x.merge").write_text("# the same\n" + RECIPE.replace("t: t", " t :  t"))
    assert actions(run(folder)).count("resume") == 5


def test_fresh_starts_over(folder):
    run(folder, stop=5)
    seen = run(folder, fresh=True)
    assert set(actions(seen)) == {"compute"} and not of_kind(seen, events.Resumed)
    assert same(folder)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b'{"run": 1}\n["a"]\n'])
def test_a_damaged_journal_is_none(folder, damage):
    run(folder, stop=5)
    (folder / "out.partial" / "journal").write_bytes(damage)
    assert set(actions(run(folder))) == {"compute"}
    assert same(folder)


def test_a_record_that_was_cut_off_does_not_count(folder):
    run(folder, stop=5)
    path = folder / "out.partial" / "journal"
    path.write_bytes(path.read_bytes()[:-3])
    assert actions(run(folder)).count("resume") == 4
    assert same(folder)


def test_an_interrupted_change_of_an_old_output_keeps_and_goes_on(folder):
    text = RECIPE.replace("slerp(a, b, t: t)", "match { @attn => slerp(a, b, t: t), _ => a }")
    (folder / "x.merge").write_text(text)
    run(folder)
    old = contents(folder / "out")
    run(folder, {"t": "0.4"}, stop=2)
    assert contents(folder / "out") == old
    seen = run(folder, {"t": "0.4"})
    assert actions(seen) == ["compute"] * 8 + ["keep"] * 11 + ["resume"] * 2
    assert same(folder, {"t": "0.4"})


def test_an_unfinished_run_survives_that_of_the_old_recipe(folder):
    run(folder)
    run(folder, {"t": "0.4"}, stop=5)
    assert not of_kind(run(folder), events.TensorDone)
    assert actions(run(folder, {"t": "0.4"})).count("resume") == 5


def test_the_events_of_a_run_can_be_read_beside_it(folder):
    seen = run(folder, stop=5)
    lines = (folder / "out.partial" / "events.jsonl").read_text().splitlines()
    # What comes after the output is left is told to the listener alone.
    assert lines == [events.to_json(each) for each in seen[: len(lines)]]
    assert json.loads(lines[-1])["event"] == "Left"


# What is in the way


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_something_else_of_the_name_of_the_partial_folder_is_left_alone(folder, what):
    partial = folder / "out.partial"
    if what == "file":
        partial.write_text("mine")
    elif what == "link":
        partial.symlink_to(folder / "a")
    else:
        partial.mkdir()
        (partial / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"E2003.*out\.partial is in the way"):
        run(folder)
    kept = partial.read_text() if what == "file" else [each.name for each in partial.iterdir()]
    assert kept == {"file": "mine", "folder": ["notes.txt"]}.get(what, kept)
    assert not (folder / "out").exists()


def test_an_empty_folder_of_that_name_is_used(folder):
    (folder / "out.partial").mkdir()
    run(folder)
    assert sorted(each.name for each in folder.glob("out*")) == ["out"]


@pytest.mark.parametrize("moment", ["before the exchange", "in the exchange", "without exchange"])
def test_files_of_others_that_come_while_it_runs_stay_and_the_new_output_waits(
    folder, monkeypatch, moment
):
    run(folder)
    old = contents(folder / "out")
    note = folder / "out" / "notes.txt"
    exchange = disk.exchange

    def comes(one: Path, other: Path) -> bool:
        if moment != "before the exchange" and not note.exists() and one.name == "model":
            note.write_text("mine")
        return exchange(one, other) if moment != "without exchange" else False

    monkeypatch.setattr(disk, "exchange", comes)

    def listen(event: events.Event) -> None:
        if moment == "before the exchange" and isinstance(event, events.TensorDone):
            note.write_text("mine")

    changed = mergelang.load(folder / "x.merge", {"t": "0.4"})
    with pytest.raises(RunError, match=r"E2004.*out holds files that .* write: notes\.txt"):
        changed.run(listener=listen)
    assert contents(folder / "out") == old | {"notes.txt": b"mine"}
    note.rename(folder / "notes.txt")
    monkeypatch.setattr(disk, "exchange", exchange)
    seen = run(folder, {"t": "0.4"})
    assert set(actions(seen)) == {"resume"}
    assert same(folder, {"t": "0.4"})


@pytest.mark.parametrize("killed", ["first", "second"])
def test_an_exchange_in_two_steps_that_is_interrupted_is_ended_by_the_next_run(
    folder, monkeypatch, killed
):
    run(folder)
    old = contents(folder / "out")
    rename = disk.rename

    def stop(one: Path, other: Path) -> None:
        rename(one, other)
        if (other.name == "old") if killed == "first" else (one.name == "model"):
            os._exit(9)

    monkeypatch.setattr(disk, "exchange", lambda one, other: False)
    child = os.fork()
    if not child:
        monkeypatch.setattr(disk, "rename", stop)
        mergelang.load(folder / "x.merge", {"t": "0.4"}).run(threads=1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (folder / "out.partial" / "old").is_dir()
    assert (folder / "out").exists() == (killed == "second")
    run(folder, {"t": "0.5"}, stop=1)  # another one still, which does not come far
    if killed == "first":
        assert contents(folder / "out") == old
    assert not (folder / "out.partial" / "old").exists()
    run(folder, {"t": "0.4"})
    assert same(folder, {"t": "0.4"})


# One at a time


def holder(folder: Path) -> subprocess.Popen:
    """A run in a process of its own that waits in the middle."""
    code = (
        "import sys, time, mergelang\n"
        "from mergelang.run.events import TensorDone\n"
        "def listen(event):\n"
        "    if isinstance(event, TensorDone):\n"
        "        print('at work', flush=True); time.sleep(60)\n"
        "mergelang.load(sys.argv[1]).run(listener=listen)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    child = subprocess.Popen(
        [sys.executable, "-c", code, folder / "x.merge"], stdout=subprocess.PIPE, env=environment
    )
    assert child.stdout.readline() == b"at work\n"
    return child


def test_a_second_run_of_an_output_is_refused_with_the_process_that_writes_it(folder):
    child = holder(folder)
    try:
        with pytest.raises(RunError, match=rf"E2002.*out is being written by process {child.pid}"):
            run(folder)
        assert (folder / "out.partial" / "lock").exists()
        mergelang.load(folder / "x.merge").run(into=folder / "other")  # another one may be written
    finally:
        child.kill()
        child.wait()
    began = time.monotonic()
    run(folder)
    assert time.monotonic() - began < 30
    assert same(folder)


def test_a_run_killed_in_the_middle_leaves_no_output_and_the_next_one_makes_it(folder):
    child = holder(folder)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert sorted(each.name for each in folder.glob("out*")) == ["out.partial"]
    run(folder)
    assert same(folder)
