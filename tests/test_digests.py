"""Digests of files: what they are of, and when they are remembered."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from mergelang.errors import RunError
from mergelang.files import facts_of
from mergelang.store import digests
from mergelang.store.digests import BLAKE3, LEAF, SHA256, digest, identity, known


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 20000)
    return path


@pytest.mark.parametrize("size", [0, 1, LEAF, LEAF + 1, 33 * LEAF + 7])
def test_a_digest_is_that_of_the_digests_of_leaves(store, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    leaves = [blake3(data[at : at + LEAF]).digest() for at in range(0, size, LEAF)]
    assert digest(tmp_path / "file") == blake3(b"".join(leaves)).hexdigest()


def test_a_sha256_is_that_of_every_other_tool(store, file):
    assert digest(file, SHA256) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", [BLAKE3, SHA256])
def test_a_digest_is_remembered_until_the_file_changes(store, file, kind):
    assert known(file, kind) is None
    first = digest(file, kind)
    assert known(file, kind) == first
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert known(file, kind) is None
    assert digest(file, kind) != first


def test_both_kinds_are_remembered_of_one_file(store, file):
    both = digest(file), digest(file, SHA256)
    assert (known(file), known(file, SHA256)) == both


@pytest.mark.parametrize("change", ["mtime", "inode", "path"])
def test_a_file_that_is_not_surely_the_same_is_not_known(store, file, change):
    digest(file)
    if change == "mtime":
        os.utime(file, ns=(0, facts_of(file).mtime_ns + 1))
    elif change == "inode":
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        os.utime(copy, ns=(0, facts_of(file).mtime_ns))
        os.replace(copy, file)
    else:
        os.rename(file, file.with_name("moved"))
        file = file.with_name("moved")
    assert known(file) is None


def test_a_link_is_known_by_what_it_leads_to(store, file):
    first = digest(file)
    link = file.with_name("link")
    link.symlink_to(file)
    assert known(link) == first


def test_a_file_of_the_hub_is_known_by_the_name_of_its_blob(store, tmp_path):
    name = "ab" * 32
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / name).write_bytes(b"weights")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / name)
    assert known(tmp_path / "model.safetensors", SHA256) == name
    assert identity(tmp_path / "model.safetensors") == f"sha256:{name}"
    assert identity(tmp_path / "blobs") is None


def test_a_file_that_changes_while_it_is_hashed_is_an_error_and_not_remembered(
    store, file, monkeypatch
):
    read = digests.leaf_digests

    def slow(path: str, start: int, count: int) -> list[bytes]:
        found = read(path, start, count)
        file.write_bytes(b"other")
        return found

    monkeypatch.setattr(digests, "leaf_digests", slow)
    with pytest.raises(RunError, match=r"E2001.*weights was changed while it was read"):
        digest(file)
    assert known(file) is None


def test_a_missing_file_is_an_error(store, tmp_path):
    with pytest.raises(RunError, match=r"E0901.*cannot read .*nothing: No such file"):
        digest(tmp_path / "nothing")


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_entry_is_no_entry(store, file, damage):
    first = digest(file)
    (entry,) = [each for each in (store / "digests").rglob("*") if each.is_file()]
    entry.write_bytes(damage)
    assert known(file) is None
    assert digest(file) == first == known(file)


def test_a_store_that_cannot_be_written_costs_memory_and_nothing_else(tmp_path, file, monkeypatch):
    (tmp_path / "taken").write_bytes(b"a file")
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "taken"))
    assert digest(file) == digest(file)
    assert known(file) is None


def test_many_at_once_agree(store, file):
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(digest(file))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(seen) == 8 and set(seen) == {known(file)}
    assert not list(store.rglob(".new-*"))
