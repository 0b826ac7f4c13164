"""Wall time and peak memory of merges, beside what the machine takes to read, copy and sync.

    python -m tests.bench.measure [--models DIR] [--size 1.1b] [--pairs 3] [--only linear ties]
                                  [--json FILE]

Makes the models (see `models.py`) unless they are there, brings them into the page cache, then runs
each merge and the floor in turn, pair by pair, as whole processes:

    floor   cat INPUTS >/dev/null; cp --reflink=never ONE_INPUT OUT; sync OUT

T is the wall time of `mergelang run` less that of importing torch, measured in the same run.
Memory is the largest resident size the kernel saw. These are no tests: nothing fails by being slow.
"""

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import models

MERGES = {
    "linear": (2, "linear(a { weight: 0.3 }, b { weight: 0.7 })"),
    "slerp": (2, "slerp(a, b, t: 0.4)"),
    "task_arithmetic": (3, "task_arithmetic(a { weight: 0.6 }, b { weight: 0.5 }, base: base)"),
    "dare": (3, "dare(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "dare_ties": (3, "dare_ties(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "ties": (3, "ties(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "stack": (2, "stack(a[..11], b[11..])"),
    "affine": (3, "base + 0.5 * (a - base) + 0.7 * (b - base) - 0.1 * (a - b)"),
    "nuslerp": (2, "nuslerp(a { weight: 0.4 }, b { weight: 0.6 })"),
    "model_stock": (3, "model_stock(a, b, base: base)"),
    "nearswap": (2, "nearswap(a, t: 0.001, base: b)"),
    "ram": (3, "ram(a, b, base: base)"),
    "breadcrumbs": (3, "breadcrumbs(a, b, density: 0.5, base: base)"),
    "sce": (3, "sce(a, b, select_topk: 0.5, base: base)"),
    "della": (3, "della(a, b, density: 0.5, base: base)"),
}
"""For each merge how many models it reads, and its expression."""

NAMES = {2: ("a", "b"), 3: ("a", "b", "base")}


def process(command: list[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of one process; its failure is ours."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{shlex.join(command)} failed:\n{said.decode()}")
    return seconds, usage.ru_maxrss * 1024


def floor(inputs: list[Path], out: Path) -> float:
    files = [shlex.quote(str(path / "model.safetensors")) for path in inputs]
    copy = f"cp --reflink=never {files[0]} {out} && sync {out}"
    seconds, _ = process(["sh", "-c", f"cat {' '.join(files)} >/dev/null && {copy}"])
    out.unlink()
    return seconds


def recipe(folder: Path, name: str, paths: dict[str, Path]) -> Path:
    count, expression = MERGES[name]
    lines = [f'model {each} = "{paths[each]}"' for each in NAMES[count]]
    path = folder / f"{name}.merge"
    path.write_text("\n".join([*lines, f'output "out/{name}" = {expression}', ""]))
    return path


def summary(samples: list[float]) -> str:
    middle = statistics.median(samples)
    return f"{middle:.2f} ({min(samples):.2f}..{max(samples):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="measure merges against the machine's own limit")
    parser.add_argument("--models", type=Path, default=Path("/tmp/mergelang-bench"))
    parser.add_argument("--size", choices=models.SIZES, default="1.1b")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=MERGES, default=list(MERGES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    folder = arguments.models / arguments.size
    base, a, b = models.make(folder, arguments.size)
    paths = {"base": base, "a": a, "b": b}
    for path in paths.values():
        with open(path / "model.safetensors", "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass
    torch = [process([sys.executable, "-c", "import torch"])[0] for _ in range(3)]
    importing = statistics.median(torch)
    print(f"import torch: {summary(torch)} s, taken off T\n")
    print(f"{'merge':<16} {'wall s':<20} {'T s':<20} {'floor s':<20} {'T / floor':<20} peak MiB")
    results = {}
    for name in arguments.only:
        inputs = [paths[each] for each in NAMES[MERGES[name][0]]]
        path = recipe(folder, name, paths)
        walls, floors, peaks = [], [], []
        for turn in range(arguments.pairs + 1):
            shutil.rmtree(folder / "out", ignore_errors=True)
            bottom = floor(inputs, folder / "floor.bin")
            wall, peak = process([sys.executable, "-m", "mergelang", "run", str(path)])
            if turn:  # the first pair warms up
                floors.append(bottom)
                walls.append(wall)
                peaks.append(peak)
        net = [wall - importing for wall in walls]
        ratios = [t / f for t, f in zip(net, floors, strict=True)]
        print(
            f"{name:<16} {summary(walls):<20} {summary(net):<20} {summary(floors):<20} "
            f"{summary(ratios):<20} {max(peaks) >> 20}"
        )
        results[name] = {"wall": walls, "T": net, "floor": floors, "ratio": ratios, "peak": peaks}
        shutil.rmtree(folder / "out", ignore_errors=True)
    if arguments.json:
        body = {"size": arguments.size, "import_torch": torch, "merges": results}
        arguments.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
