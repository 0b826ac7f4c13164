"""What is handed out: the wheel works elsewhere, with its grammar inside; the sdist builds it."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.checkpoints import write_model

ROOT = Path(__file__).parent.parent


def build(project: Path, into: Path, *targets: str) -> None:
    words = [word for target in targets for word in ("-t", target)]
    call = [sys.executable, "-m", "hatchling", "build", *words, "-d", str(into)]
    subprocess.run(call, cwd=project, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    """A folder that the wheel is installed into, away from the project."""
    site = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    words = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *words, "--target", str(site), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    return site


def call(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Runs Python where only the installed wheel and the libraries are to be found."""
    environment = {**os.environ, "PYTHONPATH": str(site), "MERGELANG_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_installed_wheel_checks_and_runs_a_recipe_from_another_folder(site, tmp_path):
    for name in ("a", "b"):
        write_model(tmp_path / "recipes" / name)
    (tmp_path / "recipes" / "mix.merge").write_text(
        'model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n'
    )
    done = call(site, tmp_path, "-m", "mergelang", "check", "recipes/mix.merge")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "recipes/mix.merge: ok, 1 output\n"
    done = call(site, tmp_path, str(site / "bin" / "mergelang"), "run", "recipes/mix.merge")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "recipes" / "out" / "model.safetensors").is_file()


def test_the_grammar_is_found_inside_the_installed_package(site, tmp_path):
    done = call(
        site, tmp_path, "-c",
        "import mergelang.lang.parser as p; print(p.__file__); p.parser(); print(p.grammar())",
    )  # fmt: skip
    path, _, grammar = done.stdout.partition("\n")
    assert path == str(site / "mergelang" / "lang" / "parser.py")
    assert grammar == (site / "mergelang/grammar/mergelang.lark").read_text() + "\n"
    assert grammar == (ROOT / "grammar/mergelang.lark").read_text() + "\n"


def test_the_terminal_views_style_sheet_is_in_the_wheel(site):
    assert (site / "mergelang" / "tui" / "app.tcss").is_file()


def test_the_sdist_holds_the_sources_and_builds_the_same_wheel(built, tmp_path):
    (packed,) = built.glob("*.tar.gz")
    with tarfile.open(packed) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
        tar.extractall(tmp_path, filter="data")
    for name in ("grammar/mergelang.lark", "README.md", "LICENSE", "examples/supermario.merge"):
        assert name in names
    weights = [name for name in names if name.endswith(".safetensors")]
    assert not [name for name in weights if not name.startswith("tests/parity/golden")]
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "wheel")
    (one,), (other,) = built.glob("*.whl"), (tmp_path / "again").glob("*.whl")
    assert contents(one) == contents(other)


def test_the_example_of_an_operator_builds_too(tmp_path):
    build(ROOT / "examples" / "operator", tmp_path, "wheel")
    (wheel,) = tmp_path.glob("*.whl")
    files = contents(wheel)
    assert "mergelang_clipped.py" in files
    (points,) = (text for name, text in files.items() if name.endswith("entry_points.txt"))
    assert points.split() == [b"[mergelang.operators]", b"clipped", b"=", b"mergelang_clipped"]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}
