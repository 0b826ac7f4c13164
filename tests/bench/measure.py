"""Wall time and peak memory of merges, beside what the machine takes to read, copy and sync.

    python -m tests.bench.measure [--models DIR] [--size 1.1b] [--pairs 7] [--json FILE]
                                  [--only linear ties] [--mergekit BIN] [--parts table threads ...]

Makes the models (see `models.py`) unless they are there, brings them into the page cache, and runs
as whole processes, in turn, pair by pair:

    floor   cat INPUTS >/dev/null; cp --reflink=never ONE_INPUT OUT; sync OUT
    ours    mergelang run, with its default syncs and digests
    peer    mergekit-yaml of the folder BIN, once a merge, where it is given

T is the wall time of ours, less that of importing torch where the merge does so. Memory is of all
processes of a run together. Parts: `table` of all merges; `dag`, the recipe of five operators;
`threads`, two against one; `cold`, the same from the disk; `first`, with sources that were never
hashed; `memory`, one run of each merge with the memory that is the default and with half of it, for
sizes at which nothing else can be measured. These are no tests: nothing fails by being slow.
"""

import argparse
import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.bench import models, peer
from tests.bench.process import cold, summary, timed, warm, weighed

MERGES = {
    "stack": (2, "stack(a[..11], b[11..])"),
    "linear": (2, "linear(a { weight: 0.3 }, b { weight: 0.7 })"),
    "task_arithmetic": (3, "task_arithmetic(a { weight: 0.6 }, b { weight: 0.5 }, base: base)"),
    "affine": (4, "base + 0.5 * (a - base) + 0.7 * (b - base) - 0.1 * (a - c)"),
    "slerp": (2, "slerp(a, b, t: 0.4)"),
    "nuslerp": (2, "nuslerp(a { weight: 0.4 }, b { weight: 0.6 })"),
    "model_stock": (3, "model_stock(a, b, base: base)"),
    "nearswap": (2, "nearswap(a, t: 0.001, base: b)"),
    "dare": (3, "dare(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "dare_ties": (3, "dare_ties(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "ram": (3, "ram(a, b, base: base)"),
    "ties": (3, "ties(a { weight: 0.6 }, b { weight: 0.5 }, density: 0.5, base: base)"),
    "breadcrumbs": (3, "breadcrumbs(a, b, density: 0.5, base: base)"),
    "sce": (3, "sce(a, b, select_topk: 0.5, base: base)"),
    "della": (3, "della(a, b, density: 0.5, base: base)"),
}
"""For each merge how many models it reads, and its expression."""

NAMES = {2: ("a", "b"), 3: ("a", "b", "base"), 4: ("a", "b", "base", "c")}
FOLDERS = {"a": "tune1", "b": "tune2", "c": "tune3", "base": "base"}
DAG_OF = ("slerp", "dare", "ties", "linear", "nuslerp")
ARITHMETIC = ("slerp", "dare_ties", "ties", "breadcrumbs", "sce", "della")
PARTS = ("table", "dag", "threads", "cold", "first", "memory")
LIMITS = ("1GiB", "512MiB")


def recipe(name: str, count: int, expression: str) -> str:
    """The recipe of a merge of so many models."""
    lines = [f'model {each} = "{FOLDERS[each]}"' for each in NAMES[count]]
    return "\n".join((*lines, f'output "out/{name}" = {expression}', ""))


class Bench:
    """The models, the recipes and the peer of one run of the benchmark."""

    def __init__(self, folder: Path, size: str, binaries: Path | None, tunes: int):
        self.folder = folder
        self.binaries = binaries
        models.make(folder, size, tunes)
        self.out = folder / "out"
        self.torch = [timed([sys.executable, "-c", "import torch"]) for _ in range(5)]
        for name, (count, expression) in MERGES.items():
            self.recipe(name).write_text(recipe(name, count, expression))
        shutil.copy(Path(__file__).with_name("dag.merge"), self.recipe("dag"))

    def recipe(self, name: str) -> Path:
        return self.folder / f"{name}.merge"

    def weights(self, *names: str) -> list[Path]:
        return [self.folder / each / "model.safetensors" for each in names]

    def inputs(self, name: str) -> list[Path]:
        if name == "dag":
            return self.weights("base", *(f"tune{i}" for i in range(1, 6)))
        return self.weights(*(FOLDERS[each] for each in NAMES[MERGES[name][0]]))

    def floor(self, name: str) -> float:
        files = [shlex.quote(str(path)) for path in self.inputs(name)]
        made = shlex.quote(str(self.folder / "floor.bin"))
        copy = f"cp --reflink=never {files[0]} {made} && sync {made}"
        seconds = timed(["sh", "-c", f"cat {' '.join(files)} >/dev/null && {copy}"])
        (self.folder / "floor.bin").unlink()
        return seconds

    def ours(self, name: str, *more: str) -> tuple[float, int]:
        """Seconds with the import of torch, and the peak memory. The store is left alone: it would
        have the numbers of a turn before."""
        shutil.rmtree(self.out, ignore_errors=True)
        command = [sys.executable, "-m", "mergelang", "run", str(self.recipe(name))]
        return weighed([*command, "--cache", "none", *more])

    @cache  # noqa: B019
    def importing(self, name: str) -> float:
        """The seconds that are taken off for torch, if a merge imports it; runs it to see."""
        command = [sys.executable, "-X", "importtime", "-m", "mergelang", "run", "--fresh"]
        shutil.rmtree(self.out, ignore_errors=True)
        said = subprocess.run([*command, str(self.recipe(name))], capture_output=True, text=True)
        loaded = "| torch." in re.sub(r"\|\s+", "| ", said.stderr)
        return statistics.median(self.torch) if loaded else 0.0

    def peer(self, name: str) -> float | None:
        """Seconds of the whole process of mergekit; None where there is none."""
        if self.binaries is None:
            return None
        file = self.folder / f"{name}.yml"
        if name == "dag":
            program, text = "mergekit-multi", peer.dag(self.folder)
        else:
            paths = {each: self.folder / path for each, path in FOLDERS.items()}
            body = peer.config(name, paths)
            if body is None:
                return None
            program, text = "mergekit-yaml", json.dumps(body)
        file.write_text(text)
        shutil.rmtree(self.out, ignore_errors=True)
        command = [str(self.binaries / program), str(file)]
        if name == "dag":
            command += ["--out-path", str(self.out), "-I", str(self.folder / "between")]
        else:
            command.append(str(self.out))
        try:
            return timed(command)
        finally:
            shutil.rmtree(self.folder / "between", ignore_errors=True)

    def pairs(self, name: str, count: int) -> dict[str, Any]:
        """Floor and ours in turn, `count` times after one that warms up."""
        warm(self.inputs(name))
        floors, walls, peaks = [], [], []
        for turn in range(count + 1):
            bottom = self.floor(name)
            wall, peak = self.ours(name)
            if turn:
                floors.append(bottom)
                walls.append(wall)
                peaks.append(peak)
        net = [wall - self.importing(name) for wall in walls]
        ratios = [t / f for t, f in zip(net, floors, strict=True)]
        return {"wall": walls, "T": net, "floor": floors, "ratio": ratios, "peak": peaks}


def table(bench: Bench, names: list[str], count: int) -> dict[str, Any]:
    """The merges one by one."""
    print(f"{'merge':<16} {'wall s':<20} {'T s':<20} {'floor s':<20} {'T / floor':<20} MiB   peer")
    results = {}
    for name in names:
        found = results[name] = bench.pairs(name, count)
        found["peer"] = beside = bench.peer(name)
        against = "" if beside is None else f"{beside:.1f} s, {beside / _middle(found):.1f} x"
        print(
            *(f"{summary(found[key]):<20}" for key in ("wall", "T", "floor", "ratio")),
            f"{max(found['peak']) >> 20:<5}", against, f" {name}",
        )  # fmt: skip
    return results


def dag(bench: Bench, results: dict[str, Any], count: int) -> dict[str, Any]:
    """T of the recipe of five operators against its bytes at the rate of those operators."""
    import mergelang

    def moved(name: str) -> int:
        plan = mergelang.load(bench.recipe(name)).plan(fresh=True, cache="none")
        return plan.bytes_read + plan.bytes_written

    shutil.rmtree(bench.out, ignore_errors=True)
    found = bench.pairs("dag", count)
    single = {name: statistics.median(results[name]["T"]) for name in DAG_OF}
    rate = sum(map(moved, DAG_OF)) / sum(single.values())
    expected = moved("dag") / rate
    found |= {"expected": expected, "peer": (beside := bench.peer("dag"))}
    print(
        f"\ndag: T {summary(found['T'])} s of {expected:.2f} s at {rate / 1e9:.2f} GB/s, "
        f"{statistics.median(found['T']) / expected:.2f}; {max(found['peak']) >> 20} MiB"
        + ("" if beside is None else f"; peer {beside:.1f} s, {beside / _middle(found):.1f} x")
    )
    return found


def threads(bench: Bench, names: list[str], count: int) -> Iterator[tuple[str, Any]]:
    """Two workers against one."""
    print()
    for name in names:
        warm(bench.inputs(name))
        samples: dict[str, list[float]] = {"1": [], "2": []}
        for _ in range(count):
            for number, found in samples.items():
                found.append(bench.ours(name, "--threads", number)[0] - bench.importing(name))
        gain = [one / two for one, two in zip(samples["1"], samples["2"], strict=True)]
        print(f"{name}: two workers are {summary(gain)} times as fast as one")
        yield name, samples


def from_the_disk(bench: Bench, names: list[str], count: int) -> Iterator[tuple[str, Any]]:
    """Ours and the floor, each with its inputs out of the page cache before."""
    print()
    for name in names:
        found = []
        for _ in range(count):
            cold(bench.inputs(name))
            bottom = bench.floor(name)
            cold(bench.inputs(name))
            found.append((bench.ours(name)[0] - bench.importing(name)) / bottom)
        print(f"{name} from the disk: T / floor {summary(found)}")
        yield name, found


def first(bench: Bench, name: str, count: int) -> list[float]:
    """What it costs on top that the sources were never hashed before."""
    from mergelang.files import cache_folder

    warm(bench.inputs(name))
    known = bench.ours(name)[0]
    found = []
    for _ in range(count):
        shutil.rmtree(cache_folder() / "digests", ignore_errors=True)
        found.append(bench.ours(name)[0] - known)
    print(f"\nhashing sources never seen, {name}: {summary(found)} s on top")
    return found


def memory(bench: Bench, names: list[str]) -> Iterator[tuple[str, Any]]:
    """The peak of each merge under each limit, in MiB."""
    print(f"\n{'merge':<16} {'   '.join(LIMITS)}")
    for name in names:
        peaks = [bench.ours(name, "--memory", limit)[1] >> 20 for limit in LIMITS]
        print(f"{name:<16} {'      '.join(map(str, peaks))}")
        yield name, peaks


def _middle(found: dict[str, Any]) -> float:
    return statistics.median(found["wall"])


def main() -> None:
    parser = argparse.ArgumentParser(description="measure merges against the machine's own limit")
    parser.add_argument("--models", type=Path, default=Path("/tmp/mergelang-bench"))
    parser.add_argument("--size", choices=models.SIZES, default="1.1b")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=MERGES, default=list(MERGES))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=["table"])
    parser.add_argument("--mergekit", type=Path, help="the folder of its programs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    tunes = 5 if "dag" in arguments.parts else max(MERGES[name][0] for name in arguments.only) - 1
    folder = arguments.models / arguments.size
    bench = Bench(folder, arguments.size, arguments.mergekit, max(tunes, 2))
    print(f"import torch: {summary(bench.torch)} s, taken off T of merges that do so\n")
    names, count = arguments.only, arguments.pairs
    body: dict[str, Any] = {"size": arguments.size, "import_torch": bench.torch}
    if "table" in arguments.parts or "dag" in arguments.parts:
        wanted = dict.fromkeys((*names, *(DAG_OF if "dag" in arguments.parts else ())))
        body["merges"] = table(bench, list(wanted), count)
    if "dag" in arguments.parts:
        body["dag"] = dag(bench, body["merges"], count)
    if "threads" in arguments.parts:
        body["threads"] = dict(threads(bench, [n for n in ARITHMETIC if n in names], count))
    if "cold" in arguments.parts:
        body["cold"] = dict(from_the_disk(bench, [n for n in ("linear",) if n in names], count))
    if "first" in arguments.parts:
        body["first"] = first(bench, "linear", count)
    if "memory" in arguments.parts:
        body["memory"] = dict(memory(bench, names))
    shutil.rmtree(bench.out, ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
