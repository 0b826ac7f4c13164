"""`native.c`, built by the machine's own C compiler when it is first wanted, and kept.

Where there is none, or `MERGELANG_NATIVE=0`, blocks are computed by torch and numpy: the same bytes
in up to three times the time, for ranks within rows in seven times. Nothing is built ahead, so that
the package is the same everywhere.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import blake2b
from pathlib import Path

from mergelang.files import cache_folder

SOURCE = Path(__file__).with_name("native.c")

FLAGS = (
    "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-shared", "-fPIC", "-lm",
)  # fmt: skip
"""No fused multiply-add and no fast arithmetic: each operation is rounded on its own."""


DIGEST = 16
"""Bytes at the end of the built file that are a digest of all others: to load one that was cut
short ends the process. What loads it does not look behind its sections."""


@cache
def library() -> ctypes.CDLL | None:
    """The built code, or None where there is none."""
    if os.environ.get("MERGELANG_NATIVE") == "0" or not platform.machine().startswith("x86"):
        return None
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    text = SOURCE.read_bytes()
    key = _digest(b"\0".join((text, " ".join(FLAGS).encode(), _cpu()))).hex()
    built = cache_folder() / "native" / f"{key}.so"
    try:
        if not _is_whole(built):
            _build(compiler, built)
        code = ctypes.CDLL(str(built))
        code.run.restype = ctypes.c_int64
        return code
    except (OSError, subprocess.SubprocessError):
        return None


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST).digest()


def _is_whole(built: Path) -> bool:
    try:
        data = built.read_bytes()
    except FileNotFoundError:
        return False
    return data[-DIGEST:] == _digest(data[:-DIGEST])


def _build(compiler: str, into: Path) -> None:
    """Beside its place, then put there in one step: two runs may build at once."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        made = Path(folder) / into.name
        command = [compiler, str(SOURCE), *FLAGS, "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        with made.open("r+b") as file:
            file.write(_digest(file.read()))
        os.replace(made, into)


def _cpu() -> bytes:
    """What tells CPUs apart for which other code would be built."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            facts = {line for line in file if line.startswith((b"flags", b"model name"))}
        return b"".join(sorted(facts))
    except OSError:
        return platform.processor().encode()
