"""PyTorch's own files (`torch.save`): which tensors they hold and where those lie, byte for byte.

A pickle can run any code when it is read. These are read by `torch.load(weights_only=True)`, which
builds tensors and plain containers and nothing else, and only where somebody has asked for it. The
file is mapped, no weight is read; from then on its tensors are read in place like any others.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergelang.errors import InputError
from mergelang.tensors import Extent, TensorType

INSIDE = ("state_dict", "model", "module")
"""Where training programs put the tensors of a checkpoint that holds more."""

PAGE = 4096


def read_pickle(path: Path, shown: str) -> dict[str, Extent]:
    """The tensors of a file by name. `shown` is how errors call it.

    Raises InputError: E2231 where it holds something else than tensors, E2232 where they do not lie
    in it as they are, one after the other in their own order.
    """
    import torch

    dtypes = {
        torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
        torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64",
        torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
        torch.bool: "BOOL",
    }  # fmt: skip
    records = _records(path, shown)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).strip().partition("\n")[0]
        raise InputError("E2231", path=shown, reason=reason or type(error).__name__) from error
    tensors = _tensors(loaded, torch.Tensor)
    if tensors is None:
        raise InputError("E2231", path=shown, reason="it is not a table of tensors by name")
    begins = _begins({_storage(each) for each in tensors.values()}, records)
    if begins is None:
        raise InputError("E2232", path=shown, why="its tensors are not where its index says")
    extents = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in dtypes:
            raise InputError("E0612", path=shown, tensor=name, dtype=str(tensor.dtype))
        if not tensor.is_contiguous():
            raise InputError("E2232", path=shown, why=f"{name} is stored in another order")
        start, _ = _storage(tensor)
        at = begins[start] + tensor.storage_offset() * tensor.element_size() if start else 0
        extents[name] = Extent(str(path), at, TensorType(dtypes[tensor.dtype], tuple(tensor.shape)))
    return extents


def _records(path: Path, shown: str) -> dict[int, int]:
    """Where the stored data lies in the file, and its size, by its first byte."""
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            found = {}
            for each in archive.infolist():
                name = each.filename.partition("/")[2]
                if name == "byteorder" and archive.read(each) != b"little":
                    raise InputError("E2232", path=shown, why="its numbers are big endian")
                if name.startswith("data/") and each.compress_type == zipfile.ZIP_STORED:
                    file.seek(each.header_offset + 26)
                    lengths = file.read(4)
                    skip = 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
                    found[each.header_offset + skip] = each.file_size
            return found
    except zipfile.BadZipFile as error:
        why = "it was written by a torch older than 1.6, or is damaged"
        raise InputError("E2232", path=shown, why=why) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("E0604", path=shown, reason=reason) from error


def _tensors(loaded: Any, kind: type) -> Mapping[str, Any] | None:
    """The table of tensors in what was loaded, perhaps under one of the usual keys."""
    if not isinstance(loaded, Mapping):
        return None
    if loaded and all(isinstance(k, str) and isinstance(v, kind) for k, v in loaded.items()):
        return loaded
    inner = next((loaded[key] for key in INSIDE if isinstance(loaded.get(key), Mapping)), None)
    return None if inner is None else _tensors(inner, kind)


def _storage(tensor: Any) -> tuple[int, int]:
    """Address and size of the stored data behind a tensor; 0 where there is none."""
    storage = tensor.untyped_storage()
    return (storage.data_ptr() if storage.nbytes() else 0), storage.nbytes()


def _begins(
    storages: set[tuple[int, int]], records: Mapping[int, int]
) -> dict[int, int] | None:
    """For each address of stored data its place in the file; None where they do not fit.

    torch maps the whole file, so one number leads from every address to its place: the one by which
    all of them are records of their size.
    """
    real = {start: size for start, size in storages if start}
    if not real:
        return {}
    first = min(real)
    for place in records:
        base = first - place
        if base % PAGE == 0 and all(
            records.get(start - base) == size for start, size in real.items()
        ):
            return {start: start - base for start in real}
    return None
