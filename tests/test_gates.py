"""Gates that a model makes: in the plan, the cache, the lock and the record; and processes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

import mergelang
from mergelang.cli.app import main
from mergelang.errors import RecipeError
from mergelang.plan.arithmetic import arithmetic
from mergelang.plan.fetches import fetches
from mergelang.run.events import Preparing
from mergelang.store.blobs import Blobs
from tests.parity.prompts import write_tokenizer
from tests.zoo import KINDS, make

RECIPE = """\
model base = "base"
model a = "a"
model b = "b"
let pair = moe(
  a { prompts: ["add number", "how many"] }, b { prompts: ["tell"] }, base: base, gate: hidden,
)
output "named" = pair
output "out" = moe(
  b { prompts: ["add number"] }, a { prompts: ["once upon a time"] }, gate: cheap_embed,
)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "a", "b")):
        write_tokenizer(make(KINDS["llama"], seed, folder / name))
    return folder


@pytest.fixture
def folder(models, tmp_path, monkeypatch) -> Path:
    for name in ("base", "a", "b"):
        (tmp_path / name).symlink_to(models / name)
    (tmp_path / "x.merge").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def kept(folder: Path) -> set[str]:
    """The digests of the gates in the store."""
    return {f"blake3:{each.digest}" for each in Blobs().entries() if each.what == "gates"}


def said(lines, word="gates") -> dict[str, str]:
    """The facts of a lock that begin with a word, by the rest of their name."""
    facts = (line.split(" = ") for line in lines if line.startswith(word))
    return {name.removeprefix(word).strip(): value for name, value in facts}


def lock(folder: Path) -> list[str]:
    return (folder / "x.merge.lock").read_text().splitlines()


