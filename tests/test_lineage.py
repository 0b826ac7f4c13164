"""`mergelang lineage`: the family tree, and the recipe out of a bare file."""

import json
import shutil
from pathlib import Path

import pytest

import mergelang
from mergelang.cli.app import main
from mergelang.models.record import RECORD, read_record
from mergelang.record.lineage import family, tree_text
from mergelang.record.statement import STATEMENT
from tests.checkpoints import write_model, write_tokenizer

HOUSE = 'model b = "../b"\nlet soft = linear(b { weight: 0.5 }, b { weight: 0.5 })\n'

FIRST = """\
use "used/house.merge" as house
param t = 0.25 { min: 0, max: 1 }
param how = "l1"
param slow = false
model a = "a"
output "out/first" = slerp(a, house.soft, t: t)
"""

SECOND = """\
model first = "out/first"
model a = "a"
output "out/second" = mean(first, a)
"""

THIRD = """\
model second = "out/second/model.safetensors"
model first = "out/first"
output "out/third" = mean(second, first)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("ab"):
        write_model(folder / name, seed=seed)
    (folder / "used").mkdir()
    (folder / "used" / "house.merge").write_text(HOUSE)
    settings = {"t": "0.3", "how": 'a "b"', "slow": "true"}
    for name, text in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
        (folder / f"{name}.merge").write_text(text)
        mergelang.load(folder / f"{name}.merge", settings if name == "first" else {}).run()
    return folder


@pytest.fixture
def call(made, monkeypatch, capfd):
    def call(*words):
        monkeypatch.chdir(made)
        code = main(["lineage", *map(str, words)])
        return code, *capfd.readouterr()

    return call


def short(folder: Path) -> str:
    return read_record(folder)["root"][:12]


def test_the_tree_goes_through_parents_of_parents(call, made):
    code, out, err = call("out/third")
    first, second, third = (short(made / "out" / name) for name in ("first", "second", "third"))
    a, b = (
        read_record(made / "out" / "first")["parents"][i]["files"]["model.safetensors"]["digest"]
        for i in (0, 1)
    )
    version = f"mergelang {mergelang.__version__}"
    assert (code, err) == (0, "")
    settings = 'how=a "b", slow=true, t=0.3'
    assert out == f"""\
