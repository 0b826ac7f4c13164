"""Small Llamas whose tokenizers differ, and the configs of mergekit that align them.

As in `zoo`, the models are made from raw bits and need not be stored. Tokenizers are of whole
words, so that every token has its id in the file. Knows nothing of mergers.
"""

import json
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.parity import zoo
from tests.parity.cases import config

MARKS = ["<s>", "</s>"]
PLAIN = [f"w{number}" for number in range(12)]
MEMBERS = {
    "base": (PLAIN, MARKS),
    "a": (PLAIN, [*MARKS, "<|user|>", "<|end|>"]),
    "b": ([*PLAIN[:9], "three", "four"], [*MARKS, "<|end|>", "<|tool|>"]),
    "c": ([*PLAIN[::-1], "four"], [*MARKS, "<|tool|>"]),
}
"""The words of each member's vocabulary, and its added tokens behind them."""


def tokens(member: str) -> dict[str, int]:
    words, added = MEMBERS[member]
    return {text: number for number, text in enumerate((*words, *added))}


def tensors(member: str) -> dict[str, np.ndarray]:
    """A member's tensors, float32."""
    rows, result = len(tokens(member)), {}
    for place, (name, shape) in enumerate(zoo.llama(2)[0].items()):
        if shape[0] == zoo.VOCABULARY:
            shape = (rows, *shape[1:])
        value = zoo._bell(shape, "words", member, place) * 0.1
        result[name] = (value + (1.0 if "norm" in name else 0.0)).astype(np.float32)
    return result


def write(folder: Path) -> None:
    """Writes every member as `folder/words-MEMBER`."""
    for member, (words, added) in MEMBERS.items():
        place = folder / f"words-{member}"
        place.mkdir(parents=True)
        save_file(tensors(member), place / "model.safetensors", metadata={"format": "pt"})
        settings = {**zoo.llama(2)[1], "vocab_size": len(tokens(member))}
        (place / "config.json").write_text(json.dumps(settings, indent=2))
        ids = tokens(member)
        entries = [
            {"id": ids[text], "content": text, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True} for text in added
        ]  # fmt: skip
        vocabulary = {text: ids[text] for text in words}
        (place / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": entries,
            "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
        }))  # fmt: skip
        (place / "tokenizer_config.json").write_text(json.dumps({
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
        }))  # fmt: skip


def digest() -> str:
    """A hash of all numbers and tokens."""
    state = blake2b(digest_size=16)
    for member in MEMBERS:
        state.update(json.dumps(tokens(member)).encode())
        for value in tensors(member).values():
            state.update(value.astype("<f4").tobytes())
    return state.hexdigest()


def _of(*members: str, **options: float) -> dict[str, dict[str, float]]:
    return {f"words-{member}": dict(options) for member in members}


_ALL = _of("base", "a", "b", "c", weight=1)
_TUNED = _of("a", "b", "c", weight=0.5)
_THREE = _of("a", "b", "c", weight=1)
BASE = "words-base"

OVERRIDES = """\
tokenizer:
  source: union
  tokens:
    <|user|>: {source: words-a, force: true}
    <|tool|>: {source: words-b}
    three: {source: {kind: zero}}
    w1: {source: {kind: zero}, force: true}
    <|end|>: {source: {kind: model_token, model: words-c, token: four}}
    <|new|>: {source: {kind: model_token, model: words-base, token_id: 3}, force: true}
"""

CASES = {
    "union-without-a-base": config("linear", _THREE) + "tokenizer_source: union\n",
    "union-of-four": config("linear", _ALL) + "tokenizer_source: union\n",
    "union-and-an-average-with-the-base": config("linear", _ALL, BASE)
    + "tokenizer_source: union\n",
    "union-with-a-base": config("task_arithmetic", _TUNED, BASE) + "tokenizer_source: union\n",
    "ties": config("ties", _of("a", "b", "c", weight=1, density=0.5), BASE)
    + "tokenizer_source: union\n",
    "slerp": config("slerp", _of("base", "a"), BASE, t=0.3) + "tokenizer_source: union\n",
    "stock": config("model_stock", _of("a", "b", "c"), BASE) + "tokenizer_source: union\n",
    "of-the-base": config("task_arithmetic", _TUNED, BASE) + "tokenizer_source: base\n",
    "of-another": config("task_arithmetic", _TUNED, BASE) + "tokenizer_source: words-b\n",
    "of-a-model": config("linear", _THREE) + "tokenizer_source: words-c\n",
    "overrides": config("linear", _ALL) + OVERRIDES,
    "padded": config("linear", _ALL)
    + "tokenizer:\n  source: union\n  pad_to_multiple_of: 16\n",
}  # fmt: skip
"""The configs by name."""
