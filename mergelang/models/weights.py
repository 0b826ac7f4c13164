"""Which files of a model hold its weights, and the tensors in them, from headers alone."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path

from mergelang.errors import InputError
from mergelang.models.headers import parse_header, read_header
from mergelang.models.hub import Hub, Snapshot, header, unreachable
from mergelang.models.pickles import read_pickle
from mergelang.models.reference import Reference
from mergelang.tensors import Extent

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
PICKLE_INDEX = "pytorch_model.bin.index.json"
PICKLE = "pytorch_model.bin"

NO_WEIGHTS = ("training_args*", "optimizer*", "scheduler*", "rng_state*", "scaler*")
"""Pickles that training leaves beside a model's weights."""


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder of a model or an adapter: on this machine, or on the Hub, where its small files are
    fetched and weights may be yet to come to `path`. `shown` is how errors call it."""

    path: Path
    shown: str
    snapshot: Snapshot | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The files directly in it, in order."""
        if self.snapshot is not None:
            return tuple(sorted(name for name in self.snapshot.files if "/" not in name))
        return tuple(sorted(each.name for each in self.path.iterdir() if each.is_file()))

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def header(self, name: str) -> dict[str, Extent]:
        """The tensors of one of its files."""
        path, shown = self.path / name, f"{self.shown.rstrip('/')}/{name}"
        if name.endswith(PICKLES):
            return read_pickle(path, shown)
        if self.snapshot is None or path.exists():
            return read_header(path, shown)
        return parse_header(path, *header(self.snapshot, name, self.shown), shown)

    def lacking(self, what: str, error: InputError) -> InputError:
        """The error that `what` is not there; of a copy that may not be whole, that it has to be
        fetched."""
        if self.snapshot is None or self.snapshot.whole:
            return error
        reason = f"{what} not on this machine"
        return unreachable(self.snapshot.name, self.shown, reason, self.snapshot.commit)


def open_folder(reference: Reference, hub: Hub) -> Folder:
    """The folder of a source that is one. Raises InputError (E22..) for one on the Hub."""
    if reference.hub is None:
        return Folder(reference.path, reference.text)
    snapshot = hub.snapshot(reference.hub, reference.text)
    return Folder(snapshot.folder, reference.text, snapshot)


def weight_files(folder: Folder, allow_pickle: bool) -> tuple[str, ...]:
    """The weight files of a folder: those of its index, else the one there is; safetensors where
    it has both kinds."""
    shown = folder.shown
    if INDEX in folder:
        return _indexed(folder, INDEX)
    if SINGLE in folder:
        return (SINGLE,)
    found = [name for name in folder.names if name.endswith(".safetensors")]
    if len(found) == 1:
        return (found[0],)
    if found:
        raise InputError("E0618", path=shown, count=len(found), kind=".safetensors", index=INDEX)
    pickles = pickled(folder)
    if pickles:
        return _pickles(folder, pickles, allow_pickle)
    if any(name.endswith(".gguf") for name in folder.names):
        raise InputError("E0608", path=shown, what="its weights are a GGUF file")
    raise folder.lacking("its weights are", InputError("E0607", path=shown))


def pickled(folder: Folder) -> list[str]:
    """The pickles of a folder that may hold weights, the likeliest first."""
    found = [
        name for name in folder.names
        if name.endswith(PICKLES) and not any(fnmatchcase(name, form) for form in NO_WEIGHTS)
    ]  # fmt: skip
    return sorted(found, key=lambda name: name != PICKLE)


