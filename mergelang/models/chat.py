"""Chat templates: how a conversation is laid out as text, for the formats that have names.

Jinja, as `apply_chat_template` of transformers renders it: `messages` of role and content,
`add_generation_prompt`, and the special tokens of the tokenizer.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Format:
    """A template, and the tokens that it needs to be single tokens of the vocabulary."""

    template: str
    tokens: tuple[str, ...] = ()


def _turns(opening: str, closing: str, prompt: str, start: str = "") -> str:
    """A template that treats all roles alike. The parts are Jinja."""
    return (
        f"{start}{{% for message in messages %}}{opening}{{{{ message['content'] }}}}{closing}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


def _paired(system: str, user: str, assistant: str, start: str = "", prompt: str = "") -> str:
    """A template in which the system's text goes before the first message of the user.

    `system` is put around the system's text, `user` and `assistant` around theirs, in which `text`
    stands for it.
    """
    return (
        f"{start}{{% set ns = namespace(before='') %}}{{% for message in messages %}}"
        f"{{% set text = message['content'] | trim %}}"
        f"{{% if message['role'] == 'system' %}}{{% set ns.before = {system} %}}"
        f"{{% elif message['role'] == 'user' %}}"
        f"{{% set text = ns.before + text %}}{{% set ns.before = '' %}}{user}"
        f"{{% else %}}{assistant}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


FORMATS: dict[str, Format] = {
    "chatml": Format(
        _turns("<|im_start|>{{ message['role'] }}\n", "<|im_end|>\n", "<|im_start|>assistant\n"),
        ("<|im_start|>", "<|im_end|>"),
    ),
    "llama3": Format(
        "{{ bos_token }}{% for message in messages %}"
        "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
        "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "llama2": Format(
        _paired(
            "'<<SYS>>\\n' + text + '\\n<</SYS>>\\n\\n'",
            "{{ bos_token }}[INST] {{ text }} [/INST]",
            " {{ text }} {{ eos_token }}",
        )
    ),
    "mistral": Format(
        _paired(
            "text + '\\n\\n'", "[INST] {{ text }} [/INST]", " {{ text }}{{ eos_token }}",
            start="{{ bos_token }}",
        )
    ),
    "gemma": Format(
        _paired(
            "text + '\\n\\n'",
            "<start_of_turn>user\n{{ text }}<end_of_turn>\n",
            "<start_of_turn>model\n{{ text }}<end_of_turn>\n",
            start="{{ bos_token }}", prompt="<start_of_turn>model\n",
        ),
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    "phi3": Format(
        _turns("<|{{ message['role'] }}|>\n", "<|end|>\n", "<|assistant|>\n"),
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    ),
    "zephyr": Format(
        _turns("<|{{ message['role'] }}|>\n", "{{ eos_token }}\n", "<|assistant|>\n")
    ),
    "vicuna": Format(
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ message['content'] | trim }} {% elif message['role'] == 'user' %}"
        "USER: {{ message['content'] | trim }} {% else %}"
        "ASSISTANT: {{ message['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    ),
    "alpaca": Format(
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ message['content'] | trim }}\n\n{% elif message['role'] == 'user' %}"
        "### Instruction:\n{{ message['content'] | trim }}\n\n{% else %}"
        "### Response:\n{{ message['content'] | trim }}{{ eos_token }}\n\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}### Response:\n{% endif %}"
    ),
    "exaone": Format(
        "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
        "[|system|][|endofturn|]\n{% endif %}[|{{ message['role'] }}|]{{ message['content'] }}"
        "{% if message['role'] != 'user' %}[|endofturn|]{% endif %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}[|assistant|]{% endif %}",
        ("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]"),
    ),
}
"""The formats by name."""


def template_of(files: Iterable[Path]) -> str | None:
    """The chat template among the files of a model; None where it has none that can be read."""
    by_name = {path.name: path for path in files}
    try:
        if "chat_template.jinja" in by_name:
            return by_name["chat_template.jinja"].read_text(encoding="utf-8")
        for name in ("chat_template.json", "tokenizer_config.json"):
            if name in by_name:
                found = _text(json.loads(by_name[name].read_bytes()).get("chat_template"))
                if found:
                    return found
    except (OSError, ValueError, AttributeError):
        pass
    return None


def _text(value: Any) -> str | None:
    """A template, or the one called `default` of several."""
    if isinstance(value, list):
        value = {each.get("name"): each.get("template") for each in value if isinstance(each, dict)}
    if isinstance(value, dict):
        value = value.get("default")
    return value if isinstance(value, str) else None
