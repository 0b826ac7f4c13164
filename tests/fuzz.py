"""Damaged files, and what holds of every one: a diagnostic or an answer, soon, in little room.

    python -m tests.fuzz [--headers 5000] [--recipes 20000] [--seed 0]

runs the whole of it; the tests run a few of each kind.
"""

import argparse
import json
import random
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mergelang.api import load
from mergelang.check import check
from mergelang.errors import InputError, MergelangError, RecipeError
from mergelang.graph import build
from mergelang.lang import format, parse
from mergelang.models.checkpoint import open_model
from mergelang.models.headers import read_header
from mergelang.models.record import read_record
from mergelang.models.reference import parse_reference
from mergelang.models.weights import INDEX
from mergelang.plan.plan import plan
from mergelang.record.lock import read_lock
from mergelang.source import Source
from tests.checkpoints import write_model, write_zoo

SLOW = 1.0
"""Seconds of this process that one file may take."""

ROOM = 2_000_000
"""Bytes that may be taken whatever the file, and forty times its size on top."""

NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64 - 1, 10**30, 0.5, 1e400, True)
VALUES = (*NUMBERS, None, "", "F32", "\0", "x" * 3000, [], {}, [[]], [[[[]]]], {"a": {}})


def bounded(size: int, work: Callable[[], str]) -> str:
    """Does a piece of work on a file of this size, whatever it says of it; fails where it takes too
    much room or time. What seems to is done again: tracing slows Python down, and a module that is
    loaded or a table of all that was seen that grows then takes room once, whatever the file."""
    (said, took), peak = traced(work)
    most = ROOM + 40 * size
    if peak >= most:
        _, peak = traced(work)
    assert peak < most, f"{peak:,} bytes, {most:,} at most"
    if took > SLOW:
        _, took = timed(work)
        assert took < SLOW, f"{took:.2f} s"
    return said


def traced(work: Callable[[], str]) -> tuple[tuple[str, float], int]:
    tracemalloc.start()
    try:
        return timed(work), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def timed(work: Callable[[], str]) -> tuple[str, float]:
    began = time.process_time()
    return work(), time.process_time() - began


# Headers, indices and records


def damaged_bytes(data: bytes, dice: random.Random) -> bytes:
    """A file after a few flips, cuts, doublings and runs of the same byte."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(found) + 1)
        end = min(len(found), at + dice.choice((1, 1, 1, 2, 8, 64)))
        match dice.randrange(6):
            case 0:
                found[at:end] = bytes(dice.randrange(256) for _ in range(end - at))
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end]
            case 3:
                del found[at:]
            case 4:
                found[at:at] = dice.choice((b"\0", b"\xff", b"{", b"[", b'"', b"9")) * dice.choice(
                    (1, 7, 5000)
                )
            case 5 if found[at:end]:
                found[at] ^= 1 << dice.randrange(8)
    return bytes(found)


def damaged_json(value: object, dice: random.Random) -> object:
    """A JSON value with one part somewhere in it replaced, removed, doubled or renamed."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        match dice.randrange(6):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {dice.choice(("", "\0", "../../x", "__metadata__", key * 2)):
                                value[key]}  # fmt: skip
            case _:
                return value | {key: damaged_json(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], damaged_json(value[at], dice), *value[at + dice.randrange(2) :]]
    if type(value) is int and dice.random() < 0.5:
        return value + dice.choice((1, -1, 8, 2**40))
    return dice.choice(VALUES)


def with_header(table: object, data: bytes, dice: random.Random) -> bytes:
    """A safetensors file of this header; now and then the length says something else."""
    text = json.dumps(table).encode()
    length = len(text)
    if dice.random() < 0.15:
        length = dice.choice((0, 1, length - 1, length + 1, 10**8, 2**40, 2**64 - 1))
    return length.to_bytes(8, "little") + text + data