def test_the_plan_shows_what_is_made_first_and_what_an_earlier_run_has_left(folder, capfd):
    assert main(["plan", "x.merge", "named"]) == 0
    out = capfd.readouterr().out
    assert "prepares gates from 3 prompts (hidden): made first, then kept\n" in out
    mergelang.load("x.merge").run(["named"])
    shutil.rmtree("named")
    assert main(["plan", "x.merge"]) == 0
    out = capfd.readouterr().out
    assert "prepares gates from 3 prompts (hidden): in the cache\n" in out
    assert "prepares gates from 2 prompts (cheap_embed): made first, then kept\n" in out
    assert main(["plan", "x.merge", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["prepares"] == [
        {"what": "gates from 3 prompts (hidden)", "cached": True, "gates": 4},
        {"what": "gates from 2 prompts (cheap_embed)", "cached": False, "gates": 4},
    ]
    assert told["memory"] == (320 << 20) + mergelang.load("x.merge").plan().preparations[1].holds


def test_lock_and_record_say_what_the_gates_are_and_which_arithmetic_made_them(folder):
    mergelang.load("x.merge").run()
    found = said(lock(folder))
    assert set(found) == {"pair", "out"} and set(found.values()) == kept(folder)
    assert said(lock(folder), "arith") == {"": arithmetic()}
    for output, name in (("named", "pair"), ("out", "out")):
        record = json.loads((folder / output / "mergelang.json").read_text())
        assert said(record["lock"]) == {name: found[name]}
    # The same facts give the same bytes, whatever is in the cache.
    records = set()
    for clear in (False, True):
        shutil.rmtree("named")
        if clear:
            shutil.rmtree("cache")
        mergelang.load("x.merge").run(["named"])
        records.add((folder / "named" / "mergelang.json").read_bytes())
        assert said(lock(folder)) == found
    assert len(records) == 1


def test_a_lock_keeps_the_digest_of_gates_until_the_recipe_asks_for_others(folder, capfd):
    assert main(["lock", "x.merge"]) == 0
    assert not said(lock(folder))
    mergelang.load("x.merge").run(frozen=True)  # which binds to what the lock says, and says less
    mergelang.load("x.merge").run()
    found = said(lock(folder))
    shutil.rmtree("cache")
    assert main(["lock", "x.merge"]) == 0
    assert said(lock(folder)) == found
    (folder / "x.merge").write_text(RECIPE.replace("tell", "once"))
    assert main(["lock", "x.merge"]) == 0
    assert not said(lock(folder))


def test_a_frozen_run_refuses_other_gates_than_the_lock_says(folder):
    mergelang.load("x.merge").run()
    (folder / "x.merge.lock").write_text(
        "\n".join(lock(folder)).replace(said(lock(folder))["pair"], "blake3:" + 64 * "0") + "\n"
    )
    shutil.rmtree("named")
    with pytest.raises(RecipeError, match=r"E2133.*gates pair") as error:
        mergelang.load("x.merge").run(["named"], frozen=True)
    assert "mergelang lock" in str(error.value) and not (folder / "named").exists()
    mergelang.load("x.merge").run(["named"])
    assert set(said(lock(folder)).values()) == kept(folder)


def test_gates_are_kept_with_the_output_and_made_again_to_verify_it(folder, capfd):
    mergelang.load("x.merge").run(["named"])
    shutil.rmtree("cache/values")
    assert main(["verify", "named", "--rebuild", "all"]) == 0
    assert len(kept(folder)) == 1
    (folder / "x.merge").write_text(RECIPE + "# a word\n")
    (output,) = mergelang.load("x.merge").plan(["named"]).outputs
    assert {task.action for task in output.tasks} == {"keep"}


def test_processes_begin_whatever_threads_torch_has_started(folder):
    """A library's threads are not there in a forked process, and waiting for them never ends."""
    made = []
    for threads in (1, 2):
        if threads > 1:
            before = torch.get_num_threads()
            torch.set_num_threads(2)
            torch.randn(600, 600) @ torch.randn(600, 600)
            torch.linalg.svd(torch.randn(300, 300))
        text = RECIPE.replace("base: base", "base: tsv(a, b, base: base)")
        (folder / "x.merge").write_text(text)
        shutil.rmtree("cache", ignore_errors=True)
        mergelang.load("x.merge").run(["named"], threads=threads, processes=threads > 1)
        made.append((folder / "named" / "model.safetensors").read_bytes())
        shutil.rmtree("named")
    torch.set_num_threads(before)
    assert made[0] == made[1]


def test_a_base_on_the_hub_is_fetched_as_far_as_gates_need_it(hub, models, tmp_path, monkeypatch):
    """The output takes no feed-forward layer from the base, but the gates depend on them."""
    parts = {"one.safetensors": {}, "two.safetensors": {}, "head.safetensors": {}}
    for name, tensor in load_file(models / "base" / "model.safetensors").items():
        where = "two" if ".mlp." in name else "head" if name.startswith("lm_head") else "one"
        parts[f"{where}.safetensors"][name] = tensor
    files = {each.name: each.read_bytes() for each in (models / "base").glob("*.json")}
    files |= {name: save(tensors, {"format": "pt"}) for name, tensors in parts.items()}
    index = {"weight_map": {name: file for file, each in parts.items() for name in each}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    hub.repo("org/base").commit(files)
    for name in "ab":
        (tmp_path / name).symlink_to(models / name)
    monkeypatch.chdir(tmp_path)
    text = RECIPE.partition("output \"out\"")[0].replace('"base"', '"hf:org/base"')
    (tmp_path / "x.merge").write_text(text)
    fetched = {each.name for each in fetches(mergelang.load("x.merge").plan())}
    assert fetched == {*parts}
    heard = []
    for _ in range(2):
        mergelang.load("x.merge").run(fresh=True, listener=heard.append)
    assert [type(each) for each in heard].count(Preparing) == 1
    assert len(said(lock(tmp_path))) == 1
    (tmp_path / "x.merge").write_text(text.replace("hf:org/base", str(models / "base")))
    named = load_file("named/model.safetensors")
    mergelang.load("x.merge").run()
    again = load_file("named/model.safetensors")
    assert all(torch.equal(named[name], tensor) for name, tensor in again.items())
