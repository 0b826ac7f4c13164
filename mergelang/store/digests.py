"""Digests of files, and of anything in leaves; those of files are remembered between runs.

A file is known again by its path, size, time of change and inode; one of the four other, and it is
hashed anew. What is not remembered because the store cannot be written is hashed again next time,
and nothing else is lost. Safe for many threads and processes at once: an entry is one small file,
replaced in one step.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from blake3 import blake3

from mergelang.errors import RunError
from mergelang.files import Facts, cache_folder, facts_of
from mergelang.store.whole import write_whole

LEAF = 1 << 20
"""Bytes that are hashed together. The digest of a file or a tensor is the BLAKE3 of the digests of
its leaves, so that leaves can be hashed by anyone in any order."""

BLAKE3, SHA256 = "blake3", "sha256"
"""The kinds of digests: of leaves as above, and the one that the Hub and `sha256sum` give."""

_SPAN = 32 << 20
_TICK = 20_000_000
"""Nanoseconds after which a file that is changed again has another time of change for sure."""

_HUB_BLOB = re.compile(r"[0-9a-f]{64}")


def of_leaves(leaves: Iterable[bytes]) -> str:
    """The digest whose leaves have these digests, in hexadecimal."""
    return blake3(b"".join(leaves)).hexdigest()


def of_bytes(data: bytes) -> str:
    """The digest of a file that holds these bytes, in hexadecimal."""
    return of_leaves(blake3(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF))


def known(path: Path | str, kind: str = BLAKE3) -> str | None:
    """The digest of a file as far as it is known without reading it; hexadecimal, or None.

    The sha256 of a file in the Hub's cache stands in the name of its blob.
    """
    real = Path(path).resolve()
    if kind == SHA256 and _hub_blob(real):
        return real.name
    try:
        facts = facts_of(real)
    except OSError:
        return None
    return _entry(real, facts).get(kind)


def identity(path: Path | str) -> str | None:
    """The digest of a file with its kind, as far as it is known: of a Hub file the `sha256:...` of
    its metadata, of others `blake3:...`; None where it has to be read first."""
    kind = SHA256 if _hub_blob(Path(path).resolve()) else BLAKE3
    found = known(path, kind)
    return f"{kind}:{found}" if found else None


def digest(path: Path | str, kind: str = BLAKE3) -> str:
    """The digest of one file; see `digests`."""
    return digests([path], kind)[str(path)]


def digests(
    paths: Iterable[Path | str], kind: str = BLAKE3, threads: int | None = None,
    *, fresh: bool = False,
) -> dict[str, str]:  # fmt: skip
    """The digests of files by path, hexadecimal; those not known yet are read, in parallel.

    With `fresh` all are read, whatever is remembered.

    Raises RunError for a file that cannot be read (E0901) or is changed meanwhile (E2001).
    """
    names = list(dict.fromkeys(str(path) for path in paths))
    found = {name: None if fresh else known(name, kind) for name in names}
    wanted = [name for name in names if found[name] is None]
    if not wanted:
        return {name: each for name, each in found.items() if each}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        before = {name: _settled(name) for name in wanted}
        if kind == SHA256:
            results = dict(zip(wanted, pool.map(_sha256, wanted), strict=True))
        else:
            spans = {
                name: [
                    pool.submit(leaf_digests, name, start, _SPAN)
                    for start in range(0, size, _SPAN)
                ]
                for name, (size, *_) in before.items()
            }
            results = {
                name: of_leaves(leaf for span in each for leaf in span.result())
                for name, each in spans.items()
            }
    for name, result in results.items():
        remember(name, before[name], result, kind)
        found[name] = result
    return {name: each for name, each in found.items() if each}


def remember(path: Path | str, before: Facts, digest: str, kind: str = BLAKE3) -> None:
    """Keeps the digest of a file that had the facts `before` when its reading began.

    Raises RunError (E2001) if it has other ones now.
    """
    if unchanged(path, before):
        real = Path(path).resolve()
        entry = {"path": str(real), **before._asdict(), **_entry(real, before), kind: digest}
        with suppress(OSError):
            write_whole(_place(real), json.dumps(entry).encode())


def unchanged(path: Path | str, before: Facts) -> bool:
    """True, or RunError (E2001) if a file is not what it was when its reading began."""
    try:
        now = facts_of(path)
    except OSError as error:
        raise RunError("E0901", path=str(path), reason=error.strerror or str(error)) from error
    if now != before:
        raise RunError("E2001", path=str(path))
    return True


def _settled(path: str) -> Facts:
    """The facts of a file, once a further change is sure to show in them."""
    try:
        facts = facts_of(path)
        age = time.time_ns() - facts.mtime_ns
        if 0 <= age < _TICK:
            time.sleep((_TICK - age) / 1e9)
            facts = facts_of(path)
    except OSError as error:
        raise RunError("E0901", path=path, reason=error.strerror or str(error)) from error
    return facts


def leaf_digests(path: str, start: int, count: int) -> list[bytes]:
    """The digests of the leaves of `count` bytes of a file, fewer where it ends before.

    Raises RunError (E0901) for a file that cannot be read.
    """
    found = []
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for at in range(start, start + count, LEAF):
                data = os.pread(descriptor, min(LEAF, start + count - at), at)
                if not data:
                    break
                found.append(blake3(data).digest())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RunError("E0901", path=path, reason=error.strerror or str(error)) from error
    return found


def _sha256(path: str) -> str:
    hasher = sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(LEAF):
                hasher.update(data)
    except OSError as error:
        raise RunError("E0901", path=path, reason=error.strerror or str(error)) from error
    return hasher.hexdigest()


def _hub_blob(real: Path) -> bool:
    return real.parent.name == "blobs" and _HUB_BLOB.fullmatch(real.name) is not None


def _place(real: Path) -> Path:
    name = blake3(os.fsencode(real)).hexdigest()[:40]
    return cache_folder() / "digests" / name[:2] / name[2:]


def _entry(real: Path, facts: Facts) -> Mapping[str, str]:
    """The digests remembered of a file with these facts, by kind."""
    try:
        found = json.loads(_place(real).read_bytes())
        same = found["path"] == str(real) and all(
            found[name] == value for name, value in facts._asdict().items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {kind: found[kind] for kind in (BLAKE3, SHA256) if kind in found} if same else {}