def models(folder: Path) -> list[Callable[[random.Random], Path]]:
    """Ways to damage a model: its header, its index, its config, its record, its shards."""
    one = write_model(folder / "one", layers=2) / "model.safetensors"
    write_model(folder / "s", layers=2)
    (folder / "s.merge").write_text('model s = "s"\noutput "out" = s { shards: 1kB }\n')
    load(folder / "s.merge").run()
    sharded = folder / "out"
    for name in ("README.md", "provenance.intoto.json"):
        (sharded / name).unlink()
    kept = {path: path.read_bytes() for path in (one, *sharded.iterdir())}
    raw = kept[one]
    length = int.from_bytes(raw[:8], "little")
    table, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    shards = sorted(sharded.glob("*.safetensors"))

    def restored() -> None:
        for path, was in kept.items():
            if not path.exists() or path.read_bytes() != was:
                path.write_bytes(was)

    def header(dice: random.Random) -> Path:
        one.write_bytes(with_header(damaged_json(table, dice), data, dice))
        return one

    def start(dice: random.Random) -> Path:
        head = damaged_bytes(raw[: 8 + length], dice)
        one.write_bytes(head + data[: dice.choice((0, 1, len(data)))])
        return one.parent

    def record_in_header(dice: random.Random) -> Path:
        path = dice.choice(shards)
        was = kept[path]
        size = int.from_bytes(was[:8], "little")
        found = json.loads(was[8 : 8 + size])
        inner = damaged_json(json.loads(found["__metadata__"]["mergelang"]), dice)
        found["__metadata__"]["mergelang"] = json.dumps(inner)
        path.write_bytes(with_header(found, was[8 + size :], dice))
        return path

    def beside(name: str) -> Callable[[random.Random], Path]:
        path = sharded / name
        whole = json.loads(kept[path])

        def damaged(dice: random.Random) -> Path:
            if dice.random() < 0.4:
                path.write_bytes(damaged_bytes(kept[path], dice))
            else:
                path.write_text(json.dumps(damaged_json(whole, dice)))
            return sharded

        return damaged

    def shard(dice: random.Random) -> Path:
        path = dice.choice(shards)
        if dice.random() < 0.2:
            path.unlink()
        else:
            path.write_bytes(damaged_bytes(kept[path], dice))
        return sharded

    documents = (INDEX, INDEX, "config.json", "mergelang.json")
    ways = [header, header, start, start, record_in_header, shard, *map(beside, documents)]

    def anew(way: Callable[[random.Random], Path]) -> Callable[[random.Random], Path]:
        def made(dice: random.Random) -> Path:
            restored()
            return way(dice)

        return made

    return [anew(way) for way in ways]


def survives_model(path: Path) -> str:
    """Opens a damaged model as every command does; the code of what is said, or `opened`."""
    files = [path] if path.is_file() else list(path.iterdir())

    def opened() -> str:
        try:
            read_record(path)
            if path.is_file():
                read_header(path, path.name)
            found = open_model(parse_reference(str(path), Path.cwd()))
            for name in found.inventory:
                found.inventory.place(name)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"error[{error.code}]: ") and "Traceback" not in said
            return error.code
        return "opened"

    return bounded(sum(each.stat().st_size for each in files), opened)


# Recipes and locks

PIECES = (
    "(", ")", "{", "}", "[", "]", '"', "'", "#", "\\", "\n", "\r", "\t", " ", ",", ":", "=", ".",
    "..", "=>", "!", "&", "|", "@", "_", "%", "+", "-", "*", "/", "<", ">", "\ufeff", "\0",
    "let x = ", "match {", "match { _ => ", "model ", "output ", "seed ", "use ", "param ",
    "mergelang ", "true", "0", "0.5", "1e9", "1e-400", "9" * 200, "5GB", "layers 0..", "é", "𝒳",
    "\u2028", "\u0301", "٣", "hf:", "../", "~", "base: ", "from(", "stack(", "moe(", "ties(",
    "curve(", "lora(", "(" * 120, "-" * 300,
)  # fmt: skip


def damaged_text(texts: list[str], dice: random.Random) -> str:
    """A recipe after a few changes of characters, words, lines and statements of others."""
    text = dice.choice(texts)
    for _ in range(dice.randint(1, 5)):
        at = dice.randint(0, len(text))
        end = min(len(text), at + dice.choice((1, 1, 2, 5, 20)))
        match dice.randrange(7):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:]
            case 2:
                text = text[:at] + dice.choice(PIECES) + text[end:]
            case 3:
                text = text[:at] + dice.choice(PIECES) + text[at:]
            case 4:
                lines = text.split("\n")
                line = dice.choice(dice.choice(texts).split("\n"))
                lines.insert(dice.randint(0, len(lines)), line)
                text = "\n".join(lines)
            case 5:
                words = text.split(" ")
                first, second = dice.randrange(len(words)), dice.randrange(len(words))
                words[first], words[second] = words[second], words[first]
                text = " ".join(words)
            case 6:
                text = text[:at] + chr(dice.randrange(0x20, 0x3000)) + text[end:]
    return text


