"""The lock beside a recipe: what it says, when it changes, what a frozen run refuses."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

import mergelang
from mergelang.api import write_lock
from mergelang.cli.app import main
from mergelang.errors import InputError, UsageError
from mergelang.models.record import RECORD
from mergelang.ops.registry import operators
from mergelang.plan.arithmetic import arithmetic
from mergelang.plan.keys import ENGINE
from mergelang.record.lock import HEAD, lock_text, read_lock
from mergelang.store.digests import digest
from tests.checkpoints import write_model
from tests.test_vocabularies import write as write_tokens

HOUSE = 'seed 7\nmodel b = "b"\nlet soft = linear(b { weight: 0.5 }, b { weight: 0.5 })\n'

RECIPE = """\
use "house.merge" as house
seed 3
param t = 0.25 { min: 0, max: 1 }
model a = "a"
let mixed = dare(a { weight: t }, a { weight: curve(0.1, 1/3) }, density: 0.5, base: house.soft)
output "out/mixed" = a + 0.5 * (mixed - a) { dtype: f32 }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for seed, name in enumerate("abc"):
        write_model(tmp_path / name, seed=seed)
    (tmp_path / "house.merge").write_text(HOUSE)
    (tmp_path / "mix.merge").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder, capfd):
    def call(*words):
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return call


def lock(folder: Path) -> Path:
    return folder / "mix.merge.lock"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def touch_weights(folder: Path, name: str) -> None:
    """Other weights of the same size."""
    write_model(folder / name, seed=99)


def test_the_first_run_writes_what_the_recipe_comes_to(call, folder):
    assert call("run", "mix.merge", "--set", "t=0.3")[0] == 0
    a, b = (f"9904 blake3:{digest(folder / x / 'model.safetensors')}" for x in "ab")
    config = f"344 blake3:{digest(folder / 'a' / 'config.json')}"
    lines = lock(folder).read_text().splitlines()
    digests = [line.split(" = ")[0] for line in lines if line.startswith(("recipe", "use"))]
    assert digests == ["recipe", "use house.merge"]
    assert [line for line in lines if not line.startswith(("recipe", "use"))] == f"""\
{HEAD}
engine = {ENGINE}
file a config.json = {config}
file a model.safetensors = {a}
file b config.json = {config}
file b model.safetensors = {b}
node a = "a"
node mixed = dare(a, a, base: linear("b", "b"))
operator dare = 1
operator linear = 1
option mixed draw = 0
option mixed density = 0.5
option mixed lambda = 1
option mixed normalize = false
option mixed rescale = inverse
option mixed weight = [0.3, curve(0.1, 1/3)]
option mixed.3 normalize = true
option mixed.3 weight = 0.5
option out/mixed dtype = F32
option out/mixed shards = 5000000000
option out/mixed.2 by = 0.5
output out/mixed = a + by * (mixed - a)
seed = 3
seed house.merge = 7
set t = 0.3
source a = local
source b = local
""".replace("option mixed draw = 0\noption mixed density = 0.5", "option mixed density = 0.5\n"
            "option mixed draw = 0").splitlines()


def test_the_command_writes_the_same_lock_as_a_run(call, folder):
    assert call("lock", "mix.merge") == (0, "wrote mix.merge.lock\n", "")
    text = lock(folder).read_bytes()
    assert call("lock", "mix.merge") == (0, "nothing has changed in mix.merge.lock\n", "")
    lock(folder).unlink()
    assert call("run", "mix.merge")[0] == 0
    assert lock(folder).read_bytes() == text
    assert lock(folder).stat().st_mode & 0o777 == (folder / "mix.merge").stat().st_mode & 0o777


