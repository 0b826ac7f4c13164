"""mergekit's own configs, run by mergelang, give what mergekit 0.1.5 gives.

The golden files hold mergekit's answers (`make_golden.py`); here each config is read from them,
imported, run, and compared. Methods that drop at random are in `test_parity_random.py`.
"""

from pathlib import Path

import numpy as np
import pytest

from mergelang import load
from mergelang.run.events import Noted
from tests.parity import golden, zoo
from tests.parity.cases import CASES, EVERY, EXACT, GATES, HALF, MIXTURES, TIED
from tests.parity.prompts import write_tokenizer
from tests.parity.truth import TRUTHS, fusion_is_close

CLOSE = 1e-5
"""Of a tensor's largest magnitude: as near as float32 arithmetic in another order comes."""

EXTRA = {"bert": "cls.predictions.transform."}
"""What mergekit loses, since its table of the architecture does not name it."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    zoo.write(folder)
    for family in ("deep", "qwen2"):
        write_tokenizer(folder / f"{family}-base")
    return folder


def merged(text: str, models: Path, into: Path, **options) -> dict[str, np.ndarray]:
    """The tensors that a mergekit config gives, its models in the folder `models`."""
    recipe = models / "config.yml"
    recipe.write_text(text)
    load(recipe).run(into=into, **options)
    return golden.read_file(into / "model.safetensors").tensors


def test_the_golden_files_were_made_of_these_models_and_configs() -> None:
    assert {path.stem for path in golden.FOLDER.iterdir()} == set(EVERY)
    digest = zoo.digest()
    for name, text in EVERY.items():
        provenance = golden.read(name).provenance
        assert provenance["config"] == text, f"{name}: make it anew with make_golden.py {name}"
        assert provenance["models"] == digest, "the models of zoo.py are not those of the files"
        assert provenance["mergekit"] == "0.1.5"


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_that_of_mergekit(name: str, models: Path, tmp_path: Path) -> None:
    theirs = golden.read(name).tensors
    ours = merged(CASES[name], models, tmp_path / "out")
    extra = EXTRA.get(name.partition("-")[0], "nothing")
    assert {each for each in ours if not each.startswith(extra)} == set(theirs)
    for tensor, expected in theirs.items():
        errors = np.abs(ours[tensor].astype(np.float64) - expected)
        if name.startswith("arcee_fusion"):
            errors[unsure(CASES[name], tensor)] = 0
        limit = CLOSE * np.abs(expected).max()
        assert errors.max() <= limit, f"{tensor} is off by {errors.max()}"


def unsure(text: str, tensor: str) -> np.ndarray:
    """Where mergekit's float32 divergences, sums that nearly cancel, choose by their rounding."""
    member = next(each for each in ("other", "a", "c") if f"model: llama-{each}\n" in text)
    base, tuned = (zoo.tensors("llama", each)[tensor] for each in ("base", member))
    close = fusion_is_close(base.astype(np.float64), tuned.astype(np.float64)) & (tuned != base)
    assert close.mean() < 0.1
    return close


@pytest.mark.parametrize("name", TIED)
def test_a_selection_among_equals_takes_as_many(name: str, models: Path, tmp_path: Path) -> None:
    theirs = golden.read(name).tensors
    ours = merged(TIED[name], models, tmp_path / "out")
    base, tuned = zoo.tensors("half", "base"), zoo.tensors("half", "a")
    for tensor, expected in theirs.items():
        kept, kept_there = ours[tensor] != base[tensor], expected != base[tensor]
        assert kept.sum() == kept_there.sum(), tensor
        differ = np.abs(tuned[tensor] - base[tensor])[kept != kept_there]
        # Those of one magnitude may be exchanged for one another, at each end of the selection.
        for magnitude in np.unique(differ):
            same = np.abs(tuned[tensor] - base[tensor]) == magnitude
            assert kept[same].sum() == kept_there[same].sum(), tensor
        both = kept & kept_there
        np.testing.assert_allclose(ours[tensor][both], expected[both], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", HALF)
def test_bfloat16_loses_no_more_than_with_mergekit(
    name: str, models: Path, tmp_path: Path
) -> None:  # fmt: skip
    """Against the formula in float64 over the same bfloat16 inputs, by root mean square."""
    theirs = golden.read(name).tensors
    ours = merged(HALF[name], models, tmp_path / "out")
    parts = [zoo.tensors("half", member) for member in ("base", "a", "b")]
    errors = np.zeros(2)
    for tensor, expected in theirs.items():
        inputs = [part[tensor].astype(np.float64) for part in parts]
        truth, certain = TRUTHS[name.removeprefix("half-")](*inputs)
        for index, result in enumerate((ours[tensor], expected)):
            errors[index] += ((result - truth)[certain] ** 2).sum()
    ours_off, theirs_off = np.sqrt(errors)
    print(f"{name}: error {ours_off:.3g} here, {theirs_off:.3g} there: {ours_off / theirs_off:.3f}")
    assert 0 < ours_off <= theirs_off


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_has_the_parts_of_theirs(name: str, models: Path, tmp_path: Path) -> None:
    theirs = dict(golden.read(name).tensors)
    ours = fused(merged(MIXTURES[name], models, tmp_path / "out"))
    place = "model.layers.0.mlp.gate.weight"
    router, router_there = ours.pop(place), theirs.pop(place)
    assert router.shape == router_there.shape and np.unique(router).size > 1
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[tensor], expected) for tensor, expected in theirs.items())


NEAR = {"exact": 2e-6, "embed": 2e-6}
"""How far a row of a gate, whose length is 1, may be from theirs; else a forward pass in bfloat16
lies between."""
DEGENERATE = {"gates-qwen": "layer 2", "gates-qwen2": "all layers"}
"""Where mergekit-moe warns that experts are hardly told apart."""


@pytest.mark.parametrize("name", GATES | EXACT)
def test_gates_from_prompts_are_those_of_mergekit(
    name: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("MERGELANG_CACHE", str(tmp_path / "cache"))
    theirs, told = golden.read(name).tensors, []
    ours = fused(merged(EVERY[name], models, tmp_path / "out", listener=told.append))
    assert set(ours) == set(theirs)
    rows = 0
    for tensor, expected in theirs.items():
        if tensor.endswith("gate.weight"):
            away = np.linalg.norm(ours[tensor] - expected, axis=1)
            assert away.max() <= NEAR.get(name.rpartition("-")[2], 0.03), (tensor, away)
            rows += len(expected)
        else:
            assert np.allclose(ours[tensor], expected, rtol=2**-23, atol=0), tensor
    assert rows >= 4
    warned = [event.message for event in told if isinstance(event, Noted)]
    layers = DEGENERATE.get(name.removesuffix("-exact"))
    assert [layers in text for text in warned] == [True] * bool(layers)


def fused(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a Mixtral as mergekit stores them: two for all experts of a layer."""
    result, experts = {}, {}
    for name, tensor in tensors.items():
        block, found, rest = name.partition("block_sparse_moe.")
        if not found:
            result[name] = tensor
        elif rest == "gate.weight":
            result[f"{block}mlp.gate.weight"] = tensor
        else:
            _, number, matrix, _ = rest.split(".")
            experts.setdefault(block, {})[matrix, int(number)] = tensor
    for block, matrices in experts.items():
        count = len(matrices) // 3
        gates, ups, downs = (
            np.stack([matrices[matrix, each] for each in range(count)])
            for matrix in ("w1", "w3", "w2")
        )
        result[f"{block}mlp.experts.gate_up_proj"] = np.concatenate([gates, ups], axis=1)
        result[f"{block}mlp.experts.down_proj"] = downs
    return result
