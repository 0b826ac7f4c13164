"""Runs on a card: what goes on where a run began elsewhere, what is tied to the card, how blocks
move, and what is said where there is none. One is pretended, by torch on the processor."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, get_ident
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mergelang
from mergelang.errors import Cancelled, MergelangError, RunError, UsageError
from mergelang.ops import expr as e
from mergelang.plan.memory import BUFFERS
from mergelang.run import device as devices
from mergelang.run import events
from mergelang.run.device import machine, open_device, partial, place, steps
from mergelang.run.execute import execute
from mergelang.run.workers import Control
from tests.blocks import pair
from tests.checkpoints import write_model
from tests.test_device import DEVICE, files, on_device


@pytest.fixture
def slerped(tmp_path, monkeypatch) -> Path:
    """A recipe of 21 tensors, elementwise but for two passes."""
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed, layers=2)
    text = 'model a = "a"\nmodel b = "b"\noutput "out" = slerp(a, b, t: 0.3)\n'
    (tmp_path / "x.merge").write_text(text)
    return tmp_path / "x.merge"


def started(path: Path, device: str) -> None:
    """A run that is cancelled after 7 tensors."""
    control, seen = Control(), []

    def listen(event: events.Event) -> None:
        seen.append(event)
        if sum(isinstance(each, events.TensorDone) for each in seen) == 7:
            control.cancel()

    with pytest.raises(Cancelled):
        mergelang.load(path).run(device=device, threads=1, listener=listen, control=control)


def actions(path: Path, device: str) -> list[str]:
    """What a run does with each tensor."""
    seen: list[events.Event] = []
    mergelang.load(path).run(device=device, listener=seen.append)
    return [each.action for each in seen if isinstance(each, events.TensorDone)]


@pytest.mark.parametrize(("first", "second"), [("cpu", DEVICE), (DEVICE, "cpu")])
def test_a_run_that_began_on_one_goes_on_on_the_other(first, second, slerped):
    out = slerped.parent / "out"
    mergelang.load(slerped).run()
    usual = files(out)
    shutil.rmtree(out)
    started(slerped, first)
    assert actions(slerped, second).count("resume") == 7
    assert files(out) == usual
    assert actions(slerped, first) == []


class Pretended(place.Device):
    """torch on the processor under the name of a card, whose copies are only done when they are
    waited for: a buffer that is used before is an error."""

    name, arith = "cuda:0", "torch 9.9, a card"
    waited = 0

    def event(self) -> object:
        return Event(self)


class Event:
    def __init__(self, device: Pretended):
        self._device, self._pending = device, False

    def record(self) -> None:
        assert not self._pending, "a buffer is used before its last copy is done"
        self._pending = True

    def synchronize(self) -> None:
        self._device.waited += self._pending
        self._pending = False


@pytest.fixture
def card(monkeypatch) -> Pretended:
    made = Pretended()
    kept = devices.open_device

    def pretend(name: str) -> place.Device | None:
        return made if name.startswith("cuda") else kept(name)

    monkeypatch.setattr(devices, "open_device", pretend)
    return made


def test_no_buffer_is_used_before_its_copy_is_done(slerped, card, monkeypatch):
    monkeypatch.setattr(machine, "STAGE", 1 << 12)
    mergelang.load(slerped).run()
    usual = files(slerped.parent / "out")
    mergelang.load(slerped).run(device="cuda", fresh=True)
    assert files(slerped.parent / "out") == usual
    assert card.waited > 3 * 21


def test_one_block_is_written_while_another_is_computed_and_a_third_is_read(slerped, monkeypatch):
    """Each of three workers waits for the other two at a work of its own."""
    slerped.write_text(slerped.read_text().replace("slerp(a, b, t: 0.3)", "mean(a, b)"))
    met, workers = Barrier(3, timeout=30), []

    def meeting(number: int, work: Callable[..., Any]) -> Callable[..., Any]:
        waited = []

        def wait(*arguments: Any) -> Any:
            if get_ident() not in workers:
                workers.append(get_ident())
            if workers.index(get_ident()) == number and not waited:
                waited.append(met.wait())
            return work(*arguments)

        return wait

    one = machine.DeviceMachine
    monkeypatch.setattr(one, "_bring", meeting(2, one._bring))
    monkeypatch.setattr(machine, "take", meeting(1, steps.take))
    monkeypatch.setattr(machine, "_arrived", meeting(0, machine._arrived))
    mergelang.load(slerped).run(device=DEVICE, threads=3)
    assert len(workers) == 3


@pytest.mark.parametrize(("room", "block"), [(100, 1 << 24), (1, 1 << 20), (1e-9, 1 << 14)])
def test_blocks_are_sized_for_what_the_card_has_free(room, block, slerped, card, monkeypatch):
    sizes, made = [], machine.DeviceMachine.__init__
    free = int(room * 3 * BUFFERS * (1 << 20))
    monkeypatch.setattr(card, "room", lambda memory: free, raising=False)
    monkeypatch.setattr(
        machine.DeviceMachine, "__init__",
        lambda self, size, *others: (sizes.append(size), made(self, 1 << 14, *others))[1],
    )
    mergelang.load(slerped).run(device="cuda", threads=3)
    assert sizes == [block] * 3


TIED = """\
model a = "a"
model b = "b"
output "out" = match {{ layers 0..1 & mlp => {method}(b, base: a), _ => mean(a, b) }}
"""


@pytest.mark.parametrize("method", ["tsv", "arcee_fusion"])
def test_what_libraries_round_is_tied_to_the_card_and_nothing_else_is(method, slerped, card):
    slerped.write_text(TIED.format(method=method))
    lock = slerped.with_name("x.merge.lock")
    mergelang.load(slerped).run(cache="all")
    before = lock.read_text()
    assert ("\narith = torch 2" in before) == (method == "tsv")
    done = actions(slerped, "cuda")
    assert (done.count("compute"), done.count("keep")) == (3, 18)  # three matrices of a layer
    assert "\narith = torch 9.9, a card\n" in lock.read_text()
    assert actions(slerped, "cuda") == []
    assert "arith = torch 9.9, a card" in (slerped.parent / "out/mergelang.json").read_text()
    assert actions(slerped, "cpu").count("compute") in (0, 3)
    assert lock.read_text() == before


def test_the_store_keeps_what_a_card_gives_apart(slerped, card):
    slerped.write_text(TIED.format(method="tsv"))
    one = mergelang.load(slerped)
    counts = []
    for device in ("cpu", "cuda", "cuda", "cpu"):
        planned = one.on(device).plan(fresh=True, cache="all")
        counts.append(sum(task.action == "cached" for task in planned.outputs[0].tasks))
        mergelang.api.run(planned, fresh=True, lock=one.lock)
    assert counts == [0, 18, 21, 21]


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_lock_is_written_for_a_card_and_held_to(name, slerped, card, call):
    slerped.write_text(TIED.format(method="tsv"))
    path = str(slerped)
    assert call("lock", path)[0] == 0
    code, _, said = call("run", path, "--frozen", "--device", name)
    assert code == 1
    assert said.splitlines()[-1] == f"help: accept it: `mergelang lock {path} --device {name}`"
    assert call("lock", path, "--device", name)[0] == 0
    assert call("run", path, "--frozen", "--device", name)[0] == 0
    assert call("run", path, "--frozen")[0] == 1


def test_values_within_tensors_and_numbers_of_rows_are_kept_apart(slerped, card):
    text = 'param t = 0.5\nmodel a = "a"\nmodel b = "b"\noutput "out" = {}\n'
    for expression, field in (
        ("a + t * tsv(b - a)", "stored"), ("arcee_fusion(b, base: a) + t * (b - a)", "numbers"),
        ("slerp(a, b, t: t)", "numbers"),
    ):  # fmt: skip
        slerped.write_text(text.format(expression))
        mergelang.load(slerped).run(cache="all")
        there = []
        for device in ("cpu", "cuda"):
            other = mergelang.load(slerped, {"t": 0.7}).on(device).plan(cache="all")
            there.append(sum(getattr(task, field) for task in other.outputs[0].tasks) > 0)
        assert there == [True, expression.startswith("slerp")]


@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_a_tied_run_does_not_go_on_on_the_other(first, slerped, card):
    slerped.write_text(TIED.format(method="tsv"))
    started(slerped, first)
    seen: list[events.Event] = []
    mergelang.load(slerped).run(device="cuda" if first == "cpu" else "cpu", listener=seen.append)
    assert not any(isinstance(each, events.Resumed) for each in seen)
    said = [each.message for each in seen if isinstance(each, events.Noted)]
    by = "the processor" if first == "cpu" else "torch 9.9, a card"
    assert any(f"it was computed by {by}" in each for each in said)


# Devices that are not there, or too small


def failure(device: str) -> str:
    with pytest.raises(MergelangError) as caught:
        devices.open_device.__wrapped__(device)
    return str(caught.value)


def test_a_torch_without_cuda_is_told_with_its_fix(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert failure("cuda:1") == f"""\
error[E0911]: cannot compute on cuda:1: torch {torch.__version__} is built without CUDA
help: install a torch that is built for CUDA (https://pytorch.org tells how)
help: leave out `--device`: the processor gives the same bytes, but for functions on whole tensors
"""[:-1]


@pytest.mark.parametrize(("count", "said"), [(0, "no card"), (1, "1 card"), (2, "2 cards")])
def test_a_card_that_is_not_there_is_told_with_those_that_are(count, said, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    first, *rest = failure("cuda:2").splitlines()
    assert first == f"error[E0911]: cannot compute on cuda:2: torch finds {said}"
    assert len(rest) == 1


@pytest.fixture
def driver(monkeypatch) -> Any:
    """What CUDA says of one card, of which half is free."""
    facts = SimpleNamespace(name="NVIDIA H200", major=9, minor=0)
    for name, answer in {
        "is_available": True, "device_count": 1, "get_device_properties": facts,
        "mem_get_info": (8 << 30, 16 << 30),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *device, answer=answer: answer)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    return torch.cuda


def test_a_card_is_named_by_torch_model_and_cuda_and_gives_half_of_what_is_free(driver):
    card = place.Card(0)
    assert card.arith == f"torch {torch.__version__}, NVIDIA H200 sm_90, CUDA 13.0"
    assert card.room(1 << 20) == 4 << 30
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_card_that_cuda_cannot_use_is_told_in_its_words(driver, monkeypatch):
    def busy(device: torch.device) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy\nMore of it.")

    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    assert failure("cuda").splitlines()[0] == (
        "error[E0911]: cannot compute on cuda:0: CUDA error: all CUDA-capable devices are busy"
    )


def test_functions_run_as_reproducibly_as_torch_can_and_settings_are_as_before(monkeypatch):
    one = object.__new__(place.Card)
    place.Device.__init__(one)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    torch.set_float32_matmul_precision("medium")
    try:
        given = [torch.zeros(1)]
        assert one.call("tests.test_card:settings", given, {}).tolist() == [True, True]
        assert settings(*given).tolist() == [False, False]
    finally:
        torch.set_float32_matmul_precision("highest")


def settings(x: torch.Tensor) -> torch.Tensor:
    highest = torch.get_float32_matmul_precision() == "highest"
    return torch.tensor([torch.are_deterministic_algorithms_enabled(), highest])


def test_a_name_that_is_no_device_is_told(call, tmp_path):
    code, _, said = call("run", str(tmp_path / "x.merge"), "--device", "gpu")
    assert (code, said) == (2, """\
error[E1007]: `gpu` is not a device
help: write it like `cpu`, `cuda`, `cuda:1` or `torch`
""")
    with pytest.raises(UsageError, match="E1007"):
        mergelang.load("a\n").on("cuda:x")


def test_a_card_that_is_full_is_told_and_what_is_done_stays(slerped, card, monkeypatch):
    usual, calls = steps.take, []

    def full(*arguments: object) -> None:
        calls.append(1)
        if len(calls) > 40:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        usual(*arguments)

    monkeypatch.setattr(machine, "take", full)
    with pytest.raises(RunError) as caught:
        mergelang.load(slerped).run(device="cuda", threads=1)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("error[E0912]: the card has too little free memory for tensor ")
    assert rest == [
        "help: run again with fewer `--threads`: what was done until then is kept",
        "help: leave out `--device`: the processor takes no more than `--memory`",
    ]
    assert "resume" in actions(slerped, "cpu")


def on_the_processor(x: torch.Tensor) -> torch.Tensor:
    raise TypeError("can't convert cuda:0 device type tensor to numpy.\nMore of it.")


def test_a_function_that_does_not_run_on_a_card_is_named(tmp_path):
    x, _, _, _ = pair(tmp_path, (3, 5))
    value = e.whole("tests.test_card:on_the_processor", x)
    with pytest.raises(RunError) as caught:
        on_device(value.expr, x.context.type)
    assert str(caught.value) == f"""\
error[E0913]: the function tests.test_card:on_the_processor does not run on \
{open_device(DEVICE).name}: TypeError: can't convert cuda:0 device type tensor to numpy.
help: leave out `--device`: on the processor it may
help: if it is yours, make new tensors where those are that it is given: `x.new_zeros(...)`, \
`torch.zeros(..., device=x.device)`"""


def test_processes_and_a_device_do_not_go_together(slerped):
    with pytest.raises(UsageError, match="`processes` and `device` do not go together"):
        mergelang.load(slerped).run(device=DEVICE, processes=True)


def test_a_recipe_and_a_plan_for_a_card_are_run_there(slerped, card):
    recipe = mergelang.load(slerped).on("cuda")
    recipe.run()
    once = card.waited
    assert once > 0
    mergelang.api.run(recipe.plan(fresh=True), fresh=True)
    assert card.waited > once
    waited = card.waited
    recipe.run(device="cpu", fresh=True)
    assert card.waited == waited


def test_a_plan_is_executed_where_it_was_made_for(slerped, card):
    planned = mergelang.load(slerped).on("cuda").plan()
    with pytest.raises(ValueError, match="the plan is for another device"):
        execute(planned)


def test_functions_on_rows_are_called_for_one_unit_at_a_time():
    calls = []

    def call(function: str, blocks: list[torch.Tensor], parameters: dict[str, Any]) -> Any:
        calls.append(len(blocks[0]))
        return (blocks[0] * blocks[1]).sum(dim=1).numpy()

    rows = torch.arange(70, dtype=torch.float32)
    on = SimpleNamespace(device=SimpleNamespace(call=call))
    sums = partial.by_rows(on, "a:function", [rows, rows], 10, 30)
    assert calls == [3, 3, 1]
    assert np.array_equal(sums, np.square(np.arange(70.0)).reshape(7, 10).sum(axis=1))