def test_comments_layout_and_place_do_not_change_it(call, folder, tmp_path_factory):
    call("lock", "mix.merge")
    edit(folder / "mix.merge", "let mixed", "# why\n\n\nlet   mixed")
    edit(folder / "house.merge", "linear(b {", "linear(\n  b # what\n  {")
    assert call("lock", "mix.merge")[1].startswith("nothing has changed")
    there = tmp_path_factory.mktemp("there") / "x"
    shutil.copytree(folder, there)
    (there / "mix.merge.lock").unlink()
    assert call("run", there / "mix.merge", "-o", there / "elsewhere")[0] == 0
    assert (there / "mix.merge.lock").read_text() == lock(folder).read_text()
    assert str(folder) not in lock(folder).read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("param t = 0.25", "param t = 0.3", ["option mixed weight: [0.25, curve(0.1, 1/3)] → "
                                             "[0.3, curve(0.1, 1/3)]"]),
        ("seed 3", "seed 4", ["seed: 3 → 4"]),
        ("dtype: f32", "dtype: bf16", ["option out/mixed dtype: F32 → BF16"]),
        ("0.5 * (mixed - a)", "0.5 * (mixed - a) + 0.1 * (mixed - a)", [
            "option out/mixed.1.2 by: nothing → 0.5", "option out/mixed.2 by: 0.5 → 0.1",
            "output out/mixed: a + by * (mixed - a) → "
            "a + by * (mixed - a) + by * (mixed - a)",
        ]),
        ("model a", 'model z = "a"\nmodel a', ['node z: nothing → "a"']),
    ],
)  # fmt: skip
def test_a_run_says_what_the_recipe_has_changed_and_a_frozen_one_refuses(
    call, folder, old, new, said
):
    call("run", "mix.merge")
    edit(folder / "mix.merge", old, new)
    code, out, err = call("run", "mix.merge", "--frozen")
    assert (code, out) == (1, "")
    assert err.count("error[E2133]: ") == len(said) and err.count("help: accept it: ") == len(said)
    before = lock(folder).read_text()
    for words in (("run", "mix.merge"), ("lock", "mix.merge")):
        lock(folder).write_text(before)
        code, _, err = call(*words)
        assert code == 0
        told = [line for line in err.splitlines() if line.startswith("since mix.merge.lock: ")]
        assert told == [f"since mix.merge.lock: {each}" for each in said]
        assert call("run", "mix.merge", "--frozen")[0] == 0


def test_a_frozen_run_names_the_fact_both_values_and_the_command(call, folder, monkeypatch):
    call("run", "mix.merge")
    assert call("run", "mix.merge", "--frozen", "--set", "t=0.5")[2] == """\
error[E2133]: `option mixed weight` is [0.5, curve(0.1, 1/3)], and [0.25, curve(0.1, 1/3)] in \
mix.merge.lock
help: accept it: `mergelang lock mix.merge --set t=0.5`

error[E2133]: `set t` is 0.5, and nothing in mix.merge.lock
help: accept it: `mergelang lock mix.merge --set t=0.5`
"""
    dare = operators()["dare"]
    newer = type(dare.signature)(**{**vars(dare.signature), "version": 2})
    monkeypatch.setitem(operators(), "dare", type(dare)(newer, dare.body))
    assert call("run", "mix.merge", "--frozen")[2] == """\
error[E2133]: `operator dare` is 2, and 1 in mix.merge.lock
help: accept it: `mergelang lock mix.merge`
"""


def test_a_frozen_run_refuses_before_anything_is_written(call, folder):
    call("run", "mix.merge")
    before = lock(folder).read_bytes()
    shutil.rmtree(folder / "out")
    edit(folder / "mix.merge", 'base: house.soft', 'base: c')
    edit(folder / "mix.merge", 'use "house.merge" as house\n', "")
    edit(folder / "mix.merge", "model a", 'model c = "c"\nmodel a')
    code, _, err = call("run", "mix.merge", "--frozen")
    assert code == 1 and not (folder / "out").exists()
    assert "error[E2133]: `source c` is local, and nothing in mix.merge.lock" in err
    assert "error[E2133]: `source b` is nothing, and local in mix.merge.lock" in err
    assert lock(folder).read_bytes() == before
    assert call("run", "mix.merge", "--frozen", "--dry-run")[0] == 1


def test_a_source_with_other_bytes_is_an_error_that_names_the_command(call, folder):
    call("run", "mix.merge")
    was = digest(folder / "a" / "model.safetensors")
    record = (folder / "out" / "mixed" / RECORD).read_bytes()
    touch_weights(folder, "a")
    for words in (("run", "mix.merge"), ("run", "mix.merge", "--frozen"), ("lock", "mix.merge")):
        code, out, err = call(*words)
        now = digest(folder / "a" / "model.safetensors")
        assert (code, out) == (1, "")
        assert err.splitlines()[-2:] == [
            "error[E2130]: model.safetensors of `a` is not what mix.merge.lock says: it was "
            f"9904 blake3:{was}, and now is 9904 blake3:{now}",
            "help: accept it as it is now: `mergelang lock mix.merge --update a`",
        ]
        assert (folder / "out" / "mixed" / RECORD).read_bytes() == record
    assert call("run", "mix.merge", "--set", "t=0.5")[2].endswith(
        "help: accept it as it is now: `mergelang lock mix.merge --set t=0.5 --update a`\n"
    )
    assert call("lock", "mix.merge", "--update", "a") == (0, "wrote mix.merge.lock\n", "")
    assert now in lock(folder).read_text()
    assert call("run", "mix.merge", "--frozen")[0] == 0


