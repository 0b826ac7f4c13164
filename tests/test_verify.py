"""`mergelang verify`: one changed byte anywhere is found, and named."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

import mergelang
from mergelang.cli.app import main
from mergelang.errors import RunError
from mergelang.models.headers import read_header
from mergelang.models.record import RECORD
from mergelang.plan.memory import minimum_memory
from mergelang.record.verify import verify
from mergelang.wording.proof import PROOF
from tests.checkpoints import write_model

RECIPE = """\
param t = 0.25
model a = "a"
model b = "b"
output "out" = slerp(a, b, t: t) { shards: 3kB }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("ab"):
        write_model(folder / name, seed=seed)
    (folder / "a" / "tokenizer.json").write_text("{}")
    (folder / "mix.merge").write_text(RECIPE)
    mergelang.load(folder / "mix.merge").run()
    return folder


@pytest.fixture
def out(made, tmp_path) -> Path:
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path / "out"


def told(path: Path) -> list[str]:
    return [str(each).splitlines()[0] for each in verify(path, path.name).problems]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << random.Random(at).randrange(8)
    path.write_bytes(data)


def test_what_was_written_is_as_it_was_written(out):
    found = verify(out, "out")
    assert (found.tensors, found.files, found.problems) == (39, 7, ())
    for path in out.glob("*.safetensors"):
        assert verify(path, path.name).problems == ()


