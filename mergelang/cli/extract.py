"""`mergelang extract-lora`: opens the models, extracts, and prints how near each tensor comes."""

from pathlib import Path
from typing import Any

from mergelang.cli import show
from mergelang.cli.progress import counting
from mergelang.draw.units import counted, size
from mergelang.errors import UsageError
from mergelang.extract import Extraction, extract
from mergelang.models.adapter import WEIGHTS
from mergelang.models.checkpoint import open_model
from mergelang.models.hub import Hub
from mergelang.models.reference import parse_reference


def extract_lora(options: Any) -> None:
    """Extracts an adapter and reports it."""
    given = [name for name in ("rank", "energy") if getattr(options, name) is not None]
    if len(given) == 2:
        raise UsageError("E1014", one="--rank", other="--energy")
    if not given:
        said = "one of `--rank N` and `--energy SHARE` is needed"
        raise UsageError("E1012", command="mergelang extract-lora", message=said)
    hub = Hub()
    base, model = (
        open_model(parse_reference(text, Path.cwd()), hub, options.allow_pickle)
        for text in (options.base, options.model)
    )
    with counting("tensors") as say:
        found = extract(
            base, model, options.into, rank=options.rank, energy=options.energy, say=say
        )
    if options.as_json:
        show.json_object(_plain(found, options.into))
    else:
        _report(found, options.into)


def _report(found: Extraction, into: Path) -> None:
    """A table of the tensors, then totals and what was left out."""
    rows = [
        (each.name, "x".join(map(str, each.shape)), str(each.rank), f"{each.energy:.4f}",
         f"{each.error:.4f}")
        for each in found.adapted
    ]  # fmt: skip
    show.table([("tensor", "shape", "rank", "energy", "error"), *rows], right=(2, 3, 4))
    print()
    nbytes = (into / WEIGHTS).stat().st_size
    print(f"{into}: {counted(len(rows), 'tensor')}, {size(nbytes)}; {found.equal} did not differ")
    lost = [each.name for each in found.left_out]
    if lost:
        names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        differ = f"{counted(len(lost), 'tensor')} {'differs' if len(lost) == 1 else 'differ'}"
        print(f"left out: {differ} and cannot be low-rank: {names}")


def _plain(found: Extraction, into: Path) -> dict[str, Any]:
    return {
        "adapter": str(into),
        "equal": found.equal,
        "left_out": [each.name for each in found.left_out],
        "tensors": [
            {"name": each.name, "shape": list(each.shape), "rank": each.rank,
             "energy": each.energy, "error": each.error}
            for each in found.adapted
        ],
    }  # fmt: skip
