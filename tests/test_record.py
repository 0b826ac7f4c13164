"""What an output says about itself: in `mergelang.json`, and in the header of each weight file."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from safetensors import safe_open

import mergelang
from mergelang.models.record import RECORD, read_record
from mergelang.plan.origin import exact_text
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
    assert [each["source"] for each in found["parents"]] == ["a", "../b"]
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
    plain = RECIPE.replace("# why this is so\n", "").replace("let mixed", "\n\nlet  mixed")
    (elsewhere / "mix.merge").write_text(plain)
    again = files_of(run(elsewhere, into=elsewhere / "out" / "mixed"))
    del first["README.md"], again["README.md"]  # which keeps the comments
    for each in (first, again):
        del each[RECORD]  # which has the digest of the card
    assert again == first
    assert not any(str(folder).encode() in data for data in first.values())


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
