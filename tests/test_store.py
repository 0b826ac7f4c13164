"""The store itself: entries, its limit, many that share it, and the command that looks at it."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from mergelang.store import blobs, notes
from mergelang.store.blobs import Blobs
from mergelang.tensors import TensorType

TYPE = TensorType("F32", (10, 100))


def value(number: int) -> memoryview:
    return memoryview(np.full((10, 100), number, np.float32))


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"


def test_an_entry_is_a_safetensors_file(store):
    assert Blobs().put("k" * 40, TYPE, value(7), "module:f", 1.5)
    entry = Blobs().checked("k" * 40)
    with safe_open(entry.path, framework="np") as opened:
        assert (opened.get_tensor("value") == 7).all()
        assert opened.metadata()["digest"] == entry.digest
    assert (entry.what, entry.seconds, entry.extent.type) == ("module:f", 1.5, TYPE)


def test_the_store_never_grows_past_its_limit_and_the_least_used_go_first(store):
    made = Blobs(limit=20_000)
    for number in range(4):
        assert made.put(f"{number}" * 40, TYPE, value(number), "f", 1)
        os.utime(made.find(f"{number}" * 40).path, (number + 1, number + 1))
    made.checked("0" * 40)  # used now
    assert made.put("4" * 40, TYPE, value(4), "f", 1)
    assert made.size() <= 20_000
    left = {each.key[0] for each in made.entries()}
    assert {"0", "4"} <= left and "1" not in left


def test_a_value_beyond_the_limit_is_not_kept(store):
    assert not Blobs(limit=3000).put("k" * 40, TYPE, value(1), "f", 1)
    assert Blobs().entries() == []


def test_a_value_that_is_put_anew_takes_the_place_of_the_one_before_and_is_counted_once(store):
    made, larger = Blobs(), TensorType("F32", (20, 100))
    assert made.put("k" * 40, TYPE, value(7), "f", 1)
    assert not made.put("k" * 40, TYPE, value(8), "f", 1)
    double = memoryview(np.full((20, 100), 9, np.float32))
    assert made.put("k" * 40, larger, double, "f", 1, anew=True)
    (entry,) = made.entries()
    assert (entry.extent.type, made.checked("k" * 40).digest) == (larger, entry.digest)
    assert int((made.folder / "total").read_text()) == made.size() == entry.size
    tight = Blobs(limit=entry.size + 100)
    assert not tight.put("k" * 40, larger, memoryview(bytes(9 * 10**4)), "f", 1, anew=True)
    assert made.checked("k" * 40) is not None, "what cannot be replaced stays"


def test_many_that_write_at_once_keep_the_limit_and_lose_nothing_else(store):
    largest = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.is_set():
            largest = max(largest, Blobs().size())

    code = (
        "import sys, numpy as np\n"
        "from mergelang.store.blobs import Blobs\n"
        "from mergelang.tensors import TensorType\n"
        "for i in range(30):\n"
        "    key = f'{sys.argv[1]}{i:02}' * 13\n"
        "    data = memoryview(np.full((10, 100), i, np.float32))\n"
        "    Blobs(50_000).put(key, TensorType('F32', (10, 100)), data, 'f', 1)\n"
    )
    watcher = threading.Thread(target=watch)
    watcher.start()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "xyz"
    ]
    assert [each.wait() for each in writers] == [0, 0, 0]
    done.set()
    watcher.join()
    assert largest <= 50_000
    found = Blobs().entries()
    assert 8 <= len(found) <= 12 and all(blobs.sound(each) for each in found)


def test_what_was_left_half_written_counts_and_goes_in_time(store):
    made = Blobs(limit=10_000)
    made.put("a" * 40, TYPE, value(1), "f", 1)
    left = made.find("a" * 40).path.with_name(".new-1-x.safetensors")
    left.write_bytes(bytes(5000))
    assert made.prune(0) == (1, 4000 + made_header())
    assert left.exists()
    old = time.time() - 2 * 86400
    os.utime(left, (old, old))
    assert made.prune(0) == (1, 5000)


def made_header() -> int:
    return len(blobs._header(TYPE, "0" * 64, "f", 1))


def test_notes_count_towards_the_limit_and_go_after_all_values_the_oldest_first(store):
    for number in range(3):
        path = store / "hub" / "org--name" / str(number) / "files.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1" * 4000)
        os.utime(path, (number + 1, number + 1))
    made = Blobs(limit=20_000)
    assert made.put("0" * 40, TYPE, value(0), "f", 1)
    assert not made.put("1" * 40, TYPE, value(1), "f", 1) or made.size() + notes.size() <= 20_000
    assert made.put("2" * 40, TYPE, value(2), "f", 1)
    assert made.size() + notes.size() <= 20_000 and notes.size() == 12_000
    assert made.prune(9000) == (2, made_header() + 4000 + 4000)
    assert [each.path.parent.name for each in notes.notes()] == ["1", "2"]
    assert made.entries() == []


def test_the_command_lists_sizes_prunes_checks_and_clears(store, call):
    made = Blobs()
    for number in range(3):
        made.put(f"{number}" * 40, TYPE, value(number), "module:svd", 2.25)
        os.utime(made.find(f"{number}" * 40).path, (number + 1, number + 1))
    code, out, _ = call("cache", "ls")
    assert code == 0
    assert out.splitlines()[0].split() == ["key", "made", "by", "tensor", "size", "took", "used"]
    assert out.splitlines()[1].startswith("222222222222  svd      F32 [10, 100]  ")
    assert out.splitlines()[-1] == f"3 values, {made.size() / 1000:.3g} kB"
    assert len(json.loads(call("cache", "ls", "--json")[1])) == 3
    assert call("cache", "size")[1] == f"{store}: {made.size() / 1000:.3g} kB\n"
    assert call("cache", "verify") == (0, "3 values of 3 as written\n", "")
    path = made.find("1" * 40).path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert call("cache", "verify") == (
        1, "damaged, removed: 111111111111, F32 [10, 100]\n2 values of 3 as written\n", ""
    )  # fmt: skip
    assert call("cache", "prune", "--keep", "5kB")[1].startswith("removed 1 file, ")
    assert [each.key[0] for each in made.entries()] == ["2"]
    assert call("cache", "clear")[1].endswith("0 B are left\n")
    assert made.entries() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cache", "list"), "error[E1007]: `list` is not a command of the cache"),
        (("cache", "ls", "--keep", "1GB"), "error[E1014]"),
        (("run", "x.merge", "--cache", "some"), "error[E1007]: `some` is not a choice"),
        (("run", "x.merge", "--cache-limit", "much"), "error[E1007]: `much` is not a size"),
    ],
)
def test_what_does_not_fit_is_told(store, call, words, said):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith(said)
