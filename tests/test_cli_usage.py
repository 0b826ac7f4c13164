"""A command line that is wrong: the exact text, and exit code 2. Nothing is read or written."""

import pytest

from mergelang.cli.app import main
from mergelang.cli.command import COMMANDS
from tests.checkpoints import write_model

RECIPE = """\
param t = 0.4 { min: 0, max: 1 }
model a = "a"
output "out/one" = a
output "out/two" = t * a + (1 - t) * a
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    write_model(tmp_path / "a")
    (tmp_path / "mix.merge").write_text(RECIPE)
    (tmp_path / "none.merge").write_text('model a = "a"\n')
    (tmp_path / "latin.merge").write_bytes("model größe".encode("latin-1"))
    (tmp_path / "config.yml").write_text("merge_method: linear\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = {
    "chek mix.merge": """\
error[E1010]: there is no command `chek`
help: did you mean `check`?
help: all commands: `mergelang --help`
""",
    "mix.merge": """\
error[E1010]: there is no command `mix.merge`
help: all commands: `mergelang --help`
""",
    "--verson": """\
error[E1011]: `mergelang` has no option `--verson`
help: did you mean `--version`?
help: its options: `mergelang --help`
""",
    "run mix.merge --memry=1GB": """\
error[E1011]: `mergelang run` has no option `--memry`
help: did you mean `--memory`?
help: its options: `mergelang run --help`
""",
    "check mix.merge --js": """\
error[E1011]: `mergelang check` has no option `--js`
help: did you mean `--json`?
help: its options: `mergelang check --help`
""",
    "extract-lora a --base a -o b": """\
error[E1012]: `mergelang extract-lora`: one of `--rank N` and `--energy SHARE` is needed
help: `mergelang extract-lora --help` shows how it is called
""",
    "extract-lora a --base a -o b --rank 2 --energy 0.9": """\
error[E1014]: `--rank` and `--energy` do not go together
help: leave one of them out
""",
    "extract-lora a --base a -o b --energy 2": """\
error[E1007]: `2` is not a share
help: write it like `0.95` or `95%`
""",
    "extract-lora a --base a -o b --rank 0": """\
error[E1007]: `0` is not a rank
help: write it like `--rank 16`
""",
    "extract-lora a --base a -o b --rank abc": """\
error[E1007]: `abc` is not a rank
help: write it like `--rank 16`
""",
    "stats a --data texts --kind gram -o b --length 0": """\
error[E1007]: `0` is not a number of tokens
help: write it like `--length 512`
""",
    "stats a --data texts --kind gram -o b --limit none": """\
error[E1007]: `none` is not a number of texts
help: write it like `--limit 100`
""",
    "check": """\
error[E1012]: `mergelang check`: the following arguments are required: RECIPE
help: `mergelang check --help` shows how it is called
""",
    "run": """\
error[E1012]: `mergelang run`: the following arguments are required: RECIPE
help: `mergelang run --help` shows how it is called
""",
    "run mix.merge out/one -o": """\
error[E1012]: `mergelang run`: argument -o: expected one argument
help: `mergelang run --help` shows how it is called
""",
    "check mix.merge other.merge": """\
error[E1013]: `mergelang check` has no use for `other.merge`
help: quote a path that holds spaces
help: `mergelang check --help` shows how it is called
""",
    "check mxi.merge": """\
error[E1001]: cannot read mxi.merge: no such file or directory
help: did you mean `mix.merge`?
help: give the path of a .merge file
""",
    "run a": """\
error[E1001]: cannot read a: is a directory
help: give the path of a .merge file
""",
    "fmt gone/far.merge": """\
error[E1001]: cannot read gone/far.merge: no such file or directory
help: give the path of a .merge file
""",
    "check latin.merge": """\
error[E1002]: latin.merge is not text: byte 8 is no character of a text
help: recipes are UTF-8 text files; did you name a model by mistake?
""",
    "plan a/model.safetensors": """\
