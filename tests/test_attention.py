"""Which layers attend to near tokens only: what is spelled out is what transformers reckons."""

import pytest
from transformers import AutoConfig

from mergelang.models.attention import FIRST, FROM, GLOBAL, KEY, LAST, PATTERN, spelled_out

WINDOW = {"use_sliding_window": True, "sliding_window": 64}
SAID = [{}, *({key: every} for key in (PATTERN, GLOBAL) for every in (2, 5))]
KINDS = {
    **{kind: SAID for kind in (*LAST, *FIRST)},
    **{kind: [{}, *(WINDOW | {"max_window_layers": first} for first in (0, 2, 9))]
       for kind in sorted(FROM - {"qwen2_vl", "qwen2_5_vl"})},
}  # fmt: skip
"""Of each architecture settings by which it may reckon, or which it does not look at."""


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_of_the_kinds_that_transformers_makes_them(kind):
    found = set()
    for settings in KINDS[kind]:
        for count in (3, 8, 13):
            config = AutoConfig.for_model(kind, num_hidden_layers=count, **settings)
            made = spelled_out({"model_type": kind, **settings}, count)
            if KEY in made:
                assert made[KEY] == config.to_dict()[KEY]
                found.add(tuple(made[KEY]))
            else:
                assert set(config.to_dict()[KEY]) == {"full_attention"}
    assert len(found) >= 3
