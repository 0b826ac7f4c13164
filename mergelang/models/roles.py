"""Which tensors are embeddings, head, norms, attention, feed-forward; and how layers are numbered.

Read off the components of a name (`model.layers.3.mlp.up_proj.weight`), by the words that the
architectures of the Hugging Face library use.
"""

import re
from collections.abc import Iterable

from mergelang.tensors import Layering

EMBED = {"embed_tokens", "wte", "wpe", "embed_in", "word_embeddings", "embeddings",
         "position_embeddings", "token_type_embeddings", "tok_embeddings", "embed_positions",
         "shared"}  # fmt: skip
HEAD = {"lm_head", "embed_out", "output_layer", "score", "classifier"}
ATTENTION = {"self_attn", "attn", "attention", "self_attention", "cross_attn", "encoder_attn",
             "linear_attn", "SelfAttention", "EncDecAttention"}  # fmt: skip
FEED_FORWARD = {"mlp", "feed_forward", "ffn", "block_sparse_moe", "DenseReluDense", "fc1", "fc2"}

_NORM = re.compile(r"(?:.*_)?(?:layer)?_?norm\d*|.*layernorm.*|ln_.*|ln\d*|.*_norm|norm_.*")
_NUMBERED = re.compile(r"\.(\d+)\.")


def roles_of(name: str) -> frozenset[str]:
    """The roles of a tensor, by its name: of `embed head norm attn mlp`, none or several."""
    words = name.split(".")
    found = set()
    for role, known in (("embed", EMBED), ("head", HEAD), ("attn", ATTENTION),
                        ("mlp", FEED_FORWARD)):  # fmt: skip
        if not known.isdisjoint(words):
            found.add(role)
    if any(_NORM.fullmatch(word.lower()) for word in words):
        found.add("norm")
    return frozenset(found)


def layering_of(names: Iterable[str], count: int | None = None) -> Layering:
    """How the layers of these tensors are numbered.

    The first number in a name counts layers; of several prefixes with numbers 0, 1, 2, ... the one
    of `count` layers (as the config says) is taken, else the one with the most tensors.
    """
    numbers: dict[str, set[int]] = {}
    tensors: dict[str, int] = {}
    for name in names:
        found = _NUMBERED.search(name)
        if found:
            prefix = name[: found.start() + 1]
            numbers.setdefault(prefix, set()).add(int(found[1]))
            tensors[prefix] = tensors.get(prefix, 0) + 1
    whole = {
        prefix: len(found) for prefix, found in numbers.items() if found == set(range(len(found)))
    }
    if not whole:
        return Layering()
    prefix = max(whole, key=lambda each: (whole[each] == count, tensors[each]))
    return Layering(prefix, whole[prefix])
