"""PyTorch's own files: refused unless allowed, then read in place like any other weights."""

import json
import pickle
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from huggingface_hub import constants, snapshot_download
from safetensors.torch import load_file

from mergelang import load
from mergelang.cli.app import main
from mergelang.errors import InputError, RecipeError
from mergelang.models.pickles import read_pickle
from tests.checkpoints import llama_config, llama_shapes, write_adapter, write_model


def tensors(seed=1, dtype=torch.bfloat16):
    torch.manual_seed(seed)
    return {name: torch.randn(shape).to(dtype) for name, shape in llama_shapes(layers=2).items()}


def pickled(folder, found, shards=1):
    """A model folder with these tensors in one pickle, or in shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(layers=2)))
    if shards == 1:
        torch.save(found, folder / "pytorch_model.bin")
        return folder
    where = {}
    for number in range(shards):
        name = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        part = dict(list(found.items())[number::shards])
        torch.save(part, folder / name)
        where |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def run(folder, text):
    (folder / "x.merge").write_text(text)
    load(folder / "x.merge", allow_pickle=True).run()
    (folder / "x.merge.lock").unlink()
    return load_file(folder / "out" / "model.safetensors")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_pickled_model_is_merged_as_the_same_in_safetensors(tmp_path, shards):
    a, b = tensors(1), tensors(2)
    pickled(tmp_path / "a", a, shards)
    (tmp_path / "a" / "training_args.bin").write_bytes(b"not looked at")
    pickled(tmp_path / "b", b)
    found = run(tmp_path, 'model a = "a"\nmodel b = "b"\noutput "out" = mean(a, b)\n')
    for name in a:
        one = a[name].float()
        mean = one + (b[name].float() - one) * torch.tensor(0.5)
        assert torch.equal(found[name], mean.bfloat16())


def test_views_dtypes_and_shared_storage_are_read_where_they_lie(tmp_path):
    whole = torch.arange(40.0).reshape(8, 5)
    found = {
        "whole": whole, "rows": whole[3:], "same": whole, "none": torch.empty(0, 4),
        "one": torch.tensor(3.0, dtype=torch.float64), "half": torch.randn(7).half(),
        "ids": torch.arange(9), "flags": torch.tensor([True, False]),
    }  # fmt: skip
    torch.save({"epoch": 3, "state_dict": found}, tmp_path / "x.ckpt")
    extents = read_pickle(tmp_path / "x.ckpt", "x.ckpt")
    data = (tmp_path / "x.ckpt").read_bytes()
    for name, tensor in found.items():
        extent = extents[name]
        stored = data[extent.offset : extent.offset + extent.type.nbytes]
        assert stored == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert extent.type.shape == tuple(tensor.shape)


def test_weights_are_safetensors_where_a_model_has_both(tmp_path):
    write_model(tmp_path / "both", seed=1)
    torch.save({}, tmp_path / "both" / "pytorch_model.bin")
    (tmp_path / "x.merge").write_text('model a = "both"\noutput "out" = a\n')
    load(tmp_path / "x.merge").check()


def test_without_leave_nothing_is_read_and_the_command_that_converts_works(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    pickled(tmp_path / "a", tensors(), shards=2)
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    (tmp_path / "x.merge").write_text('model a = "a"\noutput "out" = a\n')
    assert main(["check", "x.merge"]) == 1
    said = capfd.readouterr().err
    assert said == (
        "error[E0606]: `a` holds pytorch_model-00001-of-00002.bin, and no safetensors weights\n"
        " --> x.merge:1:11\n"
        "  |\n"
        '1 | model a = "a"\n'
        "  |           ^^^ not safetensors\n"
        "help: convert it once: `mergelang convert a -o a-safetensors --allow-pickle`\n"
    )
    command = shlex.split(said.rpartition("`mergelang ")[2].partition("`")[0])
    assert main(command) == 0
    assert (tmp_path / "a-safetensors" / "tokenizer.json").is_file()
    found = load_file(tmp_path / "a-safetensors" / "model.safetensors")
    for name, tensor in tensors().items():
        assert torch.equal(found[name], tensor)
    assert main(["convert", "a", "-o", "b"]) == 1


@pytest.mark.parametrize("words", [["check"], ["plan"], ["lock"], ["run"], ["graph"]])
def test_every_command_on_recipes_takes_leave(tmp_path, monkeypatch, capfd, words):
    monkeypatch.chdir(tmp_path)
    pickled(tmp_path / "a", tensors())
    (tmp_path / "x.merge").write_text('model a = "a"\noutput "out" = a\n')
    assert main([*words, "x.merge"]) == 1
    assert main([*words, "x.merge", "--allow-pickle"]) == 0
    assert main(["inspect", "a", "--allow-pickle"]) == 0


def test_what_was_made_of_pickles_is_computed_again_with_leave(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    pickled(tmp_path / "a", tensors())
    run(tmp_path, 'model a = "a"\noutput "out" = a\n')
    capfd.readouterr()
    assert main(["verify", "out", "--rebuild", "all"]) == 1
    assert capfd.readouterr().err == (
        "error[E0606]: `a` holds pytorch_model.bin, and no safetensors weights\n"
        " --> recipe of out:1:11\n"
        "  |\n"
        '1 | model a = "a"\n'
        "  |           ^^^ not safetensors\n"
        "help: allow it to be read, as tensors alone: `--allow-pickle`\n"
    )
    assert main(["verify", "out", "--rebuild", "all", "--allow-pickle"]) == 0
    assert "21 tensors computed again: all as it was written" in capfd.readouterr().out


class Wicked:
    def __reduce__(self):
        return (print, ("code of a file has run",))


def test_code_in_a_pickle_is_never_run(tmp_path, capfd):
    torch.save({"a": torch.ones(2), "b": Wicked()}, tmp_path / "x.bin")
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        read_pickle(tmp_path / "x.bin", "x.bin")
    assert error.value.code == "E2231"
    assert "code of a file has run" not in capfd.readouterr().out


def old(path):
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def turned(path):
    torch.save({"a": torch.ones(2, 3).T}, path)


def of_a_number(path):
    torch.save({"a": 3}, path)


def torn(path):
    torch.save({"a": torch.ones(2000)}, path)
    path.write_bytes(path.read_bytes()[:3000])


def complex_numbers(path):
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, path)


def of_nothing(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (old, "E2232", "it was written by a torch older than 1.6, or is damaged"),
        (torn, "E2232", "it was written by a torch older than 1.6, or is damaged"),
        (turned, "E2232", "a is stored in another order"),
        (of_a_number, "E2231", "it is not a table of tensors by name"),
        (of_nothing, "E2231", "or is damaged"),
        (complex_numbers, "E0612", "tensor a of `x.bin` has the unknown dtype torch.complex64"),
    ],
)
def test_a_file_that_cannot_be_read_in_place_is_told(tmp_path, make, code, said):
    make(tmp_path / "x.bin")
    with pytest.raises(InputError) as error:
        read_pickle(tmp_path / "x.bin", "x.bin")
    assert error.value.code == code and said in str(error.value)


@pytest.mark.parametrize("make", [old, turned])
def test_the_command_that_writes_a_file_anew_works(tmp_path, make):
    make(tmp_path / "x.bin")
    expected = torch.load(tmp_path / "x.bin", weights_only=True)["a"]
    with pytest.raises(InputError) as error:
        read_pickle(tmp_path / "x.bin", "x.bin")
    command = shlex.split(str(error.value).rpartition("`python ")[2].rpartition("`")[0])
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    extent = read_pickle(tmp_path / "x.bin", "x.bin")["a"]
    assert extent.type.shape == tuple(expected.shape)


def test_two_pickles_without_an_index_are_two_models_or_shards(tmp_path):
    pickled(tmp_path / "a", tensors())
    (tmp_path / "a" / "pytorch_model.bin").rename(tmp_path / "a" / "one.bin")
    shutil.copy(tmp_path / "a" / "one.bin", tmp_path / "a" / "two.bin")
    (tmp_path / "x.merge").write_text('model a = "a"\noutput "out" = a\n')
    with pytest.raises(RecipeError, match="holds 2 pickled files and no pytorch_model"):
        load(tmp_path / "x.merge", allow_pickle=True).check()


def test_a_pickled_adapter_is_read_with_leave_or_converted(tmp_path):
    base = write_model(tmp_path / "base", seed=1)
    adapter = write_adapter(tmp_path / "adapter", seed=2)
    text = f'model base = "{base}"\noutput "out" = base + lora("adapter")\n'
    expected = run(tmp_path, text)
    held = load_file(adapter / "adapter_model.safetensors")
    torch.save(held, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    found = run(tmp_path, text)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(RecipeError, match="E2234") as error:
        load(tmp_path / "x.merge").check()
    command = shlex.split(str(error.value).rpartition("`python ")[2].rpartition("`")[0])
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    load(tmp_path / "x.merge").check()


def test_a_pickle_on_the_hub_is_read_once_its_own_tools_have_fetched_it(hub, tmp_path):
    commit = hub.repo("org/a").commit(pickled(tmp_path / "a", tensors()))
    adapter = write_adapter(tmp_path / "adapter", seed=2, layers=2)
    held = load_file(adapter / "adapter_model.safetensors")
    torch.save(held, adapter / "adapter_model.bin")
    config = (adapter / "adapter_config.json").read_bytes()
    weights = (adapter / "adapter_model.bin").read_bytes()
    repo = hub.repo("org/lora")
    other = repo.commit({"x/adapter_config.json": config, "x/adapter_model.bin": weights})
    text = 'model a = "{}"\noutput "out" = a + lora("{}")\n'
    there = text.format("hf:org/a", "hf:org/lora/x")
    fetching = (
        ("hf:org/a", "org/a", commit, f"`hf download org/a --revision {commit}`"),
        ("hf:org/lora/x", "org/lora", other,
         f'`hf download org/lora --revision {other} --include "x/*"`'),
    )  # fmt: skip
    (tmp_path / "x.merge").write_text(there)
    for source, name, revision, command in fetching:
        with pytest.raises(RecipeError, match="E2233") as error:
            load(tmp_path / "x.merge", allow_pickle=True).check()
        said = next(each for each in map(str, error.value.diagnostics) if source in each)
        assert command in said
        snapshot_download(
            name, revision=revision, endpoint=hub.endpoint, cache_dir=constants.HF_HUB_CACHE
        )
    found = run(tmp_path, there)
    expected = run(tmp_path, text.format("a", "adapter"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(RecipeError, match="E2234") as error:
        (tmp_path / "y.merge").write_text('let x = lora("hf:org/lora/x")\n')
        load(tmp_path / "y.merge").check()
    assert (
        f'hf download org/lora --revision {other} --include "x/*" --local-dir lora && python -c'
    ) in str(error.value) and "'lora/x/adapter_model.bin'" in str(error.value)


def test_torch_is_loaded_for_a_pickle_and_for_nothing_else(tmp_path):
    pickled(tmp_path / "a", tensors())
    write_model(tmp_path / "b", layers=2)
    script = (
        "import sys; from mergelang import load\n"
        "load('model b = \"b\"\\noutput \"o\" = b\\n', allow_pickle=True).check()\n"
        "print('torch' in sys.modules)\n"
        "load('model a = \"a\"\\noutput \"o\" = a\\n', allow_pickle=True).check()\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "False\nTrue\n", done.stderr
