"""Operators of installed packages: found, described, run; a broken package stops nothing."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checkpoints import write_model

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "operator"


def install(site: Path, package: str, points: dict[str, str], **modules: str) -> None:
    """What `pip install --target` leaves of a package: its modules and its metadata."""
    facts = site / f"{package.replace('-', '_')}-0.1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (facts / "entry_points.txt").write_text("\n".join(["[mergelang.operators]", *lines]) + "\n")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("base", "math", "text")):
        write_model(tmp_path / "lab/models/seed0" / name, seed=seed, dtype="F32", layers=1)
    (tmp_path / "operator").mkdir()
    shutil.copy(EXAMPLE / "clipped.merge", tmp_path / "operator")
    (tmp_path / "operator" / "plain.merge").write_text(
        'model a = "../lab/models/seed0/base"\noutput "out" = a\n'
    )
    return tmp_path / "operator"


@pytest.fixture
def call(folder, site):
    def call(*words):
        paths = os.pathsep.join([str(ROOT), str(site)])
        return subprocess.run(
            [sys.executable, "-m", "mergelang", *words], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    return call


@pytest.fixture
def example(site):
    facts = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = facts["entry-points"]["mergelang.operators"]
    module = (EXAMPLE / "mergelang_clipped.py").read_text()
    install(site, facts["name"], points, mergelang_clipped=module)


def test_the_example_is_unknown_until_it_is_installed(call):
    done = call("check", "clipped.merge")
    assert done.returncode == 1 and "there is no operator `clipped`" in done.stderr


def test_an_installed_operator_runs_like_one_of_ours(call, folder, example):
    done = call("run", "clipped.merge")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    models = folder.parent / "lab/models/seed0"
    base, math, text = (
        load_file(models / name / "model.safetensors") for name in ("base", "math", "text")
    )
    merged = load_file(folder.parent / "out/clipped/model.safetensors")
    assert merged.keys() == base.keys()
    for name, found in merged.items():
        wanted = base[name].astype(np.float64)
        for model in (math, text):
            delta = model[name].astype(np.float64) - base[name]
            bound = 2 * np.sqrt(np.mean(delta**2))
            wanted = wanted + 0.8 * np.clip(delta, -bound, bound)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_an_installed_operator_is_listed_and_described(call, example):
    done = call("ops")
    assert "\nfrom mergelang_clipped\n  clipped  " in done.stdout and done.stderr == ""
    described = call("ops", "clipped").stdout
    assert "version  1, from mergelang_clipped\n" in described
    assert "  limit   number in (0, inf), default 3, of each input\n" in described


HEAD = "from mergelang.ops import *\n"
BROKEN = {
    "fails to import": (
        "import nothing_of_that_name\n",
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "takes a name of ours": (
        HEAD + "@operator\ndef fine(x: Model) -> Model:\n    '''Ours.'''\n    return x\n"
        "@operator\ndef ties(x: Model) -> Model:\n    '''Theirs.'''\n    return x\n",
        "ValueError: operator `ties` is there already, from mergelang",
    ),
    "has an option without a kind": (
        HEAD + "@operator\ndef odd(x: Model, *, t: float) -> Model:\n    return x\n",
        "TypeError: odd: t needs a kind, not <class 'float'>",
    ),
    "has an input without a kind": (
        HEAD + "@operator\ndef odd(x) -> Model:\n    return x\n",
        "TypeError: odd: x needs one of Model, Delta, Alike, Layers",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_package_is_a_warning_that_names_it_and_nothing_else_breaks(
    call, site, example, fault
):
    module, reason = BROKEN[fault]
    install(site, "bad-ops", {"bad": "bad_ops"}, bad_ops=module)
    warning = (
        f"warning[W0301]: the operators of the package `bad-ops` cannot be used: {reason}\n"
        "help: mend or remove it: `pip uninstall bad-ops`\n"
    )
    done = call("check", "clipped.merge")
    assert (done.returncode, done.stderr) == (0, warning)
    assert done.stdout == "clipped.merge: ok, 1 output, 1 warning\n"
    done = call("ops")
    assert (done.returncode, done.stderr) == (0, warning)
    assert "  fine " not in done.stdout and "  odd " not in done.stdout


def test_two_packages_with_one_name_are_told_and_the_first_one_stays(call, site):
    module = HEAD + "@operator\ndef twice(x: Model) -> Model:\n    '''{0}.'''\n    return x\n"
    install(site, "b-ops", {"ops": "ops_b"}, ops_b=module.format("From b"))
    install(site, "a-ops", {"ops": "ops_a"}, ops_a=module.format("From a"))
    done = call("ops", "twice")
    assert "From a." in done.stdout
    assert "`b-ops` cannot be used: ValueError: operator `twice` is there already, from ops_a" in (
        done.stderr
    )


def test_annotations_that_are_text_are_understood(call, site):
    module = (
        "from __future__ import annotations\n" + HEAD
        + "@operator\ndef half(x: Alike, *, by: Number(0, 1) = 0.5) -> Alike:\n"
        "    '''Less.'''\n    return x * by\n"
    )  # fmt: skip
    install(site, "text-ops", {"ops": "ops_text"}, ops_text=module)
    described = json.loads(call("ops", "half", "--json").stdout)
    assert described["options"] == [
        {"name": "by", "kind": "number in [0, 1]", "default": "0.5", "each": False}
    ]


FAILS = """\
error[E0320]: `picky` of the package `picky_ops` fails on tensor model.embed_tokens.weight: \
TypeError: the data is not known here: use where(condition, a, b) instead of `if`
 --> picky.merge:2:16
  |
2 | output "out" = picky(a)
  |                ^^^^^^^^ called here
help: tell those who made the package; the other operators are not affected
"""


def test_an_operator_that_fails_is_told_with_its_package_and_place(call, folder, site):
    module = HEAD + "@operator\ndef picky(x: Model) -> Model:\n    return -x if x < 0 else x\n"
    install(site, "picky-ops", {"ops": "picky_ops"}, picky_ops=module)
    (folder / "picky.merge").write_text(
        'model a = "../lab/models/seed0/base"\noutput "out" = picky(a)\n'
    )
    assert call("check", "picky.merge").returncode == 0
    assert call("ops").stdout.splitlines()[-4:-2] == ["from picky_ops", "  picky"]
    done = call("plan", "picky.merge")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", FAILS)
