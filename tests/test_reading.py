"""The kernel is told what to fetch ahead, and only where it has something to fetch."""

import os

import pytest

from mergelang.run.machine import AHEAD, Files

SIZE = 1 << 20

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"),
    reason="the system does not tell what of a file is in memory",
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(bytes(SIZE))
    return str(path)


@pytest.fixture
def told(monkeypatch):
    """What the kernel is told."""
    calls = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *what: calls.append(what))
    return calls


def in_memory(monkeypatch, holds):
    """Lets the system say that those bytes of files are in memory of which `holds` is true. Not all
    file systems say it, among them those that tests may run on."""
    read = os.preadv

    def preadv(descriptor, buffers, at, flags=0):
        if flags & os.RWF_NOWAIT and not holds(at):
            raise BlockingIOError
        return read(descriptor, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)


def test_nothing_is_fetched_that_is_in_memory(path, told, monkeypatch):
    in_memory(monkeypatch, lambda at: True)
    files = Files()
    files.will_read(path, 0, SIZE)
    files.will_read(path, SIZE // 2, SIZE)  # reaches beyond the end
    files.close()
    assert told == []


@pytest.mark.parametrize("count", [SIZE, 2 * SIZE])  # the latter reaches beyond the end
@pytest.mark.parametrize("missing", [0, SIZE - 1])
def test_bytes_are_fetched_of_which_the_first_or_the_last_are_missing(
    path, told, monkeypatch, missing, count
):
    in_memory(monkeypatch, lambda at: at != missing)
    files = Files()
    files.will_read(path, 0, count)
    files.close()
    assert told == [(0, count, os.POSIX_FADV_WILLNEED)]


@pytest.mark.parametrize("count", [0, AHEAD])
def test_the_kernel_is_not_told_of_few_bytes(path, told, monkeypatch, count):
    in_memory(monkeypatch, lambda at: False)
    files = Files()
    files.will_read(path, 0, count)
    files.close()
    assert told == []


def test_bytes_are_fetched_where_the_system_does_not_tell_what_is_missing(
    path, told, monkeypatch
):
    monkeypatch.delattr(os, "RWF_NOWAIT")
    files = Files()
    files.will_read(path, 0, SIZE)
    files.close()
    assert told == [(0, SIZE, os.POSIX_FADV_WILLNEED)]
