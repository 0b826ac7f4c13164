"""The writer: what safetensors reads back, and what happens to the old folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from mergelang.errors import RunError
from mergelang.plan.layout import index, shards
from mergelang.plan.origin import Seal
from mergelang.run.writer import LEAF, Folder
from mergelang.tensors import TensorType

HEAD = {"run": "one", "inputs": {}}

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda name: name != "__metadata__")  # which a header has for itself
TYPES = st.builds(
    TensorType,
    st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL"]),
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
)


def write(path: Path, tensors: dict[str, TensorType], limit: int = 10**9) -> dict[str, bytes]:
    """Writes random bytes for each tensor through the folder; gives the bytes."""
    files = shards(tensors.items(), limit)
    folder = Folder(path, files)
    folder.open(HEAD)
    rng = np.random.default_rng(0)
    data = {}
    for name, kind in tensors.items():
        high = 2 if kind.dtype == "BOOL" else 60
        data[name] = rng.integers(0, high, kind.nbytes, dtype=np.uint8).tobytes()
        folder.tensor(name).open_span(0)(memoryview(data[name]))
    folder.write_headers(Seal())
    table = index(files)
    folder.add({"model.safetensors.index.json": table} if table else {})
    folder.add({"mergelang.json": json.dumps({"files": folder.files()}).encode()})
    folder.publish()
    return data


def read(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every tensor of a folder as safetensors itself sees it: dtype and shape."""
    found = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                piece = opened.get_slice(name)
                found[name] = (piece.get_dtype(), tuple(piece.get_shape()))
    return found


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, TYPES, min_size=1, max_size=8), st.sampled_from([1, 64, 10**9]))
def test_safetensors_reads_back_every_tensor_from_any_distribution_over_shards(
    tmp_path_factory, tensors, limit
):
    path = tmp_path_factory.mktemp("out") / "model"
    write(path, tensors, limit)
    assert read(path) == {name: (kind.dtype, kind.shape) for name, kind in tensors.items()}


@given(st.dictionaries(NAMES, TYPES, min_size=1, max_size=8), st.integers(1, 200))
def test_no_shard_passes_the_limit_unless_one_tensor_does(tensors, limit):
    files = shards(tensors.items(), limit)
    for shard in files:
        size = sum(kind.nbytes for kind in shard.tensors.values())
        assert size <= limit or len([k for k in shard.tensors.values() if k.nbytes]) == 1
    assert sorted(n for shard in files for n in shard.tensors) == sorted(tensors)
    assert all(len(shard.header(Seal())) % 8 == 0 for shard in files)


def test_the_index_names_the_shard_of_each_tensor(tmp_path):
    tensors = {name: TensorType("F32", (4,)) for name in "abc"}
    write(tmp_path / "m", tensors, limit=32)
    table = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    assert table == {
        "metadata": {"total_size": 48},
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        },
    }


def test_bytes_arrive_where_the_header_says(tmp_path):
    types = {"x": ("U8", 5), "y": ("I64", 3), "z": ("F16", 3)}
    tensors = {name: TensorType(dtype, (count,)) for name, (dtype, count) in types.items()}
    data = write(tmp_path / "m", tensors)
    with safe_open(tmp_path / "m" / "model.safetensors", framework="np") as opened:
        assert opened.metadata() == {"format": "pt"}
        for name in tensors:
            assert opened.get_tensor(name).tobytes() == data[name]


def test_an_unfinished_shard_cannot_be_opened(tmp_path):
    folder = Folder(tmp_path / "m", shards([("x", TensorType("F32", (8,)))], 10**9))
    folder.open(HEAD)
    folder.tensor("x").open_span(0)(memoryview(bytes(32)))
    unfinished = tmp_path / "m.partial" / "model" / "model.safetensors"
    with pytest.raises(Exception, match=r"(?i)header"):
        safe_open(unfinished, framework="np").__enter__()
    folder.leave()
    assert list(tmp_path.iterdir()) == []


def test_the_old_folder_stays_whole_until_the_new_one_replaces_it(tmp_path):
    path = tmp_path / "m"
    write(path, {"old": TensorType("F32", (2,))})
    folder = Folder(path, shards([("new", TensorType("F32", (2,)))], 10**9))
    folder.open(HEAD)
    folder.tensor("new").open_span(0)(memoryview(bytes(8)))
    assert set(read(path)) == {"old"}
    folder.write_headers(Seal())
    folder.publish()
    assert set(read(path)) == {"new"}
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


def test_the_digest_of_a_tensor_does_not_depend_on_how_its_bytes_came(tmp_path):
    kind = TensorType("U8", (3 * LEAF + 17,))
    data = np.random.default_rng(0).integers(0, 255, kind.count, dtype=np.uint8).tobytes()
    digests = set()
    for step, order in [(LEAF, (0, 1)), (100_003, (1, 0)), (4096, (0, 1)), (5 * LEAF, (1, 0))]:
        folder = Folder(tmp_path / "m", shards([("x", kind)], 10**9))
        folder.open(HEAD)
        sink = folder.tensor("x")
        middle = 2 * LEAF if step != 100_003 else LEAF + 4711
        spans = [(0, middle), (middle, len(data))]
        for first, last in (spans[i] for i in order):
            write_to = sink.open_span(first)
            for at in range(first, last, step):
                write_to(memoryview(data[at : min(at + step, last)]))
        digests.add(sink.digest)
        folder.leave()
    leaves = [blake3(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF)]
    assert digests == {blake3(b"".join(leaves)).hexdigest()}


def test_a_place_that_cannot_be_written_is_said_with_its_reason(tmp_path):
    (tmp_path / "file").write_text("")
    folder = Folder(tmp_path / "file" / "m", shards([("x", TensorType("F32", (2,)))], 10**9))
    with pytest.raises(RunError, match=r"cannot write .*file.*: Not a directory"):
        folder.open(HEAD)
