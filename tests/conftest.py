"""What all tests share: a store of their own, so that none reads or fills that of the user."""

import os
import shutil
import tempfile

_store = tempfile.mkdtemp(prefix="mergelang-tests-")
os.environ["MERGELANG_CACHE"] = _store  # before any test module copies the environment


def pytest_unconfigure() -> None:
    shutil.rmtree(_store, ignore_errors=True)
