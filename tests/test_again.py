"""Running a recipe again: what is left alone, what is kept, what is made anew, and why."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import mergelang
from mergelang.cli.app import main
from mergelang.models.headers import read_header
from mergelang.ops import registry
from mergelang.ops.registry import operators
from mergelang.run import events
from mergelang.store import outputs
from tests.checkpoints import write_model

RECIPE = """\
model a = "a"
model b = "b"
model c = "c"
output "out" = match {{ @attn => slerp(a, b, t: {t}), @embed => {embed}, _ => linear(a, {other}) }}
"""
ATTENTION = {f"model.layers.{i}.self_attn.{x}_proj.weight" for i in range(2) for x in "qkvo"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    for seed, name in enumerate("abc"):
        write_model(tmp_path / name, seed=seed, layers=2)
    return tmp_path


def write(folder: Path, t="0.3", embed="a", other="b", head="") -> mergelang.Recipe:
    text = head + RECIPE.format(t=t, embed=embed, other=other)
    (folder / "x.merge").write_text(text)
    return mergelang.load(folder / "x.merge")


def run(recipe: mergelang.Recipe, **options) -> tuple[dict[str, str], list[events.Event]]:
    """Runs it, whatever its inputs are now; gives what was done for each tensor, and all events."""
    seen: list[events.Event] = []
    if recipe.lock is not None:
        recipe.lock.unlink(missing_ok=True)
    recipe.run(listener=seen.append, **options)
    done = {each.tensor: each.action for each in seen if isinstance(each, events.TensorDone)}
    return done, seen


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def values(path: Path) -> dict[str, bytes]:
    """The bytes of each tensor of a file."""
    return {
        name: path.read_bytes()[each.offset : each.offset + each.type.nbytes]
        for name, each in read_header(path, path.name).items()
    }  # fmt: skip


def same_as_fresh(folder: Path, recipe: mergelang.Recipe) -> bool:
    """Whether the output is what a run that keeps nothing writes."""
    kept = contents(folder / "out")
    recipe.run(fresh=True)
    return contents(folder / "out") == kept


# Up to date


def left(folder: Path) -> dict[str, tuple[int, ...]]:
    """What is written of a folder's files, to the nanosecond; to have been read is no change."""
    facts = {each.name: os.stat(each) for each in folder.iterdir()}
    return {
        name: (each.st_ino, each.st_mode, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
        for name, each in facts.items()
    }  # fmt: skip


def test_an_output_that_is_up_to_date_is_left_alone(folder):
    recipe = write(folder)
    assert recipe.up_to_date() == ()
    run(recipe)
    before = left(folder / "out")
    assert [each.text for each in recipe.up_to_date()] == ["out"]
    done, seen = run(recipe)
    assert done == {}
    assert seen[1:2] == [events.UpToDate("out", str(folder / "out"))]
    assert isinstance(seen[0], events.RunStarted) and isinstance(seen[-1], events.RunDone)
    assert left(folder / "out") == before


@pytest.mark.parametrize("link", ["b", "models"])
def test_a_link_that_leads_to_another_model_makes_the_output_again(link, folder):
    (folder / "there").mkdir()
    (folder / "b").rename(folder / "there" / "b")
    (folder / link).symlink_to("there/b" if link == "b" else "there")
    source = "b" if link == "b" else "models/b"
    (folder / "x.merge").write_text(
        f'model a = "a"\nmodel b = "{source}"\noutput "out" = mean(a, b)\n'
    )
    recipe = mergelang.load(folder / "x.merge")
    run(recipe)
    assert recipe.up_to_date()
    (folder / link).unlink()
    (folder / "elsewhere").mkdir()
    (folder / "c").rename(folder / "elsewhere" / "b")
    (folder / link).symlink_to("elsewhere/b" if link == "b" else "elsewhere")
    assert recipe.up_to_date() == ()
    with pytest.raises(mergelang.errors.RecipeError, match="E2130"):
        recipe.run()
    assert run(recipe)[0]
    assert same_as_fresh(folder, recipe)


def test_the_same_recipe_in_another_folder_is_of_other_models(folder):
    for each in "ab":
        (folder / f"in-{each}").mkdir()
        (folder / each).rename(folder / f"in-{each}" / "m")
        text = f'model m = "m"\noutput "{folder / "out"}" = m\n'
        (folder / f"in-{each}" / "x.merge").write_text(text)
    one, other = (mergelang.load(folder / f"in-{each}" / "x.merge") for each in "ab")
    run(one)
    assert one.up_to_date() and not other.up_to_date()
    run(other)
    assert other.up_to_date() and not one.up_to_date()
    assert same_as_fresh(folder, other)


def test_of_two_outputs_that_are_written_to_one_place_each_is_made(folder):
    (folder / "x.merge").write_text(
        'model a = "a"\nmodel b = "b"\noutput "one" = a\noutput "two" = b\n'
    )
    recipe, place = mergelang.load(folder / "x.merge"), folder / "here"
    for name, model in (("one", "a"), ("two", "b"), ("one", "a")):
        assert recipe.up_to_date([name], into=place) == ()
        recipe.run([name], into=place)
        assert recipe.up_to_date([name], into=place)
        weights = "model.safetensors"
        assert values(place / weights) == values(folder / model / weights)


@pytest.mark.parametrize(
    "words", [["run"], ["run", "--dry-run"], ["run", "--frozen"], ["plan"], ["check"]]
)
def test_a_file_of_others_is_in_the_way_of_what_is_written_alone(folder, words, capfd):
    """All commands say the same of it."""
    write(folder).run()
    (folder / "out" / "stray").write_text("mine")
    before = left(folder / "out")
    assert main([*words, str(folder / "x.merge")]) == 0
    assert "E0811" not in capfd.readouterr().err
    if words[0] == "run":
        assert main([*words, str(folder / "x.merge"), "--fresh"]) == 1
        assert "error[E0811]: `out` holds files that mergelang did not write: `stray`" in (
            capfd.readouterr().err
        )
    write(folder, t="0.4")
    assert main([*words, str(folder / "x.merge")]) == 1
    assert "error[E0811]" in capfd.readouterr().err
    assert left(folder / "out") == before


def test_a_file_of_others_is_no_matter_where_a_run_does_not_write(folder):
    write(folder).run()
    (folder / "out" / "stray").write_text("mine")
    recipe = write(folder, t="0.4")
    (folder / "x.merge").write_text(recipe.source.text + 'output "one" = a\n')
    both = mergelang.load(folder / "x.merge")
    assert [each.current for each in both.plan(["one"]).outputs] == [False]
    assert not recipe.plan(into=folder / "other").outputs[0].current
    with pytest.raises(mergelang.RecipeError, match="E0811"):
        both.plan()


def test_a_recipe_written_otherwise_is_up_to_date_and_is_known_from_then_on(folder):
    run(write(folder))
    recipe = write(folder, t="0.30", embed="( a )")
    assert recipe.up_to_date() == ()
    (folder / "x.merge").write_text(recipe.source.text.replace("0.30", "0.3").replace("( a )", "a"))
    recipe = mergelang.load(folder / "x.merge")
    assert recipe.up_to_date()
    spaced = mergelang.load(folder / "x.merge")
    (folder / "x.merge").write_text(spaced.source.text.replace("linear(a, b)", "linear(a,  b)"))
    spaced = mergelang.load(folder / "x.merge")
    assert spaced.up_to_date() == ()
    assert run(spaced)[0] == {}
    assert spaced.up_to_date()


@pytest.mark.parametrize(
    "change",
    ["recipe", "setting", "input", "input's config", "new file", "output", "output's card",
     "operator", "store"],
)  # fmt: skip
def test_what_changes_is_seen(folder, change, monkeypatch):
    head = "param p = 1\n"
    recipe = write(folder, t="0.3 * p", head=head)
    run(recipe)
    assert recipe.up_to_date()
    match change:
        case "recipe":
            recipe = write(folder, t="0.4 * p", head=head)
        case "setting":
            recipe = mergelang.load(folder / "x.merge", {"p": "0.5"})
        case "input":
            write_model(folder / "b", seed=7, layers=2)
        case "input's config":
            config = (folder / "a" / "config.json").read_text()
            (folder / "a" / "config.json").write_text(config.replace("64", "65"))
        case "new file":
            (folder / "a" / "generation_config.json").write_text("{}")
        case "output":
            os.utime(folder / "out" / "model.safetensors")
        case "output's card":
            (folder / "out" / "README.md").write_text("mine")
        case "operator":
            newer(monkeypatch, "ties")
        case "store":
            monkeypatch.setenv("MERGELANG_CACHE", str(folder / "other"))
    assert recipe.up_to_date() == ()
    run(recipe)
    assert recipe.up_to_date()
    assert same_as_fresh(folder, recipe)


def newer(monkeypatch, name: str) -> None:
    known = operators()[name]
    signature = replace(known.signature, version=known.signature.version + 1)
    monkeypatch.setitem(registry._operators, name, replace(known, signature=signature))


def test_of_two_outputs_the_one_that_is_up_to_date_is_left_alone(folder):
    (folder / "x.merge").write_text('model a = "a"\nmodel b = "b"\noutput "one" = a\n'
                                    'output "two" = linear(a, b)\n')  # fmt: skip
    recipe = mergelang.load(folder / "x.merge")
    run(recipe, outputs=["one"])
    assert [each.text for each in recipe.up_to_date(["one"])] == ["one"]
    assert recipe.up_to_date() == ()
    _, seen = run(recipe)
    told = [type(each).__name__ for each in seen if not isinstance(each, events.Progress)]
    assert told[:3] == ["RunStarted", "UpToDate", "OutputStarted"]


# Partial runs


def changes(recipe: mergelang.Recipe) -> Counter[str]:
    return Counter(
        task.change or task.action for output in recipe.plan().outputs for task in output.tasks
    )


def test_only_what_changed_is_computed_and_the_rest_is_kept(folder):
    run(write(folder))
    recipe = write(folder, t="0.4")
    assert changes(recipe) == {"new parameter": 8, "keep": 13}
    done, _ = run(recipe)
    assert {name for name, action in done.items() if action == "compute"} == ATTENTION
    assert {action for name, action in done.items() if name not in ATTENTION} == {"keep"}
    assert same_as_fresh(folder, recipe)


def test_another_input_changes_what_is_made_of_it(folder):
    run(write(folder))
    recipe = write(folder, other="c")
    assert changes(recipe) == {"new input": 12, "keep": 9}
    run(recipe)
    assert same_as_fresh(folder, recipe)


def test_an_input_whose_bytes_changed_changes_what_is_made_of_it(folder):
    run(write(folder, other="c"))
    write_model(folder / "c", seed=9, layers=2)
    recipe = write(folder, other="c")
    assert changes(recipe) == {"new input": 12, "keep": 9}
    run(recipe)
    assert same_as_fresh(folder, recipe)


def test_a_new_version_of_an_operator_changes_what_it_makes(folder, monkeypatch):
    recipe = write(folder)
    run(recipe)
    newer(monkeypatch, "slerp")
    assert changes(recipe) == {"new operator version": 8, "keep": 13}


def test_another_operator_is_a_reason(folder):
    run(write(folder))
    assert changes(write(folder, embed="nuslerp(a, b)")) == {"new operator": 1, "keep": 20}


@pytest.mark.parametrize("damage", ["touched", "gone"])
def test_what_happened_to_a_file_of_the_output_is_a_reason(folder, damage):
    text = write(folder).source.text.rstrip() + " { shards: 2kB }\n"
    (folder / "x.merge").write_text(text)
    recipe = mergelang.load(folder / "x.merge")
    run(recipe)
    first = sorted((folder / "out").glob("*.safetensors"))[0]
    if damage == "touched":
        os.utime(first)
    else:
        first.unlink()
    reason = {"touched": "changed on disk", "gone": "missing"}[damage]
    assert set(changes(recipe)) == {reason, "keep"}
    run(recipe)
    assert same_as_fresh(folder, recipe)


def test_a_kept_tensor_that_is_not_what_was_written_is_made_anew(folder):
    recipe = write(folder)
    run(recipe)
    plan = write(folder, t="0.4").plan()
    file = folder / "out" / "model.safetensors"
    facts = os.stat(file)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    seen: list[events.Event] = []
    mergelang.api.run(plan, listener=seen.append)
    (note,) = [each for each in seen if isinstance(each, events.Noted)]
    assert note.code == "W2001" and " of out is not what was written there" in note.message
    done = [each.tensor for each in seen if isinstance(each, events.TensorDone)]
    assert len(done) == len(set(done)) == 21
    assert same_as_fresh(folder, write(folder, t="0.4"))


def test_an_output_that_goes_away_while_it_is_kept_from_is_made_anew(folder):
    run(write(folder))
    plan = write(folder, t="0.4").plan()
    (folder / "out" / "model.safetensors").unlink()
    mergelang.api.run(plan)
    assert same_as_fresh(folder, write(folder, t="0.4"))


def test_fresh_keeps_nothing(folder):
    recipe = write(folder)
    run(recipe)
    done, _ = run(recipe, fresh=True)
    assert set(done.values()) == {"compute", "copy"}


@pytest.mark.parametrize("damage", [b"", b"{}\n{}", b"\xff\n", b"[]\n[]"])
def test_a_damaged_memory_of_an_output_is_none(folder, damage):
    recipe = write(folder)
    run(recipe)
    (entry,) = (folder / "store" / "outputs").iterdir()
    entry.write_bytes(damage)
    assert outputs.load(folder / "out") is None
    done, _ = run(recipe)
    assert set(done.values()) == {"compute", "copy"}


def test_a_store_that_cannot_be_written_changes_nothing_else(folder, monkeypatch):
    (folder / "taken").write_bytes(b"")
    monkeypatch.setenv("MERGELANG_CACHE", str(folder / "taken"))
    recipe = write(folder)
    run(recipe)
    assert recipe.up_to_date() == ()
    assert same_as_fresh(folder, recipe)


# Several outputs

BOTH = """\
model a = "a"
model b = "b"
param t = 0.3
let mixed = slerp(a, b, t: t)
output "out/one" = mixed { shards: 5kB }
output "out/two" = match { @attn => linear(a, b), _ => mixed }
"""


def actions(seen, output: str) -> Counter[str]:
    done = (each for each in seen if isinstance(each, events.TensorDone))
    return Counter(each.action for each in done if each.output == output)


@pytest.fixture
def both(folder) -> mergelang.Recipe:
    (folder / "x.merge").write_text(BOTH)
    return mergelang.load(folder / "x.merge")


def alone(folder: Path) -> bytes:
    """The weights of the second output, made without the first."""
    mergelang.load(folder / "x.merge").run(["out/two"], into=folder / "alone", fresh=True)
    return (folder / "alone" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("processes", [False, None])
def test_tensors_that_two_outputs_have_alike_are_made_once_and_copied(folder, both, processes):
    plan = both.plan()
    assert "shared   13 " in str(plan) and "  as in out/one\n" in str(plan)
    for _ in range(2):  # the second time over old ones, with files of theirs still open
        _, seen = run(both, processes=processes, threads=2, fresh=True)
        assert actions(seen, "out/one") == {"compute": 21}
        assert actions(seen, "out/two") == {"compute": 8, "shared": 13}
        assert not [each for each in seen if isinstance(each, events.Noted)]
        assert (folder / "out" / "two" / "model.safetensors").read_bytes() == alone(folder)
    both = mergelang.load(folder / "x.merge", {"t": "0.4"})
    _, seen = run(both, processes=processes, threads=2)
    assert actions(seen, "out/two") == {"keep": 8, "shared": 13}
    assert not [each for each in seen if isinstance(each, events.Noted)]
    assert both.up_to_date()


def test_a_tensor_that_is_damaged_in_the_output_it_is_copied_from_is_made_anew(folder, both):
    def damage(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.OutputDone) and event.output == "out/one":
            for path in (folder / "out" / "one").glob("*.safetensors"):
                data = bytearray(path.read_bytes())
                data[-2] ^= 1
                path.write_bytes(data)

    seen: list[events.Event] = []
    both.run(listener=damage)
    assert "W2001" in {each.code for each in seen if isinstance(each, events.Noted)}
    assert actions(seen, "out/two")["shared"] < 13
    assert (folder / "out" / "two" / "model.safetensors").read_bytes() == alone(folder)
