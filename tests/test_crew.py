"""Worker processes: what ends one of them, holds them, or leaves them alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.errors import Cancelled, RunError
from mergelang.run import crew, events
from mergelang.run.crew import CHUNK, LEAST, _chunks
from mergelang.run.workers import Control
from tests.bench.process import family
from tests.checkpoints import write_arrays
from tests.interpret import read_tensors

NAMES = [f"w{i}" for i in range(8)]
MOST = CHUNK // LEAST


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> mergelang.Recipe:
    """Two models of eight tensors, each of which a process takes alone."""
    monkeypatch.setattr(crew, "CHUNK", 1)
    for number, name in enumerate(("a", "b")):
        values = {each: (np.full(1 << 16, number + 1.0), "F32") for each in NAMES}
        write_arrays(tmp_path / name, values)
    path = tmp_path / "test.merge"
    path.write_text('model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')
    return mergelang.load(path)


def workers() -> list[int]:
    return family(os.getpid())[1:]


def test_a_worker_that_is_killed_ends_the_run_and_nothing_is_left(recipe, tmp_path):
    control = Control()
    control.pause()  # so that there is work left when it happens

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progress):
            for each in workers():
                os.kill(each, signal.SIGKILL)

    with pytest.raises(RunError) as caught:
        recipe.run(threads=2, processes=True, control=control, listener=listen)
    assert str(caught.value).startswith("error[E0910]: the worker process ")
    assert "was ended from outside" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert workers() == []


@pytest.mark.parametrize("error", [RunError("E0902", path="a", offset=8), None])
def test_a_worker_that_fails_while_it_is_given_more_says_why(recipe, monkeypatch, error):
    """It is gone before it is sent anything, and what it said is still to be read."""
    start = crew.Crew._start

    def begin(self: crew.Crew, number: int) -> None:
        if number:
            return start(self, number)
        ours, theirs = Pipe()
        if error is not None:
            theirs.send(error)
        theirs.close()
        self._given[ours], self._processes[ours] = [], os.posix_spawn("/bin/true", ["true"], {})

    monkeypatch.setattr(crew.Crew, "_start", begin)
    with pytest.raises(RunError, match="E0902" if error else "E0910"):
        recipe.run(threads=2, processes=True)
    assert workers() == []


def test_held_workers_go_on_when_they_may(recipe, tmp_path):
    control = Control()
    control.pause()
    threading.Timer(0.3, control.resume).start()
    recipe.run(threads=2, processes=True, control=control)
    assert {float(each[0]) for each in read_tensors(tmp_path / "out").values()} == {1.5}
    assert workers() == []


def test_a_cancelled_run_ends_its_workers(recipe, tmp_path):
    control = Control()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.TensorDone):
            control.cancel()

    with pytest.raises(Cancelled):
        recipe.run(threads=2, processes=True, control=control, listener=listen)
    assert not (tmp_path / "out").exists()
    assert workers() == []


def test_workers_end_when_the_run_is_killed(recipe, tmp_path):
    script = f"""
import mergelang
from mergelang.run import crew
from mergelang.run.workers import Control
from tests.bench.process import family
import os
crew.CHUNK, control = 1, Control()
control.pause()
def listen(event):
    if type(event).__name__ == "Progress":
        print(*family(os.getpid())[1:], flush=True)
mergelang.load({str(tmp_path / "test.merge")!r}).run(
    threads=2, processes=True, control=control, listener=listen)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    children = [int(each) for each in run.stdout.readline().split()]
    assert len(children) == 2
    run.kill()
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 60
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_lives, children))


def _lives(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Sized:
    holds = 0

    def __init__(self, nbytes: int):
        self.nbytes = nbytes


@pytest.mark.parametrize(
    ("sizes", "chunks"),
    [
        ([], []),
        ([0, 0], [(0, 1)]),
        ([CHUNK // 2, CHUNK // 2, 1], [(0, 1), (2,)]),
        ([1] * (MOST + 1), [tuple(range(MOST)), (MOST,)]),
        ([1, CHUNK + 1, 1, CHUNK + 2], [(3,), (1,), (0,), (2,)]),
    ],
)
def test_neighbours_go_together_up_to_a_chunk_and_large_ones_first(sizes, chunks):
    assert _chunks([Sized(each) for each in sizes]) == chunks
