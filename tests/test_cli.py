"""Every command as a user calls it: what it prints, where, and with which exit code."""

import json
import os
import re

import pytest

from mergelang import __version__
from mergelang.cli.app import main
from mergelang.cli.command import COMMANDS
from tests.checkpoints import write_model

RECIPE = """\
mergelang 1

param t = 0.4 { min: 0, max: 1 }

model base = "my models/base"
model chat = "my models/chat"
model math = "my models/math"

let blend = ties(chat { weight: 0.5, density: 0.6 }, math { weight: 0.5 }, base: base)
let steered = base + t * (blend - base)

output "out/blend" = steered { dtype: f32 }
output "out/größe" = match {
  @attn => slerp(chat, math, t: t),
  @embed => base,
  _ => blend,
}
output "out/tall" = stack(chat[..2], math[2..])
"""

UNUSED = 'model a = "my models/base"\nmodel b = "my models/chat"\noutput "out/one" = a\n'

WRONG = 'model a = "my models/base"\nlet b = lnear(a)\noutput "out" = aa\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a space and an umlaut in its name, which is also where we stand."""
    folder = tmp_path / "für later"
    for seed, name in enumerate(("base", "chat", "math")):
        write_model(folder / "my models" / name, seed=seed)
    (folder / "mix.merge").write_text(RECIPE)
    (folder / "unused.merge").write_text(UNUSED)
    (folder / "wrong.merge").write_text(WRONG)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call(folder, capfd):
    """Calls a command; gives exit code, stdout, stderr."""

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", out + err), "no control characters in a pipe"
        return code, out, err

    return call


def test_check_says_that_a_recipe_is_right(call):
    assert call("check", "mix.merge") == (0, "mix.merge: ok, 3 outputs\n", "")


def test_check_shows_warnings_on_stderr_and_counts_them(call):
    code, out, err = call("check", "unused.merge")
    assert (code, out) == (0, "unused.merge: ok, 1 output, 1 warning\n")
    assert err.startswith("warning[W0201]") and err.endswith("\n") and not err.endswith("\n\n")


def test_check_shows_every_mistake_on_stderr(call):
    code, out, err = call("check", "wrong.merge")
    assert (code, out) == (1, "")
    assert re.findall(r"error\[(\w+)\]", err) == ["E0301", "E0201"]
    assert " --> wrong.merge:2:9\n" in err


def test_check_of_the_text_alone_needs_no_models(call, folder):
    text = RECIPE.replace("my models", "not there")
    (folder / "far.merge").write_text(text)
    assert call("check", "far.merge")[0] == 1
    assert call("check", "far.merge", "--no-sources") == (0, "far.merge: ok, 3 outputs\n", "")
    assert call("graph", "far.merge")[0] == 1
    assert call("graph", "far.merge", "--no-sources")[0] == 0


def test_a_recipes_paths_start_from_its_own_folder(call, folder, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    recipe = folder / "mix.merge"
    assert call("check", recipe)[0] == 0
    assert call("run", recipe, "out/tall")[0] == 0
    assert (folder / "out" / "tall" / "model.safetensors").is_file()
    assert call("run", recipe, "out/tall", "-o", "here")[0] == 0
    assert (elsewhere / "here" / "model.safetensors").is_file()


UNTIDY = 'model  a="my models/base"\noutput "o"=a\n'
TIDY = 'model a = "my models/base"\noutput "o" = a\n'


def test_fmt_formats_in_place_and_keeps_mode_and_link(call, folder):
    untidy = folder / "untidy.merge"
    untidy.write_text(UNTIDY)
    untidy.chmod(0o640)
    (folder / "link.merge").symlink_to(untidy)
    assert call("fmt", "link.merge", "mix.merge") == (0, "", "reformatted link.merge\n")
    assert (folder / "link.merge").is_symlink()
    assert untidy.read_text() == TIDY
    assert untidy.stat().st_mode & 0o777 == 0o640
    assert call("fmt", "link.merge", "mix.merge") == (0, "", "")
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".merge"}


