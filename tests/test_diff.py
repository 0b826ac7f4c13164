"""`mergelang diff`: recipes and locks by what they mean, models by their numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from mergelang.cli.app import main
from tests.checkpoints import write_arrays, write_model

RECIPE = """\
param t = 0.25
model a = "a"
model b = "b"
let soup = linear(a { weight: t }, b { weight: 0.5 })
let mixed = slerp(soup, b, t: 0.3)
output "out" = a + 0.5 * (mixed - a)
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main(["diff", *map(str, words)])
        return code, *capfd.readouterr()

    return call


def compared(call, old: str, new: str) -> list[str]:
    Path("a.merge").write_text(old)
    Path("b.merge").write_text(new)
    code, out, err = call("a.merge", "b.merge")
    assert (code, err) == (0, "")
    return out.splitlines()


def test_layout_comments_and_order_of_statements_are_no_difference(call):
    other = "# why\n" + RECIPE.replace("let soup", "\n\nlet  soup").replace("0.5 }", "\n 0.5, }")
    assert compared(call, RECIPE, other) == ["no difference between the two recipes"]
    lines = RECIPE.splitlines(True)
    assert compared(call, RECIPE, "".join([lines[2], *lines[:2], *lines[3:]])) == [
        "no difference between the two recipes"
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("t: 0.3", "t: 0.4", ["~ parameter mixed t: 0.3 → 0.4"]),
        ("param t = 0.25", "param t = 0.3", ["~ parameter soup weight: [0.25, 0.5] → [0.3, 0.5]"]),
        ("linear(a { weight: t }, b { weight: 0.5 })", "mean(a, b)", [
            "~ node soup: linear(a, b) → mean(a, b)",
            "- parameter soup normalize: true", "- parameter soup weight: [0.25, 0.5]",
            "- operator linear: 1", "+ operator mean: 1",
        ]),
        ('output "out"', 'output "there"', [
            "+ output there: a + by * (mixed - a)", "- output out: a + by * (mixed - a)",
        ]),
        ("let mixed", 'model c = "c"\nlet mixed', ['+ node c: "c"']),
        ('model b = "b"', 'model b = "b2"', ['~ node b: "b" → "b2"']),
        ("param t", "seed 3\nparam t", ["~ seed: 0 → 3"]),
        ("0.5 * (mixed", "1.5 * (mixed", ["~ parameter out.2 by: 0.5 → 1.5"]),
    ],
)  # fmt: skip
def test_what_changes_a_recipe_is_told_and_nothing_else(call, old, new, said):
    assert sorted(compared(call, RECIPE, RECIPE.replace(old, new))) == sorted(said)
    other = {"+": "-", "-": "+", "~": "~"}
    back = [other[line[0]] + line[1:].partition(":")[0] for line in said]
    told = [line.partition(":")[0] for line in compared(call, RECIPE.replace(old, new), RECIPE)]
    assert sorted(told) == sorted(back)


def test_a_new_name_is_told_once(call):
    other = RECIPE.replace("soup", "stew").replace("b", "z").replace('"z"', '"b"')
    assert compared(call, RECIPE, other.replace("laz", "lab"))[0] == "> node b is z now"


def test_as_data(call):
    Path("a.merge").write_text(RECIPE)
    Path("b.merge").write_text(RECIPE.replace("t: 0.3", "t: 0.4"))
    said = json.loads(call("a.merge", "b.merge", "--json")[1])
    assert said == {"kind": "recipe", "equal": False, "differences": [
        {"how": "changed", "kind": "parameter", "name": "mixed t", "was": "0.3", "now": "0.4"}
    ]}  # fmt: skip
    assert json.loads(call("a.merge", "a.merge", "--json")[1])["equal"] is True


def test_two_locks(call, tmp_path, capfd):
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed)
    Path("x.merge").write_text(RECIPE)
    assert main(["lock", "x.merge"]) == 0
    Path("old.lock").write_text(Path("x.merge.lock").read_text())
    write_model(tmp_path / "a", seed=9)
    assert main(["lock", "x.merge", "--update", "a", "--set", "t=0.5"]) == 0
    capfd.readouterr()
    code, out, err = call("old.lock", "x.merge.lock")
    assert (code, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "~ parameter soup weight", "~ file a model.safetensors", "+ set t"
    ]  # fmt: skip
    assert call("old.lock", "old.lock")[1] == "no difference between the two locks\n"
    Path("kept").write_text(Path("old.lock").read_text())  # told by its first line
    assert call("kept", "x.merge.lock") == (code, out, err)


def test_things_of_two_kinds_are_told(call):
    Path("x.merge").write_text(RECIPE)
    assert call("x.merge", "x.merge.lock") == (2, "", """\
error[E2136]: x.merge is a recipe and x.merge.lock is a lock
help: compare two recipes, two locks or two models
""")
    assert call("x.merge.lock", "x.merge.lock")[2].startswith("error[E2101]: there is nothing at")


