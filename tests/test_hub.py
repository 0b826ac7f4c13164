"""Models on the Hub: headers first, weights by a run, and what is said where one cannot be had."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import constants

from mergelang.api import load
from mergelang.errors import RecipeError, RunError
from mergelang.models import download
from mergelang.models.hub import Hub
from mergelang.models.reference import HubName, parse_reference
from mergelang.run import events
from tests.checkpoints import write_adapter, write_model
from tests.hub import serving


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with one model in two versions; its cache and ours are empty."""
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        form = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", form)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(download, "PAUSE", 0)
        monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "kept"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        model = write_model(tmp_path / "model", seed=1)
        (model / "tokenizer.json").write_text("{}")
        (model / "picture.png").write_bytes(b"\x89PNG")
        hub.repo("org/name").commit(model)
        yield hub


def recipe(folder, *sources, expr=None):
    models = [f'model m{i} = "{source}"' for i, source in enumerate(sources)]
    expr = expr or f"mean({', '.join(f'm{i}' for i in range(len(sources)))})"
    (folder / "x.merge").write_text("\n".join([*models, f'output "out" = {expr}', ""]))
    return load(folder / "x.merge")


def codes(error):
    return [each.code for each in error.value.diagnostics]


WEIGHTS = "model.safetensors"


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
    from dataclasses import replace

    pinned = replace(written, pins={"org/name": first})
    found = {ref.text: each.origin.commit for ref, each in pinned.check().checkpoints.items()}
    assert found == {"hf:org/name": first, "hf:org/name@main": second}


