"""Times and peak memory of running a recipe again: unchanged, and with a part of it changed.

    python -m tests.bench.again [--models DIR] [--size 1.1b] [--turns 3] [--json FILE]

Each row is a whole process, `mergelang run` as people call it; a turn begins with an empty store
and no output.

    first      everything: computes, hashes the inputs, writes the record
    unchanged  the same again
    one arm    another number in the arm of a `match` that holds 31 % of the bytes
    costly     singular value decompositions of keys and values, then a step after them
    cheap      the same with only that step changed
    passes     every tensor by selections, whose numbers no run has kept
    numbers    the same with another weight, which those numbers do not depend on; again no output
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from tests.bench import models
from tests.bench.process import warm, weighed

PARTS = """\
param t = 0.3
{models}
output "out/parts" = match {{
  down_proj | q_proj => ties(a {{ weight: t }}, b {{ weight: 0.5 }}, density: 0.5, base: base),
  _ => ties(a {{ weight: 0.6 }}, b {{ weight: 0.5 }}, density: 0.5, base: base),
}}
"""

STEPS = """\
param strength = 1
{models}
let tasks = match {{ k_proj | v_proj => tsv(a - base, b - base), _ => 0.5 * (a - base) }}
output "out/steps" = base + strength * tasks
"""

WHOLE = """\
param weight = 0.6
{models}
output "out/whole" = ties(a {{ weight: weight }}, b {{ weight: 0.5 }}, density: 0.4, base: base)
"""

ROWS = {
    "first": ("parts", "t=0.3"), "unchanged": ("parts", "t=0.3"), "one arm": ("parts", "t=0.4"),
    "costly": ("steps", "strength=1"), "cheap": ("steps", "strength=0.5"),
    "passes": ("whole", "weight=0.6"), "numbers": ("whole", "weight=0.7"),
}  # fmt: skip
"""For each row, in their order, the recipe and a setting."""


def main() -> None:
    parser = argparse.ArgumentParser(description="measure runs that find something done")
    parser.add_argument("--models", type=Path, default=Path("/tmp/mergelang-bench"))
    parser.add_argument("--size", choices=models.SIZES, default="1.1b")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    folder = arguments.models / arguments.size
    paths = dict(zip(("base", "a", "b"), models.make(folder, arguments.size), strict=True))
    warm(path / "model.safetensors" for path in paths.values())
    here = folder / "again"
    here.mkdir(exist_ok=True)
    os.environ["MERGELANG_CACHE"] = str(here / "store")
    named = "\n".join(f'model {name} = "{path}"' for name, path in paths.items())
    for name, text in (("parts", PARTS), ("steps", STEPS), ("whole", WHOLE)):
        (here / f"{name}.merge").write_text(text.format(models=named))
    found: dict[str, list[tuple[float, int]]] = {row: [] for row in arguments.only}
    for _ in range(arguments.turns):
        for each in ("store", "out"):
            shutil.rmtree(here / each, ignore_errors=True)
        for row in arguments.only:
            recipe, setting = ROWS[row]
            if row == "numbers":
                shutil.rmtree(here / "out" / recipe)
            words = ["run", str(here / f"{recipe}.merge"), "--set", setting]
            found[row].append(weighed([sys.executable, "-m", "mergelang", *words]))
            seconds, peak = found[row][-1]
            print(f"{row:<10} {seconds:8.2f} s  {peak >> 20:6} MiB", flush=True)
    print()
    for row, samples in found.items():
        seconds = [each for each, _ in samples]
        print(
            f"{row:<10} {statistics.median(seconds):8.2f} s "
            f"({min(seconds):.2f}..{max(seconds):.2f})  {max(p for _, p in samples) >> 20:6} MiB"
        )
    pairs = ("unchanged", "first"), ("one arm", "first"), ("cheap", "costly"), ("numbers", "passes")
    for one, other in pairs:
        if one in found and other in found:
            ratios = [a / b for (a, _), (b, _) in zip(found[one], found[other], strict=True)]
            print(f"{one} / {other}: {statistics.median(ratios):.3f}")
    shutil.rmtree(here, ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": arguments.size, "rows": found}) + "\n")


if __name__ == "__main__":
    main()
