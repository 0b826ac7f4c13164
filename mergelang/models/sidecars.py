"""The files of a model beside its weights and config: tokenizer, processors, generation settings,
and the folders of further modules that sentence-transformers puts behind the model.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from mergelang.models.tokenizer import FILES

MODULES = "modules.json"

SIDECARS = (
    *FILES, "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "normalizer.json", "configuration_*.py", "modeling_*.py",
    "tokenization_*.py", "processing_*.py", "image_processing_*.py", MODULES,
    "sentence_*_config.json", "config_sentence_transformers.json",
)  # fmt: skip
"""Forms of the names of such files."""


def sidecars_of(folder: Path) -> tuple[Path, ...]:
    """All of them, in the order of their names; those of modules lie in folders of their own."""
    found = [
        each for each in folder.iterdir()
        if each.is_file() and any(fnmatchcase(each.name, form) for form in SIDECARS)
    ]  # fmt: skip
    return tuple(sorted((*found, *module_files(folder))))


def module_files(folder: Path) -> list[Path]:
    """The files of modules behind the model, in the folders that modules.json names."""
    return [
        each for name in modules(folder)
        for each in sorted((folder / name).rglob("*")) if each.is_file()
    ]  # fmt: skip


def modules(folder: Path) -> list[str]:
    """The folders inside this one that modules.json names; the model itself is in none of them."""
    try:
        entries = json.loads((folder / MODULES).read_bytes())
        paths = [entry["path"] for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [
        path for path in paths
        if isinstance(path, str) and path and not PurePosixPath(path).is_absolute()
        and ".." not in PurePosixPath(path).parts
    ]  # fmt: skip
