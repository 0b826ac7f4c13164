"""`mergelang.json`: what a folder was made of, and what each of its files and tensors is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergelang.models.record import RECORD
from mergelang.plan.origin import Seal
from mergelang.plan.plan import OutputPlan
from mergelang.store.digests import BLAKE3, of_bytes

__all__ = ["RECORD", "record"]


def record(
    output: OutputPlan, seal: Seal, lock: str, folder: Path, files: Mapping[str, int],
    documents: Mapping[str, bytes],
) -> bytes:  # fmt: skip
    """The record of one output: recipe, lock, parents and theirs, digests of tensors and files.

    The same facts give the same bytes. `files`: name and size of every file that lies in the folder
    already, `documents` those that come beside them. Of a weight file the digest is that of its
    header, which holds those of its tensors.
    """
    said = {}
    headers = {shard.file: shard.header(seal) for shard in output.shards}
    for name, size in files.items():
        if name in headers:
            said[name] = {"size": size, "header": digest(headers[name])}
        else:
            said[name] = {"size": size, "digest": digest((folder / name).read_bytes())}
    for name, data in documents.items():
        said[name] = {"size": len(data), "digest": digest(data)}
    body: dict[str, Any] = {
        **output.origin.facts(seal),
        "lock": lock.splitlines(),
        "tensors": dict(seal.tensors),
        "files": dict(sorted(said.items())),
    }
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def digest(data: bytes) -> str:
    """The digest of a small file or a header, with its kind."""
    return f"{BLAKE3}:{of_bytes(data)}"
