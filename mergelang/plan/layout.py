"""Where each output tensor lies: shards, offsets, and headers of a size known before any byte.

The format is safetensors: eight bytes of length, a JSON header, then the tensors without gaps.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mergelang.tensors import DTYPES, TensorType


@dataclass(frozen=True)
class Shard:
    """One file: its header's bytes (with length), and the absolute offset of each tensor."""

    file: str
    header: bytes
    tensors: Mapping[str, TensorType]
    offsets: Mapping[str, int]
    size: int


def shards(
    tensors: Iterable[tuple[str, TensorType]],
    limit: int,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Shard, ...]:
    """Distributes tensors over files of at most `limit` bytes of data each, in their order.

    A tensor larger than the limit has a file of its own. Within a file wider dtypes come first, so
    that every tensor is aligned to its element.
    """
    groups: list[list[tuple[str, TensorType]]] = [[]]
    filled = 0
    for name, kind in tensors:
        if groups[-1] and filled + kind.nbytes > limit:
            groups.append([])
            filled = 0
        groups[-1].append((name, kind))
        filled += kind.nbytes
    return tuple(
        _shard(_file(i, len(groups)), group, metadata or {"format": "pt"})
        for i, group in enumerate(groups)
    )


def index(files: tuple[Shard, ...]) -> bytes | None:
    """`model.safetensors.index.json` for several shards; None for one."""
    if len(files) == 1:
        return None
    weights = {name: shard.file for shard in files for name in shard.tensors}
    total = sum(kind.nbytes for shard in files for kind in shard.tensors.values())
    body = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
    return (json.dumps(body, indent=2) + "\n").encode()


def _file(number: int, of: int) -> str:
    return "model.safetensors" if of == 1 else f"model-{number + 1:05}-of-{of:05}.safetensors"


def _shard(file: str, group: list[tuple[str, TensorType]], metadata: Mapping[str, str]) -> Shard:
    group = sorted(group, key=lambda item: -DTYPES[item[1].dtype])
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at, relative = 0, {}
    for name, kind in group:
        relative[name] = at
        entries[name] = {
            "dtype": kind.dtype,
            "shape": list(kind.shape),
            "data_offsets": [at, at + kind.nbytes],
        }
        at += kind.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    offsets = {name: len(header) + start for name, start in relative.items()}
    return Shard(file, header, dict(group), offsets, len(header) + at)
