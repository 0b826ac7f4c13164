"""The page of the run, over real runs in processes of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mergelang.errors import UsageError
from mergelang.run import events
from mergelang.tui import runner
from mergelang.tui.progress import RUNNING, RunState, after
from mergelang.tui.runner import attach
from mergelang.tui.watch import Watch
from tests.test_pickles import pickled, tensors
from tests.views import drive, leave_by, said, screen, until, write_models


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One cache for all: what is compiled once is not compiled again."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(kept, monkeypatch):
    monkeypatch.setenv("MERGELANG_CACHE", str(kept))


@pytest.fixture
def recipe(tmp_path):
    return write_models(tmp_path)


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Runs take their time until this file is there."""
    gate = tmp_path / "gate"
    command = (sys.executable, "-m", "tests.held_run", str(gate))
    monkeypatch.setattr(runner, "COMMAND", command)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return gate


def phase(view) -> str:
    return view.watched.state.phase if view.watched else ""


async def paused(view, pilot) -> None:
    """Starts a run and stops it where it stands."""
    await pilot.press("f5", "r")
    await until(pilot, lambda: phase(view) == RUNNING)
    await pilot.press("p")
    await until(pilot, lambda: "paused" in said(view, "progress"))


def test_a_run_goes_to_its_end_and_its_result_is_opened(recipe):
    async def script(view, pilot):
        await pilot.press("f3")
        await until(pilot, lambda: "no key until its sources" in said(view, "detail-text"))
        await pilot.press("f5")
        assert "r runs blend.merge" in said(view, "progress")
        await pilot.press("r")
        await until(pilot, lambda: phase(view) == "done")
        await until(pilot, lambda: "2 outputs in" in said(view, "progress"))
        await until(pilot, lambda: "39 of 39" in said(view, "run-nodes-text"))
        lines = said(view, "run-strip-text").splitlines()
        assert lines[:4] == ["out/steered", "attn       ███ ███ ███ ███",
                             "mlp        ███ ███ ███ ███", "norm       ███ ███ ███ ███"]
        assert view.watched.log[-1].startswith("run: done in ")
        await pilot.press("f3")
        assert set(view.page.pane._states.values()) == {"done"}
        await until(pilot, lambda: any("✓" in line for line in screen(view)))
        await pilot.press("up", "up")
        await until(pilot, lambda: "78 of 78 tensors" in said(view, "detail-text"))
        await until(
            pilot, lambda: re.search(r"\nderivation +[0-9a-f]{40}\n", said(view, "detail-text"))
        )
        await pilot.press("f5", "o")
        await until(pilot, lambda: view.model is not None)
        assert view.model.folder == recipe.parent / "out" / "steered"

    drive(script, recipe)
    assert (recipe.parent / "out" / "blend" / "model.safetensors").is_file()


def test_a_run_is_given_the_memory_that_its_recipe_takes_at_least(recipe, monkeypatch):
    monkeypatch.setattr("mergelang.plan.memory.minimum_memory", lambda plan: 3 << 30)

    async def script(view, pilot):
        await pilot.press("f4")
        await until(pilot, lambda: "3.22 GB of " in said(view, "plan-machine"))
        await pilot.press("r")
        await until(pilot, lambda: phase(view) == "done")
        assert f"--memory {3 << 30}B" in " ".join(view.runner._own.args)

    drive(script, recipe)


def test_what_is_up_to_date_is_not_made_again(recipe):
    async def script(view, pilot):
        for _ in range(2):
            await pilot.press("f5", "r")
            await until(pilot, lambda: phase(view) == "done")
        await until(pilot, lambda: "everything is up to date" in said(view, "progress"))
        view.check()
        await pilot.press("f3")
        await until(pilot, lambda: view.look.plan.outputs[0].current)
        await until(pilot, lambda: set(view.page.pane._states.values()) == {"cached"})
        await until(pilot, lambda: any("≡" in line for line in screen(view)))

    drive(script, recipe)


def test_a_run_is_saved_first(recipe):
    async def script(view, pilot):
        await pilot.press("x", "backspace", "delete", "#")
        await until(pilot, lambda: view.look.source.text == view.text)
        await pilot.press("f4", "r")
        await until(pilot, lambda: phase(view) == "done")
        assert not view.is_changed

    drive(script, recipe)