def test_a_flipped_byte_of_any_tensor_is_found_and_named(out):
    for path in sorted(out.glob("*.safetensors")):
        whole = path.read_bytes()
        for tensor, extent in read_header(path, "x").items():
            for at in {0, extent.type.nbytes // 2, extent.type.nbytes - 1}:
                flip(path, extent.offset + at)
                said = [f"error[E2114]: tensor {tensor} in {path.name} is not as it was written"]
                assert told(out) == said
                assert told(path) == said
                path.write_bytes(whole)


def test_a_flipped_byte_of_any_header_is_found(out):
    for path in out.glob("*.safetensors"):
        whole = path.read_bytes()
        start = min(extent.offset for extent in read_header(path, "x").values())
        for at in [*range(9), *random.Random(0).sample(range(9, start), 40), start - 1]:
            flip(path, at)
            assert [line.partition(":")[0] for line in told(out)] == ["error[E2113]"], at
            path.write_bytes(whole)


def test_a_flipped_byte_of_any_other_file_is_found(out):
    for path in out.iterdir():
        if path.suffix == ".safetensors" or path.name == RECORD:
            continue
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            flip(path, at)
            assert told(out) == [f"error[E2112]: {path.name} is not as it was written"]
            path.write_bytes(whole)


@pytest.mark.parametrize("key", ["output", "recipe", "settings", "parents", "root", "mergelang"])
def test_a_changed_record_is_found_out_by_those_of_the_weight_files(out, key):
    found = json.loads((out / RECORD).read_text())
    found[key] = {"t": "0.3"} if key == "settings" else found[key][:-1]
    (out / RECORD).write_text(json.dumps(found))
    first, *others = sorted(path.name for path in out.glob("*.safetensors"))
    said = told(out)
    assert f"error[E2117]: the records in mergelang.json and in {first} differ in `{key}`" in said
    root = ["error[E2119]: the root of the record is not that of its tensors"] * (key == "root")
    assert len(said) == 1 + len(others) + len(root) and said[len(said) - len(root) :] == root


def test_files_and_tensors_that_went_or_came_are_named(out):
    (out / "notes.txt").write_text("mine")
    (out / ".gitattributes").write_text("hidden files are no part of a model")
    (out / "tokenizer.json").unlink()
    assert told(out) == [
        "error[E2110]: notes.txt is not of the record: somebody put it there",
        "error[E2111]: tokenizer.json is missing",
    ]


def test_a_file_cut_short_or_replaced_is_named(out):
    first, second = sorted(out.glob("*.safetensors"))
    size = first.stat().st_size
    whole = first.read_bytes()
    for data in (whole[:-2], whole + b"more"):
        first.write_bytes(data)
        said = [
            f"error[E2118]: {first.name} has {len(data):,} bytes, and had {size:,} when it was "
            "written"
        ]
        assert told(out) == said
        assert told(first) == said
    shutil.copy(second, first)
    assert any(line.startswith("error[E2118]") for line in told(out))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", [RECORD, "config.json", "model-00001-of-00002.safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_another(out, name):
    (out / name).chmod(0)
    with pytest.raises(RunError, match=f"E0901.*{name}: Permission denied"):
        verify(out, "out")


def test_what_is_refused_anywhere_is_said_in_one_line(out, monkeypatch, capfd):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert main(["verify", "out"]) == 3
    assert capfd.readouterr().err.startswith("error[E0901]: cannot read out: Permission denied\n")


def test_the_command_says_what_was_looked_at_and_what_is_wrong(out, monkeypatch, capfd):
    monkeypatch.chdir(out.parent)
    assert main(["verify", "out"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.startswith("out: 7 files and 39 tensors, ")
    assert said.out.endswith(": all as it was written\n")
    path = sorted(out.glob("*.safetensors"))[0]
    flip(path, path.stat().st_size - 1)
    name = list(read_header(path, "x"))[-1]
    assert main(["verify", "out"]) == 1
    said = capfd.readouterr()
    assert said.out.startswith("out: 1 thing wrong in 7 files and 39 tensors, ")
    assert said.err == (
        f"error[E2114]: tensor {name} in {path.name} is not as it was written\n"
        "help: run the recipe again: `mergelang lineage out --recipe` prints it\n"
    )
    assert main(["verify", "out", "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["ok"], found["tensors"]) == (False, 39)
    assert [each["code"] for each in found["diagnostics"]] == ["E2114"]


def test_what_no_merge_made_cannot_be_verified(made, monkeypatch, capfd):
    monkeypatch.chdir(made)
    assert main(["verify", "a"]) == 1
    assert capfd.readouterr().err == (
        "error[E2102]: a has no record of how it was made\n"
        "help: only what mergelang wrote has one: in mergelang.json, and in its weight files\n"
    )
    shutil.copytree("out", "bare", ignore=shutil.ignore_patterns("mergelang.json"))
    assert main(["verify", "bare"]) == 1
    assert capfd.readouterr().err == (
        "error[E2102]: bare has no record of its files\n"
        "help: mergelang.json is gone; `mergelang verify` of a weight file looks at the record in "
        "that\n"
    )
    for each in Path("bare").glob("*.safetensors"):
        assert main(["verify", str(each)]) == 0
    capfd.readouterr()
    assert main(["verify", "nowhere"]) == 1
    assert capfd.readouterr().err.startswith("error[E2101]: there is nothing at nowhere\n")


# Sources, and tensors made again


@pytest.fixture
def whole(made, tmp_path) -> Path:
    """Models, recipe and output in a folder of their own."""
    shutil.copytree(made, tmp_path / "whole")
    return tmp_path / "whole"


def run_verify(capfd, *words) -> tuple[int, str, list[str]]:
    code = main(["verify", *map(str, words)])
    said = capfd.readouterr()
    return code, said.out, [line for line in said.err.splitlines() if "error[" in line]


def test_sources_and_all_tensors_are_as_they_were(whole, capfd):
    code, out, wrong = run_verify(capfd, whole / "out", "--parents", "--rebuild", "all")
    assert (code, wrong) == (0, [])
    assert "; 5 files of the sources; 39 tensors computed again: all as it was written" in out


def test_some_random_tensors_are_computed_again(whole, capfd):
    seen = set()
    for _ in range(8):
        assert main(["verify", str(whole / "out"), "--rebuild", "5", "--json"]) == 0
        names = json.loads(capfd.readouterr().out)["rebuilt"]
        assert len(names) == 5
        seen |= set(names)
    assert len(seen) > 5


def test_the_settings_of_the_run_and_the_recipes_it_used_are_in_force(whole, capfd):
    (whole / "house.merge").write_text('model b = "b"\nlet soft = linear(b { weight: 0.5 })\n')
    (whole / "x.merge").write_text(
        'use "house.merge" as house\nparam t = 0.25\nmodel a = "a"\n'
        'output "x/y" = slerp(a, house.soft, t: t)\noutput "z" = a\n'
    )
    mergelang.load(whole / "x.merge", {"t": "0.7"}).run()
    (whole / "house.merge").unlink()
    (whole / "x.merge").unlink()
    assert run_verify(capfd, whole / "x" / "y", "--rebuild", "all")[0] == 0
    assert run_verify(capfd, whole / "z", "--rebuild", "all")[0] == 0


def test_a_changed_source_is_found_by_both(whole, capfd):
    path = whole / "b" / "model.safetensors"
    name, extent = list(read_header(path, "x").items())[7]
    for at in range(extent.type.nbytes):
        flip(path, extent.offset + at)
    code, _, wrong = run_verify(capfd, whole / "out", "--parents", "--rebuild", "all")
    assert (code, wrong) == (1, [
        "error[E2122]: model.safetensors of the source `b` is not what was merged",
        f"error[E2123]: tensor {name} comes out otherwise than it was written",
    ])  # fmt: skip


def test_a_flipped_byte_of_a_source_is_found_whatever_is_remembered_of_it(whole, capfd):
    path = whole / "a" / "model.safetensors"
    before = path.stat()
    flip(path, before.st_size // 2)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_verify(capfd, whole / "out", "--parents")[2] == [
        "error[E2122]: model.safetensors of the source `a` is not what was merged"
    ]


def test_changed_weights_do_not_come_out_again(whole, capfd):
    path = sorted((whole / "out").glob("*.safetensors"))[0]
    name, extent = next(iter(read_header(path, "x").items()))
    flip(path, extent.offset)
    assert run_verify(capfd, path, "--rebuild", "all")[2] == [
        f"error[E2114]: tensor {name} in {path.name} is not as it was written",
        f"error[E2123]: tensor {name} comes out otherwise than it was written",
    ]


def test_sources_that_are_elsewhere_are_told_and_found_with_the_folder(whole, capfd, tmp_path):
    shutil.move(whole / "out", tmp_path / "moved")
    code, _, wrong = run_verify(capfd, tmp_path / "moved", "--parents")
    assert code == 1
    assert wrong == [f"error[E2120]: the source `{x}` is not there" for x in "ab"]
    given = ("--parents", "--rebuild", "3", "--folder", whole)
    assert run_verify(capfd, tmp_path / "moved", *given)[0] == 0
    (whole / "a" / "tokenizer.json").unlink()
    assert run_verify(capfd, tmp_path / "moved", *given)[2] == [
        "error[E2121]: tokenizer.json of the source `a` is missing"
    ]


def test_what_is_computed_again_keeps_to_the_memory_given(whole, capfd):
    recipe = RECIPE.replace("slerp(a, b, t: t)", "iso_c(b, base: a)")
    (whole / "mix.merge").write_text(recipe)
    (whole / "mix.merge.lock").unlink()
    made = mergelang.load(whole / "mix.merge")
    made.run()
    least = minimum_memory(made.plan(memory=0, fresh=True))
    words = (whole / "out", "--rebuild", "all", "--memory")
    assert run_verify(capfd, *words, str(least))[0] == 0
    code, _, wrong = run_verify(capfd, *words, "200MiB")
    assert (code, len(wrong)) == (3, 1)
    assert wrong[0].startswith("error[E0908]: 200MiB of memory is too little")


def test_options_that_ask_for_nothing_are_told(out, capfd):
    assert run_verify(capfd, out, "--folder", ".")[0] == 2
    for words in (("--memory", "1GiB"), ("--allow-pickle",)):
        assert run_verify(capfd, out, *words)[0::2] == (2, [
            f"error[E1012]: `mergelang verify`: `{words[0]}` goes with --rebuild"
        ])  # fmt: skip
    assert run_verify(capfd, out, "--rebuild", "some")[2] == [
        "error[E1007]: `some` is not a number of tensors"
    ]


def test_tensors_that_the_record_does_not_have_or_has_alone_are_named(out):
    found = json.loads((out / RECORD).read_text())
    name, digest = next(iter(found["tensors"].items()))
    del found["tensors"][name]
    found["tensors"]["more.weight"] = digest
    (out / RECORD).write_text(json.dumps(found))
    said = told(out)
    file = next(path.name for path in out.glob("*.safetensors") if name in read_header(path, "x"))
    assert "error[E2115]: tensor more.weight is missing" in said
    assert f"error[E2116]: tensor {name} in {file} is not of the record" in said


def test_every_code_about_proof_is_in_a_test():
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    missing = [code for code in PROOF if code not in texts]
    assert missing == []
    for kind in PROOF.values():
        assert kind.message and kind.help and kind.explain.endswith("\n")
        assert all(len(line) <= 100 for line in kind.explain.splitlines())
