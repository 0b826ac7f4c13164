"""Models on the Hub: names, headers first, weights by a run, revisions and the lock."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from mergelang.api import write_lock
from mergelang.cli.app import main
from mergelang.errors import RecipeError
from mergelang.models.hub import Hub
from mergelang.models.reference import HubName, parse_reference
from mergelang.plan.fetches import fetches
from mergelang.run import events
from mergelang.wording import render
from tests.checkpoints import write_adapter, write_model, write_speakers
from tests.hub import WEIGHTS, recipe


def test_a_name_says_repository_revision_and_folder(tmp_path):
    said = {
        "hf:org/name": HubName("org/name"),
        "hf:org/name@v1.0": HubName("org/name", "v1.0"),
        "hf:org/name/sub/folder": HubName("org/name", "", "sub/folder"),
        "hf:org/name@main/sub": HubName("org/name", "main", "sub"),
        "hf:org/name@refs/pr/3/sub": HubName("org/name", "refs/pr/3", "sub"),
        "hf:org/name@feature%2Fone": HubName("org/name", "feature/one"),
    }
    for text, name in said.items():
        assert parse_reference(text, tmp_path).hub == name
    for text in ("hf:name", "hf:org/n@", "hf:org/n/../x", "hf:org/n//x", "hf:org/n@..%2Fx"):
        with pytest.raises(Exception, match="E0602"):
            parse_reference(text, tmp_path)


def test_check_and_plan_fetch_no_weights(hub, tmp_path):
    write_model(tmp_path / "local", seed=2)
    plan = recipe(tmp_path, "hf:org/name", "local").plan()
    size = (tmp_path / "model" / WEIGHTS).stat().st_size
    commit = hub.repo("org/name").refs["main"]
    assert f"fetches {size / 1e3:.1f} kB first: 1 file of hf:org/name, commit {commit[:12]}" in str(
        plan
    )
    assert all(ranged for ranged in hub.asked_for(f"/cdn/org/name/{commit}/{WEIGHTS}"))
    assert not hub.asked_for("picture.png") and hub.asked_for("tokenizer.json")
    assert len(hub.asked_for("/api/models/")) == 1


def test_the_card_of_a_merge_has_the_licence_that_its_sources_on_the_hub_state(hub, tmp_path):
    files = {each.name: each.read_bytes() for each in (tmp_path / "model").iterdir()}
    within = {f"part/{name}": data for name, data in files.items()}
    for name, licence, held in (("a", "mit", files), ("b", "mit", within), ("c", "gpl-3.0", files)):
        hub.repo(f"org/{name}").commit(
            {**held, "README.md": f"---\nlicense: {licence}\n---\n".encode()}
        )

    def stated(*sources: str) -> str | None:
        made = recipe(tmp_path, *sources)
        warned = [each.code for each in made.run(fresh=True).graph.program.warnings]
        front = (tmp_path / "out" / "README.md").read_text().split("---")[1]
        found = re.search("^license: (.*)$", front, re.MULTILINE)
        assert warned == ([] if found else ["W2131"])
        return found and found[1]

    assert stated("hf:org/a", "hf:org/b/part") == "mit"
    assert stated("hf:org/a", "hf:org/c") is None


def test_a_file_that_would_lie_elsewhere_is_passed_over(hub, tmp_path):
    files = {each.name: each.read_bytes() for each in (tmp_path / "model").iterdir()}
    hub.repo("org/odd").commit({**files, "../up.json": b"{}", "a/../../up.txt": b""})
    recipe(tmp_path, "hf:org/odd").run()
    assert not hub.asked_for("up.") and not list(tmp_path.rglob("up.*"))


def test_a_second_check_asks_only_whether_the_revision_has_moved(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name", "hf:org/name@main")
    written.check()
    hub.asked.clear()
    written.check()
    assert [path for _, path, _ in hub.asked] == [
        "/api/models/org/name", "/api/models/org/name/revision/main",
    ]  # fmt: skip


def test_a_run_fetches_the_weights_and_tells_how_far_it_is(hub, tmp_path):
    write_model(tmp_path / "local", seed=2)
    heard = []
    recipe(tmp_path, "hf:org/name", "local").run(listener=heard.append)
    expected = tmp_path / "out" / WEIGHTS
    merged = expected.read_bytes()
    size = (tmp_path / "model" / WEIGHTS).stat().st_size
    assert heard[0] == events.FetchStarted(1, size)
    assert heard[1].bytes_fetched == size and isinstance(heard[2], events.FetchDone)
    hub.asked.clear()
    recipe(tmp_path, "hf:org/name", "local").run()
    assert expected.read_bytes() == merged
    assert not hub.asked_for(WEIGHTS)
    recipe(tmp_path, "model", "local", expr="mean(m0, m1)").run()
    assert load_tensors(expected) == load_tensors_of(merged, tmp_path)


def load_tensors(path):
    from safetensors.torch import load_file

    return {name: each.tolist() for name, each in load_file(path).items()}


def load_tensors_of(data, folder):
    (folder / "copy.safetensors").write_bytes(data)
    return load_tensors(folder / "copy.safetensors")


def test_only_files_with_tensors_that_are_used_are_fetched(hub, tmp_path):
    hub.repo("org/other").commit(write_model(tmp_path / "other", seed=3))
    plan = recipe(
        tmp_path, "hf:org/name", "hf:org/other", expr="match { @attn => m0, _ => m0 }"
    ).plan()
    assert "hf:org/other" not in str(plan).partition("in all")[2]


def test_a_moved_revision_is_followed_and_a_pinned_one_is_not(hub, tmp_path):
    first = hub.repo("org/name").refs["main"]
    written = recipe(tmp_path, "hf:org/name", "hf:org/name@main")
    assert {each.origin.commit for each in written.check().checkpoints.values()} == {first}
    second = hub.repo("org/name").commit(write_model(tmp_path / "newer", seed=9))
    assert {each.origin.commit for each in written.check().checkpoints.values()} == {second}
    pinned = replace(written, pins={"org/name": first})
    found = {ref.text: each.origin.commit for ref, each in pinned.check().checkpoints.items()}
    assert found == {"hf:org/name": first, "hf:org/name@main": second}


def test_an_output_is_up_to_date_until_its_revision_moves(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name")
    written.run()
    assert written.up_to_date() == ()
    (tmp_path / "out" / "stray").write_text("of others, where nothing is written")
    assert all(output.current for output in written.plan().outputs)
    (tmp_path / "out" / "stray").unlink()
    hub.repo("org/name").commit(write_model(tmp_path / "newer", seed=9))
    (tmp_path / "x.merge.lock").unlink()
    plan = written.plan()
    assert not any(output.current for output in plan.outputs)
    assert "fetches" in str(plan)
    written.run()
    newer = (tmp_path / "newer" / WEIGHTS).read_bytes()[-100:]
    assert (tmp_path / "out" / WEIGHTS).read_bytes()[-100:] == newer


def test_a_folder_of_a_repository_is_a_model_and_an_adapter_may_lie_there(hub, tmp_path):
    write_model(tmp_path / "repo" / "sub", seed=4)
    write_adapter(tmp_path / "repo" / "adapters" / "a", seed=5)
    hub.repo("org/many").commit(tmp_path / "repo")
    expr = 'm0 + lora("hf:org/many/adapters/a")'
    recipe(tmp_path, "hf:org/many@main/sub", expr=expr).run()
    there = load_tensors(tmp_path / "out" / WEIGHTS)
    recipe(tmp_path, "repo/sub", expr='m0 + lora("repo/adapters/a")').run()
    assert load_tensors(tmp_path / "out" / WEIGHTS) == there


def test_what_the_lock_needs_is_said_of_each_source(hub, tmp_path):
    (opened,) = recipe(tmp_path, "hf:org/name").check().checkpoints.values()
    assert opened.origin.commit == hub.repo("org/name").refs["main"]
    assert opened.origin.files[WEIGHTS].digest.startswith("sha256:")
    assert opened.origin.files["config.json"].digest.startswith("sha1:")
    size = (tmp_path / "model" / WEIGHTS).stat().st_size
    assert opened.origin.files[WEIGHTS].size == size


# From the command line, as huggingface_hub's own settings have it


def test_the_command_line_takes_the_settings_of_the_hub_s_own_tools(hub, tmp_path):
    recipe(tmp_path, "hf:org/name", "model")
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cli"),
        "HF_HUB_OFFLINE": "0",
    }  # fmt: skip

    def call(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", "mergelang", *words], cwd=tmp_path, text=True,
            capture_output=True, env=environment | more,
        )  # fmt: skip

    done = call("run", "x.merge")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("fetched ") and "out: " in done.stderr
    offline = call("plan", "x.merge", HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "empty"))
    assert offline.returncode == 1 and "E2220" in offline.stderr


def test_recipes_without_the_hub_never_load_its_library():
    script = (
        "import sys; from mergelang.api import load\n"
        "try:\n    load('model a = \"x\"\\noutput \"o\" = a\\n').check()\n"
        "except Exception: pass\n"
        "print('huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"


# The lock


def test_a_lock_keeps_a_revision_where_it_was_until_it_is_updated(hub, tmp_path):
    first = hub.repo("org/name").refs["main"]
    written = recipe(tmp_path, "hf:org/name", "model")
    written.run()
    lock = (tmp_path / "x.merge.lock").read_text()
    assert f"source hf:org/name = {first}\n" in lock and "sha256:" in lock
    merged = (tmp_path / "out" / WEIGHTS).read_bytes()
    second = hub.repo("org/name").commit(write_model(tmp_path / "newer", seed=9))
    written.run(fresh=True)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == merged
    assert (tmp_path / "x.merge.lock").read_text() == lock
    write_lock(written, ["m0"])
    assert f"source hf:org/name = {second}\n" in (tmp_path / "x.merge.lock").read_text()
    written.run(frozen=True)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() != merged


def test_a_commit_of_the_lock_that_is_gone_is_told_and_updated(hub, tmp_path, monkeypatch):
    recipe(tmp_path, "hf:org/name").run()
    repository = hub.repo("org/name")
    gone = repository.refs["main"]
    there = repository.commit(write_model(tmp_path / "newer", seed=9))
    del repository.commits[gone]
    elsewhere = tmp_path / "elsewhere"  # another machine, which has the lock
    monkeypatch.setenv("MERGELANG_CACHE", str(elsewhere))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(elsewhere / "hub"))
    written = recipe(tmp_path, "hf:org/name")
    with pytest.raises(RecipeError) as told:
        written.plan()
    assert render(told.value.diagnostics[0]).splitlines()[0::5] == [
        f"error[E2223]: `org/name` on the Hub has no revision `{gone}`",
        "help: if a lock keeps it, `mergelang lock RECIPE --update hf:org/name` takes what is "
        "there now",
    ]
    write_lock(written, ["m0"])
    assert f"source hf:org/name = {there}\n" in (tmp_path / "x.merge.lock").read_text()


def test_sources_on_the_hub_are_verified_at_the_commit_of_the_record(hub, tmp_path, capfd):
    first = hub.repo("org/name").refs["main"]
    recipe(tmp_path, "hf:org/name", "model").run()
    hub.repo("org/name").commit(write_model(tmp_path / "newer", seed=9))
    words = ["verify", str(tmp_path / "out"), "--parents", "--rebuild", "all"]
    assert main(words) == 0
    weights = Hub({"org/name": first}).snapshot(HubName("org/name"), "x").folder / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.resolve().write_bytes(data)
    capfd.readouterr()
    assert main(words) == 1
    assert "error[E2122]: model.safetensors of the source `hf:org/name` is not what was merged" in (
        capfd.readouterr().err
    )


def test_an_adapter_with_tokens_of_its_own_is_planned_before_it_is_fetched(hub, tmp_path):
    """Its tokenizer is a small file, its tables are seen in the header."""
    write_speakers(tmp_path)
    hub.repo("org/grown").commit(tmp_path / "grown")
    made = recipe(
        tmp_path, "base",
        expr='m0 + lora("hf:org/grown", base: m0) { tokenizer: from(lora("hf:org/grown")) }',
    )  # fmt: skip
    plan = made.plan()
    weights = tmp_path / "grown" / "adapter_model.safetensors"
    assert [each.nbytes for each in fetches(plan)] == [weights.stat().st_size]
    assert all(ranged for ranged in hub.asked_for("adapter_model.safetensors"))
    made.run()
    saved = load_tensors(weights)["base_model.model.lm_head.weight"]
    assert load_tensors(tmp_path / "out" / WEIGHTS)["lm_head.weight"] == saved
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (
        tmp_path / "grown" / "tokenizer.json"
    ).read_bytes()