def test_fmt_check_and_diff_change_nothing(call, folder):
    untidy = folder / "untidy.merge"
    untidy.write_text(UNTIDY)
    said = call("fmt", "--check", "mix.merge", "untidy.merge")
    assert said == (1, "would reformat untidy.merge\n", "")
    code, out, err = call("fmt", "--diff", "untidy.merge")
    assert (code, err) == (0, "")
    assert out.startswith("--- untidy.merge\n+++ untidy.merge (formatted)\n@@ ")
    assert out.endswith('-output "o"=a\n+model a = "my models/base"\n+output "o" = a\n')
    assert call("fmt", "--diff", "--check", "untidy.merge") == (1, out, "")
    assert call("fmt", "--check", "mix.merge") == (0, "", "")
    assert untidy.read_text() == UNTIDY


def test_fmt_leaves_a_wrong_file_alone_and_formats_the_others(call, folder):
    torn, untidy = folder / "torn.merge", folder / "untidy.merge"
    torn.write_text("let  x = (\n")
    untidy.write_text(UNTIDY)
    code, out, err = call("fmt", "torn.merge", "untidy.merge")
    assert (code, out) == (1, "")
    assert "error[E0104]" in err and err.endswith("reformatted untidy.merge\n")
    assert torn.read_text() == "let  x = (\n" and untidy.read_text() == TIDY


@pytest.mark.parametrize("command", ["run", "check", "plan", "inspect"])
def test_an_input_that_may_not_be_read_is_no_mistake_of_the_recipe(
    call, folder, monkeypatch, command
):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    write_model(folder / "m")
    (folder / "x.merge").write_text('model m = "m"\noutput "o" = m\n')
    monkeypatch.setattr("mergelang.models.headers.open", refuse, raising=False)
    code, _, err = call(command, "m" if command == "inspect" else "x.merge")
    assert code == 3
    assert err.startswith("error[E0604]: cannot read m/model.safetensors: permission denied\n")
    (folder / "x.merge").write_text('model m = "m"\noutput "o" = m + nothing\n')
    if command != "inspect":
        assert call(command, "x.merge")[0] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_fmt_says_when_it_cannot_write(call, folder):
    (folder / "untidy.merge").write_text(UNTIDY)
    folder.chmod(0o500)
    code, _, err = call("fmt", "untidy.merge")
    folder.chmod(0o700)
    assert (code, err.splitlines()[0]) == (
        2, "error[E1016]: cannot write untidy.merge: permission denied"
    )  # fmt: skip


def test_plan_shows_what_is_computed_and_copied_and_why(call):
    code, out, err = call("plan", "mix.merge")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines()[:-1])) <= 80
    for line in (
        "out/blend: 39 tensors, F32, ",
        "  compute  39  ", " passes  steered = base + t * (blend - base)\n",
        "  copy      1  ", " 1 pass    bytes of base as they are\n",
        "slerp(chat, math, t: t)\n", "  beside: config.json\n", "in all: reads ",
        ", peak memory about ", f"disk of {os.getcwd()}: ", " needed, ", " free\n",
        "  drop  18  ", " outside the slice 2..4\n",
    ):  # fmt: skip
        assert line in out
    only = call("plan", "mix.merge", "out/tall", "-o", "x/y")[1]
    assert only.startswith("x/y: 39 tensors") and "out/" not in only


def test_plan_and_dry_run_are_the_same_and_write_nothing(call, folder):
    before = sorted(folder.rglob("*"))
    assert call("run", "mix.merge", "--dry-run")[1] == call("plan", "mix.merge")[1]
    as_json = call("run", "mix.merge", "--dry-run", "--json")[1]
    assert json.loads(as_json).keys() == json.loads(call("plan", "mix.merge", "--json")[1]).keys()
    assert call("run", "mix.merge", "--dry-run", "--memory", "1MB")[0] == 3
    assert sorted(folder.rglob("*")) == before


def test_plan_says_when_the_disk_is_too_small(call, monkeypatch):
    import shutil

    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    last = call("plan", "mix.merge")[1].splitlines()[-1]
    assert re.fullmatch(r"disk of .+: [\d.]+ kB needed, 1 kB free: [\d.]+ kB too little", last)


def test_run_writes_all_outputs_and_says_so_on_stderr(call, folder):
    code, out, err = call("run", "mix.merge", "--set", "t=0.25", "--threads", "1")
    assert (code, out) == (0, "")
    names = ("blend", "größe", "tall")
    for name, line in zip(names, err.splitlines(), strict=True):
        assert re.fullmatch(rf"out/{name}: [\d.]+ kB in \d+\.\d s, [\d.]+ [kM]B/s", line)
    for name in names:
        files = {path.name for path in (folder / "out" / name).iterdir()}
        assert files == {
            "model.safetensors", "config.json", "README.md", "mergelang.json",
            "provenance.intoto.json",
        }  # fmt: skip
    record = json.loads((folder / "out" / "blend" / "mergelang.json").read_text())
    assert record["settings"] == {"t": "1/4"} or record["settings"] == {"t": "0.25"}


