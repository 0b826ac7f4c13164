"""The lab's tokenizer: one token a word, letter, digit or sign, and nothing lost on the way back.

A lower-case word carries the space before it (a name also stands alone, as an answer); capitals
and digits are tokens of one character, so the models see how the words in capitals are spelled.
Encoding puts `<s>` in front; decoding is plain concatenation.
"""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from examples.lab.tasks import END_OF_PROMPT, NAMES, THINGS

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, START, END, UNKNOWN = range(len(SPECIAL))
WORDS = (
    *("has", "and", "how", "many", "together", "the", "richer", "who", "came", "first", "last"),
    *("do", "you", "spell", "backwards", "plainly", "twice", "shortened", "beheaded"),
    *("begin", "end"),
)
SIGNS = "?.+<>|:/- "
PIECES = rf"{END_OF_PROMPT}|Q:| ?[a-z]+|."


def vocabulary() -> tuple[str, ...]:
    """Every token, at the position of its number."""
    words = (f" {word}" for word in (*NAMES, *THINGS, *WORDS))
    letters = (*SIGNS, *string.digits, *string.ascii_uppercase)
    return (*SPECIAL, "Q:", END_OF_PROMPT, *letters, *NAMES, *words)


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of every model of the lab, as `AutoTokenizer` loads it from their folders."""
    numbers = {token: number for number, token in enumerate(vocabulary())}
    inner = Tokenizer(models.WordLevel(numbers, unk_token=SPECIAL[UNKNOWN]))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    inner.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[START]} $A", special_tokens=[(SPECIAL[START], START)]
    )
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=SPECIAL[PAD],
        bos_token=SPECIAL[START],
        eos_token=SPECIAL[END],
        unk_token=SPECIAL[UNKNOWN],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