def test_what_cannot_run_says_why(recipe, monkeypatch):
    recipe.write_text('model base = "models/base"\n')

    async def script(view, pilot):
        async def refused(why: str) -> None:
            await pilot.press("f5", "r")
            assert said(view, "progress") == f"nothing runs. {why}"
            assert f"it cannot run: {why}" in [each.message for each in view._notifications]

        await refused("the recipe has no output")
        monkeypatch.setattr(view, "check", lambda: None)
        await pilot.press("f2", "#")
        await refused("the recipe is still being read")

    drive(script, recipe)


def test_what_is_wrong_is_not_run(recipe):
    async def script(view, pilot):
        await pilot.press("x", "f5", "r")
        assert view.watched is None

    drive(script, recipe)
    assert not (recipe.parent / "out").exists()


def test_a_run_is_paused_and_goes_on(recipe, gate):
    async def script(view, pilot):
        await paused(view, pilot)
        gate.touch()
        state = Path(f"/proc/{view.runner.facts['pid']}/stat")
        assert not state.exists() or state.read_text().rpartition(") ")[2][0] == "T"
        assert view.runner.is_alive and attach(recipe.parent / "out" / "blend").paused
        await pilot.press("p")
        await until(pilot, lambda: phase(view) == "done")

    drive(script, recipe)
    assert (recipe.parent / "out" / "steered").is_dir()


def test_a_run_is_cancelled_and_goes_on_where_it_stopped(recipe, gate):
    async def script(view, pilot):
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == RUNNING and view.watched.done)
        await pilot.press("c")
        await until(pilot, lambda: phase(view) == "cancelled")
        await until(pilot, lambda: "cancelled" in said(view, "progress"))
        await until(pilot, lambda: not view.runner.is_alive)
        assert not (recipe.parent / "out" / "steered").exists()
        gate.touch()
        await pilot.press("r")
        await until(pilot, lambda: phase(view) == "done")
        assert any("tensors are there already" in line for line in view.watched.log)

    drive(script, recipe)
    assert (recipe.parent / "out" / "steered").is_dir()


def test_a_run_goes_on_when_the_view_is_left_and_is_come_back_to(recipe, gate):
    async def begin(view, pilot):
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == RUNNING)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: any("goes on" in line for line in screen(view)))
        await leave_by(view, "g")

    async def again(view, pilot):
        assert view.page.id == "run" and view.path == recipe
        gate.touch()
        await until(pilot, lambda: phase(view) == "done")
        await until(pilot, lambda: "39 of 39" in said(view, "run-nodes-text"))

    drive(begin, recipe)
    drive(again, attached=recipe.parent / "out" / "steered")
    assert (recipe.parent / "out" / "steered").is_dir()


def test_a_run_that_is_paused_goes_on_when_the_view_is_left(recipe, gate):
    async def script(view, pilot):
        await paused(view, pilot)
        gate.touch()
        await pilot.press("ctrl+q")
        await until(pilot, lambda: any("goes on" in line for line in screen(view)))
        await leave_by(view, "g")

    view = drive(script, recipe)
    assert view.runner._own.wait(60) == 0
    assert (recipe.parent / "out" / "steered").is_dir()


def test_weights_that_only_torch_reads_are_looked_at_and_merged_where_that_is_allowed(tmp_path):
    for name in ("a", "b"):
        pickled(tmp_path / name, tensors())
    recipe = tmp_path / "x.merge"
    recipe.write_text('model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')

    async def refused(view, pilot):
        assert view.look.errors and view.look.plan is None

    async def script(view, pilot):
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) in ("done", "failed"))
        assert phase(view) == "done"
        await view.open_model("a")
        await until(pilot, lambda: "deviation" in said(view, "tensor-text"))

    drive(refused, recipe)
    drive(script, recipe, allow_pickle=True)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_leaving_may_cancel_the_run(recipe, gate):
    async def script(view, pilot):
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == RUNNING)
        await pilot.press("ctrl+q")
        await leave_by(view, "c")

    view = drive(script, recipe)
    view.runner._own.wait(60)
    assert not (recipe.parent / "out" / "steered").exists()


