"""Methods that drop at random agree with mergekit 0.1.5 in distribution.

The golden files hold what 200 seeds gave there, element by element. Here as many draws come from a
few seeds and from a model whose layers all hold the same numbers: each tensor's name has a stream
of its own.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mergelang import load
from mergelang.source import Source
from tests.parity import golden, zoo
from tests.parity.cases import RANDOM

SEEDS = (1, 2, 3, 4)
LAYERS = golden.SEEDS // len(SEEDS)
PREFIX = "model.layers.{}."
TENSORS = ("mlp.down_proj.weight", "input_layernorm.weight")
"""A matrix, ranked row by row, and a vector."""

DENSITIES = {"rescaled": 0.4, "plain": 0.7, "steep": 0.5}
EPSILONS = {"rescaled": 0.15, "plain": 0.15, "steep": 0.4}
"""Of the cases with one fine-tune of weight 1. 0.15 is the default."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repeated")
    for member in zoo.FAMILIES["one"][2]:
        one = zoo.tensors("one", member)
        place = folder / f"one-{member}"
        place.mkdir()
        repeated = {
            PREFIX.format(layer) + name: one[PREFIX.format(0) + name]
            for layer in range(LAYERS) for name in TENSORS
        }  # fmt: skip
        save_file(repeated, place / "model.safetensors", metadata={"format": "pt"})
        (place / "config.json").write_text(json.dumps(zoo.llama(LAYERS)[1]))
    return folder


def draws(case: str, models: Path, into: Path) -> dict[str, np.ndarray]:
    """What a config gives, [draws, *shape] for each of TENSORS."""
    config = models / "config.yml"
    config.write_text(RANDOM[case])
    recipe, runs = load(config), []
    for seed in SEEDS:
        source = Source("seeded", f"seed {seed}\n{recipe.source.text}")
        replace(recipe, source=source).run(into=into / str(seed))
        runs.append(golden.read_file(into / str(seed) / "model.safetensors").tensors)
    return {
        name: np.stack([run[PREFIX.format(n) + name] for run in runs for n in range(LAYERS)])
        for name in TENSORS
    }


def one(member: str, name: str) -> np.ndarray:
    return zoo.tensors("one", member)[PREFIX.format(0) + name]


def chances(case: str, delta: np.ndarray) -> np.ndarray:
    """How probably each element is kept: all alike (DARE), or by rank in its row (DELLA)."""
    kind = case.rpartition("-")[2]
    density = np.full(delta.shape, DENSITIES[kind])
    if case.startswith("dare"):
        return density
    rank = np.argsort(np.argsort(np.abs(delta), axis=-1, kind="stable"), axis=-1)
    return density + EPSILONS[kind] * (2 * rank / (delta.shape[-1] - 1) - 1)


@pytest.mark.parametrize("case", RANDOM)
def test_the_answers_are_spread_as_those_of_mergekit(
    case: str, models: Path, tmp_path: Path
) -> None:  # fmt: skip
    theirs = golden.read(case).tensors
    for name, results in draws(case, models, tmp_path).items():
        mean, deviation, kept = (
            theirs[f"{PREFIX.format(0)}{name}/{part}"] for part in ("mean", "std", "kept")
        )
        has_the_same_mean(results, mean, deviation)
        if not case.endswith("-two"):
            keeps_as_many(case, name, (results != one("base", name)).sum(0))
            keeps_as_many(case, name, kept.astype(int))
            is_rescaled_exactly(case, name, results)


def has_the_same_mean(results: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Element by element within five standard deviations of the difference of two such means."""
    ours = results.astype(np.float64)
    spread = np.sqrt((deviation**2 + ours.std(0, ddof=1) ** 2) / golden.SEEDS)
    assert np.all(np.abs(ours.mean(0) - mean) <= 5 * spread + 1e-7)


def keeps_as_many(case: str, name: str, kept: np.ndarray) -> None:
    """Within four standard deviations of what the papers say, of all elements and of large ones."""
    delta = one("a", name) - one("base", name)
    seen = delta != 0
    chance, magnitude, times = chances(case, delta)[seen], np.abs(delta[seen]), kept[seen]
    for part in (magnitude > 0, magnitude > np.median(magnitude)):
        expected = golden.SEEDS * chance[part].sum()
        spread = np.sqrt(golden.SEEDS * (chance * (1 - chance))[part].sum())
        assert abs(times[part].sum() - expected) <= 4 * spread


def is_rescaled_exactly(case: str, name: str, results: np.ndarray) -> None:
    """To the sum of magnitudes before, or not at all."""
    base, delta = one("base", name), one("a", name) - one("base", name)
    for result in results:
        kept, factor = result != base, 1.0
        if case.endswith("-rescaled") and kept.any():
            magnitudes = np.abs(delta).astype(np.float64)
            factor = magnitudes.sum() / magnitudes[kept].sum()
        expected = base[kept] + delta[kept].astype(np.float64) * factor
        np.testing.assert_allclose(result[kept], expected, rtol=0, atol=2e-7)
