"""The stored outputs of mergekit and where they come from.

One `golden/NAME.safetensors` for each config: the merged tensors in float32 (bfloat16 for `HALF`;
for `RANDOM` each tensor's mean and standard deviation over many seeds, and how often each of its
elements was kept), and as metadata the config, the versions and the digest of the models.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "golden"
WORDS = Path(__file__).parent / "golden_words"
STORED = {"F32": "<f4", "BF16": "<u2", "U8": "u1"}

SEEDS = 200
"""Seeds that a config of a random method is run with."""


class Golden(NamedTuple):
    tensors: dict[str, np.ndarray]
    """Of bfloat16 the numbers, as float32."""
    provenance: dict[str, str]
    """`config`, `models` (the digest of the zoo), and the versions of `mergekit` and `torch`."""


def read(name: str, folder: Path = FOLDER) -> Golden:
    return read_file(folder / f"{name}.safetensors")


def read_file(path: Path) -> Golden:
    """A safetensors file of float32, uint8 and bfloat16."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    provenance = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        first, end = (start + offset for offset in entry["data_offsets"])
        raw = np.frombuffer(data[first:end], STORED[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = raw.reshape(entry["shape"])
    return Golden(tensors, provenance)
