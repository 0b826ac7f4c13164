"""Whether a folder still is what its record says: every file, every tensor; sources, too.

Everything is read: what is remembered of files takes no part, since only reading finds a byte that
has changed on the disk by itself. Findings are diagnostics, in the order of the record.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergelang.errors import Diagnostic, InputError
from mergelang.models.headers import read_header, stated_size
from mergelang.models.record import RECORD, Record, read_header_record
from mergelang.plan.origin import root_of
from mergelang.record.lineage import record_of, refuse_unreadable
from mergelang.store.digests import leaf_digests, of_bytes, of_leaves
from mergelang.tensors import Extent, TensorType

SPAN = 32 << 20
"""Bytes that one thread reads at a time."""

Say = Callable[[int, int], None]


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what is wrong with it."""

    files: int
    tensors: int
    nbytes: int
    problems: tuple[Diagnostic, ...]


def verify(path: Path, shown: str, say: Say = lambda done, of: None) -> Verified:
    """Looks at every byte of a folder, or of one weight file against the record in its header.

    `say` is told how many of how many bytes have been read. Raises InputError (E2101, E2102) where
    there is no record, RunError (E0901) where a file may not be read.
    """
    record = record_of(path, shown)
    files = record.get("files") if path.is_dir() else {path.name: _of_itself(path)}
    if not isinstance(files, dict) or not all(isinstance(each, dict) for each in files.values()):
        there = (path / RECORD).exists()
        file, lost = (RECORD, None) if there else (None, RECORD)
        raise InputError("E2102", path=shown, what="its files", file=file, lost=lost, none=None)
    look = _Look(path if path.is_dir() else path.parent, shown, record, say)
    if path.is_dir():
        look.names(files)
    look.weights([name for name, said in files.items() if "digest" not in said], files)
    look.beside({name: said for name, said in files.items() if "digest" in said})
    if path.is_dir():
        look.root()
    return Verified(len(files), look.tensors, look.read, tuple(look.problems))


def _of_itself(path: Path) -> dict[str, int]:
    """What is known of a weight file without a record of its folder: its size, by its header."""
    try:
        return {"size": stated_size(path, path.name)}
    except InputError:
        return {}


class _Look:
    """What has been seen of a folder so far."""

    def __init__(self, folder: Path, shown: str, record: Record, say: Say):
        self.folder, self.shown, self.record, self.say = folder, shown, record, say
        self.problems: list[Diagnostic] = []
        self.types: dict[str, TensorType] = {}
        self.tensors = self.read = 0

    def add(self, code: str, **facts: Any) -> None:
        self.problems.append(Diagnostic(code, None, {"shown": self.shown, **facts}))

    def names(self, files: Mapping[str, Any]) -> None:
        """Files that are there and are not of the record. Hidden ones are no part of a model."""
        for each in sorted(self.folder.rglob("*")):
            name = each.relative_to(self.folder)
            hidden = any(part.startswith(".") for part in name.parts)
            if each.is_file() and not hidden and name.as_posix() not in {RECORD, *files}:
                self.add("E2110", file=name.as_posix())

    def weights(self, names: list[str], files: Mapping[str, Any]) -> None:
        """The headers of the weight files against the record, then every tensor."""
        extents: dict[str, tuple[str, Extent]] = {}
        sound = [name for name in names if self._header(name, files[name])]
        for name in sound:
            found = read_header(self.folder / name, name)
            extents |= {tensor: (name, extent) for tensor, extent in found.items()}
        wanted: Mapping[str, str] = self.record["tensors"]
        self._tensors({name: extents[name] for name in wanted if name in extents}, wanted)
        for tensor, (file, _) in extents.items():
            if tensor not in wanted:
                self.add("E2116", tensor=tensor, file=file)
        if sound == names:
            for tensor in wanted:
                if tensor not in extents:
                    self.add("E2115", tensor=tensor)

    def _header(self, name: str, said: Mapping[str, Any]) -> bool:
        """Whether the header of a weight file can be believed."""
        path = self.folder / name
        sized = self._sized(name, said)
        if not path.is_file():
            return False
        try:
            read_header(path, name)
        except InputError:
            if sized:
                self.add("E2113", file=name)
            return False
        if "header" in said:
            if said["header"] != f"blake3:{of_bytes(_header_bytes(path))}":
                self.add("E2113", file=name)
                return False
            self._same_record(name, path)
        return True

    def _same_record(self, name: str, path: Path) -> None:
        """The record in a header and that of the folder say the same of how it was made."""
        found = read_header_record(path) or {}
        for key, value in found.items():
            said = self.record.get(key)
            if key == "tensors":
                said = {tensor: said.get(tensor) for tensor in value}
            if said != value:
                self.add("E2117", key=key, file=name)

    def _tensors(
        self, extents: Mapping[str, tuple[str, Extent]], wanted: Mapping[str, str]
    ) -> None:
        total = sum(extent.type.nbytes for _, extent in extents.values())
        jobs = list(_pieces(extents))
        leaves: dict[str, list[bytes]] = {name: [] for name in extents}
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for name, found, count in pool.map(_hash_piece, jobs):
                leaves[name] += found
                self.read += count
                self.say(self.read, total)
        for name, (file, extent) in extents.items():
            self.types[name] = extent.type
            self.tensors += 1
            if of_leaves(leaves[name]) != wanted[name]:
                self.add("E2114", tensor=name, file=file)

    def beside(self, files: Mapping[str, Any]) -> None:
        """The small files."""
        for name, said in files.items():
            if self._sized(name, said):
                data = (self.folder / name).read_bytes()
                self.read += len(data)
                if said["digest"] != f"blake3:{of_bytes(data)}":
                    self.add("E2112", file=name)

    def _sized(self, name: str, said: Mapping[str, Any]) -> bool:
        path = self.folder / name
        try:
            size = path.stat().st_size
        except OSError:
            self.add("E2111", file=name)
            return False
        refuse_unreadable(path)
        if size != said.get("size", size):
            self.add("E2118", file=name, got=f"{size:,}", wanted=f"{said['size']:,}")
            return False
        return True

    def root(self) -> None:
        """The root against the digests that it is made of."""
        wanted = self.record["tensors"]
        seen_all = self.types.keys() == wanted.keys()
        if seen_all and root_of(self.types, wanted) != self.record["root"]:
            self.add("E2119")


def _pieces(extents: Mapping[str, tuple[str, Extent]]) -> Iterator[tuple[str, Extent, int]]:
    for name, (_, extent) in extents.items():
        for start in range(0, extent.type.nbytes, SPAN):
            yield name, extent, start


def _hash_piece(piece: tuple[str, Extent, int]) -> tuple[str, list[bytes], int]:
    name, extent, start = piece
    count = min(SPAN, extent.type.nbytes - start)
    return name, leaf_digests(extent.path, extent.offset + start, count), count


def _header_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        length = file.read(8)
        return length + file.read(int.from_bytes(length, "little"))
