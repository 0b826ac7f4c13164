"""Kills a merge at random moments and lets it go on, until it is done; again and again.

    python -m tests.bench.kills FOLDER [--count 100] [--size 20] [--seed 0]

Makes two models of `--size` tensors of 1 MB in FOLDER, and merges them over an old output. Each
run is a process of its own with its workers, ended by SIGKILL after a random part of the time that
an undisturbed one takes. After each kill the output has to be the old one or the new one, every
byte of it; when a run has come to its end, the new one. Anything else is an error.
"""

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import mergelang
from mergelang.run import events, execute, journal  # before the fork, so that a run begins at once
from tests.checkpoints import write_arrays

RECIPE = """\
param t = 0.3
model a = "a"
model b = "b"
output "out" = slerp(a, b, t: t) { shards: 5MB }
"""


def begin(recipe: Path, t: str) -> int:
    """Starts a run in a process of its own."""
    child = os.fork()
    if child:
        return child
    try:
        mergelang.load(recipe, {"t": t}).run(threads=2)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()} if path.exists() else {}


def finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(recipe: Path, t: str) -> tuple[dict[str, bytes], float]:
    """What an undisturbed run writes, and the seconds that it takes."""
    start = time.perf_counter()
    if finish(begin(recipe, t)):
        raise SystemExit("an undisturbed run failed")
    return contents(recipe.parent / "out"), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="kill a merge at random moments")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    assert execute and events
    journal.PAUSE = 0
    folder, chance = arguments.folder, random.Random(arguments.seed)
    os.environ["MERGELANG_CACHE"] = str(folder / "store")
    rng = np.random.default_rng(arguments.seed)
    for name in "ab":
        tensors = {f"w{i}": (rng.normal(size=250_000), "F32") for i in range(arguments.size)}
        write_arrays(folder / name, tensors)
    recipe, out = folder / "x.merge", folder / "out"
    recipe.write_text(RECIPE)
    new, _ = whole(recipe, "0.4")
    old, seconds = whole(recipe, "0.3")
    kills = merges = resumed = 0
    while kills < arguments.count:
        child = begin(recipe, "0.4")
        time.sleep(chance.random() * seconds)
        os.kill(child, signal.SIGKILL)
        if finish(child) == -signal.SIGKILL:
            kills += 1
            found = contents(out)
            if found not in (old, new):
                raise SystemExit(f"kill {kills}: the output is neither the old one nor the new one")
            if found == old and chance.random() < 0.7:
                resumed += bool(journal.read(folder / "out.partial" / journal.FILE))
                continue  # the next one goes on, and may be killed too
        if finish(begin(recipe, "0.4")) or contents(out) != new:
            raise SystemExit(f"after {kills} kills: the output is not that of an undisturbed run")
        merges += 1
        whole(recipe, "0.3")
        if contents(out) != old:
            raise SystemExit(f"after {kills} kills: the old output cannot be made again")
    if finish(begin(recipe, "0.4")) or contents(out) != new:
        raise SystemExit(f"after {kills} kills: the output is not that of an undisturbed run")
    left = sorted(each.name for each in folder.iterdir() if each.name.startswith("out"))
    if left != ["out"]:
        raise SystemExit(f"there is left: {', '.join(left)}")
    ends = f"{merges + 1} merges ended in the same bytes"
    print(f"{kills} kills, {ends}, {resumed} times a journal was there to go on from")


if __name__ == "__main__":
    main()
