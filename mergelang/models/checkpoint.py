"""A model on disk: a folder in Hugging Face layout or one safetensors file; its headers, config,
sidecar files. No weight is read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mergelang.errors import InputError
from mergelang.files import Facts
from mergelang.models.conversions import as_on_disk
from mergelang.models.hub import Hub, Snapshot
from mergelang.models.reference import Reference
from mergelang.models.roles import roles
from mergelang.models.sidecars import sidecars_of
from mergelang.models.tokenizer import tokenizer_of
from mergelang.models.towers import layering_of
from mergelang.models.vocabulary import Vocabulary, vocabulary_of
from mergelang.models.weights import bare_file, folder_extents, open_folder, weight_files
from mergelang.tensors import Extent, Inventory

QUANTISED = ("F8_E4M3", "F8_E5M2")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened model. `files` hold its weights; `extents` say where each tensor lies in them.

    `config` is None for a bare safetensors file. `origin` of a model on the Hub is its commit and
    what that holds: files of it that are not here yet are fetched by a run. `facts` are those of
    the folder and all its files (or of the one file) by path, from before anything was read.
    """

    reference: Reference
    folder: Path
    files: tuple[Path, ...]
    extents: Mapping[str, Extent]
    config: Mapping[str, Any] | None
    sidecars: tuple[Path, ...]
    origin: Snapshot | None = None
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

    def table(self, name: str) -> Extent:
        """Where a tensor of `vocabulary` lies."""
        return self.extents[name]

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What the rows of its embeddings stand for; None where it has none."""
        shown = self.reference.text
        beside = (each for each in self.sidecars if each.parent == self.folder)
        tokenizer = tokenizer_of(beside, shown)
        return vocabulary_of(self.inventory, self.config or {}, tokenizer, shown)


def open_model(
    reference: Reference, hub: Hub | None = None, allow_pickle: bool = False
) -> Checkpoint:
    """Reads config and headers. Raises InputError (E06.., E22..) where the model cannot be used.

    `hub` is asked about models there; the one of a check, so that all it reads is of one moment.
    `allow_pickle`: weights that only torch can read are read by it (which loads torch).
    """
    try:
        return _open(reference, hub or Hub(), allow_pickle)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("E0604", path=reference.text, reason=reason) from error


def _open(reference: Reference, hub: Hub, allow_pickle: bool) -> Checkpoint:
    path, shown = reference.path, reference.text
    if path is not None and path.is_file():
        extents = sound_extents(bare_file(path, shown, allow_pickle), shown)
        return Checkpoint(reference, path.parent, (path,), extents, None, ())
    if path is not None and not path.is_dir():
        raise InputError("E0605", path=shown, near=_near(path, shown))
    folder = open_folder(reference, hub)
    if "adapter_config.json" in folder:
        raise InputError("E0609", path=shown)
    config = _config(folder.path, shown)
    _refuse_quantised(config, shown)
    sidecars = sidecars_of(folder.path)
    files = weight_files(folder, allow_pickle)
    extents = as_on_disk(folder_extents(folder, files), str((config or {}).get("model_type", "")))
    extents = sound_extents(extents, shown)
    paths = tuple(folder.path / name for name in files)
    return Checkpoint(reference, folder.path, paths, extents, config, sidecars, folder.snapshot)


def sound_extents(extents: dict[str, Extent], shown: str) -> dict[str, Extent]:
    """The tensors of a source; InputError where there are none, or quantised ones."""
    if not extents:
        raise InputError("E0617", path=shown)
    for tensor, extent in extents.items():
        if extent.type.dtype in QUANTISED:
            raise InputError(
                "E0608", path=shown, what=f"{tensor} is {extent.type.dtype}, with scales beside it"
            )
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
