"""mergekit's configs with tokenizers give the rows that mergekit 0.1.5 gives, token by token.

Only the order of words that several models add is not compared: mergekit takes it from a hash
table, so that it differs from run to run.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from mergelang import load
from mergelang.models.tokenizer import tokenizer_of
from tests.parity import golden, words
from tests.parity.test_parity import CLOSE


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    words.write(folder)
    return folder


def test_the_golden_files_were_made_of_these_models_and_configs() -> None:
    assert {path.stem for path in golden.WORDS.iterdir()} == set(words.CASES)
    for name, text in words.CASES.items():
        provenance = golden.read(name, golden.WORDS).provenance
        assert provenance["config"] == text, f"{name}: make it anew with make_golden_words.py"
        assert provenance["models"] == words.digest()
        assert provenance["mergekit"] == "0.1.5"


@pytest.mark.parametrize("name", words.CASES)
def test_every_token_has_the_row_that_mergekit_gives_it(
    name: str, models: Path, tmp_path: Path
) -> None:
    theirs, provenance = golden.read(name, golden.WORDS)
    recipe = models / f"{name}.yml"
    recipe.write_text(words.CASES[name])
    load(recipe).run(into=tmp_path / "out")
    ours = golden.read_file(tmp_path / "out" / "model.safetensors").tensors
    there = json.loads(provenance["tokens"])
    here = tokenizer_of((tmp_path / "out").iterdir(), "out").tokens
    assert here.keys() == there.keys()
    first = words.tokens("base" if "base" in words.CASES[name] else "a")
    if name not in ("of-another", "of-a-model"):
        assert all(here[token] == there[token] == number for token, number in first.items())
    for tensor, expected in theirs.items():
        got = ours[tensor]
        assert got.shape == expected.shape
        limit = CLOSE * np.abs(expected).max()
        if "layers" in tensor:
            assert np.abs(got - expected).max() <= limit
            continue
        for token, number in there.items():
            error = np.abs(got[here[token]].astype(np.float64) - expected[number]).max()
            assert error <= limit, f"{tensor} of {token} is off by {error}"
        spare = slice(len(there), None)
        assert np.abs(got[spare] - expected[spare]).max(initial=0) <= limit