def test_an_output_is_up_to_date_until_its_revision_moves(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name")
    written.run()
    assert written.up_to_date() == ()
    assert all(output.current for output in written.plan().outputs)
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


# What cannot be had


SAID = {
    "hf:org/none": """\
error[E2222]: there is no model `org/none` on the Hub, or it is private
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/none"
  |            ^^^^^^^^^^^^^ not found
help: is the name right? If it is private, log in: `hf auth login`""",
    "hf:org/name@v9": """\
error[E2223]: `org/name` on the Hub has no revision `v9`
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/name@v9"
  |            ^^^^^^^^^^^^^^^^ no such revision
help: a revision is a branch, a tag or a commit (all 40 digits) of the repository""",
    "hf:org/name/sub": """\
error[E2224]: `org/name` on the Hub has no folder `sub` with files in it
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/name/sub"
  |            ^^^^^^^^^^^^^^^^^ no such folder
help: its folders: none""",
    "hf:org/gated": """\
error[E2221]: `hf:org/gated` is gated: its owner lets in those who have accepted its terms
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/gated"
  |            ^^^^^^^^^^^^^^ gated
help: accept them at ENDPOINT/org/gated, then log in on this machine: `hf auth login`""",
    "hf:org/pickled": """\
error[E0606]: `hf:org/pickled` holds pytorch_model.bin, and no safetensors weights
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/pickled"
  |            ^^^^^^^^^^^^^^^^ not safetensors
help: convert it once: `hf download org/pickled --revision COMMIT --local-dir pickled && \
mergelang convert pickled -o pickled-safetensors --allow-pickle`""",
    "hf:org/empty": """\
error[E0607]: the folder `hf:org/empty` holds no weights
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/empty"
  |            ^^^^^^^^^^^^^^ no .safetensors file in it
help: a model is a folder with model.safetensors, or with shards and their index""",
    "hf:org/adapter": """\
error[E0609]: `hf:org/adapter` is an adapter, not a model
 --> x.merge:1:12
  |
1 | model m0 = "hf:org/adapter"
  |            ^^^^^^^^^^^^^^^^ holds an adapter_config.json
help: add it to its base: `base + lora("hf:org/adapter")`""",
    "hf:org": """\
error[E0602]: `hf:org` is not the name of a model on the Hub
 --> x.merge:1:12
  |
1 | model m0 = "hf:org"
  |            ^^^^^^^^ not org/name
help: write `hf:org/name`, `hf:org/name@revision` or `hf:org/name@revision/folder`""",
}


@pytest.mark.parametrize("source", SAID)
def test_what_is_wrong_with_a_source_is_an_error_of_the_check(hub, tmp_path, source):
    hub.repo("org/gated").commit(tmp_path / "model")
    hub.repo("org/gated").gated = True
    commit = hub.repo("org/pickled").commit({"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.repo("org/empty").commit({"config.json": b"{}"})
    hub.repo("org/adapter").commit(write_adapter(tmp_path / "adapter"))
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, source).check()
    said = str(error.value).replace(str(tmp_path / "x.merge"), "x.merge")
    said = said.replace(hub.endpoint, "ENDPOINT").replace(commit, "COMMIT")
    assert said == SAID[source]


def test_who_has_accepted_the_terms_gets_a_gated_model(hub, tmp_path, monkeypatch):
    hub.repo("org/gated").commit(tmp_path / "model")
    hub.repo("org/gated").gated = True
    monkeypatch.setenv("HF_TOKEN", "let-in")
    recipe(tmp_path, "hf:org/gated").run()
    assert (tmp_path / "out" / WEIGHTS).is_file()


def test_a_hub_that_cannot_be_reached_is_a_warning_of_check_and_an_error_of_plan(hub, tmp_path):
    hub.down = True
    written = recipe(tmp_path, "hf:org/name@v1", "model")
    (warning,) = written.check().warnings
    assert str(warning).replace(str(tmp_path / "x.merge"), "x.merge") == (
        "warning[W2220]: the Hub cannot be reached for `hf:org/name@v1`, so its tensors are not "
        "checked: it answers 503\n"
        " --> x.merge:1:12\n"
        "  |\n"
        '1 | model m0 = "hf:org/name@v1"\n'
        "  |            ^^^^^^^^^^^^^^^^ cannot be reached\n"
        "help: `plan` and `run` need it; where there is a connection: "
        "`hf download org/name --revision v1`"
    )
    for act in (written.plan, written.run):
        with pytest.raises(RecipeError) as error:
            act()
        assert codes(error) == ["E2220"]
    hub.asked.clear()
    assert written.check(sources=False).warnings == ()
    assert not hub.asked


def test_what_is_here_is_used_without_the_hub_and_it_is_said(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name", "model")
    written.run()
    (tmp_path / "x.merge.lock").unlink()
    hub.down = True
    commit = hub.repo("org/name").refs["main"]
    plan = written.plan()
    (warning,) = plan.graph.program.warnings
    assert str(warning).replace(str(tmp_path / "x.merge"), "x.merge") == (
        "warning[W2221]: the Hub could not be asked whether `hf:org/name` has moved: it answers "
        "503\n"
        " --> x.merge:1:12\n"
        "  |\n"
        '1 | model m0 = "hf:org/name"\n'
        f"  |            ^^^^^^^^^^^^^ taken from this machine, commit {commit[:12]}\n"
        f"help: name a commit, `hf:org/name@{commit[:12]}...`, and nobody has to be asked"
    )
    pinned = recipe(tmp_path, f"hf:org/name@{commit}", "model")
    assert pinned.plan().graph.program.warnings == ()


def test_offline_mode_says_what_is_missing_and_the_command_that_fetches_it(
    hub, tmp_path, monkeypatch
):
    written = recipe(tmp_path, "hf:org/name", "model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError) as error:
        written.plan()
    assert codes(error) == ["E2220"] and not hub.asked
    assert str(error.value).replace(str(tmp_path / "x.merge"), "x.merge") == (
        "error[E2220]: the Hub cannot be reached for `hf:org/name`: offline mode is on "
        "(HF_HUB_OFFLINE)\n"
        " --> x.merge:1:12\n"
        "  |\n"
        '1 | model m0 = "hf:org/name"\n'
        "  |            ^^^^^^^^^^^^^ cannot be reached\n"
        "help: fetch it where there is a connection: `hf download org/name`"
    )
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, "hf:org/name@v1/f").plan()
    assert '`hf download org/name --revision v1 --include "f/*"`' in str(error.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    plan = written.plan()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RunError) as error:
        from mergelang.api import run

        run(plan)
    assert codes(error) == ["E2220"] and not (tmp_path / "out").exists()


def test_a_model_that_the_hub_s_own_tools_fetched_is_found_offline(hub, tmp_path, monkeypatch):
    from huggingface_hub import snapshot_download

    snapshot_download("org/name", endpoint=hub.endpoint, cache_dir=constants.HF_HUB_CACHE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    recipe(tmp_path, "hf:org/name", "model").run()
    folder = Hub().snapshot(HubName("org/name"), "x").folder
    weights = (folder / WEIGHTS).resolve()
    assert weights.read_bytes() == (tmp_path / "model" / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, "hf:org/name", "model").plan()
    assert codes(error) == ["E2220"] and "its weights are not on this machine" in str(error.value)


# Transfers that break


def test_a_broken_transfer_is_taken_up_where_it_stopped(hub, tmp_path):
    hub.broken[WEIGHTS] = [1000, 2000, 1]
    heard = []
    recipe(tmp_path, "hf:org/name").run(listener=heard.append)
    ranges = [each for each in hub.asked_for("/cdn/") if not each.startswith("bytes=0-")]
    assert ranges == ["", "bytes=1000-", "bytes=3000-", "bytes=3001-"]


def test_a_transfer_that_fails_for_good_is_taken_up_by_the_next_run(hub, tmp_path):
    hub.broken[WEIGHTS] = [5000] + [0] * 5
    with pytest.raises(RunError) as error:
        recipe(tmp_path, "hf:org/name").run()
    assert not (tmp_path / "out").exists()
    assert str(error.value) == (
        "error[E2225]: cannot fetch model.safetensors of `hf:org/name`: peer closed connection "
        "without sending complete message body (received 0 bytes, expected "
        f"{(tmp_path / 'model' / WEIGHTS).stat().st_size - 5000})\n"
        "help: run again: it goes on where it stopped"
    )
    hub.asked.clear()
    recipe(tmp_path, "hf:org/name").run()
    assert [each for each in hub.asked_for("/cdn/") if each] == ["bytes=5000-"]


def test_a_file_that_arrives_broken_is_not_believed(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name")
    plan = written.plan()
    hub.spoilt.add(WEIGHTS)
    from mergelang.api import run

    with pytest.raises(RunError) as error:
        run(plan)
    assert str(error.value) == (
        "error[E2226]: model.safetensors of `hf:org/name` has arrived broken: its sha256 is not "
        "what the Hub says\nhelp: run again: it is fetched anew"
    )
    hub.spoilt.clear()
    written.run()
    assert (tmp_path / "out" / WEIGHTS).is_file()


def test_a_run_that_is_cancelled_while_it_fetches_stops(hub, tmp_path):
    from mergelang.errors import Cancelled
    from mergelang.run.workers import Control

    control = Control()

    def listen(event):
        if isinstance(event, events.FetchStarted):
            control.cancel()

    with pytest.raises(Cancelled):
        recipe(tmp_path, "hf:org/name").run(listener=listen, control=control)


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
    from mergelang.api import write_lock

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


def test_sources_on_the_hub_are_verified_at_the_commit_of_the_record(hub, tmp_path, capfd):
    from mergelang.cli.app import main

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