def _pickles(folder: Folder, found: Sequence[str], allowed: bool) -> tuple[str, ...]:
    """The pickles that are the weights, where they may be read and lie on this machine."""
    if not allowed:
        raise refused(f"holds {found[0]}", folder.shown, folder.snapshot)
    if PICKLE_INDEX in folder:
        names = _indexed(folder, PICKLE_INDEX)
    elif found[0] == PICKLE or len(found) == 1:
        names = (found[0],)
    else:
        facts = {"count": len(found), "kind": "pickled", "index": PICKLE_INDEX}
        raise InputError("E0618", path=folder.shown, **facts)
    if not all((folder.path / name).exists() for name in names):
        raise InputError("E2233", path=folder.shown, command=folder.snapshot.command)
    return names


def _indexed(folder: Folder, index: str) -> tuple[str, ...]:
    names = sorted(set(_weight_map(folder, index).values()))
    for name in names:
        if Path(name).name != name or name not in folder:
            lost = InputError("E0614", path=folder.shown, file=name, index=index)
            raise folder.lacking(f"{name} is", lost)
    return tuple(names)


def folder_extents(folder: Folder, names: Sequence[str]) -> dict[str, Extent]:
    """The tensors of these files of a folder. Raises InputError where they do not fit together."""
    shown = folder.shown
    extents: dict[str, Extent] = {}
    for name in names:
        found = folder.header(name)
        if not extents.keys().isdisjoint(found):
            tensor = next(each for each in found if each in extents)
            other = Path(extents[tensor].path).name
            raise InputError("E0616", path=shown, tensor=tensor, first=other, second=name)
        extents |= found
    index = PICKLE_INDEX if names[0].endswith(PICKLES) else INDEX
    if index in folder:
        paths = {path: os.path.basename(path) for path in {each.path for each in extents.values()}}
        for tensor, file in _weight_map(folder, index).items():
            extent = extents.get(tensor)
            if extent is None or paths[extent.path] != file:
                raise InputError("E0619", path=shown, tensor=tensor, file=file, index=index)
    return extents


def bare_file(path: Path, shown: str, allow_pickle: bool) -> dict[str, Extent]:
    """The tensors of a single file."""
    if path.suffix == ".safetensors":
        return read_header(path, shown)
    if path.suffix in PICKLES and allow_pickle:
        return read_pickle(path, shown)
    what = f"is a {path.suffix} file" if path.suffix else "is a file without a suffix"
    if path.suffix in PICKLES:
        raise refused(what, shown)
    raise InputError("E0606", path=shown, what=what, bare="")


def refused(what: str, shown: str, snapshot: Snapshot | None = None) -> InputError:
    """The error that a source has pickles, which nobody has allowed to be read."""
    return InputError("E0606", path=shown, what=what, command=_convert(shown, snapshot))


def _convert(shown: str, snapshot: Snapshot | None) -> str:
    """The command that makes safetensors of a source."""
    fetch, place = fetched(shown, snapshot)
    bare = Path(place).with_suffix("") if place.endswith(PICKLES) else place
    return f"{fetch}mergelang convert {place} -o {bare}-safetensors --allow-pickle"


def fetched(shown: str, snapshot: Snapshot | None) -> tuple[str, str]:
    """The start of a command that fetches a source into the current folder, empty for one that is
    on this machine; and where it lies then."""
    if snapshot is None:
        return "", shown.rstrip("/")
    folder = snapshot.name.repo.partition("/")[2]
    inner = f"{folder}/{snapshot.name.subfolder}".rstrip("/")
    return f"{snapshot.command} --local-dir {folder} && ", inner


@lru_cache(maxsize=8)
def _weight_map(folder: Folder, index: str) -> Mapping[str, str]:
    """The file of each tensor, as an index says; read once for a folder."""
    text = (folder.path / index).read_bytes()
    try:
        return _parsed(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("E0615", path=folder.shown, file=index) from error


@lru_cache(maxsize=2)
def _parsed(text: bytes) -> Mapping[str, str]:
    """Kept, since the models of one recipe mostly have the same index."""
    found = json.loads(text)["weight_map"]
    if not isinstance(found, dict) or not found or set(map(type, found.values())) != {str}:
        raise ValueError("it is no table of names")
    return found
