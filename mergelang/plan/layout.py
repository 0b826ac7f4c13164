"""Where each output tensor lies: shards, offsets, and headers of a size known before any byte.

The format is safetensors: eight bytes of length, a JSON header, then the tensors without gaps. Each
header holds the record of its output with the digests of its own tensors, in fields of fixed width:
what is laid out first, and written last, has the same length.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from json.encoder import encode_basestring as quoted
from json.encoder import encode_basestring_ascii as quoted_ascii
from typing import Any

from mergelang.models.record import KEY
from mergelang.plan.origin import NOTHING, Origin, Seal, compact
from mergelang.tensors import DTYPES, TensorType


@dataclass(frozen=True)
class Shard:
    """One file: the absolute offset of each tensor, in their order, and where all comes from."""

    file: str
    tensors: Mapping[str, TensorType]
    offsets: Mapping[str, int]
    size: int
    origin: Origin | None = None

    def header(self, seal: Seal) -> bytes:
        """The header with its length; of the same size for every seal. Kept for the last one, since
        several ask for it."""
        if not self._made or self._made[0] != seal:
            self._made[:] = seal, _header(self.tensors, self.origin, seal)
        return self._made[1]

    @cached_property
    def _made(self) -> list[Any]:
        """The last seal and its header."""
        return []


def shards(
    tensors: Iterable[tuple[str, TensorType]], limit: int, origin: Origin | None = None
) -> tuple[Shard, ...]:
    """Distributes tensors over files of at most `limit` bytes of data each, in their order.

    A tensor larger than the limit has a file of its own. Within a file wider dtypes come first, so
    that every tensor is aligned to its element.
    """
    groups: list[list[tuple[str, TensorType]]] = [[]]
    filled = 0
    for name, kind in tensors:
        nbytes = kind.nbytes
        if groups[-1] and filled + nbytes > limit:
            groups.append([])
            filled = 0
        groups[-1].append((name, kind))
        filled += nbytes
    return tuple(
        _shard(_file(i, len(groups)), group, origin) for i, group in enumerate(groups)
    )


def index(files: tuple[Shard, ...]) -> bytes | None:
    """`model.safetensors.index.json` for several shards; None for one."""
    if len(files) == 1:
        return None
    weights = {name: shard.file for shard in files for name in shard.tensors}
    total = sum(shard.size - min(shard.offsets.values()) for shard in files)
    # As `json.dumps` would with this indent, which is slow.
    lines = (f'    {quoted_ascii(name)}: "{file}"' for name, file in sorted(weights.items()))
    head = f'{{\n  "metadata": {{\n    "total_size": {total}\n  }},\n  "weight_map": {{\n'
    return (head + ",\n".join(lines) + "\n  }\n}\n").encode()


def _file(number: int, of: int) -> str:
    return "model.safetensors" if of == 1 else f"model-{number + 1:05}-of-{of:05}.safetensors"


def _shard(file: str, group: list[tuple[str, TensorType]], origin: Origin | None) -> Shard:
    tensors = dict(sorted(group, key=lambda item: -DTYPES[item[1].dtype]))
    header = _header(tensors, origin, Seal())
    at, offsets = len(header), {}
    for name, kind in tensors.items():
        offsets[name] = at
        at += kind.nbytes
    made = Shard(file, tensors, offsets, at, origin)
    made._made[:] = Seal(), header
    return made


def _header(tensors: Mapping[str, TensorType], origin: Origin | None, seal: Seal) -> bytes:
    # As `compact` would write a table of all, which is slow to make.
    record = ""
    if origin is not None:
        own = {name: seal.tensors.get(name, NOTHING) for name in tensors}
        added = f',"tensors":{compact(own)}}}'
        record = f',"{KEY}":{origin.quoted(seal)[:-2]}{quoted(added)[1:]}'
    entries = [f'"__metadata__":{{"format":"pt"{record}}}']
    at = 0
    for name, kind in tensors.items():
        said, nbytes = _said(kind)
        entries.append(f'{quoted(name)}:{said}{at},{at + nbytes}]}}')
        at += nbytes
    text = f"{{{','.join(entries)}}}".encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@lru_cache(maxsize=4096)
def _said(kind: TensorType) -> tuple[str, int]:
    """The entry of a tensor in a header up to its offsets, and its bytes."""
    facts = compact({"dtype": kind.dtype, "shape": list(kind.shape), "data_offsets": []})
    return facts.removesuffix("]}"), kind.nbytes
