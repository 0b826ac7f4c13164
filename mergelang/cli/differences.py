"""`mergelang diff`: two recipes, two locks or two models."""

import math
from pathlib import Path
from typing import Any

from mergelang.cli import show
from mergelang.errors import InputError, UsageError

RECIPE, LOCK, MODEL = "recipe", "lock", "model"

SHOWN = 40
"""Tensors that are listed at most, unless as JSON."""

SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}


def show_diff(a: Path, b: Path, as_json: bool) -> None:
    """Prints how two things of one kind differ; where they do not, says so."""
    kinds = kind_of(a), kind_of(b)
    if kinds[0] != kinds[1]:
        raise UsageError("E2136", a=str(a), b=str(b), first=kinds[0], second=kinds[1])
    if kinds[0] == MODEL:
        _models(a, b, as_json)
        return
    from mergelang.record.changes import differences

    read = _recipe_facts if kinds[0] == RECIPE else _lock_facts
    found = differences(read(a), read(b))
    if as_json:
        show.json_object({"kind": kinds[0], "equal": not found,
                          "differences": [vars(each) for each in found]})  # fmt: skip
    elif not found:
        print(f"no difference between the two {kinds[0]}s")
    for each in [] if as_json else found:
        texts = [text for text in (each.was, each.now) if text is not None]
        kind = "" if each.kind == "fact" else f"{each.kind} "
        if each.how == "renamed":
            print(f"> {kind}{each.was} is {each.now} now")
        else:
            print(f"{SIGNS[each.how]} {kind}{each.name}: {' → '.join(texts)}")


def kind_of(path: Path) -> str:
    """What a path on the command line is: by its name, and a lock by its first line, too."""
    if path.suffix in (".merge", ".yml", ".yaml"):
        return RECIPE
    from mergelang.record.lock import is_lock

    return LOCK if path.suffix == ".lock" or is_lock(path) else MODEL


def _recipe_facts(path: Path) -> Any:
    from mergelang.api import load
    from mergelang.record.facts import facts_of

    found = facts_of(load(path).check(sources=False))
    # The order of statements is no difference, so digests of texts are left out.
    return {name: value for name, value in found.items() if name[0] not in ("recipe", "use")}


def _lock_facts(path: Path) -> Any:
    from mergelang.record.lock import read_lock

    found = read_lock(path)
    if found is None:
        raise InputError("E2101", path=str(path))
    return found


def _models(a: Path, b: Path, as_json: bool) -> None:
    from mergelang.cli.progress import counting
    from mergelang.models.checkpoint import open_model
    from mergelang.models.reference import parse_reference
    from mergelang.record.compare import EQUAL, compare, groups

    first, other = (open_model(parse_reference(str(each), Path.cwd())) for each in (a, b))
    with counting("bytes") as say:
        found = compare(first, other, say)
    equal = [each for each in found if each.status == EQUAL]
    if as_json:
        show.json_object({
            "kind": MODEL, "equal": len(equal) == len(found),
            "tensors": [_tensor(each) for each in found],
            "groups": [{"by": by, "name": name, **_summary(members)}
                       for by, name, members in groups(found)],
        })  # fmt: skip
        return
    counted = show.counted(len(found), "tensor")
    if len(equal) == len(found):
        print(f"no difference: {counted}, equal in every byte")
        return
    different = [each for each in found if each.status != EQUAL]
    listed = sorted(different, key=lambda each: -_size(each.sums.largest))[:SHOWN]
    head = ("tensor", "max |a-b|", "mean |a-b|", "cosine", "")
    rows = [(each.name, *_numbers(each.sums), _why(each)) for each in found if each in listed]
    show.table([head, *rows], right=(1, 2, 3))
    if len(different) > SHOWN:
        print(f"... and {len(different) - SHOWN} more that differ less; `--json` has them all")
    print()
    head = ("", "equal", "differ", "max |a-b|", "mean |a-b|", "cosine")
    rows = []
    for _, name, members in groups(found):
        same = sum(each.status == EQUAL for each in members)
        rows.append((name, str(same), str(len(members) - same), *_numbers(_total(members))))
    show.table([head, *rows], right=(1, 2, 3, 4, 5))
    print(f"\n{counted}: {len(equal)} equal, {len(different)} not")


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _total(members: Any) -> Any:
    from mergelang.record.compare import Sums

    return sum((each.sums for each in members), Sums())


def _numbers(sums: Any) -> tuple[str, str, str]:
    if not sums.count:
        return "", "", ""
    cosine = sums.cosine
    return f"{sums.largest:.4g}", f"{sums.mean:.4g}", "" if cosine is None else f"{cosine:.8f}"


def _why(each: Any) -> str:
    """What there is to say beside the numbers."""
    if each.a and each.b and each.a != each.b:
        return f"{each.a}, {each.b}"
    return "" if each.status == "differs" else each.status


def _plain(value: float | None) -> float | str | None:
    """A number as JSON can say it."""
    return value if value is None or math.isfinite(value) else str(value)


def _summary(members: Any) -> dict[str, Any]:
    from mergelang.record.compare import EQUAL

    same = sum(each.status == EQUAL for each in members)
    return {"equal": same, "different": len(members) - same, **_sums(_total(members))}


def _sums(sums: Any) -> dict[str, Any]:
    return {"max": _plain(sums.largest), "mean": _plain(sums.mean), "cosine": _plain(sums.cosine)}


def _tensor(each: Any) -> dict[str, Any]:
    return {
        "name": each.name, "status": each.status, "a": each.a or None, "b": each.b or None,
        "elements": each.sums.count, "different": each.sums.different, **_sums(each.sums),
        "layer": each.layer, "roles": list(each.roles),
    }  # fmt: skip
