"""`import` and `export` on the command line; files of mergekit where a recipe is wanted."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mergelang.cli.app import run
from tests.checkpoints import write_model, write_zoo
from tests.interpret import read_tensors

YAML = Path(__file__).parent / "yaml"

TIES = """\
models:
  - model: chat
  - model: math
merge_method: ties
base_model: base
parameters: {weight: 1, density: 0.5}
dtype: float32
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_zoo(tmp_path)
    write_model(tmp_path / "chat", seed=1)
    write_model(tmp_path / "math", seed=2)
    (tmp_path / "ties.yml").write_text(TIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as left:
        run(list(arguments))
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_import_prints_a_recipe_or_writes_it(here, capsys):
    code, printed, _ = called(capsys, "import", "ties.yml")
    assert code == 0 and printed.startswith('model base = "base"\n')
    assert called(capsys, "import", "ties.yml", "-o", "ties.merge") == (0, "", "")
    assert (here / "ties.merge").read_text() == printed


def test_paths_of_a_recipe_written_elsewhere_lead_to_the_same_models(here, capsys):
    (here / "recipes").mkdir()
    called(capsys, "import", "ties.yml", "-o", "recipes/ties.merge")
    assert 'model chat = "../chat"' in (here / "recipes" / "ties.merge").read_text()
    assert called(capsys, "check", "recipes/ties.merge")[0] == 0


def test_names_beside_the_file_are_found_from_any_folder(here, capsys, monkeypatch):
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert called(capsys, "check", "../ties.yml")[0] == 0


def test_names_in_the_current_folder_are_found_as_mergekit_finds_them(here, capsys):
    (here / "configs").mkdir()
    (here / "ties.yml").rename(here / "configs" / "ties.yml")
    code, printed, _ = called(capsys, "import", "configs/ties.yml")
    assert code == 0 and 'model chat = "../chat"' in printed


def test_a_file_of_mergekit_runs_as_it_is(here, capsys):
    assert called(capsys, "run", "ties.yml", "-o", "out")[0] == 0
    called(capsys, "import", "ties.yml", "-o", "ties.merge")
    assert called(capsys, "run", "ties.merge", "-o", "again")[0] == 0
    one, two = (load_file(here / name / "model.safetensors") for name in ("out", "again"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(np.any(each) for each in one.values())


PUBLISHED = (
    "arcee-fusion", "bio-merge", "first-layers", "frankenmerge", "gradient-slerp", "linear",
    "mega", "multi", "ties", "upcycling",
)  # fmt: skip
"""The files of tests/yaml/ that are examples of mergekit's own, on models of ours, and run; those
with gates or tokenizers say in a comment what the checker tells of them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_examples_of_mergekit_run(name, here, capsys):
    for seed, model in enumerate(("base", "deep")):
        write_model(here / model, seed=10 + seed, layers=8 if model == "deep" else 4)
    (here / "x.yml").write_text((YAML / f"{name}.yml").read_text())
    assert called(capsys, "run", "x.yml")[0] == 0
    written = [path for path in here.rglob("model.safetensors") if "out" in path.parts]
    assert written
    for path in written:
        tensors = read_tensors(path.parent).values()
        assert all(each.isfinite().all() for each in tensors)
        assert any(each.any() for each in tensors)


@pytest.mark.parametrize("command", ["check", "plan", "graph"])
def test_what_looks_at_a_recipe_takes_a_file_of_mergekit(command, here, capsys):
    assert called(capsys, command, "ties.yml")[0] == 0


def test_fmt_does_not(here, capsys):
    code, _, err = called(capsys, "fmt", "ties.yml")
    assert code == 2 and "E1003" in err and (here / "ties.yml").read_text() == TIES


def test_a_wrong_file_is_told_at_its_line(here, capsys):
    (here / "ties.yml").write_text(TIES.replace("density", "desnity"))
    code, out, err = called(capsys, "check", "ties.yml")
    assert (code, out) == (1, "") and "ties.yml:6:25" in err
    code, out, _ = called(capsys, "check", "ties.yml", "--json")
    assert code == 1
    (told,) = json.loads(out)["diagnostics"]
    assert (told["code"], told["file"], told["line"]) == ("E1120", "ties.yml", 6)


def test_what_has_no_effect_there_is_said_once(here, capsys):
    (here / "ties.yml").write_text(TIES.replace("density", "epsilon: 0.1, density"))
    code, _, err = called(capsys, "check", "ties.yml")
    assert code == 0 and err.count("W1101") == 1


def test_export_prints_a_file_or_writes_it(here, capsys):
    called(capsys, "import", "ties.yml", "-o", "ties.merge")
    code, printed, _ = called(capsys, "export", "ties.merge")
    assert code == 0 and "merge_method: ties" in printed
    assert called(capsys, "export", "ties.merge", "-o", "again.yml") == (0, "", "")
    assert (here / "again.yml").read_text() == printed
    code, _, err = called(capsys, "export", "ties.merge", "-o", "nowhere/again.yml")
    assert code == 2 and "E1016" in err


def test_what_does_not_fit_is_told_with_its_place(here, capsys):
    (here / "x.merge").write_text(
        'model a = "chat"\nmodel b = "base"\noutput "o" = dare(a, base: b, density: 0.5)\n'
    )
    code, out, err = called(capsys, "export", "x.merge")
    assert (code, out) == (1, "") and "x.merge:3:14" in err and "rescale: l1" in err