def test_a_failure_is_told_with_all_that_is_known_and_tried_again(recipe):
    async def script(view, pilot):
        (recipe.parent / "out").write_text("in the way")
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == "failed")
        await until(pilot, lambda: view.runner.diagnostics or view.runner.errors)
        await until(pilot, lambda: "tries again" in said(view, "run-failure-text"))
        (recipe.parent / "out").unlink()
        await pilot.press("r")
        await until(pilot, lambda: phase(view) == "done")
        assert not view.query_one("#run-failure").display

    drive(script, recipe)


def test_a_process_that_is_killed_is_told(recipe, gate):
    async def script(view, pilot):
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == RUNNING)
        os.kill(view.runner.facts["pid"], 9)
        await until(pilot, lambda: phase(view) == "failed")
        assert "the process of the run has ended" in said(view, "progress")

    drive(script, recipe)


def test_a_source_that_is_gone_stops_the_run_with_its_mistake(recipe):
    async def script(view, pilot):
        shutil.rmtree(recipe.parent / "models" / "chat")
        await pilot.press("f5", "r")
        await until(pilot, lambda: phase(view) == "failed")
        assert "models/chat" in said(view, "run-failure-text")

    drive(script, recipe)


def test_a_run_that_nobody_knows_cannot_be_attached_to(tmp_path):
    with pytest.raises(UsageError, match="E2501"):
        attach(tmp_path / "out")


def test_the_log_of_a_run_from_elsewhere_is_read(tmp_path):
    partial = tmp_path / "out.partial"
    partial.mkdir()
    said_so_far = [
        events.RunStarted(("out",), 2, 100, 50, 1), events.OutputStarted("out", "/out", 2, 50),
        events.TensorDone("out", "t", "compute", 25, 1, "ab"),
    ]  # fmt: skip
    text = "\n".join(map(events.to_json, said_so_far)) + '\n{"event":"Pro'
    (partial / "events.jsonl").write_text(text)
    found = attach(tmp_path / "out")
    assert list(found.heard()) == said_so_far
    with open(partial / "events.jsonl", "a") as file:
        file.write('gress","bytes_read":1,"bytes_written":2,"seconds":3.0,"memory":4}\nnonsense\n')
    assert list(found.heard()) == [events.Progress(1, 2, 3.0, 4)]


def test_a_run_of_the_command_line_is_watched_to_its_end(recipe, gate):
    command = [*runner.COMMAND, "run", str(recipe), "out/blend"]
    with subprocess.Popen(command, cwd=recipe.parent, stderr=subprocess.DEVNULL) as process:
        log = recipe.parent / "out" / "blend.partial" / "events.jsonl"
        while not log.is_file():
            assert process.poll() is None
            time.sleep(0.05)

        async def script(view, pilot):
            await until(pilot, lambda: phase(view) == RUNNING and view.watched.done)
            await pilot.press("p")
            await until(pilot, lambda: "paused" in said(view, "progress"))
            await pilot.press("p")
            await until(pilot, lambda: not view.is_paused)
            gate.touch()
            await until(pilot, lambda: phase(view) == "done")
            assert view.watched.state.outputs["out/blend"].state == "done"
            await pilot.press("o")
            await until(pilot, lambda: view.model is not None)

        drive(script, recipe, attached=recipe.parent / "out" / "blend")
    assert process.returncode == 0


def test_a_run_of_the_command_line_is_followed_from_output_to_output(recipe, gate):
    runner.start(recipe, {}, [str(recipe.parent / "out" / "blend")])._own.kill()  # an older one
    command = [*runner.COMMAND, "run", str(recipe), "--fresh", "--set", "t=0.25"]
    with subprocess.Popen(command, cwd=recipe.parent, stderr=subprocess.DEVNULL) as process:
        log = recipe.parent / "out" / "blend.partial" / "events.jsonl"
        while not log.is_file() or not log.stat().st_size:
            assert process.poll() is None
            time.sleep(0.05)

        async def script(view, pilot):
            await until(pilot, lambda: phase(view) == RUNNING and view.watched.done)
            assert view.runner.facts["pid"] == process.pid
            assert view.path == recipe and view.settings == {"t": "0.25"}
            await until(pilot, lambda: view.is_run_of_this)
            gate.touch()
            await until(pilot, lambda: phase(view) == "done")
            states = {name: each.state for name, each in view.watched.state.outputs.items()}
            assert states == {"out/blend": "done", "out/steered": "done"}

        drive(script, attached=recipe.parent / "out" / "blend")
    assert process.returncode == 0


