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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with one model, `org/name`, that of the folder `model`; both caches are empty."""
    from huggingface_hub import constants

    from mergelang.models import download
    from tests.checkpoints import write_model
    from tests.hub import serving

    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        form = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", form)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(download, "PAUSE", 0)
        monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "kept"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        model = write_model(tmp_path / "model", seed=1)
        (model / "tokenizer.json").write_text("{}")
        (model / "picture.png").write_bytes(b"\x89PNG")
        hub.repo("org/name").commit(model)
        yield hub


@pytest.fixture
def call(capsys):
    """Calls the command line in this process; gives exit code, standard output and error."""
    from mergelang.cli.app import main

    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call
