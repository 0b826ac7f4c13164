"""Models on disk: what is read of them, and what is said of those that cannot be used."""

import json
import os
import re
import struct

import pytest

from mergelang.errors import InputError
from mergelang.models.checkpoint import open_model
from mergelang.models.reference import parse_reference
from mergelang.models.weights import INDEX
from mergelang.wording import KINDS
from tests.checkpoints import llama_shapes, write_model, write_tensors


def opened(folder, text="m"):
    return open_model(parse_reference(text, folder))


def told(folder, text="m"):
    with pytest.raises(InputError) as caught:
        opened(folder, text)
    return str(caught.value)


@pytest.fixture
def model(tmp_path):
    """The folder of a sound model, to be damaged."""
    return write_model(tmp_path / "m", layers=2)


def shard(folder, *, parts=2):
    """Splits the weights of a model into shards with an index."""
    shapes = llama_shapes(layers=2)
    names = list(shapes)
    where = {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = {name: shapes[name] for name in names[part::parts]}
        write_tensors(folder / file, mine, dict.fromkeys(mine, "BF16"))
        where |= dict.fromkeys(mine, file)
    (folder / "model.safetensors").unlink()
    write_index(folder, where)
    return where


def write_index(folder, where):
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))


def header(folder):
    """The header of the single file, and what stands behind it."""
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_header(folder, table, data=b""):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_a_folder_is_a_model(model, tmp_path):
    (model / "tokenizer.json").write_text("{}")
    (model / "notes.txt").write_text("no part of the model")
    found = opened(tmp_path)
    shapes = {name: extent.type.shape for name, extent in found.extents.items()}
    assert shapes == llama_shapes(layers=2)
    assert found.architecture == "llama"
    assert found.inventory.layering.count == 2
    assert [each.name for each in found.sidecars] == ["tokenizer.json"]


def test_shards_are_the_same_model_as_one_file(model, tmp_path):
    whole = opened(tmp_path).inventory
    shard(model)
    split = opened(tmp_path)
    assert len(split.files) == 2
    assert {name: split.inventory[name] for name in whole} == {name: whole[name] for name in whole}
    assert len(split.inventory) == len(whole)


def test_one_file_is_a_model_without_a_config(model, tmp_path):
    found = opened(tmp_path, "m/model.safetensors")
    assert (found.config, found.architecture) == (None, "")
    assert len(found.extents) == len(llama_shapes(layers=2))
    (model / "model.safetensors").rename(model / "weights.safetensors")
    assert len(opened(tmp_path).extents) == len(found.extents)


def test_extents_say_where_the_bytes_lie(model, tmp_path):
    table, data = header(model)
    for name, extent in opened(tmp_path).extents.items():
        with open(extent.path, "rb") as file:
            file.seek(extent.offset)
            low, high = table[name]["data_offsets"]
            assert file.read(extent.type.nbytes) == data[low:high]


def test_a_reference_is_the_same_however_it_is_written(model, tmp_path):
    plain = parse_reference("m", tmp_path)
    for text in ("./m", "m/", "x/../m", str(model)):
        assert parse_reference(text, tmp_path) == plain
    assert parse_reference("hf:org/name@main", tmp_path) != parse_reference("hf:org/name", tmp_path)


# What cannot be used: how the model is damaged, and what is said


def cut_in_header(model):
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[:100])


def cut_in_data(model):
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[:-10])


def pointer(model):
    (model / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n"
    )


def empty(model):
    (model / "model.safetensors").write_bytes(b"")


def changed(**facts):
    """Changes the entry of the final norm in the header."""

    def damage(model):
        table, data = header(model)
        table["model.norm.weight"] |= facts
        write_header(model, table, data)

    return damage


def lacks_a_key(model):
    table, data = header(model)
    del table["model.norm.weight"]["shape"]
    write_header(model, table, data)


def header_of(content):
    return lambda model: write_header(model, content)


def shard_missing(model):
    shard(model)
    (model / "model-00002-of-00002.safetensors").unlink()