def test_a_source_of_another_size_is_told_before_a_byte_is_read(call, folder):
    call("run", "mix.merge")
    write_model(folder / "b", seed=5, dtype="F32")
    write_model(folder / "a", seed=5, dtype="F32")
    code, _, err = call("run", "mix.merge", "--json")
    assert code == 1 and err == ""


def test_one_source_is_updated_and_the_others_stay(call, folder):
    call("run", "mix.merge")
    touch_weights(folder, "a")
    touch_weights(folder, "b")
    code, _, err = call("lock", "mix.merge", "--update", "a")
    assert code == 1 and err.count("error[E2130]") == 1
    # It has no name in this recipe, and is called as it is written.
    assert "`mergelang lock mix.merge --update a --update b`" in err
    assert call("lock", "mix.merge", "--update", "a", "--update", "b")[0] == 0
    assert call("lock", "mix.merge", "--update", "aa")[2] == (
        "error[E2134]: the recipe has no source `aa`\nhelp: did you mean `a`?\n"
    )


def test_a_frozen_run_needs_a_lock(call, folder):
    assert call("run", "mix.merge", "--frozen") == (1, "", """\
error[E2132]: there is no mix.merge.lock that `--frozen` could hold the run to
help: write it: `mergelang lock mix.merge`
""")
    assert not (folder / "out").exists()


def test_whole_matrix_operators_bind_to_the_arithmetic(call, folder):
    edit(folder / "mix.merge", "mixed - a)", "mixed - a) + iso_c(a - mixed, mixed - a)")
    assert call("lock", "mix.merge")[0] == 0
    assert f"\narith = {arithmetic()}\n" in lock(folder).read_text()
    edit(lock(folder), arithmetic(), "torch 1.0, another machine")
    code, _, err = call("run", "mix.merge", "--frozen")
    assert code == 1
    assert err.startswith(f"error[E2133]: `arith` is {arithmetic()}, and torch 1.0, another ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1), ("# mergelang lock 2\n", 1), ("what\n", 1), (f"{HEAD}\nseed = 3\nno fact\n", 3),
        (f"{HEAD}\n<<<<<<< HEAD\nseed = 3\n", 2), (f"{HEAD}\n =  = 1\n", 2),
        (f'{HEAD}\nnode "x = 3\n', 2), (b"\xff\xfe", 1),
    ],
)  # fmt: skip
def test_what_is_no_lock_is_told_with_its_line(call, folder, text, line):
    lock(folder).write_bytes(text if isinstance(text, bytes) else text.encode())
    for words in (("run", "mix.merge"), ("lock", "mix.merge")):
        assert call(*words)[2] == (
            f"error[E2131]: mix.merge.lock is no lock that this version reads: line {line}\n"
            "help: remove it and write it anew: `mergelang lock RECIPE`\n"
        )


def test_any_words_and_values_come_back(tmp_path):
    facts = {
        ("node", 'a "b" = c'): "x = y", ("file", "ü/ä b", "c\\d"): "line\nbreak\\n\r",
        ("option", "out/x.1", "t"): "", ("seed",): "0",
    }  # fmt: skip
    (tmp_path / "x.lock").write_bytes(lock_text(facts).encode())
    assert read_lock(tmp_path / "x.lock") == facts
    assert read_lock(tmp_path / "none.lock") is None