def test_settings_change_the_result_and_threads_and_memory_do_not(call, folder):
    def result(*words):
        assert call("run", "mix.merge", "out/blend", *words)[0] == 0
        return (folder / "out" / "blend" / "model.safetensors").read_bytes()

    plain = result()
    assert result("--threads", "2", "--memory", "512MiB") == plain
    assert result("--set", "t=0.4") == plain
    assert result("--set", "t=0.5") != plain


def test_run_of_named_outputs_writes_only_those(call, folder):
    assert call("run", "mix.merge", "out/tall", "--threads", "1", "out/blend")[0] == 0
    assert {path.name for path in (folder / "out").iterdir()} == {"tall", "blend"}


def test_run_tells_its_events_as_json_lines_and_nothing_else(call):
    code, out, err = call("run", "mix.merge", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    kinds = [each["event"] for each in told]
    assert (code, err) == (0, "")
    assert kinds[:2] == ["RunStarted", "OutputStarted"] and kinds[-1] == "RunDone"
    assert kinds.count("OutputDone") == 3 and kinds.count("TensorDone") == 3 * 39


def test_run_tells_warnings_and_mistakes_as_events_too(call):
    code, out, err = call("run", "unused.merge", "--json")
    first = json.loads(out.splitlines()[0])
    assert (code, err) == (0, "")
    assert first["event"] == "Diagnostics" and first["diagnostics"][0]["code"] == "W0201"
    code, out, err = call("run", "wrong.merge", "--json")
    assert (code, err) == (1, "")
    (line,) = out.splitlines()
    assert [each["code"] for each in json.loads(line)["diagnostics"]] == ["E0301", "E0201"]


def test_a_run_that_fails_ends_with_three_and_leaves_no_output(call, folder):
    path = folder / "my models" / "chat" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2:] = b"\xc0\x7f"  # a NaN in bf16
    path.write_bytes(data)
    code, out, err = call("run", "mix.merge", "out/blend")
    assert (code, out) == (3, "")
    assert re.search(r"^error\[E0903\]: tensor lm_head\.weight of ", err, re.MULTILINE)
    assert not (folder / "out" / "blend").exists()
    code, out, err = call("run", "mix.merge", "out/blend", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (3, "")
    assert [each["event"] for each in events[-2:]] == ["RunFailed", "Diagnostics"]
    assert call("run", "mix.merge", "out/blend", "--allow-nonfinite")[0] == 0


def test_too_little_memory_is_refused_before_the_run(call, folder):
    code, _, err = call("run", "mix.merge", "--memory", "100MiB")
    assert code == 3 and err.startswith("error[E0908]: 100MiB of memory is too little")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("form", "start"),
    [
        (("--format", "text"), " "), ((), " "), (("--format", "mermaid"), "flowchart TD\n"),
        (("--format", "dot"), "digraph recipe {\n"), (("--format", "svg"), "<svg xmlns="),
        (("--format", "json"), "{"),
    ],
)  # fmt: skip
def test_graph_draws_in_each_format(call, form, start):
    code, out, err = call("graph", "mix.merge", *form)
    assert (code, err) == (0, "")
    assert out.startswith(start) and "blend" in out and out.endswith("\n")


def test_the_svg_is_well_formed_and_shows_every_box_and_line(call):
    from xml.etree import ElementTree

    tree = ElementTree.fromstring(call("graph", "mix.merge", "--format", "svg")[1])
    drawn = json.loads(call("graph", "mix.merge", "--json")[1])
    name = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{name}rect")) == len(drawn["nodes"])
    assert len(tree.findall(f"{name}path")) == len(drawn["edges"])
    texts = {each.text for each in tree.findall(f"{name}text")}
    assert {"out/größe", "steered", "0.6"} <= texts


