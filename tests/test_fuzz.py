"""A few damaged models, recipes and locks of each kind; `python -m tests.fuzz` runs 25,000."""

import pytest

from tests.fuzz import run


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_models_recipes_and_locks_are_told_soon_and_in_little_room(seed):
    said: list[str] = []
    told = run(150, 250, seed, said.append)
    assert not said
    assert sum(told["models"].values()) == 150 and sum(told["recipes"].values()) == 250
    assert len(told["models"]) > 5 and len(told["recipes"]) > 15
