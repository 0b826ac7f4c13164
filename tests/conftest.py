"""What all tests share: a store of their own, so that none reads or fills that of the user, no way
to the Hub, and the tiny models of many architectures, each made once."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_store = tempfile.mkdtemp(prefix="mergelang-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the Hub; those of it have one of their own
os.environ["MERGELANG_CACHE"] = _store  # before any test module copies the environment


def pytest_unconfigure() -> None:
    shutil.rmtree(_store, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with two models of a kind, `a` and `b`, by the name of the kind in tests/zoo.py."""
    from tests import zoo

    made: dict[str, Path] = {}

    def two(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            for seed, each in enumerate("ab"):
                zoo.make(zoo.KINDS[name], seed, made[name] / each)
        return made[name]

    return two
