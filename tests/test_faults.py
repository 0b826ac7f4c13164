"""A run on a disk that fails at any call, or whose power is cut there; and runs that are killed.

After each the output is as it was or whole, and a later run completes it to the same bytes.
"""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.errors import RunError
from mergelang.plan.memory import minimum_memory
from mergelang.run import disk, journal
from tests.checkpoints import write_arrays
from tests.faults import Disk, Full, PowerCut, Short, Volatile, failing

RECIPE = """\
param t = 0.3
model a = "../a"
model b = "../b"
output "out" = match { w1 => slerp(a, b, t: t), _ => a } { shards: 200kB }
"""

SPILLING = """\
model a = "../a"
model b = "../b"
output "out" = b + iso_c(a - b) + 0.5 * tsv(a - b, b - a)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An output of three tensors in two files, as a first run has written it."""
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(journal, "PAUSE", 0)
    rng = np.random.default_rng(0)
    for name in "ab":
        tensors = {f"w{i}": (rng.normal(size=30_000), "F32") for i in range(3)}
        write_arrays(tmp_path / name, tensors)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "x.merge").write_text(RECIPE)
    return folder


def run(folder: Path, t: str = "0.4") -> None:
    mergelang.load(folder / "x.merge", {"t": t}).run(threads=1)


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()} if path.exists() else {}


def wanted(folder: Path) -> dict[str, bytes]:
    run(folder)
    return contents(folder / "out")


def states(folder: Path, first: str) -> list[dict[str, bytes]]:
    """What the output may hold before, and has to hold in the end."""
    new = wanted(folder)
    if first == "nothing":
        disk.remove(folder / "out")
        return [{}, new]
    run(folder, "0.3")
    return [contents(folder / "out"), new]


def again(folder: Path, first: str) -> None:
    """Puts the output as it is before the run."""
    disk.remove(folder / "out.partial")
    if first == "nothing":
        disk.remove(folder / "out")
    else:
        run(folder, "0.3")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "fault"),
    [("an old output", "EIO"), ("nothing", "full"), ("an old output", "full"),
     ("an old output", "short")],
)  # fmt: skip
def test_whichever_call_fails_the_output_is_old_or_new_and_a_later_run_ends_it(
    folder, monkeypatch, first, fault
):
    before, new = states(folder, first)
    kinds = {"EIO": lambda at: Disk(at, failing(errno.EIO)), "full": Full, "short": Short}
    failed = 0
    for at in range(1, 1000):
        faulty = kinds[fault](at)
        with monkeypatch.context() as patched:
            patched.setattr(disk, "os", faulty)
            try:
                run(folder)
            except RunError as error:
                assert fault != "short"
                assert error.code == "E0907" and "\n" not in error.facts["reason"]
                failed += 1
        assert contents(folder / "out") in (before, new), f"call {at}"
        run(folder)
        assert contents(folder / "out") == new, f"call {at}"
        assert not (folder / "out.partial").exists() or fault != "short"
        again(folder, first)
        if faulty.count < at:
            break
    assert at > 40
    assert failed > at / 2 or fault == "short"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Full, Short])
def test_whichever_write_of_values_that_wait_on_the_disk_fails(folder, monkeypatch, kind):
    rng = np.random.default_rng(0)
    for name in "ab":
        write_arrays(folder.parent / name, {"w": (rng.normal(size=(60, 700)), "F32")})
    (folder / "x.merge").write_text(SPILLING)
    recipe = mergelang.load(folder / "x.merge")
    memory = minimum_memory(recipe.plan(memory=0, cache="none"))

    def run() -> None:
        recipe.run(threads=1, memory=memory, cache="none")

    plan = recipe.plan(memory=memory, cache="none")
    assert plan.outputs[0].tasks[0].spills
    run()
    new = contents(folder / "out")
    disk.remove(folder / "out")
    for at in range(1, 1000):
        faulty = kind(at)
        with monkeypatch.context() as patched:
            patched.setattr(disk, "os", faulty)
            try:
                run()
            except RunError as error:
                assert kind is Full and error.code == "E0907"
                assert "\n" not in error.facts["reason"]
        assert contents(folder / "out") in ({}, new), f"call {at}"
        run()
        assert contents(folder / "out") == new, f"call {at}"
        again(folder, "nothing")
        if faulty.count < at:
            break
    assert at > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "exchanging"),
    [("nothing", True), ("an old output", True), ("an old output", False)],
)
def test_whenever_the_power_is_cut_the_output_is_old_or_new_and_a_later_run_ends_it(
    folder, monkeypatch, first, exchanging
):
    if not exchanging:
        monkeypatch.setattr(disk, "exchange", lambda one, other: False)
    before, new = states(folder, first)
    for at in range(1, 1000):
        volatile = Volatile(at, folder)
        with monkeypatch.context() as patched:
            patched.setattr(disk, "os", volatile)
            with contextlib.suppress(PowerCut):
                run(folder)
        if not volatile.over:
            break
        volatile.restart()
        # Of two steps the first may be on the disk: the next run ends them.
        assert contents(folder / "out") in (before, new, *([{}] * (not exchanging))), f"call {at}"
        run(folder)
        assert contents(folder / "out") == new, f"call {at}"
        again(folder, first)
    assert at > 40


@pytest.mark.slow
def test_killed_at_random_moments_a_run_is_never_half_there_and_ends_in_the_same_bytes(tmp_path):
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.kills", str(tmp_path), "--count", "5", "--size", "2"],
        cwd=root, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("5 kills, ")
