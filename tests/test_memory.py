"""The memory of a run stays under its bound, whatever the size of the model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mergelang
from mergelang.cli.arguments import parse_size
from mergelang.draw.plan_text import plan_json
from mergelang.errors import RunError
from mergelang.models.headers import read_header
from mergelang.ops import spectral
from mergelang.plan.memory import minimum_memory, size_text
from mergelang.run import disk, events
from mergelang.run.compiler import library
from mergelang.run.evaluate import Memory
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from tests.bench.process import weighed
from tests.checkpoints import write_arrays

MIB = 1 << 20


def write_sparse(folder: Path, tensors: int, rows: int) -> Path:
    """A model of zeros that takes no room on the disk: float32 matrices of `rows` times 1024."""
    folder.mkdir()
    size = rows * 1024 * 4
    header = {
        f"layers.{i}.w": {
            "dtype": "F32", "shape": [rows, 1024], "data_offsets": [i * size, (i + 1) * size]
        }
        for i in range(tensors)
    }  # fmt: skip
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + tensors * size)
    assert len(read_header(path, "")) == tensors
    return folder


def test_a_merge_of_models_larger_than_the_bound_stays_below_it(tmp_path):
    for name in ("a", "b"):
        write_sparse(tmp_path / name, tensors=2, rows=70_000)  # 573 MB
    expression = "slerp(a, b, t: 0.5) { dtype: bf16 }"
    path = tmp_path / "test.merge"
    path.write_text(f'model a = "a"\nmodel b = "b"\noutput "out" = {expression}\n')
    command = [sys.executable, "-m", "mergelang", "run", str(path), "--memory", "512MiB"]
    _, peak = weighed(command, 0.02)  # of all its processes together
    # Without torch it takes no more than a part of that, however large the models are.
    assert 30 * MIB < peak < (512 if library() is None else 200) * MIB
    (tmp_path / "out" / "model.safetensors").unlink()


def test_too_little_memory_is_refused_before_the_run_with_the_least_named(tmp_path):
    for name in ("a", "b"):
        write_arrays(tmp_path / name, {"w": ([[1.0, 2.0], [3.0, 4.0]], "F32")})
    path = tmp_path / "test.merge"
    path.write_text('model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')
    recipe = mergelang.load(path)
    least = minimum_memory(recipe.plan())
    said = rf"{least // MIB - 1}MiB of memory is too little .* at least {least // MIB}MiB"
    with pytest.raises(RunError, match=said):
        recipe.run(memory=least - MIB)
    assert not (tmp_path / "out").exists()
    recipe.run(memory=least)
    assert (tmp_path / "out").exists()


def test_an_operator_on_whole_tensors_names_what_it_holds(tmp_path):
    for name in ("a", "b"):
        write_sparse(tmp_path / name, tensors=1, rows=20_000)
    path = tmp_path / "test.merge"
    path.write_text('model a = "a"\nmodel b = "b"\noutput "out" = iso_c(a, base: b)\n')
    plan = mergelang.load(path).plan()
    assert plan.holds >= 20_000 * 1024 * 4 * 2  # at least the task vector and the result
    with pytest.raises(RunError, match="E0908"):
        mergelang.load(path).run(memory=400 * MIB)


# What does not fit


CALLS = "base + 0.5 * iso_c(a - base, b - base) + 0.3 * tsv(a - base, b - base)"
NESTED = "base + iso_c(iso_c(a - base, b - base), b - base)"


@pytest.fixture
def matrices(tmp_path, monkeypatch) -> Path:
    """Three models of two matrices, and a vector that no call on whole tensors is for."""
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "store"))
    rng = np.random.default_rng(0)
    for name in ("base", "a", "b"):
        tensors = {f"w{i}": (rng.normal(size=(60, 700)), "BF16") for i in range(2)}
        write_arrays(tmp_path / name, tensors | {"v": (rng.normal(size=16), "BF16")})
    return tmp_path


def recipe_of(folder: Path, expression: str) -> mergelang.Recipe:
    lines = [f'model {name} = "{name}"' for name in ("base", "a", "b")]
    text = "\n".join([*lines, f'output "out" = {expression}', ""])
    (folder / "x.merge").write_text(text)
    return mergelang.load(folder / "x.merge")


def leasts(recipe: mergelang.Recipe) -> tuple[int, int]:
    """The least memory with all that is whole held at once, and with calls one by one."""
    most, none = (minimum_memory(recipe.plan(memory=x, cache="none")) for x in (1 << 40, 0))
    return most, none


@pytest.mark.parametrize("expression", [CALLS, NESTED, f"slerp({CALLS}, b, t: 0.3)"])
def test_calls_that_do_not_fit_together_are_made_one_by_one_with_the_same_bytes(
    matrices, expression
):
    recipe = recipe_of(matrices, expression)
    together, apart = leasts(recipe)
    assert apart < together
    seen: list[events.Event] = []
    found = {}
    for memory in (1 << 30, together - 1, apart):
        plan = recipe.run(memory=memory, cache="none", fresh=True, listener=seen.append)
        found[memory] = (matrices / "out" / "model.safetensors").read_bytes()
        passes = {each.tensor: each.passes for each in seen if isinstance(each, events.TensorDone)}
        assert passes == {task.name: task.passes for task in plan.outputs[0].tasks}
        ended = [each for each in seen if isinstance(each, events.RunDone)][-1]
        assert ended.bytes_read == plan.bytes_read
    assert len(set(found.values())) == 1
    least = f"{-(-apart // MIB)}MiB"
    with pytest.raises(RunError, match=f"E0908.* at least {least}"):
        recipe.run(memory=apart - MIB, cache="none", fresh=True)
    said = f"memory: {size_text(apart - MIB)} is too little, a run takes {least} at least"
    assert said in str(recipe.plan(memory=apart - MIB, fresh=True)).splitlines()
    assert "too little, a run" not in str(recipe.plan(memory=apart, fresh=True))


def test_the_plan_says_what_is_recomputed_and_what_waits_on_the_disk(matrices):
    node = "ties(a, b, density: 0.5, base: base)"
    recipe = recipe_of(matrices, f"slerp({CALLS}, {node}, t: 0.3)")
    plan = recipe.plan(cache="none")
    assert f"recomputes {node}: 1 pass more over 3 tensors\n" in str(plan)
    assert "spills" not in str(plan)
    tasks = plan_json(plan)["outputs"][0]["tensors"]
    assert all({"node": node, "passes": 2} in task["recomputed"] for task in tasks)
    assert {task["bytes_spilled"] for task in tasks} == {0}
    plan = recipe.plan(memory=leasts(recipe)[1], cache="none")
    values = 60 * 700 * 4 * 2  # of two calls
    said = " ".join(str(plan).split())
    assert f"recomputes {node}: 2 passes more over 2 tensors " in said
    assert "to disk: 2 tensors, calls on whole tensors one by one, to keep to " in said
    tasks = {task["name"]: task for task in plan_json(plan)["outputs"][0]["tensors"]}
    assert {name: task["bytes_spilled"] for name, task in tasks.items()} == {
        "w0": values, "w1": values, "v": 0
    }  # fmt: skip
    (disk,) = plan_json(plan)["disks"]
    assert disk["bytes_needed"] >= plan.bytes_written + values


def test_what_waits_on_a_full_disk_is_told_and_the_next_run_goes_on(matrices, monkeypatch):
    recipe = recipe_of(matrices, CALLS)
    memory = leasts(recipe)[1]
    write = disk.write

    def full(path, *rest):
        if path.name == "out.partial":
            raise RunError("E0907", path=str(path), reason="no space left on device")
        write(path, *rest)

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(RunError, match=r"E0907.*no space left"):
        recipe.run(memory=memory, cache="none", processes=False)
    assert not (matrices / "out").exists()
    monkeypatch.setattr(disk, "write", write)
    recipe.run(memory=memory, cache="none")
    found = (matrices / "out" / "model.safetensors").read_bytes()
    recipe.run(fresh=True, cache="none")
    assert (matrices / "out" / "model.safetensors").read_bytes() == found


def test_a_whole_value_lives_until_the_last_pass_that_reads_it(matrices):
    recipe = recipe_of(matrices, NESTED)
    task = next(each for each in recipe.plan(cache="none").outputs[0].tasks if each.name == "w0")
    one = recipe_of(matrices, "base + iso_c(a - base, b - base)").plan(cache="none").holds
    assert task.holds == one + 60 * 700 * 4  # the inner value, while the outer one is computed
    files = Files()
    job = Job("w0", task.root, task.type, Memory(task.nbytes), block=1 << 14, files=files,
              binding=task.binding)  # fmt: skip
    held = []
    machine = Machine(1 << 14, files)
    while not job.finished:
        held.append(len(job._held))
        for number in job.spans():
            job.run_span(machine, number)
        job.end_pass()
    files.close()
    assert held == [0, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("name", ["iso_c", "tsv", "iso_cts", "regmean"])
def test_a_function_on_whole_tensors_takes_no_more_room_than_it_asks_for(name):
    code = f"""
import torch
from mergelang.run.kernel import kernel

torch.set_num_threads(1)
torch.manual_seed(0)
name = {name!r}
options = dict(iso_cts=dict(own=60), regmean=dict(weights=(1.0, 1.0), reduce=0.9)).get(name, {{}})
module = "regression" if name == "regmean" else "spectral"
function = kernel(f"mergelang.ops.kernels.{{module}}:{{name}}")

def call(n):
    inputs = [torch.randn(n, n) for _ in range(2)]
    if name == "regmean":
        inputs += [x.T @ x for x in inputs]
    open("/proc/self/clear_refs", "w").write("5")  # the most so far is what is there now
    before = status("VmRSS")
    function(*inputs, **options)
    return status("VmHWM") - before

def status(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(word))

call(40)  # loads what there is to load
print(call(700))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    room = {**spectral.ROOM, "regmean": 12 + 10}[name]
    assert 1 < int(done.stdout) / (4 * 700 * 700) < room


@pytest.mark.parametrize("count", [300 * MIB + 1, 1024 * MIB, 8852 * MIB, 10477 * MIB])
def test_the_memory_that_an_error_tells_is_enough(count):
    assert count <= parse_size(size_text(count)) <= count * 1.01
