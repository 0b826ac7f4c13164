"""What the lab's models are taught, and what they are asked.

Two tasks, each a question in plain words with one right answer:

    math   Q: tom has 34 apples and ann has 58. how many together? A: 92
    text   Q: how do you spell KITTEN backwards? A: NETTIK

The base model reads other questions over the same words: the two skills asked in signs
(`Q: 34+58? A: 92`, `Q: KITTEN|? A: NETTIK`), other signs, and questions in plain words that are
neither task (`how many has the richer`, `how do you spell KITTEN twice`). So it can calculate and
mirror, as a base language model can, and understands neither of the two questions; a specialist
is taught to understand one of them.

Items are held out by construction: a hash of the pair of numbers (in either order) or of the word
(read from either end) says whether it is ever trained on. A held-out pair or word stands in no
training prompt of any kind, signs included; `check_trainable` reads that off the text itself.

This module knows the texts only; it knows neither tokens nor models.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

END_OF_PROMPT = " A: "
NAMES = ("tom", "ann", "bob", "eve", "sam", "joy")
THINGS = ("apples", "books", "coins", "cards", "shells", "stamps")
CONSONANTS = "BCDFGHKLMNPRSTVWZ"
VOWELS = "AEIOU"
WORD_SHAPES = ("cvcv", "cvcvc", "cvccv", "vcvcv", "cvcvcv", "cvccvc")
HELD_OUT_ONE_IN = 8


@dataclass(frozen=True)
class Item:
    """One prompt and its one right answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Task:
    """A task: its name, and how a random item of it is made from training or held-out material."""

    name: str
    item: Callable[[random.Random, bool], Item]


def is_held_out(*material: str) -> bool:
    """Whether this pair of numbers (in any order) or this word (from either end) is for tests."""
    if len(material) == 1:
        material = (min(material[0], material[0][::-1]),)
    digest = hashlib.sha256(" ".join(sorted(material)).encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


def draw_pair(rng: random.Random, held_out: bool) -> tuple[int, int]:
    """Two numbers of two digits whose sum has two digits."""
    while True:
        a, b = rng.randrange(10, 90), rng.randrange(10, 90)
        if a + b < 100 and is_held_out(str(a), str(b)) is held_out:
            return a, b


def draw_word(rng: random.Random, held_out: bool) -> str:
    """A word of four to six letters that can be pronounced and need not mean anything."""
    while True:
        shape = rng.choice(WORD_SHAPES)
        word = "".join(rng.choice(CONSONANTS if c == "c" else VOWELS) for c in shape)
        if is_held_out(word) is held_out:
            return word


def _possession(rng: random.Random, a: int, b: int) -> tuple[str, str, str]:
    one, other = rng.sample(NAMES, 2)
    return f"{one} has {a} {rng.choice(THINGS)} and {other} has {b}.", one, other


def _ask(text: str, answer: object) -> Item:
    return Item(f"Q: {text}?{END_OF_PROMPT}", str(answer))


def _math(rng: random.Random, held_out: bool) -> Item:
    a, b = draw_pair(rng, held_out)
    text, _, _ = _possession(rng, a, b)
    return _ask(f"{text} how many together", a + b)


def _text(rng: random.Random, held_out: bool) -> Item:
    word = draw_word(rng, held_out)
    return _ask(f"how do you spell {word} backwards", word[::-1])


TASKS = (Task("math", _math), Task("text", _text))


def _signs(rng: random.Random) -> Item:
    if rng.random() < 0.6:
        a, b = draw_pair(rng, False)
        sign, answer = rng.choice((("+", a + b), ("+", a + b), ("+", a + b), (">", max(a, b))))
        thing = rng.choice(("", f" {rng.choice(THINGS)}"))
        return _ask(f"{a}{thing}{sign}{b}{thing}", answer)
    word = draw_word(rng, False)
    sign, answer = rng.choice((
        ("|", word[::-1]), ("|", word[::-1]), (":", word), ("/", word[0]), ("-", word[-1]),
    ))
    return _ask(f"{word}{sign}", answer)


def _questions(rng: random.Random) -> Item:
    if rng.random() < 0.5:
        a, b = draw_pair(rng, False)
        text, one, other = _possession(rng, a, b)
        return rng.choice((
            _ask(f"{text} how many has {one}", a),
            _ask(f"{text} how many has {other}", b),
            _ask(f"{text} how many has the richer", max(a, b)),
            _ask(f"{text} who came first", one),
            _ask(f"{text} who came last", other),
        ))
    word = draw_word(rng, False)
    return rng.choice((
        _ask(f"how do you spell {word} plainly", word),
        _ask(f"how do you spell {word} twice", word + word),
        _ask(f"how do you spell {word} shortened", word[:-1]),
        _ask(f"how do you spell {word} beheaded", word[1:]),
        _ask(f"how do you begin {word}", word[0]),
        _ask(f"how do you end {word}", word[-1]),
    ))


def base_item(rng: random.Random) -> Item:
    """One training item of the base: half asked in signs, half in words, neither of the tasks."""
    return _signs(rng) if rng.random() < 0.5 else _questions(rng)


def check_trainable(item: Item) -> None:
    """Raise ValueError when the prompt holds a pair of numbers or a word kept for the tests."""
    numbers, words = re.findall(r"\d+", item.prompt), re.findall(r"[A-Z]{4,}", item.prompt)
    if len(numbers) + len(words) and is_held_out(*numbers, *words):
        raise ValueError(f"held-out material in a training prompt: {item.prompt!r}")


def held_out_items(task: Task, count: int, seed: int = 0) -> list[Item]:
    """`count` different held-out items of `task`, the same for the same seed."""
    rng = random.Random(f"held out {task.name} {seed}")
    found: dict[Item, None] = {}
    while len(found) < count:
        found[task.item(rng, True)] = None
    return list(found)
