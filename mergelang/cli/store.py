"""`mergelang cache`: what runs keep for later ones: values, and small notes."""

import time

from mergelang.cli import show
from mergelang.draw.units import counted, size
from mergelang.errors import RunError, UsageError
from mergelang.files import cache_folder
from mergelang.store import notes
from mergelang.store.blobs import LIMIT, Blobs, sound

WHAT = ("ls", "size", "prune", "clear", "verify")


def cache(what: str, keep: int | None, as_json: bool) -> int:
    """Does one of WHAT to the user's store; the exit code. RunError (E2006) where it cannot."""
    if what not in WHAT:
        example = "`mergelang cache ls`, or size, prune, clear or verify"
        raise UsageError("E1007", text=what, what="command of the cache", example=example)
    if keep is not None and what != "prune":
        raise UsageError("E1014", one=what, other="--keep")
    try:
        return _do(what, keep, Blobs(), as_json)
    except BrokenPipeError:
        raise  # of what is printed
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError("E2006", path=str(cache_folder()), reason=reason) from error


def _do(what: str, keep: int | None, blobs: Blobs, as_json: bool) -> int:
    match what:
        case "ls":
            _list(blobs, as_json)
        case "size":
            small = notes.size()
            found = {"folder": str(cache_folder()), "bytes": blobs.size() + small, "notes": small}
            said = f"{found['folder']}: {size(found['bytes'])}"
            said += f", {size(small)} of it notes" if small else ""
            _say(found, said, as_json)
        case "prune" | "clear":
            count, freed = blobs.prune(0 if what == "clear" else LIMIT if keep is None else keep)
            left = blobs.size() + notes.size()
            said = f"removed {counted(count, 'file')}, {size(freed)}; {size(left)} are left"
            _say({"removed": count, "bytes": freed, "left": left}, said, as_json)
        case "verify":
            return _verify(blobs, as_json)
    return 0


def _list(blobs: Blobs, as_json: bool) -> None:
    """Values one by one, notes by their kind; in JSON all of them."""
    entries, small = blobs.entries(), notes.notes()
    if as_json:
        values = (
            {"key": each.key, "made_by": each.what, "dtype": each.extent.type.dtype,
             "shape": list(each.extent.type.shape), "bytes": each.size,
             "seconds": each.seconds, "used": each.used}
            for each in entries
        )  # fmt: skip
        others = (
            {"note": each.kind, "path": str(each.path), "bytes": each.size, "used": each.written}
            for each in reversed(small)
        )
        show.json_object([*values, *others])
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
    for kind, what in notes.KINDS.items():
        found = [each.size for each in small if each.kind == kind]
        if found:
            print(f"{what}: {counted(len(found), 'note')}, {size(sum(found))}")


def _verify(blobs: Blobs, as_json: bool) -> int:
    entries, small = blobs.entries(), notes.notes()
    damaged = [each for each in entries if not sound(each)]
    for each in damaged:
        blobs.remove(each)
    broken = [each.path for each in small if not notes.sound(each)] + blobs.unreadable()
    for each in broken:
        each.unlink(missing_ok=True)
    failed = bool(damaged or broken)
    if as_json:
        show.json_object({
            "values": len(entries), "damaged": [each.key for each in damaged],
            "notes": len(small), "unreadable": [str(each) for each in broken],
        })  # fmt: skip
        return failed
    for each in damaged:
        print(f"damaged, removed: {each.key[:12]}, {each.extent.type}")
    for each in broken:
        print(f"damaged, removed: {each}")
    print(f"{counted(len(entries) - len(damaged), 'value')} of {len(entries)} as written")
    if small:
        read = sum(each.path not in broken for each in small)
        print(f"{counted(read, 'note')} of {len(small)} can be read")
    return failed


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
