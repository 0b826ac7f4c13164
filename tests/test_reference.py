"""Every block of grammar/REFERENCE.md is run, and every operator stands in it.

A `merge` block is right, without a warning, and written as the formatter writes it; one without
`model` statements speaks of the models of the page. A `merge-error` block is told exactly the
`text` block behind it. Other blocks there are none.
"""

import re
from pathlib import Path

import pytest

from mergelang.check import check
from mergelang.errors import RecipeError
from mergelang.lang import format, parse
from mergelang.ops.registry import operators
from mergelang.source import Source
from tests.checkpoints import (
    llama_shapes,
    write_adapter,
    write_model,
    write_seeing,
    write_tensors,
    write_tokenizer,
)

PAGE = (Path(__file__).parent.parent / "grammar" / "REFERENCE.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (PAGE.count("\n", 0, each.start()) + 1, each[1], each[2]) for each in BLOCK.finditer(PAGE)
]
MODELS = ("base", "chat", "math", "code", "wide", "more", "vlm")


def blocks(tag):
    return [pytest.param(text, id=f"line {line}") for line, each, text in BLOCKS if each == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    for name in ("base", "chat", "math", "code"):
        write_model(folder / "models" / name, layers=32)
    words = [f"w{i}" for i in range(28)]
    talk = write_model(folder / "models" / "talk", layers=32, vocabulary=34)
    write_tokenizer(folder / "models" / "base", words)
    write_tokenizer(talk, [*words, "<|user|>", "<|end|>"], chat_template="{{ messages }}")
    write_model(folder / "models" / "wide", layers=32, vocabulary=40)
    extra = {"extra.one": (8,), "extra.two": (8,)}
    write_model(folder / "models" / "more", layers=32, extra=extra)
    shapes = llama_shapes(layers=32)
    inputs = {name: shape[1:] * 2 for name, shape in shapes.items() if "proj" in name}
    for name in ("chat", "math"):
        for kind, held in (("fisher", shapes), ("gram", inputs)):
            path = folder / "models" / f"{name}.{kind}.safetensors"
            write_tensors(path, held, dict.fromkeys(held, "F32"))
    adapters = folder / "adapters"
    for name in ("python", "sql"):
        write_adapter(adapters / name)
    dora = {"model.layers.0.self_attn.q_proj.lora_magnitude_vector": (8,)}
    write_adapter(adapters / "dora", extra=dora, use_dora=True)
    tables = dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (34, 8))
    speaker = write_adapter(adapters / "talk", extra=tables)
    write_tokenizer(speaker, [*words, "<|user|>", "<|end|>"], chat_template="{{ messages }}")
    write_seeing(folder / "models" / "vlm", layers=32)
    (folder / "house.merge").write_text(
        'model base = "models/base"\nmodel chat = "models/chat"\nlet blend = mean(base, chat)\n'
    )
    return folder


def told(text, folder):
    try:
        return check(Source("recipe.merge", text), folder=folder).diagnostics
    except RecipeError as error:
        return error.diagnostics


@pytest.mark.parametrize("text", blocks("merge"))
def test_an_example_is_right(text, folder):
    if "model " not in text:
        used = [each for each in MODELS if re.search(rf"\b{each}\b", text)]
        given = [f'model {each} = "models/{each}"' for each in used]
        lets = re.findall(r"^let (\w+)", text, re.MULTILINE)
        last = [each for each in lets if len(re.findall(rf"\b{each}\b(?!:)", text)) == 1]
        shown = [f'output "out/{each}" = {each}' for each in last]
        text = "\n".join([*given, text, *shown]) + "\n"
    assert [str(each) for each in told(text, folder)] == []


@pytest.mark.parametrize("text", blocks("merge"))
def test_an_example_is_written_as_the_formatter_writes_it(text):
    tree, _ = parse(Source("recipe.merge", text))
    assert format(tree) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(text, BLOCKS[index + 1][2], id=f"line {line}")
        for index, (line, tag, text) in enumerate(BLOCKS)
        if tag == "merge-error"
    ],
)
def test_a_wrong_example_is_told_what_stands_below_it(text, expected, folder):
    assert "\n\n".join(map(str, told(text, folder))) + "\n" == expected


def test_there_are_no_blocks_that_are_not_run():
    tags = [tag for _, tag, _ in BLOCKS]
    assert len(tags) == PAGE.count("```") / 2
    for before, tag in zip(["", *tags], tags, strict=False):
        assert tag in ("merge", "merge-error") or (before, tag) == ("merge-error", "text")


def test_every_operator_is_shown():
    ours = [name for name, each in operators().items() if each.signature.origin == "mergelang"]
    examples = "".join(text for _, tag, text in BLOCKS if tag == "merge")
    for name in ours:
        assert re.search(rf"\b{name}\(", examples), name
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
