"""`mergelang cache`: the values that runs keep for later ones."""

import time

from mergelang.cli import show
from mergelang.draw.units import counted, size
from mergelang.errors import UsageError
from mergelang.store.blobs import LIMIT, Blobs, sound

WHAT = ("ls", "size", "prune", "clear", "verify")


def cache(what: str, keep: int | None, as_json: bool) -> int:
    """Does one of WHAT to the user's store; the exit code."""
    if what not in WHAT:
        example = "`mergelang cache ls`, or size, prune, clear or verify"
        raise UsageError("E1007", text=what, what="command of the cache", example=example)
    if keep is not None and what != "prune":
        raise UsageError("E1014", one=what, other="--keep")
    blobs = Blobs()
    match what:
        case "ls":
            _list(blobs, as_json)
        case "size":
            found = {"folder": str(blobs.folder), "bytes": blobs.size()}
            _say(found, f"{found['folder']}: {size(found['bytes'])}", as_json)
        case "prune" | "clear":
            count, freed = blobs.prune(0 if what == "clear" else LIMIT if keep is None else keep)
            left = blobs.size()
            said = f"removed {counted(count, 'value')}, {size(freed)}; {size(left)} are left"
            _say({"removed": count, "bytes": freed, "left": left}, said, as_json)
        case "verify":
            return _verify(blobs, as_json)
    return 0


def _list(blobs: Blobs, as_json: bool) -> None:
    entries = blobs.entries()
    if as_json:
        show.json_object(
            [
                {"key": each.key, "made_by": each.what, "dtype": each.extent.type.dtype,
                 "shape": list(each.extent.type.shape), "bytes": each.size,
                 "seconds": each.seconds, "used": each.used}
                for each in entries
            ]
        )  # fmt: skip
        return
    if entries:
        rows = [
            (each.key[:12], each.what.rpartition(":")[2], str(each.extent.type), size(each.size),
             f"{each.seconds:.1f} s" if each.seconds else "", _ago(each.used))
            for each in entries
        ]  # fmt: skip
        heading = ("key", "made by", "tensor", "size", "took", "used")
        show.table([heading, *rows], right=(3, 4))
    print(f"{counted(len(entries), 'value')}, {size(sum(each.size for each in entries))}")


def _verify(blobs: Blobs, as_json: bool) -> int:
    entries = blobs.entries()
    damaged = [each for each in entries if not sound(each)]
    for each in damaged:
        blobs.drop(each)
    if as_json:
        show.json_object({"values": len(entries), "damaged": [each.key for each in damaged]})
        return bool(damaged)
    for each in damaged:
        print(f"damaged, removed: {each.key[:12]}, {each.extent.type}")
    print(f"{counted(len(entries) - len(damaged), 'value')} of {len(entries)} as written")
    return bool(damaged)


def _say(facts: dict[str, object], text: str, as_json: bool) -> None:
    if as_json:
        show.json_object(facts)
    else:
        print(text)


def _ago(used: float) -> str:
    seconds = max(0, time.time() - used)
    for name, unit in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= unit:
            return f"{counted(int(seconds // unit), name)} ago"
    return "just now"
