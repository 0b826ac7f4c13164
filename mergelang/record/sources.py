"""The sources of an output, found again on this machine from its record."""

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergelang.errors import Diagnostic, InputError, RunError
from mergelang.models.hub import place_of
from mergelang.models.record import Record
from mergelang.models.reference import hub_name, parse_reference
from mergelang.record.lineage import record_of
from mergelang.store import digests as store


def folder_of(path: Path, record: Record, given: Path | None = None) -> Path:
    """Where the paths of a record's recipe start: the folder given, else the one from which its
    output's path leads to `path`, else the current one."""
    if given is not None:
        return given.absolute()
    parts = Path(os.path.normpath(record["output"])).parts
    there = path.resolve() if path.is_dir() else path.resolve().parent
    if parts and ".." not in parts and there.parts[-len(parts) :] == parts:
        return Path(*there.parts[: -len(parts)])
    return Path.cwd()


def verify_sources(
    path: Path, shown: str, given: Path | None = None
) -> tuple[int, list[Diagnostic]]:
    """Reads every file of the sources; how many, and those that are not what was merged.

    Raises InputError (E2101, E2102).
    """
    record = record_of(path, shown)
    folder = folder_of(path, record, given)
    wanted: dict[Path, tuple[str, str, str]] = {}
    problems = []
    for parent in record["parents"]:
        source = parent["source"]
        place = _place(parent, folder)
        if place is None or not place.exists():
            problems.append(Diagnostic("E2120", None, {"source": source, "folder": str(folder)}))
            continue
        for name, facts in parent["files"].items():
            file = place if place.is_file() else place / name
            try:
                size = file.stat().st_size
            except OSError:
                problems.append(Diagnostic("E2121", None, {"file": name, "source": source}))
                continue
            if size != facts["size"]:
                problems.append(_changed(name, source))
            else:
                wanted[file] = (source, name, facts["digest"])
    for kind in (store.BLAKE3, store.SHA256):
        files = [file for file, (*_, digest) in wanted.items() if digest.startswith(f"{kind}:")]
        try:
            read = store.digests(files, kind, fresh=True)
        except RunError as error:
            problems += error.diagnostics
            continue
        for file in files:
            source, name, digest = wanted[file]
            if digest != f"{kind}:{read[str(file)]}":
                problems.append(_changed(name, source))
    return len(wanted), problems


def _place(parent: Mapping[str, Any], folder: Path) -> Path | None:
    """Where a source lies on this machine: of the Hub in its cache, at the commit of the record."""
    try:
        reference = parse_reference(parent["source"], folder)
    except InputError:
        return None
    if reference.hub is None:
        return reference.path
    commit = parent.get("commit")
    return place_of(reference.hub, commit) if isinstance(commit, str) else None


def commits_of(record: Record) -> dict[str, str]:
    """The commits at which sources on the Hub were merged, by repository and revision."""
    found = {}
    for parent in record["parents"]:
        source, commit = parent["source"], parent.get("commit")
        if source.startswith("hf:") and isinstance(commit, str):
            found[hub_name(source[3:], source).pinned] = commit
    return found


def _changed(name: str, source: str) -> Diagnostic:
    return Diagnostic("E2122", None, {"file": name, "source": source})
