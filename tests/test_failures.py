"""Runs that fail, are stopped or held: what is said, and what lies at the output's path after."""

import errno
import os
import re
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import mergelang
from mergelang.api import run
from mergelang.errors import Cancelled, RecipeError, RunError
from mergelang.run import events, workers
from mergelang.run.workers import Control
from tests.checkpoints import write_arrays
from tests.interpret import read_tensors


def write(folder: Path, **tensors: tuple[object, str]) -> Path:
    return write_arrays(folder, tensors)


def recipe(
    folder: Path, expression: str, models: str = "ab", options: str = ""
) -> mergelang.Recipe:
    lines = [*(f'model {name} = "{name}"' for name in models), f'output "out" = {expression}']
    path = folder / "test.merge"
    path.write_text("\n".join(lines) + f" {options}\n")
    return mergelang.load(path)


@pytest.fixture
def two(tmp_path) -> Path:
    """Two models of some tensors, `a` of ones and `b` of threes."""
    for name, value in (("a", 1), ("b", 3)):
        write(tmp_path / name, **{f"w{i}": (np.full(1000, value), "F32") for i in range(8)})
    return tmp_path


def left(folder: Path) -> list[str]:
    """What lies in the folder beside models, recipe and lock."""
    ours = {"a", "b", "c", "test.merge", "test.merge.lock"}
    return sorted(each.name for each in folder.iterdir() if each.name not in ours)


# Integers and bools


@pytest.mark.parametrize("dtype", ["I64", "BOOL"])
def test_integers_and_bools_are_copied_where_all_inputs_agree(tmp_path, dtype):
    counts = np.array([3, 0, 1])
    write(tmp_path / "a", w=(np.ones(5), "F32"), n=(counts, dtype))
    write(tmp_path / "b", w=(np.zeros(5), "F32"), n=(counts, dtype))
    recipe(tmp_path, "mean(a, b)", options="{ dtype: bf16 }").run()
    got = read_tensors(tmp_path / "out")
    assert torch.equal(got["n"], read_tensors(tmp_path / "a")["n"])
    assert got["w"].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["I64", "BOOL"])
def test_integers_and_bools_that_differ_stop_the_run_unless_one_is_chosen(tmp_path, dtype):
    write(tmp_path / "a", w=(np.ones(5), "F32"), n=(np.array([1, 0]), dtype))
    write(tmp_path / "b", w=(np.zeros(5), "F32"), n=(np.array([0, 0]), dtype))
    with pytest.raises(RunError, match=rf"tensor n \({dtype}\) differs between .*a/.*b/"):
        recipe(tmp_path, "mean(a, b)").run()
    assert "out" not in left(tmp_path)
    recipe(tmp_path, "match { n => b, _ => mean(a, b) }").run()
    assert torch.equal(read_tensors(tmp_path / "out")["n"], read_tensors(tmp_path / "b")["n"])


# Numbers that are not finite


@pytest.mark.parametrize("expression", ["a", "mean(a, b)", "ties(a, base: b)"])
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "NaN"), (-np.inf, "inf")])
def test_a_damaged_input_stops_the_run_with_tensor_and_position(
    tmp_path, expression, value, shown
):
    data = np.ones((40, 1000))
    data[33, 7] = value
    write(tmp_path / "a", w=(data, "BF16"))
    write(tmp_path / "b", w=(np.ones((40, 1000)), "BF16"))
    one = recipe(tmp_path, expression)
    with pytest.raises(RunError, match=rf"(?i)tensor w of .*a/model.*{shown}.* element 33007"):
        one.run()
    assert left(tmp_path) == []
    one.run(allow_nonfinite=True)
    got = read_tensors(tmp_path / "out")["w"].reshape(-1)
    damaged = (~got.isfinite()).nonzero().flatten().tolist()
    # An election leaves out what has no sign.
    assert damaged == ([] if expression.startswith("ties") and np.isnan(value) else [33007])


@pytest.mark.parametrize("method", ["tsv", "iso_c", "iso_cts"])
def test_a_damaged_matrix_that_is_let_through_is_damaged_as_a_whole(tmp_path, method):
    for name, value in (("a", 1), ("b", np.nan)):
        write(tmp_path / name, w=(np.diag([value, 2, 3]), "F32"), v=(np.ones(3), "F32"))
    recipe(tmp_path, f"{method}(b, a, base: a)").run(allow_nonfinite=True)
    got = read_tensors(tmp_path / "out")
    assert got["w"].isnan().all() and got["v"].isfinite().all()


