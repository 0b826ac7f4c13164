"""Charts out of characters, to the letter."""

from mergelang.draw.charts import Row, bar, columns, shade, spark, strip, strip_rows
from mergelang.draw.heat import CONFLICTS, COSINE, DIFFERENCE, cell_values, heat_lines, mixed
from mergelang.draw.histogram import histogram_facts, histogram_lines
from mergelang.measure import Histogram, Sums
from mergelang.models.roles import roles_of
from mergelang.models.towers import layering_of
from mergelang.tensors import Inventory, TensorType


def inventory(layers: int) -> Inventory:
    names = ["model.embed_tokens.weight"]
    for i in range(layers):
        names += [
            f"model.layers.{i}.{part}.weight"
            for part in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "input_layernorm")
        ]
    names += ["model.norm.weight", "lm_head.weight"]
    kinds = {name: TensorType("BF16", (2, 2)) for name in names}
    return Inventory(kinds, layering_of(names), {name: roles_of(name) for name in names})


def test_a_bar_has_eighths():
    assert [bar(share, 4) for share in (0, 0.5, 0.53125, 1, 2)] == [
        "    ", "██  ", "██▏ ", "████", "████",
    ]  # fmt: skip


def test_columns_along_the_layers():
    assert spark([0, 1, 2, 3, None, float("nan")]) == "▁▃▆█  "
    assert spark([5, 5]) == "▄▄"
    assert spark([None]) == " "


def test_a_chart_of_columns():
    assert columns([0, 1, 2, 4], 2) == ["   █", " ▄██"]
    assert columns([0, 0], 1) == ["  "]
    assert columns([1000, 1], 2) == ["█ ", "█▁"], "what is there can be seen"


def test_shades_tell_more_from_less():
    assert "".join(shade(value, 0, 4) for value in (0, 1, 2, 3, 4)) == "·░▒▓█"
    assert shade(None, 0, 1) == " "


def test_a_strip_fills_as_tensors_finish():
    rows = strip_rows(inventory(3), 10)
    done = dict.fromkeys(
        ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
         "model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.q_proj.weight"]
    )  # fmt: skip
    assert strip(rows, done) == [
        "attn       █▄·", "mlp        ···", "norm       ···", "embed      █", "last norm  ·",
        "head       ·",
    ]  # fmt: skip
    assert strip(rows, done, 3)[0] == "attn       ██ ▄▄ ··"


def test_more_layers_than_columns_share_them():
    rows = strip_rows(inventory(10), 4)
    assert [len(cell) for cell in rows[1].cells] == [3, 2, 3, 2]


def test_a_map_has_a_row_for_each_module_of_a_layer():
    rows = strip_rows(inventory(2), 10, fine=True)
    assert [row.label for row in rows] == [
        "input_layernorm", "mlp.up_proj", "self_attn.k_proj", "self_attn.q_proj", "last norm",
        "embed_tokens", "lm_head",
    ]  # fmt: skip


def test_experts_are_one_module():
    names = [f"model.layers.0.mlp.experts.{i}.w1.weight" for i in range(4)]
    held = Inventory({name: TensorType("F32", (1,)) for name in names}, layering_of(names))
    assert [row.label for row in strip_rows(held, 4, fine=True)] == ["mlp.experts.*.w1"]


def test_a_heat_map():
    rows = [Row("mlp", (("a", "b"), ("c",))), Row("head", (("d",),))]
    found = {"a": Sums(1, 1.0, 0.25), "b": Sums(1, 1.0, 0.25), "c": Sums(1, 1.0, 1.0)}
    assert cell_values(rows, found, DIFFERENCE) == [[0.5, 1.0], [None]]
    assert cell_values(rows, found, COSINE) == [[None, None], [None]]
    assert str(heat_lines(rows, found, DIFFERENCE, "#000000", "#ffffff", 2)) == """\
norm of the difference, relative to the norm of the model

layer  0  →
  mlp  ··██
 head\x20\x20\x20\x20

       0.5 ···░░░▒▒▒▓▓▓███ 1"""
    assert str(heat_lines(rows, {}, CONFLICTS, "#000000", "#ffffff")).startswith("share of")
    assert mixed("#000000", "#ff0000", 0.5) == "#800000"


def test_one_value_far_above_all_others_does_not_make_a_heat_map_one_shade():
    found = {str(i): Sums(1, 1.0, (i / 20) ** 2) for i in range(20)} | {"20": Sums(1, 1.0, 1e12)}
    rows = [Row("mlp", tuple((name,) for name in found))]
    shown = str(heat_lines(rows, found, DIFFERENCE, "#000000", "#ffffff")).splitlines()
    assert shown[3] == "  mlp  ····░░░░▒▒▒▒▓▓▓▓█████"
    assert shown[-1].strip() == "0 ···░░░▒▒▒▓▓▓███ 0.95 and more, up to 1e+06"


def test_a_histogram():
    found = Histogram(-1.0, 1.0, (1, 4, 2), 7, 0.1, 0.5, 1, 2)
    assert histogram_lines(found, 2) == [" █", "▄██", "▔▔▔", "-1 1"]
    assert histogram_facts(found) == [
        ("mean", "0.1"), ("deviation", "0.5"), ("zeros", "1 (14.29%)"), ("not finite", "2 values"),
    ]  # fmt: skip
    assert histogram_lines(Histogram(0, 0, (0,), 0, 0, 0, 0, 3)) == ["no finite value"]


def test_rows_with_wide_labels_begin_in_one_column():
    rows = [Row("混合", (("x",),)), Row("mlp", (("y",),))]
    assert strip(rows, {"y": None}) == ["混合  ·", "mlp   █"]
    assert heat_lines(rows, {}, DIFFERENCE, "blue", "red").plain.splitlines()[2:4] == [
        " 混合   ", "  mlp   ",
    ]  # fmt: skip