def index_outside(model):
    where = shard(model)
    (model / "model-00001-of-00002.safetensors").rename(model.parent / "other.safetensors")
    write_index(model, dict.fromkeys(where, "../other.safetensors"))


def index_wrong(model):
    where = shard(model)
    write_index(model, where | {"model.norm.weight": where["lm_head.weight"]})


def index_of_more(model):
    write_index(model, shard(model) | {"model.more.weight": "model-00001-of-00002.safetensors"})


def index_rubbish(text):
    def damage(model):
        shard(model)
        (model / INDEX).write_text(text)

    return damage


def tensor_twice(model):
    where = shard(model)
    first, second = sorted(set(where.values()))
    write_tensors(model / second, {"model.norm.weight": (8,)}, {"model.norm.weight": "BF16"})
    write_tensors(model / first, {"model.norm.weight": (8,)}, {"model.norm.weight": "BF16"})
    write_index(model, {"model.norm.weight": first, "x": second})


def no_index(model):
    shard(model)
    (model / INDEX).unlink()


def no_weights(model):
    (model / "model.safetensors").unlink()


def instead(name):
    def damage(model):
        (model / "model.safetensors").rename(model / name)

    return damage


def config(content):
    return lambda model: (model / "config.json").write_text(content)


def adapter(model):
    (model / "adapter_config.json").write_text("{}")


def folders_named_so(model):
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").mkdir()
    (model / "other.safetensors").mkdir()


def test_files_of_one_header_are_looked_at_each_for_itself(model, tmp_path):
    twin = write_model(tmp_path / "twin", layers=2)
    cut_in_data(model)
    extents = opened(tmp_path, "twin").extents
    assert {each.path for each in extents.values()} == {str(twin / "model.safetensors")}
    assert "10 bytes of tensor lm_head.weight are missing" in told(tmp_path)
    assert opened(tmp_path, "twin").extents == extents


DAMAGES = [
    (cut_in_header, "E0610", "`m/model.safetensors` is not a whole .* ends after 100 bytes"),
    (cut_in_data, "E0613", "10 bytes of tensor lm_head.weight are missing"),
    (pointer, "E0610", "was it a Git LFS pointer"),
    (empty, "E0610", "not a whole safetensors file"),
    (header_of(b"{"), "E0610", "not a whole safetensors file"),
    (header_of(b"[]"), "E0610", "not a whole safetensors file"),
    (header_of(b"[" * 99999), "E0610", "not a whole safetensors file"),
    (header_of({"__metadata__": {"format": "pt"}}), "E0617", "holds no tensors"),
    (header_of({"a": 1}), "E0611", "wrong about tensor a"),
    (changed(data_offsets=[0, 2]), "E0611", "wrong about tensor model.norm.weight"),
    (changed(data_offsets=[-16, 0]), "E0611", "wrong about tensor model.norm.weight"),
    (changed(data_offsets=[16]), "E0611", "wrong about tensor model.norm.weight"),
    (changed(data_offsets=[10**6, 10**6 + 16]), "E0613", "of tensor model.norm.weight"),
    (changed(shape=[-1, -8]), "E0611", "wrong about tensor model.norm.weight"),
    (changed(shape=[2.0, 4]), "E0611", "wrong about tensor model.norm.weight"),
    (changed(shape="88"), "E0611", "wrong about tensor model.norm.weight"),
    (changed(dtype="F32"), "E0611", "wrong about tensor model.norm.weight"),
    (changed(dtype="F4"), "E0612", "model.norm.weight .* unknown dtype F4"),
    (changed(dtype=[]), "E0612", r"model.norm.weight .* unknown dtype \[\]"),
    (lacks_a_key, "E0611", "wrong about tensor model.norm.weight"),
    (shard_missing, "E0614", f"lacks model-00002-of-00002.safetensors, which its {INDEX} names"),
    (index_outside, "E0614", "lacks ../other.safetensors"),
    (index_wrong, "E0619", "model.norm.weight lies in model-0000\\d-of-00002.safetensors, and it"),
    (index_of_more, "E0619", "model.more.weight"),
    (index_rubbish("{"), "E0615", f"cannot make sense of {INDEX} in `m`"),
    (index_rubbish("{}"), "E0615", INDEX),
    (index_rubbish("[]"), "E0615", INDEX),
    (index_rubbish('{"weight_map": {}}'), "E0615", INDEX),
    (index_rubbish('{"weight_map": {"a": 1}}'), "E0615", INDEX),
    (tensor_twice, "E0616", "model-00001-of-00002.safetensors and model-00002-of-00002"),
    (no_index, "E0618", f"holds 2 .safetensors files and no {INDEX}"),
    (no_weights, "E0607", "the folder `m` holds no weights"),
    (instead("pytorch_model.bin"), "E0606", "`m` holds pytorch_model.bin, and no safetensors"),
    (instead("pytorch_model.bin"), "E0606", "`mergelang convert m -o m-safetensors --allow-p"),
    (instead("model.pt"), "E0606", "holds model.pt"),
    (instead("model.gguf"), "E0608", "`m` is quantised: its weights are a GGUF file"),
    (config('{"quantization_config": {"quant_method": "gptq"}}'), "E0608", r"config \(gptq\)"),
    (config('{"quantization_config": {"bits": 4}}'), "E0608", "has a quantization_config"),
    (changed(dtype="F8_E4M3", shape=[16]), "E0608", "model.norm.weight is F8_E4M3, with scales"),
    (config("{"), "E0615", "cannot make sense of config.json in `m`"),
    (config("[]"), "E0615", "config.json"),
    (config("[" * 99999), "E0615", "config.json"),
    (adapter, "E0609", "`m` is an adapter, not a model"),
    (folders_named_so, "E0607", "holds no weights"),
]


