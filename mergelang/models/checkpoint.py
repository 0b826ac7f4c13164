"""A model on disk: a folder in Hugging Face layout or one safetensors file; its headers, config,
sidecar files. No weight is read.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mergelang.errors import InputError
from mergelang.files import Facts
from mergelang.models.conversions import as_on_disk
from mergelang.models.headers import read_header
from mergelang.models.reference import Reference
from mergelang.models.roles import roles
from mergelang.models.sidecars import sidecars_of
from mergelang.models.tokenizer import tokenizer_of
from mergelang.models.towers import layering_of
from mergelang.models.vocabulary import Vocabulary, vocabulary_of
from mergelang.tensors import Extent, Inventory

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
QUANTISED = ("F8_E4M3", "F8_E5M2")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened model. `files` hold its weights; `extents` say where each tensor lies in them.

    `config` is None for a bare safetensors file. `facts` are those of the folder and all its files
    (or of the one file) by path, from before anything in them was read.
    """

    reference: Reference
    folder: Path
    files: tuple[Path, ...]
    extents: Mapping[str, Extent]
    config: Mapping[str, Any] | None
    sidecars: tuple[Path, ...]
    facts: Mapping[str, Facts] = field(default_factory=dict, kw_only=True)

    @property
    def architecture(self) -> str:
        """The config's `model_type`; empty without one."""
        return str((self.config or {}).get("model_type", ""))

    @cached_property
    def inventory(self) -> Inventory:
        types = {name: extent.type for name, extent in self.extents.items()}
        layering = layering_of(types, self.config)
        return Inventory(types, layering, roles(types, layering, self.config), self.architecture)

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What the rows of its embeddings stand for; None where it has none."""
        shown = self.reference.text
        beside = (each for each in self.sidecars if each.parent == self.folder)
        tokenizer = tokenizer_of(beside, shown)
        return vocabulary_of(self.inventory, self.config or {}, tokenizer, shown)


def open_model(reference: Reference) -> Checkpoint:
    """Reads config and headers. Raises InputError (E06..) where the model cannot be used."""
    try:
        return _open(reference)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("E0604", path=reference.text, reason=reason) from error


def _open(reference: Reference) -> Checkpoint:
    path, shown = reference.path, reference.text
    if path is None:
        name, _, revision = reference.hub.partition("@")
        pinned = f" --revision {revision}" if revision else ""
        raise InputError("E0603", text=shown, name=name + pinned, folder=name.split("/")[1])
    if path.is_file():
        if path.suffix != ".safetensors":
            raise InputError("E0606", path=shown, **_other(path, str(Path(shown).parent)))
        return _checkpoint(reference, path.parent, (path,), None, ())
    if not path.is_dir():
        raise InputError("E0605", path=shown, near=_near(path, shown))
    if (path / "adapter_config.json").is_file():
        raise InputError("E0609", path=shown)
    config = _config(path, shown)
    _refuse_quantised(config, shown)
    return _checkpoint(reference, path, _weights(path, shown), config, sidecars_of(path))


def _checkpoint(
    reference: Reference, folder: Path, files: tuple[Path, ...],
    config: Mapping[str, Any] | None, sidecars: tuple[Path, ...],
) -> Checkpoint:  # fmt: skip
    extents = as_on_disk(
        read_extents(reference, folder, files), str((config or {}).get("model_type", ""))
    )
    return Checkpoint(reference, folder, files, extents, config, sidecars)


def read_extents(
    reference: Reference, folder: Path, files: tuple[Path, ...]
) -> dict[str, Extent]:
    """The tensors of all files of a model. Raises InputError where they are no sound weights."""
    shown = reference.text
    extents: dict[str, Extent] = {}
    for file in files:
        name = file.name if folder == reference.path else None
        header = read_header(file, f"{shown.rstrip('/')}/{name}" if name else shown)
        for tensor, extent in header.items():
            if tensor in extents:
                other = Path(extents[tensor].path).name
                raise InputError(
                    "E0616", path=shown, tensor=tensor, first=other, second=file.name
                )
            extents[tensor] = extent
    if folder == reference.path:
        extents = _indexed(folder, shown, extents)
    if not extents:
        raise InputError("E0617", path=shown)
    for tensor, extent in extents.items():
        if extent.type.dtype in QUANTISED:
            raise InputError(
                "E0608", path=shown, what=f"{tensor} is {extent.type.dtype}, with scales beside it"
            )
    return extents


def _weights(folder: Path, shown: str) -> tuple[Path, ...]:
    """The weight files of a folder: those of its index, else the one there is."""
    index = folder / INDEX
    if index.is_file():
        names = sorted(set(_weight_map(index, shown).values()))
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise InputError("E0614", path=shown, file=name, index=INDEX)
        return tuple(folder / name for name in names)
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    found = sorted(each for each in folder.glob("*.safetensors") if each.is_file())
    if len(found) == 1:
        return (found[0],)
    if found:
        raise InputError("E0618", path=shown, count=len(found), index=INDEX)
    pickles = sorted(each for each in folder.iterdir() if each.suffix in PICKLES)
    if pickles:
        other = _other(pickles[0], shown) | {"what": f"holds {pickles[0].name}"}
        raise InputError("E0606", path=shown, **other)
    if list(folder.glob("*.gguf")):
        raise InputError("E0608", path=shown, what="its weights are a GGUF file")
    raise InputError("E0607", path=shown)


def _weight_map(index: Path, shown: str) -> Mapping[str, str]:
    try:
        found = json.loads(index.read_bytes())["weight_map"]
        if isinstance(found, dict) and all(isinstance(each, str) for each in found.values()):
            return found
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InputError("E0615", path=shown, file=INDEX)


def _indexed(folder: Path, shown: str, extents: dict[str, Extent]) -> dict[str, Extent]:
    """The tensors that the index names, each of which has to lie in its file."""
    index = folder / INDEX
    if not index.is_file():
        return extents
    paths = {path: os.path.basename(path) for path in {each.path for each in extents.values()}}
    for tensor, file in _weight_map(index, shown).items():
        extent = extents.get(tensor)
        if extent is None or paths[extent.path] != file:
            raise InputError("E0619", path=shown, tensor=tensor, file=file, index=INDEX)
    return extents


def _config(folder: Path, shown: str) -> Mapping[str, Any] | None:
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError("E0615", path=shown, file="config.json") from error
    if not isinstance(found, dict):
        raise InputError("E0615", path=shown, file="config.json")
    return found


def _refuse_quantised(config: Mapping[str, Any] | None, shown: str) -> None:
    settings = (config or {}).get("quantization_config")
    if settings:
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        raise InputError(
            "E0608", path=shown, what="config.json has a quantization_config"
            + (f" ({method})" if method else ""),
        )  # fmt: skip


def _other(file: Path, folder: str) -> dict[str, str | None]:
    """What a file is instead of safetensors, and the folder where a command can convert it."""
    pickle = file.suffix in PICKLES
    what = f"is a {file.suffix} file" if file.suffix else "is a file without a suffix"
    return {"what": what, "folder": folder if pickle else None, "bare": None if pickle else ""}


def _near(path: Path, shown: str) -> str | None:
    """A name beside the missing one that was probably meant, written as `shown` is."""
    from difflib import get_close_matches

    try:
        beside = [each.name for each in path.parent.iterdir()]
    except OSError:
        return None
    close = get_close_matches(path.name, beside, 1)
    if not close:
        return None
    head, slash, _ = shown.rstrip("/").rpartition("/")
    return f"{head}{slash}{close[0]}"
