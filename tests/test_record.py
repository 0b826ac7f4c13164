"""What an output says about itself: in `mergelang.json`, and in the header of each weight file."""

import json
import shutil
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

import mergelang
from mergelang.cli.app import main
from mergelang.models.licence import licence_of
from mergelang.models.record import RECORD, read_record
from mergelang.plan.origin import exact_text
from mergelang.record.statement import STATEMENT
from mergelang.store.digests import digest
from tests.checkpoints import write_model

HOUSE = 'model b = "../b"\nlet soft = linear(b { weight: 0.5 }, b { weight: 0.5 })\n'

RECIPE = """\
# why this is so
use "used/house.merge" as house
param t = 0.25 { min: 0, max: 1 }
model a = "a"
let mixed = slerp(a, house.soft, t: t)
output "out/mixed" = mixed { shards: 3kB }
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "house.merge").write_text(HOUSE)
    (tmp_path / "mix.merge").write_text(RECIPE)
    return tmp_path


def run(folder: Path, name: str = "mix.merge", **options) -> Path:
    mergelang.load(folder / name, options.pop("settings", None)).run(**options)
    return folder / "out" / "mixed"


def files_of(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_the_record_says_what_the_output_was_made_of(folder):
    found = read_record(run(folder, settings={"t": "0.3"}))
    assert found["output"] == "out/mixed"
    assert found["settings"] == {"t": "0.3"}
    assert "# why" not in found["recipe"] and "param t = 0.25 { min: 0, max: 1 }" in found["recipe"]
    assert set(found["used"]) == {"used/house.merge"}
    assert [each["source"] for each in found["parents"]] == ["a", "b"]
    for parent, name in zip(found["parents"], "ab", strict=True):
        for file, facts in parent["files"].items():
            path = folder / name / file
            assert facts == {"size": path.stat().st_size, "digest": f"blake3:{digest(path)}"}
        assert set(parent["files"]) == {"config.json", "model.safetensors"}


def test_every_weight_file_says_the_same_and_the_digests_of_its_own_tensors(folder):
    out = run(folder)
    whole, seen = read_record(out), {}
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) > 1
    for path in shards:
        found = read_record(path)
        with safe_open(path, framework="pt") as opened:
            assert set(opened.keys()) == set(found["tensors"])
            assert opened.metadata()["format"] == "pt"
        seen |= found["tensors"]
        assert {k: v for k, v in found.items() if k != "tensors"} == {
            k: v for k, v in whole.items() if k not in ("tensors", "files", "lock")
        }
    assert seen == whole["tensors"]


def test_the_same_facts_give_the_same_bytes_wherever_and_however_they_are_written(folder):
    first = files_of(run(folder))
    elsewhere = folder.parent / "elsewhere"
    shutil.copytree(folder, elsewhere)
    shutil.rmtree(elsewhere / "out")
    assert files_of(run(elsewhere, into=elsewhere / "out" / "mixed")) == first
    plain = RECIPE.replace("# why this is so\n", "").replace("let mixed", "\n\nlet  mixed")
    (elsewhere / "mix.merge").write_text(plain)
    again = files_of(run(elsewhere))
    assert not any(str(folder).encode() in data for data in first.values())
    for each in (first, again):
        # The card keeps comments, and these two have its digest.
        del each["README.md"], each[RECORD], each[STATEMENT]
    assert again == first


def test_the_statement_is_one_of_in_toto_about_every_other_file(folder):
    out = run(folder, settings={"t": "0.3"})
    found = json.loads((out / STATEMENT).read_text())
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {each["name"]: each["digest"] for each in found["subject"]}
    assert set(subjects) == {each.name for each in out.iterdir()} - {RECORD, STATEMENT}
    record = read_record(out)
    for name, digests in subjects.items():
        ((kind, value),) = digests.items()
        if kind == "sha256":
            assert value == sha256((out / name).read_bytes()).hexdigest()
        else:
            assert (kind, f"blake3:{value}") == ("mergelang_v1", record["files"][name]["header"])
    assert {k for each in subjects.values() for k in each} == {"sha256", "mergelang_v1"}
    built = found["predicate"]["buildDefinition"]
    assert built["externalParameters"]["recipe"] == record["recipe"]
    assert built["externalParameters"]["settings"] == {"t": "0.3"}
    assert built["internalParameters"]["operator slerp"] == "1"
    files = {each["name"]: each["digest"] for each in built["resolvedDependencies"]}
    assert files["a/model.safetensors"] == {"blake3_1mib": digest(folder / "a/model.safetensors")}
    assert set(files) == {f"{x}/{y}" for x in "ab"
                          for y in ("config.json", "model.safetensors")}  # fmt: skip
    assert set(found["predicate"]["runDetails"]["builder"]) == {"id", "version"}


CARDS = {
    "license: mit": ("license: mit",),
    "tags:\n- x\nlicense:  'mit'  \nlanguage: en": ("license: mit",),
    "license: other\nlicense_name: mine\nlicense_link: LICENSE": (
        "license: other", "license_name: mine", "license_link: LICENSE"
    ),
    "license:\n- b\n- a": ("license: [a, b]",),
    "language: en": (),
    "x:\n  license: mit": (),
}  # fmt: skip


@pytest.mark.parametrize(("front", "licence"), CARDS.items())
def test_a_licence_is_read_from_the_top_of_a_card(tmp_path, front, licence):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\nlicense: gpl\n")
    assert licence_of(tmp_path) == licence


@pytest.mark.parametrize("text", ["", "license: mit\n", "---\nlicense: mit\n"])
def test_a_card_without_metadata_states_no_licence(tmp_path, text):
    assert licence_of(tmp_path) == ()
    (tmp_path / "README.md").write_text(text)
    assert licence_of(tmp_path) == ()


def test_the_card_states_the_licence_that_all_sources_state(folder, capfd):
    def card(a: str | None, b: str | None) -> tuple[dict, str]:
        for name, licence in (("a", a), ("b", b)):
            (folder / name / "README.md").write_text(
                f"---\nlicense: {licence}\n---\n" if licence else "no metadata"
            )
        assert main(["run", str(folder / "mix.merge")]) == 0
        text = (folder / "out" / "mixed" / "README.md").read_text()
        return yaml.safe_load(text.split("---\n")[1]), capfd.readouterr().err

    facts, err = card("mit", "mit")
    assert facts["license"] == "mit" and "W2131" not in err
    for a, b in (("mit", None), (None, "mit"), (None, None)):
        facts, err = card(a, b)
        assert "license" not in facts and "W2131" not in err
    facts, err = card("mit", "apache-2.0")
    assert "license" not in facts
    assert err.startswith(
        "warning[W2131]: the sources of `out/mixed` state different licences: "
        "a has mit, b has apache-2.0\n"
    )
    assert "help: read them: the result has to keep to all of them\n" in err


def test_a_merge_of_merges_keeps_the_records_of_those(folder):
    first = run(folder)
    (folder / "again.merge").write_text(
        'model m = "out/mixed"\nmodel a = "a"\noutput "out/twice" = mean(m, a)\n'
        'output "out/file" = mean(m, a)\n'
    )
    mergelang.load(folder / "again.merge").run(["out/twice"])
    found, below = read_record(folder / "out" / "twice"), read_record(first)
    parent = found["parents"][0]
    assert parent["root"] == below["root"]
    assert found["ancestors"][below["root"]]["recipe"] == below["recipe"]
    assert found["ancestors"][below["root"]]["parents"] == below["parents"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: "no JSON",
        lambda found: [found],
        lambda found: {**found, "parents": [1]},
        lambda found: {**found, "parents": [{"source": "a", "files": {"x": 1}}]},
        lambda found: {**found, "ancestors": {"x": None}},
        lambda found: {**found, "tensors": {"x": 1}},
        lambda found: {k: v for k, v in found.items() if k != "root"},
    ],
)
def test_a_damaged_record_is_none(folder, damage):
    out = run(folder)
    found = damage(json.loads((out / RECORD).read_text()))
    (out / RECORD).write_text(found if isinstance(found, str) else json.dumps(found))
    assert read_record(out) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction("0.3"), "0.3"), (Fraction(3), "3"), (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 3), "1/3"), (Fraction("1e-20"), "0." + "0" * 19 + "1"), (True, "true"),
        (Fraction(100), "100"), (Fraction("0.1234567890123456789"), "0.1234567890123456789"),
        ("text", "text"),
    ],
)  # fmt: skip
def test_a_setting_is_kept_to_the_last_digit(value, text):
    assert exact_text(value) == text


def test_an_output_has_the_same_bytes_alone_and_beside_others(folder):
    more = 'let other = 0.5 * mixed + 0.5 * a\noutput "out/other" = other\noutput "out/a" = a\n'
    (folder / "mix.merge").write_text(RECIPE + more)
    recipe = mergelang.load(folder / "mix.merge")
    recipe.run()
    together = {each.name: files_of(each) for each in (folder / "out").iterdir()}
    assert set(together) == {"mixed", "other", "a"}
    for name in together:
        assert "out/" + name in together[name]["README.md"].decode().partition("```mermaid")[2]
        shutil.rmtree(folder / "out")
        recipe.run([f"out/{name}"])
        assert files_of(folder / "out" / name) == together[name]
    recipe.run()
    assert {each.name: files_of(each) for each in (folder / "out").iterdir()} == together
    assert len(recipe.up_to_date()) == 3