LAYER = "model.layers.{}.mlp.up_proj.weight"


def models(folder: Path, dtype: str = "F32") -> tuple[np.ndarray, np.ndarray]:
    """Two models with an equal tensor, one that differs over several pieces, two of one only."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 500)).astype(np.float32)
    y = x + rng.standard_normal(x.shape).astype(np.float32)
    one = np.ones(4)
    write_arrays(folder / "a", {
        LAYER.format(0): (x, dtype), LAYER.format(1): (one, dtype),
        "model.norm.weight": (one.copy(), dtype),
        "count": (np.arange(3), "I64"),
    })  # fmt: skip
    write_arrays(folder / "b", {
        LAYER.format(0): (y, dtype), LAYER.format(1): (one, dtype),
        "lm_head.weight": (one.copy(), dtype),
        "count": (np.arange(4), "I64"),
    })  # fmt: skip
    return x, y


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
def test_models_are_compared_tensor_by_tensor(call, tmp_path, dtype):
    import torch

    kind = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16,
            "F64": torch.float64}[dtype]  # fmt: skip
    x, y = (torch.from_numpy(each).to(kind).double().numpy() for each in models(tmp_path, dtype))
    said = json.loads(call("a", "b", "--json")[1])
    found = {each["name"]: each for each in said["tensors"]}
    assert {name: each["status"] for name, each in found.items()} == {
        LAYER.format(0): "differs", LAYER.format(1): "equal", "model.norm.weight": "only in A",
        "lm_head.weight": "only in B", "count": "other shape",
    }  # fmt: skip
    both = found[LAYER.format(0)]
    assert both["max"] == np.abs(x - y).max()
    assert both["mean"] == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
    cosine = (x * y).sum() / np.sqrt((x * x).sum()) / np.sqrt((y * y).sum())
    assert both["cosine"] == pytest.approx(cosine, rel=1e-12)
    assert both["different"] == np.count_nonzero(x != y)
    layer = next(each for each in said["groups"] if each["name"] == "layer 0")
    assert (layer["different"], layer["mean"]) == (1, both["mean"])
    role = next(each for each in said["groups"] if each["name"] == "mlp")
    assert (role["equal"], role["different"]) == (1, 1)
    assert role["mean"] == pytest.approx(both["mean"] * x.size / (x.size + 4))


def test_the_text_shows_what_differs_and_sums_up_by_layer_and_role(call, tmp_path):
    models(tmp_path)
    code, out, err = call("a", "b")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["tensor", "max", "|a-b|", "mean", "|a-b|", "cosine"]
    rows = {line.split("  ")[0]: line for line in lines[1:5]}
    assert set(rows) == {LAYER.format(0), "count", "model.norm.weight", "lm_head.weight"}
    assert "0.70" in rows[LAYER.format(0)] and rows["count"].endswith("I64 [3], I64 [4]")
    assert rows["lm_head.weight"].endswith("  only in B")
    assert not any(line.startswith(LAYER.format(1)) for line in lines)
    assert {"outside", "layer 0", "layer 1", "mlp", "norm", "head", "other"} <= {
        line.split("  ")[0] for line in lines
    }
    assert lines[-1] == "5 tensors: 1 equal, 4 not"
    assert call("a", "a")[1] == "no difference: 4 tensors, equal in every byte\n"


def test_nan_zeros_and_dtypes_are_differences_too(call, tmp_path):
    nan, zero = np.array([1.0, np.nan]), np.array([0.0, 0.0])
    write_arrays(tmp_path / "a", {"n": (nan, "F32"), "z": (zero, "F32"), "d": (nan[:1], "F32")})
    write_arrays(tmp_path / "b", {"n": (nan[::-1].copy(), "F32"), "z": (-zero, "F32"),
                                  "d": (nan[:1], "BF16")})  # fmt: skip
    found = {t["name"]: t for t in json.loads(call("a", "b", "--json")[1])["tensors"]}
    assert [found["n"][key] for key in ("status", "max", "different")] == ["differs", "nan", 2]
    assert (found["z"]["status"], found["z"]["max"], found["z"]["cosine"]) == ("differs", 0, None)
    assert (found["d"]["status"], found["d"]["different"]) == ("differs", 0)
    assert "F32 [1], BF16 [1]" in call("a", "b")[1]
    assert json.loads(call("a", "a", "--json")[1])["equal"] is True


def test_many_differences_are_cut_off(call, tmp_path):
    for seed, name in enumerate("ab"):
        write_model(tmp_path / name, seed=seed, layers=8)
    out = call("a", "b")[1]
    assert "... and 35 more that differ less; `--json` has them all\n" in out
    assert out.endswith("\n75 tensors: 0 equal, 75 not\n")
