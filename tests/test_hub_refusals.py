"""Models on the Hub that cannot be had: what is said, and what goes on without a connection."""

import pytest
from huggingface_hub import constants, snapshot_download

from mergelang.api import run
from mergelang.errors import RecipeError, RunError
from mergelang.models.hub import Hub
from mergelang.models.reference import HubName
from tests.checkpoints import write_adapter
from tests.hub import WEIGHTS, codes, recipe

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
        f"help: name that commit, `hf:org/name@{commit}`, and nobody has to be asked"
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
        run(plan)
    assert codes(error) == ["E2220"] and not (tmp_path / "out").exists()


def test_a_model_that_the_hub_s_own_tools_fetched_is_found_offline(hub, tmp_path, monkeypatch):
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
