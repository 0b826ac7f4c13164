"""The command line as a process: signals, pipes, terminals, and what it loads."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from mergelang.cli.progress import listener
from mergelang.run import events
from tests.checkpoints import write_model

MERGELANG = [sys.executable, "-m", "mergelang"]
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80",
}  # fmt: skip
ENVIRONMENT.pop("NO_COLOR", None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    for seed, name in enumerate(("a", "b")):
        write_model(folder / name, seed=seed, layers=100)
    (folder / "mix.merge").write_text('model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')
    write_model(folder / "c", seed=2, layers=1)
    (folder / "few.merge").write_text('model c = "c"\noutput "few" = mean(c, 0.5 * c + 0.5 * c)\n')
    (folder / "wrong.merge").write_text('model a = "a"\noutput "out" = nothing(a)\n')
    return folder


def call(folder, *words):
    return subprocess.run(
        [*MERGELANG, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )


def test_the_module_is_the_command(folder):
    done = call(folder, "check", "mix.merge")
    assert (done.returncode, done.stdout, done.stderr) == (0, "mix.merge: ok, 1 output\n", "")
    assert call(folder, "check", "wrong.merge").returncode == 1
    assert call(folder, "chek").returncode == 2


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_ends_with_130_and_the_next_one_goes_on(folder, name):
    # The events of a hundred layers do not fit a pipe, so the run waits until they are read.
    process = subprocess.Popen(
        [*MERGELANG, "run", "mix.merge", "-o", name, "--json"], cwd=folder, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while json.loads(process.stdout.readline())["event"] != "TensorDone":
        pass
    assert [each.name for each in folder.glob(f"{name}*")] == [f"{name}.partial"]
    process.send_signal(getattr(signal, name))
    rest, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted: outputs are whole or as they were before\n"
    left, failed = map(json.loads, rest.splitlines()[-2:])
    assert (left["event"], failed["event"]) == ("Left", "RunFailed")
    assert [each.name for each in folder.glob(f"{name}*")] == [f"{name}.partial"]
    again = call(folder, "run", "mix.merge", "-o", name)
    assert again.returncode == 0
    assert re.match(rf"{name}: goes on, [1-9]\d* of 903 tensors, .* done already\n", again.stderr)
    assert [each.name for each in folder.glob(f"{name}*")] == [name]


def test_a_reader_that_leaves_is_not_an_error(folder):
    process = subprocess.Popen(
        [*MERGELANG, "inspect", "a"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0


def test_a_run_whose_reader_leaves_is_interrupted(folder):
    process = subprocess.Popen(
        [*MERGELANG, "run", "mix.merge", "-o", "left", "--json"], cwd=folder, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while json.loads(process.stdout.readline())["event"] != "TensorDone":
        pass
    process.stdout.close()
    assert process.stderr.read() == "interrupted: outputs are whole or as they were before\n"
    assert process.wait() == 130
    assert [each.name for each in folder.glob("left*")] == ["left.partial"]


def test_nor_is_a_run_whose_reader_never_was_there_done(folder):
    read, write = os.pipe()
    os.close(read)
    words = [*MERGELANG, "run", "mix.merge", "-o", "unread"]
    code = subprocess.run(words, cwd=folder, env=ENVIRONMENT, stdout=write, stderr=write).returncode
    os.close(write)
    assert code == 130


@pytest.mark.parametrize("words", [("inspect", "a"), ("cache", "ls"), ("cache", "ls", "--json")])
def test_nor_is_one_that_was_never_there(folder, words):
    read, write = os.pipe()
    os.close(read)
    unbuffered = ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [*MERGELANG, *words], cwd=folder, env=unbuffered, stdout=write, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def terminal():
    """Both ends of a terminal of 80 by 24; the process gets the second one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def read(terminal: int, until: bytes | None = None) -> bytes:
    """What a terminal shows until a sign, or until the process has left it."""
    shown = b""
    while until is None or until not in shown:
        assert select.select([terminal], [], [], 60)[0], f"nothing more came after {shown[-500:]}"
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
    return shown


def in_terminal(folder, *words, **environment):
    """What a command writes to a terminal: exit code, stdout, and what stderr shows."""
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            [*MERGELANG, *words], cwd=folder, env=ENVIRONMENT | environment, stderr=theirs,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        os.close(theirs)
        shown = read(ours)
    out = process.stdout.read()
    return process.wait(), out.decode(), shown.decode().replace("\r\n", "\n")


def test_on_a_terminal_a_run_shows_a_bar_with_bytes_rate_and_time_left(folder):
    code, out, shown = in_terminal(folder, "run", "few.merge", "-o", "seen")
    assert (code, out) == (0, "")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"seen ━+ +[\d.]+/[\d.]+ [kM]B ([\d.]+ [kM]B/s|\?) (-|\d):", text)
    assert re.search(r"\rseen: [\d.]+ kB in \d+\.\d s, [\d.]+ [kM]B/s\n", text)
    assert shown.rstrip().endswith("\x1b[2K"), "the bar is gone in the end"


def test_the_bar_takes_no_thread_beside_which_workers_could_not_be_processes(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = threading.active_count()
    with listener(False) as listen:
        listen(events.RunStarted(("out",), 1, 10, 10, 2))
        listen(events.Progress(5, 5, 1.0, 0))
        assert threading.active_count() == before


def test_mistakes_are_coloured_on_a_terminal_unless_nobody_wants_it(folder):
    assert "\x1b[1;31merror[E0301]\x1b[0m" in in_terminal(folder, "check", "wrong.merge")[2]
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown = in_terminal(folder, "check", "wrong.merge", **environment)[2]
        assert shown == call(folder, "check", "wrong.merge").stderr


def test_what_the_encoding_of_a_terminal_lacks_is_escaped(folder):
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*MERGELANG, "graph", "mix.merge"], cwd=folder, env=environment, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"mean(a, b)" in done.stdout and rb"\u250c" in done.stdout


F5 = b"\x1b[15~"


def test_the_terminal_view_runs_the_recipe_and_is_left_by_a_key(folder):
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            [*MERGELANG, "tui", "few.merge"], cwd=folder, env=ENVIRONMENT, stdin=theirs,
            stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        read(ours, until=b"1 output")
        os.write(ours, F5)
        read(ours, until=b"nothing runs")
        os.write(ours, b"r")
        read(ours, until=b"done")
        os.write(ours, b"q")
        read(ours)
    assert process.wait() == 0
    assert (folder / "few" / "model.safetensors").is_file()


HEAVY = {"torch", "textual", "transformers", "numpy", "rich", "safetensors"}


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--help"], {"argparse", "lark", "networkx", "importlib.metadata"}),
        (["check", "mix.merge"], {"networkx"}),
        (["fmt", "--check", "mix.merge"], {"networkx"}),
        (["plan", "mix.merge"], {"networkx"}),
        (["graph", "mix.merge"], {"networkx"}),
        (["inspect", "a"], {"lark", "networkx"}),
        (["ops"], {"lark", "networkx"}),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_command_loads_only_what_it_needs(folder, words, unused):
    script = (
        f"from mergelang.cli.app import main; assert main({words}) == 0\n"
        "import sys; print('\\n', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & (HEAVY | unused)