TOUR = """\
mergelang 1
seed 42
param t = 0.4 { min: 0, max: 1 }
model base = "base"
model chat = "chat"
model math = "math"
let blend = dare_ties(
  chat { weight: 0.5, density: 0.6 },
  math {
    weight: curve(0.2, 0.8),
    density: match { mlp => 0.7, "*.q_proj.*" => 0.2, layers 0..2 & !@norm => 0.5, _ => 0.4 },
  },
  base: base,
)
let steered = blend + t * (math - base)
let mixed = match { @attn => slerp(chat, math, t: 0.3), @embed => base, _ => steered }
let tall = stack(steered[..3], math[2..4], mixed[1..])
output "out/mixed" = mixed { dtype: bf16, shards: 5GB }
output "out/tall" = tall
"""


def recipes() -> list[str]:
    """The recipes that are damaged: the examples, the wrong ones of the tests, and one that makes
    use of most of the language, as often as a hundred others."""
    tree = Path(__file__).parent.parent
    paths = [*tree.glob("examples/*.merge"), *tree.glob("tests/errors/*.merge")]
    return [path.read_text(encoding="utf-8") for path in sorted(paths)] + [TOUR] * 100


def survives_recipe(text: str, folder: Path, *, sources: bool) -> str:
    """Checks, formats and plans a damaged recipe; the first code of what is said, or `right`."""
    source = Source("x.merge", text)

    def planned() -> str:
        tree, problems = parse(source)
        if not problems:
            again, problems = parse(Source("x.merge", format(tree)))
            assert again == tree and not problems
        try:
            program = check(source, folder=folder, sources=sources, reached=sources)
            if sources and program.outputs:
                plan(build(program))
        except RecipeError as error:
            found = [each for each in error.diagnostics if each.is_error]
            assert found
            for each in error.diagnostics:
                assert str(each).startswith(("error[", "warning["))
            return found[0].code
        except InputError as error:
            assert str(error).startswith("error[")
            return error.code
        return "right"

    return bounded(len(text.encode("utf-8", "surrogatepass")), planned)


def survives_lock(data: bytes, path: Path) -> str:
    """Reads a damaged lock."""
    path.write_bytes(data)

    def seen() -> str:
        try:
            read_lock(path)
        except MergelangError as error:
            assert str(error).startswith("error[E2131]")
            return "E2131"
        return "read"

    return bounded(len(data), seen)


LOCK = (
    "# mergelang lock 1\nengine = 1\nfile a model.safetensors = 9904 blake3:00\n"
    'node "a b" = "x"\noption a weight = [0.3, 1/3]\nseed = 3\n'
)


def run(headers: int, texts: int, seed: int, say: Callable[[str], None]) -> dict[str, Counter]:
    """Damages this many of each; what was said of them, counted. Raises for the first that fails,
    and says how to make it again."""
    told: dict[str, Counter] = {"models": Counter(), "recipes": Counter(), "locks": Counter()}
    with TemporaryDirectory() as name:
        folder = Path(name)
        ways = models(folder / "models") if (folder / "models").mkdir() is None else []
        for number in range(headers):
            dice = random.Random(f"{seed} model {number}")
            path = ways[number % len(ways)](dice)
            with _named(f"model {number} of seed {seed}", say):
                told["models"][survives_model(path)] += 1
        zoo = write_zoo(folder / "zoo")
        known = recipes()
        with suppress(RecipeError):  # what speaks to the Hub is loaded now, and not by a case
            check(Source("x.merge", 'model a = "hf:org/name"\noutput "x" = a\n'), folder=zoo)
        for number in range(texts):
            dice = random.Random(f"{seed} recipe {number}")
            text = damaged_text(known, dice)
            with _named(f"recipe {number} of seed {seed}: {text!r}", say):
                code = survives_recipe(text, zoo, sources=number % 2 == 0)
                told["recipes"][code] += 1
            if number % 10 == 0:
                data = damaged_bytes(LOCK.encode(), dice)
                with _named(f"lock {data!r}", say):
                    told["locks"][survives_lock(data, folder / "x.lock")] += 1
    return told


@contextmanager
def _named(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Says which case an error is of, and goes on."""
    try:
        yield
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        say(f"{name}: {error!r} at {where.filename}:{where.lineno}")


def main() -> None:
    parser = argparse.ArgumentParser(description="damaged models, recipes and locks")
    parser.add_argument("--headers", type=int, default=5_000)
    parser.add_argument("--recipes", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.monotonic()
    failed: list[str] = []

    def say(text: str) -> None:
        failed.append(text)
        print(text, file=sys.stderr)

    told = run(given.headers, given.recipes, given.seed, say)
    for kind, counts in told.items():
        print(f"{sum(counts.values()):,} {kind}:")
        for code, count in counts.most_common():
            print(f"  {code:<8} {count:>6,}")
    print(f"{len(failed)} failed; {time.monotonic() - start:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