@pytest.mark.parametrize(
    ("damage", "code", "said"), DAMAGES, ids=[f"{i}-{each[1]}" for i, each in enumerate(DAMAGES)]
)
def test_a_model_that_cannot_be_used_is_refused_with_the_reason(
    damage, code, said, model, tmp_path
):
    damage(model)
    text = told(tmp_path)
    assert text.startswith(f"error[{code}]: ")
    assert re.search(said, text, re.DOTALL), text
    assert "\nhelp: " in text


PLACES = [
    ("", "E0601", "the source of a model is empty"),
    ("  ", "E0601", "the source of a model is empty"),
    ("hf:name", "E0602", "`hf:name` is not the name of a model on the Hub"),
    ("hf:a/b@", "E0602", "not the name of a model on the Hub"),
    ("n", "E0605", "there is no model at `n`"),
    ("mm", "E0605", "did you mean `m`?"),
    ("./x/../mm/", "E0605", "did you mean `./x/../m`?"),
    ("nowhere/at/all", "E0605", "relative paths start from the folder of the recipe"),
    ("m/config.json", "E0606", "`m/config.json` is a .json file, and no safetensors weights"),
    ("m/x.bin", "E0606", "`mergelang convert m/x.bin -o m/x-safetensors --allow-pickle`"),
    ("a\0b", "E0620", "a character that no path can have"),
    ("~no-such-user/m", "E0620", "there is no home folder `~no-such-user`"),
    ("x" * 999, "E0620", "file name too long"),
]


@pytest.mark.parametrize(("text", "code", "said"), PLACES, ids=[each[0][:9] for each in PLACES])
def test_a_place_where_no_model_is(text, code, said, model, tmp_path):
    (model / "x.bin").write_bytes(b"\x80")
    shown = told(tmp_path, text)
    assert shown.startswith(f"error[{code}]: ")
    assert said in shown


def test_a_file_that_may_not_be_read_is_told_with_the_reason(model, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mergelang.models.headers.open", refuse, raising=False)
    assert "cannot read m/model.safetensors: permission denied" in told(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    assert "cannot read m: permission denied" in told(tmp_path)


def test_every_code_about_models_is_told_here():
    told = {code for _, code, _ in (*DAMAGES, *PLACES)} | {"E0604", "E0621"}
    assert told == {code for code in KINDS if code.startswith("E06")}