def test_inspect_shows_tensors_and_totals(call):
    code, out, err = call("inspect", "my models/chat")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    head = "tensor                                          dtype  shape   size  roles"
    assert lines[0] == head
    assert lines[2] == (
        "model.layers.0.input_layernorm.weight           BF16   8       16 B  norm"
    )
    assert lines[-5:] == [
        "",
        "39 tensors, 2,888 parameters, 5.78 kB",
        "architecture llama, 4 layers",
        "by dtype: BF16 5.78 kB",
        "by role: embed 512 B, norm 144 B, mlp 3.07 kB, attn 1.54 kB, head 512 B",
    ]
    assert max(map(len, lines)) <= 80
    alone = call("inspect", "my models/chat/model.safetensors")[1]
    assert alone.splitlines()[1] == lines[1]


def test_ops_lists_all_operators_by_family_in_80_columns(call):
    from mergelang.ops.registry import operators

    code, out, err = call("ops")
    assert (code, err) == (0, "")
    assert re.findall(r"^  (\w+)  ", out, re.MULTILINE) == [
        each.name for each in sorted(operators().values(), key=lambda each: families(out, each))
    ]
    assert "\ntask vectors\n" in out
    assert max(map(len, out.splitlines())) <= 80


def families(out, operator):
    return out.splitlines().index(operator.family)


def test_ops_tells_all_about_one_operator(call):
    code, out, err = call("ops", "ties")
    assert (code, err) == (0, "")
    assert out.startswith("ties(*deltas, base:, weight: 1, density: 0.2, normalize: true")
    for line in (
        "\nformula  ", "elect(trim(d_1), ..., trim(d_n))\n",
        "inputs   1 or more models with `base:`, or task vectors without it\n",
        "result   a model with `base:`, else a task vector\n",
        "paper    TIES-Merging, arXiv 2306.01708\n",
        "  density    number in (0, 1], default 0.2, of each input\n",
        "  normalize  true | false, default true\n",
    ):
        assert line in out


def test_every_operator_says_what_it_is_for_in_80_columns(call):
    from mergelang.ops.registry import operators

    for each in operators().values():
        facts = each.signature
        assert facts.summary and facts.formula and facts.use
        out = call("ops", each.name)[1]
        assert f"\nuse for  {facts.use.split()[0]} " in out
        assert max(map(len, out.splitlines())) <= 80, each.name


def test_explain_tells_about_one_code_and_lists_all(call):
    code, out, err = call("explain", "e0402")
    assert (code, err) == (0, "")
    assert out.startswith("E0402: a model is wanted here") and "\nright:" in out
    code, out, err = call("explain")
    assert (code, err) == (0, "")
    assert out.startswith("E0101  ") and "\nW0201  " in out


JSON = [
    ("check", "mix.merge"), ("check", "unused.merge"), ("check", "wrong.merge"),
    ("plan", "mix.merge"), ("plan", "unused.merge"), ("plan", "wrong.merge"),
    ("graph", "mix.merge"), ("graph", "unused.merge"), ("graph", "wrong.merge"),
    ("inspect", "my models/base"), ("inspect", "nowhere"), ("ops",), ("ops", "dare"),
    ("ops", "nothing"), ("check", "nowhere.merge"),
]  # fmt: skip


@pytest.mark.parametrize("words", JSON, ids=" ".join)
def test_json_is_one_object_on_stdout_and_nothing_else(call, words):
    code, out, err = call(*words, "--json")
    said = json.loads(out)
    assert isinstance(said, dict) and err == ""
    assert code == call(*words)[0]
    if code:
        assert said["ok"] is False and said["diagnostics"]
    if "unused.merge" in words:
        assert [each["code"] for each in said["diagnostics"]] == ["W0201"]


def test_a_diagnostic_as_json_says_what_and_where(call):
    said = json.loads(call("check", "wrong.merge", "--json")[1])["diagnostics"][0]
    assert said == {
        "code": "E0301", "severity": "error", "message": "there is no operator `lnear`",
        "help": ["did you mean `linear`?", "`mergelang ops` lists all operators"],
        "file": "wrong.merge", "line": 2, "column": 9, "end_line": 2, "end_column": 14,
    }  # fmt: skip


def test_help_and_version(call):
    code, overview, err = call("--help")
    assert (code, err) == (0, "")
    assert call("-h")[1] == overview and call() == (2, "", overview)
    assert call("--version") == (0, f"mergelang {__version__}\n", "")
    names = re.findall(r"^  ([a-z][\w-]*) {2,}", overview, re.MULTILINE)
    assert names == list(COMMANDS)
    for name in names:
        code, out, err = call(name, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: mergelang {name} ")
        assert max(map(len, out.splitlines())) <= 80