error[E1002]: a/model.safetensors is not text: byte 2 is no character of a text
help: recipes are UTF-8 text files; did you name a model by mistake?
""",
    "run mix.merge -o here": """\
error[E1004]: `-o` redirects one output, and this run has 2
help: name the output to run: `mergelang run RECIPE OUTPUT -o DIR`
""",
    "plan mix.merge out/oen": """\
error[E1005]: the recipe has no output `out/oen`
help: its outputs: out/one, out/two
""",
    "run none.merge": """\
error[E1006]: none.merge has no output to run
help: add one: `output "out/merged" = ...`
""",
    "run mix.merge --memory lots": """\
error[E1007]: `lots` is not a size
help: write it like `512MiB` or `2GB`
""",
    "run mix.merge --threads 0": """\
error[E1007]: `0` is not a number of threads
help: write it like `--threads 2`
""",
    "check mix.merge --set t": """\
error[E1007]: `t` is not a setting
help: write it like `--set t=0.3`
""",
    "graph mix.merge --format png": """\
error[E1007]: `png` is not a format
help: write it like `text`, `mermaid`, `dot`, `svg` or `json`
""",
    "explain nothing": """\
error[E1008]: there is no code nothing
help: all codes: `mergelang explain`
""",
    "explain E042": """\
error[E1008]: there is no code E042
help: did you mean E0412?
help: all codes: `mergelang explain`
""",
    "ops liner": """\
error[E1009]: there is no operator `liner`
help: did you mean `linear`?
help: all operators: `mergelang ops`
""",
    "tui mix.merge": """\
error[E1015]: the terminal view needs a terminal
help: `mergelang graph RECIPE` prints the graph
help: `mergelang run RECIPE` runs it
""",
}


@pytest.mark.parametrize("words", CASES)
def test_a_wrong_command_line_is_told_what_is_wrong_and_what_to_write(words, folder, capfd):
    before = sorted(folder.rglob("*"))
    code = main(words.split())
    assert capfd.readouterr() == ("", CASES[words])
    assert code == 2
    assert sorted(folder.rglob("*")) == before


NEEDY = [name for name in COMMANDS if name not in ("ops", "explain", "tui")]


@pytest.mark.parametrize("name", NEEDY)
def test_nothing_is_called_required_that_may_be_left_out(name, capfd):
    assert main([name]) == 2
    said = capfd.readouterr().err.splitlines()[0].partition(" are required: ")[2].split(", ")
    optional = {
        facts.get("metavar", names[0]) for names, facts in COMMANDS[name].arguments
        if facts.get("nargs") in ("?", "*")
    }  # fmt: skip
    assert said != [""]
    assert optional.isdisjoint(said)


def test_formats_that_contradict_each_other_are_an_error(capfd):
    assert main(["graph", "mix.merge", "--format", "dot", "--json"]) == 2
    assert '"`--json` and `--format dot` do not go together"' in capfd.readouterr().out


OUT_OF_RANGE = """\
error[E0216]: 3 is out of range for `t`: 0 to 1
 --> mix.merge:1:7
  |
1 | param t = 0.4 { min: 0, max: 1 }
  |       ^ may be 0 to 1
help: you set `t=3`
help: give a value of 0 to 1, or change `min` and `max`
"""


def test_a_setting_out_of_range_is_a_mistake_with_a_place(capfd):
    assert main(["check", "mix.merge", "--set", "t=3"]) == 1
    assert capfd.readouterr() == ("", OUT_OF_RANGE)


def test_control_characters_of_a_recipe_do_not_reach_the_terminal(tmp_path, capfd):
    (tmp_path / "x.merge").write_text('model m = "a\x1b[31m\x9b\x7f"\noutput "out" = m\n')
    assert main(["check", str(tmp_path / "x.merge")]) == 1
    said = capfd.readouterr().err
    assert "␛[31m\N{REPLACEMENT CHARACTER}" in said and "␡" in said
    assert not {each for each in said if not each.isprintable()} - {"\n"}