def test_another_recipe_is_not_taken_for_that_of_the_run(recipe):
    runner.start(recipe, {}, [str(recipe.parent / "out" / "blend")])._own.wait(60)
    other = recipe.with_name("other.merge")
    other.write_text(recipe.read_text())

    async def script(view, pilot):
        await until(pilot, lambda: phase(view) == "done" and view.look.plan is not None)
        assert view.seen_of_run is None and not view.is_run_of_this

    drive(script, other, attached=recipe.parent / "out" / "blend")


def test_logs_of_old_runs_go(recipe, monkeypatch):
    monkeypatch.setattr(runner, "KEPT", 2)
    outputs = [str(recipe.parent / "out" / name) for name in ("blend", "steered")]
    for _ in range(4):
        runner.start(recipe, {}, outputs)._own.wait(60)
    assert len(list(runner._known())) == 2


def test_what_was_heard_is_kept_by_tensor():
    watch = Watch()
    for event in (
        events.RunStarted(("a",), 2, 100, 50, 1), events.OutputStarted("a", "/a", 2, 50),
        events.TensorDone("a", "t", "compute", 25, 1, "ab"), events.Progress(50, 25, 1.5, 9),
        events.TensorDone("a", "u", "copy", 25, 1, "ab"), events.Progress(100, 50, 2.0, 9),
    ):  # fmt: skip
        watch.hear(event)
    assert watch.done == {"a": {"t": 1.5, "u": 0.5}}
    assert watch.log == [
        "run: 2 tensors, 1 threads", "a: begins, 2 tensors, 50 B", "  t  compute, 25 B",
        "  u  copy, 25 B",
    ]  # fmt: skip
    watch.hear(events.FetchStarted(1, 25))
    watch.hear(events.RecipeChanged("a.lock", (("seed", "0", "1"), ("model m", None, "x"))))
    assert watch.log[4:] == [
        "fetching 1 file, 25 B", "since a.lock: seed: 0 → 1", "since a.lock: model m: nothing → x",
    ]  # fmt: skip
    watch.hear(events.noted("W2130", lock="a.lock", reason="disk full"))
    assert watch.log[7:] == [
        "cannot write a.lock: disk full [W2130]",
        "  the outputs are whole; `mergelang lock` writes the lock later",
    ]  # fmt: skip
    watch.lost("gone")
    assert (watch.state.phase, watch.state.outputs["a"].state) == ("failed", "failed")


def test_events_come_back_from_their_lines_of_json():
    for event in (
        events.RunStarted(("a", "b"), 2, 100, 50, 1), events.RunFailed("E0906", "cancelled"),
        events.RunDone(1, 2, 3.0, 4), events.TensorDone("o", 'é"\\\n\x01', "copy", 5, 1, "ab"),
        events.noted("W2130", lock="a.lock", reason="disk full"),
    ):  # fmt: skip
        line = events.to_json(event)
        facts = {"event": type(event).__name__, **vars(event)}
        assert line == json.dumps(facts, separators=(",", ":"))
        assert events.from_json(line) == event
    for line in ("", "{", "[]", '{"event":"Other"}', '{"event":"RunDone"}'):
        assert events.from_json(line) is None


def test_the_page_is_there_when_nothing_runs(recipe):
    async def script(view, pilot):
        await pilot.press("f5")
        text = said(view, "progress")
        assert "reads" in text and f"writes {view.look.plan.bytes_written / 1000:.3g} kB" in text
        assert not view.query_one("#run-middle").display

    drive(script, recipe)


def test_progress_is_of_bytes_read_and_written():
    state = after(RunState(), events.RunStarted(("a",), 3, 300, 100, 1))
    state = after(state, events.Progress(70, 30, 2.0, 5))
    assert (state.share, state.bytes) == (0.25, 100)
