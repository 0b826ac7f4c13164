"""Merges on a device beside the same on the processor: time, bytes a second, and agreement.

    python -m tests.bench.device [--device cuda] [--models DIR] [--size 1.1b] [--runs 3]
                                 [--only linear ties] [--threads N] [--json FILE]

Measures first what the device is able to: copies from pinned memory to it and back (the bus), and
within its own memory. Then it makes the models (see `models.py`) unless they are there, and runs
each merge of `measure.py` in this process, with torch and the device ready: on the device, and on
the processor as an ordinary run does; the median of some runs after one that warms up, with sync
and digests. Bytes are those that the passes of the plan read and write. `bus` is the share of the
time in which the bus alone would have moved them, `card` that for the device's own memory, which
each byte passes once. Last it compares the two outputs element by element (see `agreement.py`);
with equal bytes nothing differs. `tsv` is three matrices of a layer by singular value
decomposition, tied to the library: there the numbers are for information.

With `--device torch` all of it runs without a card, and says nothing about one.
"""

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import mergelang
from mergelang.run.device import open_device
from tests.bench import models
from tests.bench.agreement import agreement
from tests.bench.measure import FOLDERS, MERGES, NAMES, recipe
from tests.bench.process import warm

WHOLE = {
    "tsv": (3, 'match { "model.layers.0.mlp.*" => tsv(a, b, base: base), _ => mean(a, b) }'),
}
ALL = MERGES | WHOLE


def limits(device: Any, size: int) -> dict[str, float]:
    """Bytes a second of copies of so many bytes: to the device, back, and within it (where each
    byte is read and written, which counts as one)."""
    device.enter(device.stream())
    beside = device.buffer(size).fill_(1)
    here, there = (torch.ones(size, dtype=torch.uint8, device=device.device) for _ in range(2))

    def rate(into: torch.Tensor, source: torch.Tensor) -> float:
        best = 0.0
        for _ in range(10):
            done = device.event()
            began = time.perf_counter()
            into.copy_(source, non_blocking=True)
            done.record()
            done.synchronize()
            best = max(best, size / (time.perf_counter() - began))
        return best

    return {"in": rate(here, beside), "out": rate(beside, here), "within": rate(there, here)}


def merge(
    folder: Path, name: str, device: str, runs: int, threads: int | None
) -> tuple[Any, list[float]]:
    """Runs a merge; gives the plan, and the seconds of each run after the first."""
    one = mergelang.load(folder / f"{name}.merge")
    into = folder / f"out-{device.partition(':')[0]}"
    samples = []
    for _ in range(runs + 1):
        shutil.rmtree(into, ignore_errors=True)
        began = time.perf_counter()
        plan = one.run(into=into, device=device, cache="none", threads=threads)
        samples.append(time.perf_counter() - began)
    return plan, samples[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description="measure merges on a device")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", type=Path, default=Path("/tmp/mergelang-bench"))
    parser.add_argument("--size", choices=models.SIZES, default="1.1b")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="*", choices=ALL, default=list(ALL))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    device = open_device(arguments.device)
    copies = limits(device, 1 << 28)
    print(f"{device.name}: {device.arith or 'torch on the processor'}")
    print("copies, GB/s:", ", ".join(f"{way} {rate / 1e9:.1f}" for way, rate in copies.items()))
    folder = arguments.models / arguments.size
    models.make(folder, arguments.size, max(ALL[name][0] for name in arguments.only))
    body: dict[str, Any] = {"device": device.name, "arith": device.arith, "copies": copies}
    body |= {"size": arguments.size, "threads": arguments.threads, "merges": {}}
    head = ("merge", "device s", "GB/s", "bus", "card", "cpu s", "GB/s", "differ", "> 1 ulp",
            "at a decision", "most ulp")  # fmt: skip
    print(("{:<16}" + "{:>10}" * 8 + "{:>15}{:>10}").format(*head))
    for name in arguments.only:
        count, expression = ALL[name]
        (folder / f"{name}.merge").write_text(recipe(name, count, expression))
        warm(folder / FOLDERS[each] / "model.safetensors" for each in NAMES[count])
        plan, here = merge(folder, name, arguments.device, arguments.runs, arguments.threads)
        _, there = merge(folder, name, "cpu", arguments.runs, None)
        found = agreement(plan, folder / f"out-{arguments.device.partition(':')[0]}",
                          folder / "out-cpu")  # fmt: skip
        read, written = plan.bytes_read, plan.bytes_written
        seconds, beside = statistics.median(here), statistics.median(there)
        bus = (read / copies["in"] + written / copies["out"]) / seconds
        card = (read + written) / copies["within"] / seconds
        rates = [(read + written) / each / 1e9 for each in (seconds, beside)]
        print(
            f"{name:<16}{seconds:>10.2f}{rates[0]:>10.2f}{bus:>10.1%}{card:>10.1%}"
            f"{beside:>10.2f}{rates[1]:>10.2f}{found.differ:>10}{found.far:>10}{found.near:>15}"
            f"{found.most:>10}", flush=True,
        )  # fmt: skip
        body["merges"][name] = {
            "device": here, "cpu": there, "read": read, "written": written, "bus": bus,
            "card": card, **found._asdict(),
        }  # fmt: skip
        for each in (arguments.device.partition(":")[0], "cpu"):
            shutil.rmtree(folder / f"out-{each}", ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
