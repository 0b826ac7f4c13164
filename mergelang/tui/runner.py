"""A run in a process of its own, whose events are read from a file. Knows no widgets.

The process does not depend on the view: it writes its events to a file in a folder of its own under
the cache folder, so it goes on when the view is closed, and another view can be attached to it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mergelang.errors import UsageError
from mergelang.files import cache_folder
from mergelang.run import events

INTERRUPTED = "interrupted: outputs are whole or as they were before"
"""What `mergelang run` says last when it is interrupted."""

KEPT = 20
"""Logs of ended runs that are kept."""

COMMAND = (sys.executable, "-m", "mergelang")

STOPPED = ("T", "t")
"""The letters of a process that has been stopped."""

FACTS, LOG, ERRORS, LOCK = "run.json", "events.jsonl", "errors.txt", "lock"


class Runner:
    """A run that goes on or has gone on elsewhere, with what is known of it and its log.

    `own` is its process where this view has started it. A run of the command line keeps a log in
    the folder of each output while that is written: they are read one after the other.
    """

    def __init__(self, log: Path, facts: Mapping[str, Any], own: "subprocess.Popen | None" = None):
        self.facts = facts
        self.diagnostics: list[Mapping[str, Any]] = []
        self._log, self._own = log, own
        self._file: IO[bytes] | None = None
        self._rest = b""
        self._has_begun = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Absolute paths of the folders it writes."""
        return tuple(self.facts.get("outputs", ()))

    @property
    def is_of_command_line(self) -> bool:
        """Whether its log lies in the folder of an output."""
        return "time" not in self.facts

    @property
    def recipe(self) -> Path | None:
        return Path(self.facts["recipe"]) if "recipe" in self.facts else None

    def heard(self) -> Iterator[events.Event]:
        """What it has said since this was last asked."""
        for text in self._lines():
            if text.startswith('{"event":"Diagnostics"'):
                with suppress(ValueError):
                    self.diagnostics += json.loads(text)["diagnostics"]
                continue
            event = events.from_json(text)
            if isinstance(event, events.RunStarted):
                if self._has_begun:  # each log of one run tells it
                    continue
                self._has_begun = True
            if event is not None:
                yield event

    def _lines(self) -> Iterator[str]:
        """What has come to the log, and to those that follow it."""
        while True:
            try:
                # Kept open: a run of the command line takes its log away with the folder.
                self._file = self._file or self._log.open("rb")
                is_gone = os.fstat(self._file.fileno()).st_nlink == 0
                data = self._file.read()
            except OSError:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            following = self._next_log() if is_gone else None
            if following is None:
                return
            self._file.close()
            self._log, self._file, self._rest = following, None, b""

    def _next_log(self) -> Path | None:
        """The log of the output that is written now, by the process that wrote those before."""
        for path in map(Path, self.outputs):
            log = partial_of(path) / LOG
            if log != self._log and log.is_file() and _signed(log) == self.facts.get("pid"):
                return log
        return None

    @property
    def errors(self) -> str:
        """What it wrote on its standard error: of a process that broke, why."""
        try:
            return (self._log.parent / ERRORS).read_text(errors="replace").strip()
        except OSError:
            return ""

    @property
    def was_interrupted(self) -> bool:
        """Whether it has ended by an interrupt, which may come before it can say so itself."""
        if self._own is not None:
            return self._own.poll() in (130, -signal.SIGINT)
        return self.errors.splitlines()[-1:] == [INTERRUPTED]

    @property
    def is_alive(self) -> bool:
        if self._own is not None:
            return self._own.poll() is None
        pid = self.facts.get("pid")
        return pid is not None and _began(pid) == self.facts.get("began")

    @property
    def paused(self) -> bool:
        """Whether it stands still, whoever has stopped it."""
        return self.is_alive and _state(self.facts.get("pid", 0))[0] in STOPPED

    @property
    def has_written(self) -> bool:
        """Whether all it writes lies there whole; of a run that has ended without a word."""
        paths = list(map(Path, self.outputs))
        return all(each.is_dir() and not partial_of(each).exists() for each in paths)

    def pause(self) -> None:
        """Stops it where it stands, with all its workers, as ctrl+z does in a shell."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def cancel(self) -> None:
        """Interrupts it, as ctrl+c does in a shell; outputs stay as they were before."""
        self._send(signal.SIGINT)
        self.resume()

    def _send(self, number: int) -> None:
        pid = self.facts.get("pid")
        if pid is not None and self.is_alive:
            with suppress(OSError):
                # One that a script has started shares its group with others.
                (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)


def start(
    recipe: Path, settings: Mapping[str, str], outputs: Sequence[str], *,
    memory: int | None = None, allow_pickle: bool = False,
) -> Runner:  # fmt: skip
    """Starts `mergelang run` on a recipe. `outputs` are the folders it will write.

    `memory` are the bytes it may take, by default those of the command. Raises UsageError where no
    log can be written.
    """
    command = [*COMMAND, "run", str(recipe.absolute()), "--json"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    if memory is not None:
        command += ["--memory", f"{memory}B"]
    command += ["--allow-pickle"] * allow_pickle
    folder = _fresh()
    with open(folder / LOG, "wb") as log, open(folder / ERRORS, "wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=errors,
            cwd=recipe.absolute().parent, start_new_session=True,
        )  # fmt: skip
    facts = {
        "pid": process.pid, "began": _began(process.pid), "recipe": str(recipe.absolute()),
        "settings": dict(settings), "outputs": list(outputs), "time": time.time(),
    }  # fmt: skip
    (folder / FACTS).write_text(json.dumps(facts))
    return Runner(folder / LOG, facts, process)


def attach(output: Path) -> Runner:
    """The last run that wrote or writes an output. Raises UsageError where none is known."""
    path = str(output.absolute())
    found = [
        (facts["time"], folder) for folder, facts in _known() if path in facts.get("outputs", ())
    ]
    began, folder = max(found, default=(0.0, None))
    facts = (folder and _facts(folder)) or {}
    log = partial_of(output) / LOG
    if log.is_file() and not (
        facts and (_lives(facts) or _signed(log) == facts["pid"] or log.stat().st_mtime < began)
    ):
        return Runner(log, _told(log, path))
    if folder is None:
        raise UsageError("E2501", path=str(output))
    return Runner(folder / LOG, facts)


def partial_of(output: Path) -> Path:
    """Where a run keeps an output that is not finished, with its log and its lock."""
    return output.with_name(output.name + ".partial")


def _signed(log: Path) -> int | None:
    """The process that wrote a log in the folder of an output, whether it runs or not."""
    try:
        return int(log.with_name(LOCK).read_text())
    except (OSError, ValueError):
        return None


def _told(log: Path, path: str) -> dict[str, Any]:
    """What is known of a run of the command line that wrote a log for the output at `path`."""
    facts: dict[str, Any] = {"outputs": [path]}
    with suppress(OSError, StopIteration), log.open("rb") as file:
        event = events.from_json(next(file).decode(errors="replace"))
        if isinstance(event, events.RunStarted) and path in event.paths:
            facts = {"outputs": event.paths, "settings": event.settings}
            facts |= {"recipe": event.recipe} if event.recipe else {}
    pid = _signed(log)
    began = None if pid is None else _began(pid)
    return facts | ({"pid": pid, "began": began} if began else {})


def _fresh() -> Path:
    """A folder for a run; those of runs that ended long ago go."""
    root = cache_folder() / "runs"
    try:
        old = sorted((facts["time"], folder) for folder, facts in _known() if not _lives(facts))
        for _, folder in old[: max(0, len(old) + 1 - KEPT)]:
            _remove(folder)
        folder = root / f"{time.time_ns():x}-{os.getpid()}"
        folder.mkdir(mode=0o700, parents=True)
        return folder
    except OSError as error:
        raise UsageError("E1016", path=str(root), reason=str(error.strerror).lower()) from error


def _known() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    root = cache_folder() / "runs"
    for folder in root.iterdir() if root.is_dir() else ():
        facts = _facts(folder)
        if facts is not None:
            yield folder, facts


def _facts(folder: Path) -> Mapping[str, Any] | None:
    try:
        return json.loads((folder / FACTS).read_text())
    except (OSError, ValueError):
        return None


def _remove(folder: Path) -> None:
    for name in (FACTS, LOG, ERRORS):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _lives(facts: Mapping[str, Any]) -> bool:
    return _began(facts["pid"]) == facts.get("began") is not None


def _began(pid: int) -> str | None:
    """When a process began, so that another one of the same number is not taken for it.

    None for one that is not there any more, or that has ended and is only remembered.
    """
    state, began = _state(pid)
    return None if state == "Z" else began


def _state(pid: int) -> tuple[str, str | None]:
    """The letter of a process's state, and when it began; of none an empty one, and None."""
    try:
        found = re.match(r".*\) (\S)(?: \S+){18} (\S+)", Path(f"/proc/{pid}/stat").read_text())
        return (found[1], found[2]) if found else ("", None)
    except OSError:
        pass
    if Path("/proc/self").exists():
        return "", None
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    state, _, began = said.strip().partition(" ")
    return state[:1], began.strip() or None
