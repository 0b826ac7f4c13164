"""The tokenizer of the small models: a token for each word of the configs' prompts."""

from pathlib import Path

from tests.parity.cases import WORDS
from tests.parity.zoo import VOCABULARY


def write_tokenizer(folder: Path) -> None:
    """Puts it beside a model."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys(word for text in WORDS for word in text.split())
    numbers = {"<s>": 0, "<unk>": 1} | {word: 2 + place for place, word in enumerate(words)}
    assert len(numbers) <= VOCABULARY
    inner = Tokenizer(WordLevel(numbers, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="<s>", unk_token="<unk>"
    ).save_pretrained(folder)
