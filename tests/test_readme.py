"""The README is true: its recipes are checked, its commands and its Python run, its tables hold.

`merge` and `yaml` blocks are files, named in their first line; `text` is what the `sh` block before
it prints.
To write the generated parts anew: MERGELANG_WRITE_README=1 pytest tests/test_readme.py
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mergelang.cli.app import main
from mergelang.cli.command import COMMANDS
from mergelang.ops.registry import operators
from tests.checkpoints import write_adapter, write_model, write_tokenizer

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(each[1], each[2]) for each in BLOCK.finditer(TEXT)]
RECIPES = {text.split()[1]: text for tag, text in BLOCKS if tag == "merge"}
FILES = {text.split()[1]: text for tag, text in BLOCKS if tag in ("merge", "yaml")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for seed, name in enumerate(("base", "chat", "math")):
        write_model(tmp_path / "models" / name, seed=seed, layers=32)
        write_tokenizer(tmp_path / "models" / name, [f"w{i}" for i in range(28)])
    write_adapter(tmp_path / "adapters" / "code", seed=3)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_is_of_a_kind_that_is_tested():
    assert {tag for tag, _ in BLOCKS} == {"sh", "merge", "yaml", "python", "text"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_right_and_formatted(name, folder, capfd):
    assert main(["check", name]) == 0
    assert capfd.readouterr().err == ""
    assert main(["fmt", "--check", name]) == 0


def test_the_first_recipe_gives_what_the_text_says(folder):
    assert main(["run", "blend.merge"]) == 0
    names = {path.name for path in (folder / "out" / "blend").iterdir()}
    assert names == {
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md",
        "mergelang.json", "provenance.intoto.json",
    }  # fmt: skip


def commands():
    for number, (tag, text) in enumerate(BLOCKS):
        if tag == "sh":
            shown = BLOCKS[number + 1][1] if BLOCKS[number + 1][0] == "text" else None
            for line in text.splitlines():
                yield pytest.param(shlex.split(line, comments=True), shown, id=line)


@pytest.mark.parametrize(("words", "shown"), list(commands()))
def test_a_command_works(words, shown, folder, capfd):
    match words:
        case ["mergelang", *rest]:
            if any(word.startswith("out/blend") for word in rest):
                assert main(["run", "blend.merge"]) == 0
                capfd.readouterr()
            assert main(rest) == 0
            if shown is not None:
                assert capfd.readouterr().out == shown
        case ["make", target]:
            assert f"\n{target}: " in (ROOT / "Makefile").read_text()
        case ["pip", "install", path]:
            assert (ROOT / path / "pyproject.toml").is_file()
        case _:
            raise AssertionError(f"no way to test {words}")


OWN = '''
import mergelang
text = """
model a = "models/base"
model b = "models/chat"
output "own" = cautious(a, b, t: 0.5)
"""
mergelang.load(text).run()
'''
"""Runs the operator that the README defines."""


@pytest.mark.parametrize(
    "text", [text for tag, text in BLOCKS if tag == "python"], ids=lambda text: text.split("\n")[0]
)
def test_python_runs(text, folder):
    script = text + (OWN if "@operator" in text else "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    if "recipe.run" in text:
        assert "RunDone(" in done.stdout and (folder / "out" / "blend").is_dir()
    else:
        assert (folder / "own").is_dir()


def generated() -> str:
    """The table of the operators, from what they say about themselves."""
    lines = ["| family | operator | what it does |", "|---|---|---|"]
    family = None
    for each in sorted(operators().values(), key=_family):
        first = each.family if each.family != family else ""
        family = each.family
        lines.append(f"| {first} | `{each.name}` | {each.signature.summary} |")
    return "\n".join(lines)


def _family(operator) -> int:
    return list(dict.fromkeys(each.family for each in operators().values())).index(operator.family)


def test_the_operators_are_those_of_mergelang_ops():
    start, end = "<!-- operators -->\n", "\n<!-- /operators -->"
    head, rest = TEXT.split(start)
    said, tail = rest.split(end)
    if os.environ.get("MERGELANG_WRITE_README"):
        README.write_text(head + start + generated() + end + tail, encoding="utf-8")
        said = generated()
    assert said == generated()


def test_every_command_is_in_the_overview():
    said = re.findall(r"^\| `mergelang ([\w-]+)", TEXT, re.MULTILINE)
    assert said == list(COMMANDS)


def test_files_that_are_linked_are_there():
    for path in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).exists(), path
