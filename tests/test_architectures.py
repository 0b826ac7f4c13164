"""Architectures that nobody has told us about: merged, made taller, loaded by transformers.

Nothing in the package names these architectures; what is known of them is read off their tensors
and configs.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import mergelang
from mergelang.errors import InputError
from mergelang.models.checkpoint import open_model
from mergelang.models.reference import parse_reference
from mergelang.models.roles import roles
from mergelang.models.towers import layering_of
from mergelang.tensors import Layering, TensorType
from tests import zoo
from tests.checkpoints import write_tensors

NUMBER = re.compile(r"\.(\d+)\.")
ALL = pytest.mark.parametrize("name", zoo.KINDS)


def run(models: Path, out: Path, expression: str) -> dict[str, torch.Tensor]:
    text = f'model a = "{models}/a"\nmodel b = "{models}/b"\noutput "{out}" = {expression}\n'
    mergelang.load(text).run()
    return load_file(out / "model.safetensors")


@ALL
def test_a_merge_loads_whole_and_has_the_logits_of_the_reference(name, tiny, tmp_path):
    kind, folder = zoo.KINDS[name], tiny(name)
    run(folder, tmp_path / "out", "0.6 * a + 0.4 * b")
    a, b = (load_file(folder / each / "model.safetensors") for each in "ab")
    wanted = {
        key: (0.6 * a[key].double() + 0.4 * b[key].double()).to(a[key].dtype) for key in a
    }  # fmt: skip
    (tmp_path / "wanted").mkdir()
    save_file(wanted, tmp_path / "wanted" / "model.safetensors", {"format": "pt"})
    config = (folder / "a" / "config.json").read_text()
    (tmp_path / "wanted" / "config.json").write_text(config)
    expected = zoo.logits(zoo.load(kind, tmp_path / "wanted"), kind)
    got = zoo.logits(zoo.load(kind, tmp_path / "out"), kind)
    assert torch.isfinite(expected).all() and expected.std() > 1e-3
    assert float(abs(got - expected).max() / abs(expected).max()) < 2e-5
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads(config)


@ALL
def test_layers_are_put_upon_another_and_the_config_says_so(name, tiny, tmp_path):
    kind, folder = zoo.KINDS[name], tiny(name)
    made = run(folder, tmp_path / "out", kind.taller)
    stored = {each: load_file(folder / each / "model.safetensors") for each in "ab"}
    moved = 0
    for key, tensor in made.items():
        found = NUMBER.search(key)
        tower = next((each for prefix, each in kind.layers if key.startswith(prefix)), "")
        if found and tower:
            model, layer = tower.split()[int(found[1])]
            # T5 has one table of positions for all layers of a side, in the first.
            layer = 0 if "relative_attention_bias" in key else layer
            moved += 1
            assert torch.equal(tensor, stored[model][NUMBER.sub(f".{layer}.", key, count=1)]), key
        else:
            assert any(torch.equal(tensor, each[key]) for each in stored.values()), key
            if kind.taller == zoo.TALLER:
                first = re.search(r"embed(?!_out)|wte|wpe", key)
                assert torch.equal(tensor, stored["a" if first else "b"][key]), key
    assert moved > len(made) / 2
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    for path, count in kind.counts:
        *above, key = path.split(".")
        section = config
        for each in above:
            section = section[each]
        assert section[key] == count
    # Lists with an entry for each layer follow their layers, those of the text model's.
    origins = [int(each[1:]) for each in kind.layers[0][1].split()]
    for now, was in _sections(config, json.loads((folder / "a" / "config.json").read_text())):
        if "layer_types" in was:
            assert now["layer_types"] == [was["layer_types"][layer] for layer in origins]
    model = zoo.load(kind, tmp_path / "out")
    assert torch.isfinite(zoo.logits(model, kind)).all()


def _sections(now, was):
    """Two configs and all that is nested in them, pair by pair."""
    yield now, was
    for key, inner in was.items():
        if isinstance(inner, dict):
            yield from _sections(now[key], inner)


def test_lists_by_layer_and_lists_of_layers_follow_their_layers(tiny, tmp_path):
    kinds = zoo.KINDS["qwen2"], zoo.KINDS["qwen2_5_vl"]
    for name, kind in zip(("qwen2", "qwen2_5_vl"), kinds, strict=True):
        run(tiny(name), tmp_path / name, kind.taller)
    config = json.loads((tmp_path / "qwen2" / "config.json").read_text())
    full, sliding = "full_attention", "sliding_attention"
    assert config["layer_types"] == [full, full, sliding, sliding, sliding]
    config = json.loads((tmp_path / "qwen2_5_vl" / "config.json").read_text())
    assert config["vision_config"]["fullatt_block_indexes"] == [1, 3]


WINDOWS = {
    "gemma2": {}, "gemma3": {"sliding_window_pattern": 3},
    "qwen3": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen2": {},
}  # fmt: skip
"""Settings of configs as they are published, which list nothing layer by layer."""


@pytest.mark.parametrize("name", WINDOWS)
def test_what_a_config_leaves_to_the_place_of_a_layer_is_spelled_out(name, tiny, tmp_path):
    """transformers reckons which layers see all tokens; in a stack they stand elsewhere."""
    kind = zoo.KINDS[name]
    for each in "ab":
        shutil.copytree(tiny(name) / each, tmp_path / each)
        path = tmp_path / each / "config.json"
        config = json.loads(path.read_text()) | WINDOWS[name]
        path.write_text(json.dumps({k: v for k, v in config.items() if "layer_types" not in k}))
    before = zoo.load(kind, tmp_path / "a").config.layer_types
    assert len(set(before)) == 2
    for expression, origins in ((zoo.TALLER, (0, 1, 2, 2, 3)), ("a[1..]", (1, 2, 3))):
        run(tmp_path, tmp_path / "out", expression)
        after = zoo.load(kind, tmp_path / "out").config.layer_types
        assert after == [before[layer] for layer in origins]
    # Where each layer keeps its place, transformers is left to reckon.
    run(tmp_path, tmp_path / "out", "a[..3]")
    assert zoo.load(kind, tmp_path / "out").config.layer_types == before[:3]
    assert "layer_types" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_a_pattern_of_an_unknown_architecture_is_told_where_layers_leave_it(tiny, tmp_path):
    for each in "ab":
        shutil.copytree(tiny("llama") / each, tmp_path / each)
        path = tmp_path / each / "config.json"
        newest = {"model_type": "newest", "sliding_window_pattern": 2}
        path.write_text(json.dumps(json.loads(path.read_text()) | newest))
    with pytest.raises(InputError, match=r"`sliding_window_pattern` in config\.json cannot say"):
        run(tmp_path, tmp_path / "out", zoo.TALLER)
    run(tmp_path, tmp_path / "out", "stack(a[..2], b)")


def test_dense_layers_among_sparse_ones_are_told_where_the_config_cannot_say_it(tiny, tmp_path):
    with pytest.raises(InputError, match=r"`first_k_dense_replace` in config\.json cannot say"):
        run(tiny("deepseek_v3"), tmp_path / "out", "stack(a, b)")
    run(tiny("deepseek_v3"), tmp_path / "out", "stack(a[..1], b)")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["first_k_dense_replace"] == 2 and config["num_hidden_layers"] == 5
    zoo.load(zoo.KINDS["deepseek_v3"], tmp_path / "out")


EMBEDDINGS = {
    "gpt2": {"transformer.wte.weight", "transformer.wpe.weight"},
    "gpt_neox": {"gpt_neox.embed_in.weight"},
    "t5": {"shared.weight"},
    "mamba": {"backbone.embeddings.weight"},
    "qwen2_5_vl": {"model.embed_tokens.weight", "visual.patch_embed.proj.weight"},
    "llama": {"model.embed_tokens.weight"},
}
HEADS = {
    "llama": {"lm_head.weight"}, "gpt_neox": {"embed_out.weight"}, "gpt2": set(),
    "vit": {"classifier.weight", "classifier.bias"}, "llava": {"language_model.lm_head.weight"},
}  # fmt: skip


def with_role(inventory, role):
    return {name for name in inventory if role in inventory.roles[name]}


@pytest.mark.parametrize(("name", "role", "wanted"), [
    *((name, "embed", wanted) for name, wanted in EMBEDDINGS.items()),
    *((name, "head", wanted) for name, wanted in HEADS.items()),
])  # fmt: skip
def test_embeddings_and_heads_are_found(name, role, wanted, tiny):
    assert with_role(open_model(parse_reference("a", tiny(name))).inventory, role) == wanted


@ALL
def test_every_matrix_of_a_layer_is_of_attention_or_feed_forward(name, tiny):
    inventory = open_model(parse_reference("a", tiny(name))).inventory
    norms = with_role(inventory, "norm")
    matrices = {
        key for key in inventory if inventory.layering.tower(key) and len(inventory[key].shape) == 2
    }  # fmt: skip
    if name == "mamba":
        assert matrices and all("mixer" in each for each in matrices)
        return
    assert matrices == {
        key for key in matrices if len(inventory.roles[key] & {"attn", "mlp"}) == 1
    }
    assert not norms & matrices and norms


def test_an_architecture_in_a_language_of_its_own_is_understood():
    """Nonsense for names: numbers, shapes and the config say where everything is."""
    shapes = {"net.glorb.weight": (64, 8), "net.zib.weight": (8,), "frob.weight": (64, 8)}
    for layer in range(5):
        shapes[f"net.quux.{layer}.wug.a.weight"] = (8, 8)
        shapes[f"net.quux.{layer}.pling.weight"] = (8,)
    tensors = {name: TensorType("F32", shape) for name, shape in shapes.items()}
    config = {"inner": {"n_blocks": 5}, "vocab_size": 64, "n_heads": 5}
    layering = layering_of(tensors, config)
    assert layering == Layering("net.quux.", 5, ("inner", "n_blocks"))
    found = roles(tensors, layering, config)
    assert found["net.glorb.weight"] == {"embed"} and found["frob.weight"] == {"head"}
    assert found["net.zib.weight"] == found["net.quux.3.pling.weight"] == {"norm"}


@pytest.mark.parametrize(
    ("prefixes", "config", "wanted"),
    [
        ({"model.layers.": 4}, {"num_hidden_layers": 4}, {"model.layers.": ("num_hidden_layers",)}),
        ({"model.layers.": 4}, None, {"model.layers.": ()}),
        # The layer that predicts the token after the next one is none of those counted.
        ({"model.layers.": 5}, {"num_hidden_layers": 4, "num_nextn_predict_layers": 1},
         {"model.layers.": ("num_hidden_layers",)}),
        # Two matrices of a projector are no tower, three layers that no config speaks of are one.
        ({"model.layers.": 4, "projector.": 2}, {"num_hidden_layers": 4},
         {"model.layers.": ("num_hidden_layers",)}),
        ({"model.layers.": 4, "speech.blocks.": 3}, {"num_hidden_layers": 4},
         {"model.layers.": ("num_hidden_layers",), "speech.blocks.": ()}),
        # Equal numbers are told apart by what the sections are for.
        ({"model.layers.": 4, "visual.blocks.": 4},
         {"text_config": {"num_hidden_layers": 4}, "vision_config": {"depth": 4}},
         {"model.layers.": ("text_config", "num_hidden_layers"),
          "visual.blocks.": ("vision_config", "depth")}),
        ({"encoder.layers.": 4, "decoder.layers.": 4}, {"encoder_layers": 4, "decoder_layers": 4},
         {"encoder.layers.": ("encoder_layers",), "decoder.layers.": ("decoder_layers",)}),
        # An old T5 states one number for both sides.
        ({"encoder.block.": 4, "decoder.block.": 4}, {"num_layers": 4},
         {"encoder.block.": ("num_layers",), "decoder.block.": ("num_decoder_layers",)}),
    ],
)  # fmt: skip
def test_towers_are_found_and_where_the_config_counts_their_layers(prefixes, config, wanted):
    names = [
        f"{prefix}{layer}.{part}.weight"
        for prefix, count in prefixes.items() for layer in range(count) for part in ("up", "down")
    ]  # fmt: skip
    found = layering_of(names, config)
    assert {tower.prefix: tower.stated for tower in found.towers} == wanted


def test_a_layer_beyond_those_counted_stays_beyond_the_last(tmp_path):
    shapes = {f"model.layers.{layer}.mlp.up.weight": (8, 8) for layer in range(3)}
    (tmp_path / "a").mkdir()
    write_tensors(tmp_path / "a" / "model.safetensors", shapes, dict.fromkeys(shapes, "F32"), 0)
    config = {"model_type": "new", "num_hidden_layers": 2, "num_nextn_predict_layers": 1}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    for expression, layers in (("a[..1]", 1), ("stack(a, a[1..])", 3)):
        text = f'model a = "{tmp_path}/a"\noutput "{tmp_path}/out" = {expression}\n'
        mergelang.load(text).run()
        made = load_file(tmp_path / "out" / "model.safetensors")
        last = f"model.layers.{layers}.mlp.up.weight"
        assert len(made) == layers + 1
        assert torch.equal(made[last], load_file(tmp_path / "a" / "model.safetensors")[
            "model.layers.2.mlp.up.weight"
        ])  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "count"), [([0, 1], 2), ([0, 1, 2, 3], 4), ([0, 1, 2, 5], 3), ([], 0)]
)
def test_layers_are_those_of_the_tensors_and_what_lies_beyond_stays_beyond(numbers, count):
    """Of three layers, and one numbered 5 that is none: a part for prediction."""
    before = {f"m.layers.{each}.w" for each in (0, 1, 2, 5)} | {"m.norm", "m.side.0.w"}
    names = {f"m.layers.{each}.w" for each in numbers} | {"m.norm", "m.side.0.w", "m.side.1.w"}
    known = Layering("m.layers.", 3, others=(Layering("m.side.", 1),))
    found = known.over(names, before)
    assert (found.count, found.others[0].count) == (count, 2)
    assert known.over(before, before) is known
