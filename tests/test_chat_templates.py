"""Chat templates: what they make of a conversation in transformers, and which an output gets."""

import json
import re
from pathlib import Path

import pytest

import mergelang
from mergelang.models.chat import FORMATS, template_of
from tests.checkpoints import write_model, write_tokenizer

transformers = pytest.importorskip("transformers")

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Add 1 and 2."},
]
RENDERED = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nAdd 1 and 2.<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nAdd 1 and 2.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi there [/INST] Hello! </s>"
    "<s>[INST] Add 1 and 2. [/INST]",
    "mistral": "<s>[INST] Be brief.\n\nHi there [/INST] Hello!</s>[INST] Add 1 and 2. [/INST]",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nHi there<end_of_turn>\n"
    "<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nAdd 1 and 2.<end_of_turn>\n"
    "<start_of_turn>model\n",
    "phi3": "<|system|>\nBe brief.<|end|>\n<|user|>\nHi there<|end|>\n"
    "<|assistant|>\nHello!<|end|>\n<|user|>\nAdd 1 and 2.<|end|>\n<|assistant|>\n",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nHi there</s>\n<|assistant|>\nHello!</s>\n"
    "<|user|>\nAdd 1 and 2.</s>\n<|assistant|>\n",
    "vicuna": "Be brief. USER: Hi there ASSISTANT: Hello!</s>USER: Add 1 and 2. ASSISTANT:",
    "alpaca": "Be brief.\n\n### Instruction:\nHi there\n\n### Response:\nHello!</s>\n\n"
    "### Instruction:\nAdd 1 and 2.\n\n### Response:\n",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hi there\n"
    "[|assistant|]Hello![|endofturn|]\n[|user|]Add 1 and 2.\n[|assistant|]",
}  # fmt: skip
"""What the formats prescribe for a conversation that waits for an answer."""


@pytest.fixture
def folder(tmp_path) -> Path:
    own = {"plain": None, "one": "{{ 'one' }}", "two": "{{ 'two' }}", "three": "{{ 'two' }}"}
    for name, template in own.items():
        model = write_model(tmp_path / name)
        config = {} if template is None else {"chat_template": template}
        write_tokenizer(model, [f"w{i}" for i in range(28)], **config)
    return tmp_path


def run(folder: Path, value: str, expression: str = "mean(plain, one, two, three)"):
    names = ("plain", "one", "two", "three")
    text = f"{expression} {value}"
    lines = [f'model {each} = "{each}"' for each in names if re.search(rf"\b{each}\b", text)]
    lines.append(f'output "out" = {expression} {{ chat_template: {value} }}')
    (folder / "test.merge").write_text("\n".join(lines) + "\n")
    recipe = mergelang.load(folder / "test.merge")
    warnings = [each.code for each in recipe.check().warnings]
    recipe.run()
    return transformers.AutoTokenizer.from_pretrained(folder / "out"), warnings


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_lays_out_a_conversation_as_it_prescribes(folder, name):
    tokenizer, warnings = run(folder, f'"{name}"', "plain")
    said = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    assert said == RENDERED[name]
    known = tokenizer.get_vocab()
    lacking = [token for token in FORMATS[name].tokens if token not in known]
    assert warnings == (["W2401"] if lacking else [])


def test_without_a_prompt_for_the_answer_a_conversation_ends_with_its_last_turn(folder):
    for name in FORMATS:
        tokenizer, _ = run(folder, f'"{name}"', "plain")
        said = tokenizer.apply_chat_template(TALK[:3], tokenize=False)
        assert RENDERED[name].startswith(said.rstrip()) and "Hello!" in said


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("from(one)", "one"),
        ("auto", "two"),
        ('file("mine.jinja")', "mine"),
        ("\"{{ 'inline' }}\"", "inline"),
    ],
)
def test_the_template_of_an_output(folder, value, rendered):
    (folder / "mine.jinja").write_text("{{ 'mine' }}")
    tokenizer, warnings = run(folder, value)
    assert tokenizer.apply_chat_template(TALK, tokenize=False) == rendered
    assert not warnings


def test_another_template_takes_the_place_of_the_donors(folder):
    (folder / "one" / "chat_template.json").write_text('{"chat_template": "{{ 1 }}"}')
    tokenizer, _ = run(folder, "from(two)", "one")
    names = {path.name for path in (folder / "out").iterdir()}
    assert "chat_template.jinja" in names and "chat_template.json" not in names
    assert "chat_template" not in json.loads((folder / "out/tokenizer_config.json").read_text())
    assert tokenizer.apply_chat_template(TALK, tokenize=False) == "two"


def test_the_template_of_a_model_is_read_from_any_of_its_files(tmp_path):
    config = tmp_path / "tokenizer_config.json"
    several = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    config.write_text(json.dumps({"chat_template": several}))
    assert template_of([config]) == "d"
    config.write_text("{")
    assert template_of([config]) is None
    jinja = tmp_path / "chat_template.jinja"
    jinja.write_text("j")
    assert template_of([config, jinja]) == "j"