def test_a_lock_that_cannot_be_read_is_not_called_another_file(call, folder):
    (folder / "mix.merge.lock").mkdir()
    said = "error[E0901]: cannot read mix.merge.lock: Is a directory\n"
    code, _, err = call("run", "mix.merge")
    assert (code, err.startswith(said)) == (3, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_lock_that_cannot_be_written_is_a_warning(call, folder):
    (folder / "out").mkdir()
    folder.chmod(0o500)
    code, _, err = call("run", "mix.merge")
    folder.chmod(0o700)
    assert code == 0
    assert err.startswith(
        "warning[W2130]: cannot write mix.merge.lock: permission denied\n"
        "help: the outputs are whole; `mergelang lock` writes the lock later\n"
    )


def test_a_lock_that_cannot_be_written_is_told_after_the_run(call, folder, monkeypatch):
    def refuse(*facts):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mergelang.record.binding.os.replace", refuse)
    code, out, err = call("run", "mix.merge", "--json")
    assert (code, err) == (0, "")
    (noted,) = (each for each in map(json.loads, out.splitlines()) if each["event"] == "Noted")
    assert noted["help"] == ["the outputs are whole; `mergelang lock` writes the lock later"]
    code, _, err = call("run", "mix.merge", "--fresh")
    assert code == 0 and f"{noted['message']}\nhelp: {noted['help'][0]}\n" in err
    monkeypatch.undo()
    assert not lock(folder).exists()


def test_a_text_has_no_lock(folder):
    recipe = mergelang.load(RECIPE)
    recipe.run()
    assert not list(folder.glob("*.lock"))
    with pytest.raises(InputError):
        recipe.run(frozen=True)


def test_the_record_holds_the_lock_of_its_own_output(call, folder):
    edit(folder / "mix.merge", "output", 'model c = "c"\noutput "out/other" = c\noutput')
    call("run", "mix.merge", "out/mixed")
    held = json.loads((folder / "out" / "mixed" / RECORD).read_text())["lock"]
    whole = lock(folder).read_text().splitlines()
    assert set(held) <= set(whole)
    assert {line for line in whole if line not in held} == {"source c = local"}
    call("run", "mix.merge")
    assert json.loads((folder / "out" / "mixed" / RECORD).read_text())["lock"] == held


def test_a_text_cannot_be_locked(folder):
    with pytest.raises(UsageError, match=r"E2135.*a recipe that is not in a file has no lock"):
        write_lock(mergelang.load(RECIPE))


def test_a_run_of_what_is_up_to_date_still_looks_at_the_lock(call, folder):
    assert call("run", "mix.merge")[0] == 0
    text = lock(folder).read_text()
    assert call("run", "mix.merge")[2] == "out/mixed: up to date\n"
    lock(folder).unlink()
    assert call("run", "mix.merge")[2] == "out/mixed: up to date\n"
    assert lock(folder).read_text() == text
    edit(lock(folder), "9904 blake3:", "9905 blake3:")
    assert call("run", "mix.merge")[0] == 1


def test_options_of_an_output_are_facts_and_long_ones_digests(call, folder):
    for seed, words in enumerate((["x", "y"], ["y", "z"])):
        shutil.rmtree(folder / "ab"[seed])
        write_tokens(folder / "ab"[seed], words, seed)
    (folder / "long.jinja").write_text("{{ messages }}\n" * 40)
    (folder / "mix.merge").write_text(
        'model a = "a"\nmodel b = "b"\nlet r = retokenize(b, to: a)\n'
        'output "out" = mean(a, r) { chat_template: file("long.jinja") }\n'
    )
    assert call("run", "mix.merge")[0] == 0
    text = lock(folder).read_text()
    assert re.search(r"^option out chat_template = blake3:[0-9a-f]{64}$", text, re.MULTILINE)
    assert "object at 0x" not in text and max(map(len, text.splitlines())) < 400
    assert call("run", "mix.merge", "--frozen")[0] == 0
    (folder / "long.jinja").write_text("{{ messages }}")
    assert "error[E2133]: `option out chat_template` is" in call("run", "mix.merge", "--frozen")[2]


def test_tensors_that_a_policy_takes_from_elsewhere_are_no_part_of_a_call(tmp_path):
    write_model(tmp_path / "a")
    write_model(tmp_path / "b", lack=["model.embed_tokens.weight", "lm_head.weight"])
    text = 'model a = "a"\nmodel b = "b"\noutput "o" = linear(a, b, missing: from(a))\n'
    (tmp_path / "x.merge").write_text(text)
    mergelang.load(tmp_path / "x.merge").run()
    assert "arith" not in (tmp_path / "x.merge.lock").read_text()


def write_two_houses(folder: Path) -> None:
    """A recipe and one that it uses in another folder, which name two models alike."""
    for place, name in (("one", "a"), ("two", "b")):
        (folder / place / "models").mkdir(parents=True)
        (folder / name).rename(folder / place / "models" / "base")
    (folder / "two" / "house.merge").write_text('model base = "models/base"\nlet m = base\n')
    (folder / "one" / "x.merge").write_text(
        'use "../two/house.merge" as house\nmodel base = "models/base"\n'
        'output "out" = mean(base, house.m)\n'
    )


def test_sources_of_one_text_in_two_folders_are_two(call, folder):
    write_two_houses(folder)
    assert call("lock", "one/x.merge")[0] == 0
    text = (folder / "one" / "x.merge.lock").read_text()
    assert re.findall("^source .*", text, re.MULTILINE) == [
        "source ../two/models/base = local", "source models/base = local"
    ]  # fmt: skip
    for place, source in (("one", "models/base"), ("two", "../two/models/base")):
        found = digest(folder / place / "models" / "base" / "model.safetensors")
        assert f"file {source} model.safetensors = 9904 blake3:{found}\n" in text
    assert call("run", "one/x.merge", "--frozen")[0] == 0
    assert call("run", "one/x.merge", "--fresh")[0] == 0
    assert (folder / "one" / "x.merge.lock").read_text() == text
    assert call("verify", "one/out", "--parents", "--rebuild", "all")[0] == 0
    touch_weights(folder / "two" / "models", "base")
    command = "mergelang lock one/x.merge --update ../two/models/base"
    assert f"help: accept it as it is now: `{command}`\n" in call("run", "one/x.merge")[2]
    assert call(*command.split()[1:])[0] == 0
    assert call("run", "one/x.merge", "--frozen")[0] == 0


def test_a_source_of_a_used_recipe_behind_a_link_is_found_again(call, folder):
    write_two_houses(folder)
    (folder / "far" / "inner").mkdir(parents=True)
    (folder / "two" / "models").rename(folder / "far" / "models")
    (folder / "two" / "link").symlink_to("../far/inner")
    edit(folder / "two" / "house.merge", "models/base", "link/../models/base")
    assert call("run", "one/x.merge")[0] == 0
    assert "source ../two/link/../models/base = local\n" in (
        (folder / "one" / "x.merge.lock").read_text()
    )
    assert call("verify", "one/out", "--parents")[0] == 0


def test_a_source_that_is_written_in_two_ways_is_locked_both_ways(call, folder):
    (folder / "link").symlink_to("a")
    (folder / "mix.merge").write_text(
        'model a = "a"\nmodel b = "link"\noutput "out" = mean(a, b)\n'
    )
    assert call("run", "mix.merge")[0] == 0
    text = lock(folder).read_text()
    found = digest(folder / "a" / "model.safetensors")
    for source in ("a", "link"):
        assert f"file {source} model.safetensors = 9904 blake3:{found}\n" in text
    record = json.loads((folder / "out" / RECORD).read_text())
    assert {f"source {x} = local" for x in ("a", "link")} <= set(record["lock"])
    assert [each["source"] for each in record["parents"]] == ["a"]
    (folder / "link").unlink()
    (folder / "link").symlink_to("c")
    code, _, err = call("run", "mix.merge")
    assert code == 1 and "error[E2130]: model.safetensors of `link` is not what" in err
    assert "`mergelang lock mix.merge --update b`" in err


def test_the_command_that_is_proposed_accepts_all_that_have_moved(call, folder):
    (folder / "a b.merge").write_text(
        'param who = "x"\nmodel a = "a"\nmodel again = "a"\nmodel same = "b"\nmodel b = "same"\n'
        'output "out" = mean(a, again, b, same) { chat_template: who }\n'
    )
    for name in ("a", "b", "same"):
        shutil.rmtree(folder / name, ignore_errors=True)
        write_tokens(folder / name, ["x", "y"], 1)
    settings = ("--set", "who={{ a b }}")
    assert call("run", "a b.merge", *settings)[0] == 0
    for seed, name in enumerate(("a", "b"), 2):
        shutil.rmtree(folder / name)
        write_tokens(folder / name, ["x", "y"], seed)
    code, _, err = call("run", "a b.merge", *settings)
    command = "mergelang lock 'a b.merge' --set 'who={{ a b }}' --update a --update same"
    assert code == 1 and err.count(f"help: accept it as it is now: `{command}`\n") == 2
    # `same` is a name, and what `b` is written as: the name counts.
    assert f"`{command}`" in call("lock", "a b.merge", *settings, "--update", "again")[2]
    assert call(*shlex.split(command)[1:])[0] == 0
    assert call("run", "a b.merge", *settings, "--frozen")[0] == 0