out/third                        merge {third}, {version}
├─ out/second/model.safetensors  merge {second}, {version}
│  ├─ out/first                  merge {first}, {version}, {settings}
│  │  ├─ a                       9.9 kB, {a[:19]}
│  │  └─ b                       9.9 kB, {b[:19]}
│  └─ a                          9.9 kB, {a[:19]}
└─ out/first                     merge {first}, {version}, {settings}, as above
"""


def test_a_bare_weight_file_tells_the_same(call, made, tmp_path):
    shutil.copy(made / "out" / "third" / "model.safetensors", tmp_path / "x.safetensors")
    for form in ("text", "mermaid", "json"):
        assert call(tmp_path / "x.safetensors", "--format", form) == call(
            "out/third", "--format", form
        )


def test_a_folder_without_its_record_tells_it_from_its_weights(call, made, tmp_path):
    shutil.copytree(made / "out" / "third", tmp_path / "third")
    (tmp_path / "third" / RECORD).unlink()
    assert call(tmp_path / "third") == call("out/third")
    assert main(["verify", str(tmp_path / "third")]) == 1


def test_the_chart_has_every_model_once_and_parents_above(call):
    lines = call("out/third", "--format", "mermaid")[1].splitlines()
    assert lines[0] == "flowchart TD"
    boxes = [line for line in lines if "-->" not in line][1:]
    assert [line.split('"')[1].split("<br/>")[0] for line in boxes] == [
        "a", "b", "out/first", "out/second/model.safetensors", "out/third"
    ]  # fmt: skip
    assert [line.strip() for line in lines if "-->" in line] == [
        "n1 --> n3", "n2 --> n3", "n3 --> n4", "n1 --> n4", "n4 --> n5", "n3 --> n5"
    ]  # fmt: skip


def test_as_data_each_merge_has_its_recipe_and_each_source_its_digests(call, made):
    said = json.loads(call("out/third", "--json")[1])
    assert call("out/third", "--format", "json")[1] == call("out/third", "--json")[1]
    second, first = said["parents"]
    assert second["parents"][0]["recipe"] == first["recipe"]
    assert first["settings"]["t"] == "0.3" and "used/house.merge" in first["used"]
    digests = [each["files"]["model.safetensors"]["digest"] for each in first["parents"]]
    assert len(set(digests)) == 2 and all(each.startswith("blake3:") for each in digests)


def test_the_recipe_out_of_a_bare_file_makes_the_same_bytes_again(call, made, tmp_path):
    out = made / "out" / "first"
    bare = tmp_path / "x.safetensors"
    shutil.copy(out / "model.safetensors", bare)
    again = made / "again"
    for name in "ab":
        shutil.copytree(made / name, again / name)
    code, said, err = call(bare, "--recipe", "-o", again / "mix.merge")
    assert (code, said) == (0, "")
    assert err == f"wrote {again / 'mix.merge'}\nwrote {again / 'used/house.merge'}\n"
    mergelang.load(again / "mix.merge").run()
    found, wanted = read_record(again / "out" / "first"), read_record(out)
    assert found["tensors"] == wanted["tensors"] and found["root"] == wanted["root"]


def test_the_recipe_is_printed_with_the_settings_in_force(call):
    code, out, err = call("out/first", "--recipe")
    assert code == 0
    assert 'param t = 0.3 { min: 0, max: 1 }\nparam how = "a \\"b\\""\nparam slow = true\n' in out
    assert err == (
        "warning[W2101]: the recipe uses `used/house.merge`, which the record has, too\n"
        "help: write them all: `mergelang lineage out/first --recipe -o FOLDER/NAME.merge`\n"
    )
    assert call("out/second", "--recipe")[1:] == (
        'model first = "out/first"\nmodel a = "a"\n\noutput "out/second" = mean(first, a)\n', ""
    )


def test_what_is_written_stays_in_the_folder_and_overwrites_nothing(call, made, tmp_path):
    found = json.loads((made / "out" / "first" / RECORD).read_text())
    taken = tmp_path / "used" / "house.merge"
    taken.parent.mkdir()
    taken.write_text("mine")
    code, _, err = call("out/first", "--recipe", "-o", tmp_path / "x.merge")
    assert code == 2 and taken.read_text() == "mine"
    assert err == (
        f"error[E2105]: {taken} is there already, with another text\n"
        "help: write to another folder: `-o FOLDER/NAME.merge`\n"
    )
    for name in ("../up.merge", "/etc/up.merge", "x/../../up.merge"):
        (tmp_path / RECORD).write_text(json.dumps({**found, "used": {name: "seed 1\n"}}))
        code, _, err = call(tmp_path, "--recipe", "-o", tmp_path / "x.merge")
        assert code == 2 and not (tmp_path / "x.merge").exists()
        assert err.startswith(f"error[E2104]: the recipe uses {name}, which lies outside the")


def test_a_record_that_names_itself_as_its_parent_is_drawn_up_to_there(made):
    found = json.loads((made / "out" / "second" / RECORD).read_text())
    root = found["parents"][0]["root"]
    found["ancestors"][root]["parents"] = [{"source": "loop", "files": {}, "root": root}]
    assert "loop" in tree_text(family(found))


def test_options_that_do_not_go_together_are_told(call):
    assert call("out/first", "--recipe", "--json")[0] == 2
    assert call("out/first", "-o", "x.merge")[0] == 2
    assert call("out/first", "--format", "dot")[2].splitlines()[1] == (
        "help: write it like `text`, `mermaid` or `json`"
    )


def test_a_param_of_several_lines_comes_back_as_it_was(call, made, tmp_path):
    line = 'param how = "a\\tb\\nc \\"d\\" \\\\e"\n'
    recipe = tmp_path / "lines.merge"
    recipe.write_text(f'{line}model a = "{made}/a"\noutput "out" = a\n')
    mergelang.load(recipe).run()
    code, out, _ = call(tmp_path / "out", "--recipe")
    assert code == 0
    assert line in out


def test_a_recipe_of_another_edition_is_told(call, made, tmp_path):
    found = json.loads((made / "out" / "second" / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps({**found, "recipe": "let let let"}))
    code, _, err = call(tmp_path, "--recipe")
    assert code == 1
    assert err.startswith(f"error[E2103]: the recipe in the record of {tmp_path} cannot be read\n")


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of an output but for the card, which has the recipe as it was laid out, and those
    with its digest."""
    about = ("README.md", RECORD, STATEMENT)
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name not in about}


def test_a_template_in_a_file_is_in_the_record_of_every_weight_file(tmp_path, call):
    text = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    model = write_model(tmp_path / "a")
    write_tokenizer(model, [f"w{i}" for i in range(28)])
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "x.jinja").write_text(text)
    recipe = 'model a = "a"\noutput "out" = mean(a, a) { chat_template: file("talk/x.jinja") }\n'
    (tmp_path / "x.merge").write_text(recipe + 'output "plain" = a\n')
    mergelang.load(tmp_path / "x.merge").run()
    before = files_of(tmp_path / "out")
    (tmp_path / "talk" / "x.jinja").unlink()
    (tmp_path / "x.merge").unlink()
    assert main(["verify", str(tmp_path / "out"), "--rebuild", "all"]) == 0
    bare = tmp_path / "plain" / "model.safetensors"
    code, _, err = call(bare, "--recipe")
    assert code == 0 and "warning[W2101]: the recipe uses `talk/x.jinja`" in err
    assert call(bare, "--recipe", "-o", tmp_path / "x.merge")[0] == 0
    assert (tmp_path / "talk" / "x.jinja").read_text() == text
    again = mergelang.load(tmp_path / "x.merge")
    again.run(fresh=True)
    assert files_of(tmp_path / "out") == before
    assert again.up_to_date()
    (tmp_path / "talk" / "x.jinja").write_text(text + " ")
    assert mergelang.load(tmp_path / "x.merge").up_to_date() == ()
