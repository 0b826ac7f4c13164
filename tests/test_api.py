"""The Python interface: load, check, plan, run."""

import json
from pathlib import Path

import pytest

import mergelang
from mergelang.errors import Cancelled, UsageError
from mergelang.run.events import OutputDone, RunDone, RunFailed, RunStarted, TensorDone
from mergelang.run.workers import Control
from tests.checkpoints import write_model

RECIPE = """\
param t = 0.25 { min: 0, max: 1 }
model a = "a"
model b = "b"
let mixed = a + t * (b - a)
output "out/mixed" = mixed
output "out/mean" = mean(a, b)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for seed, name in enumerate(("a", "b")):
        write_model(tmp_path / name, seed=seed, layers=2)
    (tmp_path / "mix.merge").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_everything_public_is_there():
    for name in mergelang.__all__:
        assert getattr(mergelang, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'merge'"):
        mergelang.merge  # noqa: B018


def test_a_recipe_is_a_file_or_a_text(folder, monkeypatch):
    by_path = mergelang.load(folder / "mix.merge")
    by_name = mergelang.load("mix.merge")
    by_text = mergelang.load(RECIPE)
    paths = [
        [output.path for output in each.check().outputs] for each in (by_path, by_name, by_text)
    ]
    assert paths == [[str(folder / "out/mixed"), str(folder / "out/mean")]] * 3
    # A text's paths start from where we stood when it was loaded.
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert [output.path for output in by_text.check().outputs] == paths[0]


def test_checking_gives_the_program_and_its_warnings(folder):
    program = mergelang.load(RECIPE).check()
    assert [output.text for output in program.outputs] == ["out/mixed", "out/mean"]
    assert list(program.terms) == ["a", "b", "mixed"] and program.warnings == ()
    unused = mergelang.load('model a = "a"\nmodel b = "b"\noutput "out" = a\n').check()
    assert [each.code for each in unused.warnings] == ["W0201"]


def test_a_wrong_recipe_raises_with_all_its_mistakes(folder):
    wrong = mergelang.load('model a = "a"\nlet x = lnear(a)\noutput "o" = y\n')
    for step in (wrong.check, wrong.graph, wrong.plan, wrong.run):
        with pytest.raises(mergelang.RecipeError) as raised:
            step()
        assert [each.code for each in raised.value.diagnostics] == ["E0301", "E0201"]
        assert raised.value.diagnostics[0].span.text == "lnear"
        assert str(raised.value).startswith(
            "error[E0301]: there is no operator `lnear`\n --> <text>:2:9\n"
        )
        assert isinstance(raised.value, mergelang.MergelangError)


def test_the_text_alone_can_be_checked():
    far = mergelang.load('model a = "not/there"\noutput "out" = a[..3]\n')
    assert len(far.check(sources=False).outputs) == 1
    with pytest.raises(mergelang.RecipeError):
        far.check()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda recipe: mergelang.load("nowhere.merge"), "E1001"),
        (lambda recipe: recipe.plan(["out/none"]), "E1005"),
        (lambda recipe: recipe.plan(into="one"), "E1004"),
    ],
)
def test_a_wrong_call_raises_with_a_code(folder, call, code):
    with pytest.raises(UsageError) as raised:
        call(mergelang.load(RECIPE))
    assert raised.value.code == code


def test_a_plan_prints_as_the_command_line_shows_it(folder, capsys):
    from mergelang.cli.app import main

    plan = mergelang.load("mix.merge").plan(["out/mean"])
    assert main(["plan", "mix.merge", "out/mean"]) == 0
    assert str(plan) + "\n" == capsys.readouterr().out
    assert str(plan).startswith("out/mean: 21 tensors, BF16, ")


def test_running_writes_the_outputs_and_gives_the_plan(folder):
    plan = mergelang.load("mix.merge").run()
    assert [output.path for output in plan.outputs] == [folder / "out/mixed", folder / "out/mean"]
    assert all(output.path.is_dir() for output in plan.outputs)
    recipe = (folder / "out/mean/README.md").read_text()
    assert "mean(a, b)" in recipe


def test_running_again_gives_the_same_bytes_in_place_of_the_old(folder):
    recipe = mergelang.load("mix.merge")
    recipe.run(["out/mixed"])
    first = weights(folder / "out/mixed")
    recipe.run(["out/mixed"], threads=1, memory=512 << 20, block=1 << 14, fresh=True)
    assert weights(folder / "out/mixed") == first
    recipe.run(["out/mixed"], into=folder / "there")
    assert weights(folder / "there") == first
    assert {path.name for path in folder.iterdir()} == {
        "a", "b", "mix.merge", "mix.merge.lock", "out", "there"
    }  # fmt: skip


def test_settings_are_numbers_or_text(folder):
    results = []
    for settings in (None, {"t": "0.25"}, {"t": 0.25}, {"t": 1}):
        mergelang.load("mix.merge", settings).run(["out/mixed"], into="set")
        results.append(weights(folder / "set"))
    assert results[0] == results[1] == results[2] != results[3]
    record = json.loads((folder / "set/mergelang.json").read_text())
    assert record["settings"] == {"t": "1"}


def test_a_listener_is_told_what_happens(folder):
    told = []
    plan = mergelang.load(RECIPE).run(["out/mean"], listener=told.append)
    assert isinstance(told[0], RunStarted) and isinstance(told[-1], RunDone)
    assert told[0].outputs == ("out/mean",) and told[0].tensors == 21
    tensors = [each.tensor for each in told if isinstance(each, TensorDone)]
    assert sorted(tensors) == sorted(task.name for task in plan.outputs[0].tasks)
    (done,) = (each for each in told if isinstance(each, OutputDone))
    assert done.nbytes == plan.bytes_written


def test_a_run_can_be_cancelled_and_run_again(folder):
    control = Control()
    told = []

    def listen(event):
        told.append(event)
        if isinstance(event, TensorDone):
            control.cancel()

    recipe = mergelang.load(RECIPE)
    with pytest.raises(Cancelled):
        recipe.run(["out/mean"], listener=listen, control=control)
    assert isinstance(told[-1], RunFailed) and told[-1].code == "E0906"
    assert [each.name for each in (folder / "out").iterdir()] == ["mean.partial"]
    recipe.run(["out/mean"])
    assert [each.name for each in (folder / "out").iterdir()] == ["mean"]


def test_a_listener_that_raises_ends_the_run(folder):
    def listen(event):
        if isinstance(event, TensorDone):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mergelang.load(RECIPE).run(["out/mean"], listener=listen)
    assert not (folder / "out/mean").exists()