@pytest.mark.parametrize("shape", [(6, 6), (6, 4), (4, 6)])
def test_a_decomposition_that_does_not_converge_is_made_of_the_matrix_turned_round(
    monkeypatch, shape
):
    import torch

    from mergelang.ops.kernels import spectral

    matrices = [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    wanted = spectral.iso_cts(*matrices, own=1)
    decompose, tried = torch.linalg.svd, []

    def failing(x: torch.Tensor, full_matrices: bool) -> object:
        tried.append(x)
        if len(tried) % 2:
            raise torch.linalg.LinAlgError("failed to converge")
        return decompose(x, full_matrices=full_matrices)

    monkeypatch.setattr(torch.linalg, "svd", failing)
    torch.testing.assert_close(spectral.iso_cts(*matrices, own=1), wanted)
    pairs = list(zip(tried[::2], tried[1::2], strict=True))
    assert len(pairs) == 5 and all(torch.equal(x, y.T) for x, y in pairs)


def test_a_result_too_large_for_its_dtype_stops_the_run(tmp_path):
    write(tmp_path / "a", w=(np.array([1, 2, 40000]), "F16"))
    one = recipe(tmp_path, "as_model(2 * a)", "a")
    with pytest.raises(RunError, match=r"gives 80000.0 for tensor w at element 2, which F16"):
        one.run()
    assert left(tmp_path) == []
    one.run(allow_nonfinite=True)
    assert read_tensors(tmp_path / "out")["w"].tolist() == [2, 4, np.inf]


# Files that go away, disks that are full


def test_an_input_that_goes_away_after_planning_is_named(two):
    plan = recipe(two, "mean(a, b)").plan()
    (two / "b" / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"cannot read .*b/model.safetensors: No such file"):
        run(plan)
    assert left(two) == []


@pytest.mark.parametrize("expression", ["mean(a, b)", "b"])
def test_an_input_cut_short_after_planning_is_named(two, expression):
    plan = recipe(two, expression).plan()
    size = (two / "b" / "model.safetensors").stat().st_size
    os.truncate(two / "b" / "model.safetensors", size - 4)
    with pytest.raises(RunError, match=r"E2001.*b/model.safetensors was changed while it was read"):
        run(plan)
    assert left(two) == []


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync"])
@pytest.mark.parametrize("expression", ["mean(a, b)", "a"])
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(two, monkeypatch, call, expression):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError) as caught:
        recipe(two, expression).run()
    first = str(caught.value).splitlines()[0]
    assert first.startswith("error[E0907]: cannot write ")
    assert re.search(r"/out\.partial(/\S+)?: No space left on device$", first)
    assert left(two) == []


# Stopping and holding


def test_a_cancelled_run_leaves_what_is_done_beside_the_output_and_tells_so(two):
    control, seen = Control(), []

    def listen(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.TensorDone):
            control.cancel()

    with pytest.raises(Cancelled):
        recipe(two, "mean(a, b)").run(threads=1, control=control, listener=listen)
    assert sum(isinstance(each, events.TensorDone) for each in seen) == 1
    assert isinstance(seen[-1], events.RunFailed) and seen[-1].code == "E0906"
    assert seen[-2] == events.Left("out", 1, 8)
    assert left(two) == ["out.partial"]


def test_an_interrupt_of_a_run_that_is_held_ends_it_and_leaves_nothing(two):
    control = Control()
    control.pause()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipe(two, "mean(a, b)").run(listener=listen, control=control)
    assert left(two) == []


def test_an_interrupt_while_the_threads_start_waits_for_those_that_run(two, monkeypatch):
    class Thread(threading.Thread):
        started: ClassVar = []

        def start(self) -> None:
            if self.started:
                raise KeyboardInterrupt
            self.started.append(self)
            super().start()

    monkeypatch.setattr(workers, "Thread", Thread)
    control = Control()
    control.pause()
    with pytest.raises(KeyboardInterrupt):
        recipe(two, "mean(a, b)").run(threads=2, processes=False, control=control)
    assert not Thread.started[0].is_alive()
    assert left(two) == []


def test_a_paused_run_waits_until_it_is_resumed(two):
    control, order = Control(), []

    def resume() -> None:
        order.append("resumed")
        control.resume()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.TensorDone):
            order.append(event.tensor)
            if event.tensor == "w2":
                control.pause()
                threading.Timer(0.3, resume).start()

    recipe(two, "mean(a, b)").run(threads=1, control=control, listener=listen)
    assert order == ["w0", "w1", "w2", "resumed", "w3", "w4", "w5", "w6", "w7"]


def test_a_paused_run_can_be_cancelled(two):
    control = Control()
    control.pause()
    threading.Timer(0.1, control.cancel).start()
    with pytest.raises(Cancelled):
        recipe(two, "mean(a, b)").run(control=control)
    assert left(two) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_that_raises_is_told_in_one_line_with_its_tensor(two, monkeypatch, threads):
    from mergelang.ops.kernels import spectral

    def broken(*matrices: object, **options: object) -> None:
        raise ValueError("no convergence\nand more")

    monkeypatch.setattr(spectral, "iso_c", broken)
    for name in "ab":
        write(two / name, w=(np.ones((4, 4)), "F32"))
    with pytest.raises(RunError, match=r"E2005.*on tensor w failed: ValueError: no .*") as e:
        recipe(two, "iso_c(a, base: b)").run(threads=threads)
    assert e.value.exit_code == 3
    assert "out" not in left(two)


# What stood there before


def test_an_old_output_is_whole_until_the_new_one_takes_its_place(two):
    recipe(two, "a").run()
    values = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.TensorDone | events.OutputDone):
            values.append(float(read_tensors(two / "out")["w7"][0]))

    recipe(two, "mean(a, b)").run(threads=1, listener=listen)
    assert values == [1.0] * 8 + [2.0]
    assert left(two) == ["out"]


def test_a_failed_run_leaves_the_old_output_as_it_was(two):
    recipe(two, "a").run()
    before = {each.name: each.read_bytes() for each in (two / "out").iterdir()}
    plan = recipe(two, "mean(a, b)").plan()
    (two / "b" / "model.safetensors").unlink()
    with pytest.raises(RunError):
        run(plan)
    assert {each.name: each.read_bytes() for each in (two / "out").iterdir()} == before
    assert left(two) == ["out"]


def test_a_folder_with_files_of_others_is_refused(two):
    recipe(two, "a").run()
    (two / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"E0811.*`notes\.txt`"):
        recipe(two, "mean(a, b)").run()
    assert (two / "out" / "notes.txt").read_text() == "mine"
