"""A plan is kept: what it says of tensors, passes and bytes is what the run does."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import mergelang
from mergelang.plan.cost import order
from mergelang.run import events
from tests.test_operators import CASES, SHAPES, recipe, run, write_models

MODEL = st.sampled_from(["base", "a", "b", "c"])
SHARE = st.sampled_from(["0.25", "0.5", "curve(0.1, 0.9)", "match { odd => 0.75, _ => 0.5 }", "1"])
"""Numbers in (0, 1], also as schedules."""


def calls(model: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions of mass 1 over expressions of mass 1."""
    return st.one_of(
        st.builds("linear({}, {} {{ weight: {} }})".format, model, model, SHARE),
        st.builds("slerp({}, {}, t: {})".format, model, model, SHARE),
        st.builds("({} + {} * ({} - {}))".format, model, SHARE, model, model),
        st.builds("dare({}, {}, density: {}, base: {})".format, model, model, SHARE, model),
        st.builds("ties({}, {}, density: {}, base: {})".format, model, model, SHARE, model),
        st.builds("({} + trim({} - {}, density: {}))".format, model, model, model, SHARE),
        st.builds("match {{ odd => {}, @attn => {}, _ => {} }}".format, model, model, model),
        st.builds("stack({}[..2], {}[2..])".format, model, model),
    )


EXPRESSION = st.recursive(MODEL, calls, max_leaves=6)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three layers of two tensors and a few outside, in every dtype."""
    folder = tmp_path_factory.mktemp("models")
    shapes = {name: SHAPES[name] for name in ("scalar", "empty", "odd")}
    return write_models(folder, shapes, "BF16 F64")


def keeps(models, text: str, into) -> None:
    """Runs the recipe; holds its plan to what happened."""
    seen: list[events.Event] = []
    run(models, text, into, listener=seen.append, block=1 << 14, cache="none")
    plan = mergelang.load(into / "test.merge").plan(fresh=True, cache="none")
    done = [event for event in seen if isinstance(event, events.TensorDone)]
    tasks = {(out.destination.text, task.name): task for out in plan.outputs for task in out.tasks}
    assert sorted((each.output, each.tensor) for each in done) == sorted(tasks)
    selecting = {
        (out.destination.text, task.name)
        for out in plan.outputs for task in out.tasks
        if task.action == "compute"
        and any(e.op == "top" for e in order(task.root))
    }  # fmt: skip
    for each in done:
        task = tasks[each.output, each.tensor]
        assert (each.action, each.nbytes) == (task.action, task.type.nbytes)
        # Of each selection the pass over ties is planned, and left out where there is none.
        least = 1 if (each.output, each.tensor) in selecting else task.passes
        assert least <= each.passes <= task.passes, each.tensor
    ended = seen[-1]
    assert isinstance(ended, events.RunDone)
    assert ended.bytes_read <= plan.bytes_read
    assert selecting or ended.bytes_read == plan.bytes_read
    written = sum(p.stat().st_size for o in plan.outputs for p in o.path.glob("*.safetensors"))
    assert written == plan.bytes_written


@pytest.mark.parametrize("expression", CASES.strip().splitlines())
def test_the_plan_of_an_operator_is_kept(models, tmp_path, expression):
    keeps(models, recipe(expression), tmp_path)


@settings(
    max_examples=25, deadline=None, derandomize=True, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(EXPRESSION, st.lists(EXPRESSION, max_size=1))
def test_the_plan_of_any_small_graph_is_kept(
    models, tmp_path_factory, expression, more
):
    into = tmp_path_factory.mktemp("run")
    keeps(models, recipe(expression, *more), into)
