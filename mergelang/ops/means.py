"""Means of models: `linear`, `mean`, `ema`; and `passthrough`, the mean of one."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mergelang.ops.registry import operator
from mergelang.ops.signature import Alike, Boolean, Each, Number
from mergelang.ops.sums import weighted_mean, weighted_sum


def mean_mass(masses: tuple[Fraction, ...], options: Mapping[str, Any]) -> Fraction:
    """The mass of a mean by `weight`. ZeroDivisionError where the weights sum to 0."""
    return _summed_mass(masses, options) / sum(options["weight"], Fraction(0))


def _summed_mass(masses: tuple[Fraction, ...], options: Mapping[str, Any]) -> Fraction:
    weighed = (w * m for w, m in zip(options["weight"], masses, strict=True))
    return sum(weighed, Fraction(0))


def _linear_mass(masses: tuple[Fraction, ...], options: Mapping[str, Any]) -> Fraction:
    return (mean_mass if options["normalize"] else _summed_mass)(masses, options)


@operator(
    least=1,
    mass=_linear_mass,
    formula="sum(w_i x_i) / sum(w_i); without normalize sum(w_i x_i)",
    paper="Model soups, arXiv 2203.05482",
    use="fine-tunes of one base that lie near to each other: other seeds, data or steps",
)
def linear(
    *inputs: Alike, weight: Each(Number()) = 1, normalize: Boolean() = True
) -> Alike:  # fmt: skip
    """The weighted mean of its inputs; without `normalize` their weighted sum.

    Written out: `linear(a { weight: 0.6 }, b { weight: 0.4 })` is `0.6 * a + 0.4 * b`.
    Equal inputs give exactly that input.
    """
    return (weighted_mean if normalize else weighted_sum)(inputs, weight)


@operator(
    least=1,
    formula="sum(x_i) / n",
    paper="Model soups, arXiv 2203.05482",
    use="as `linear`, when no input is to count more than another",
)
def mean(*inputs: Alike) -> Alike:
    """The plain mean of its inputs.

    Written out: `mean(a, b)` is `linear(a, b)`.
    """
    return weighted_mean(inputs, [Fraction(1)] * len(inputs))


@operator(
    least=1,
    formula="m_1 = x_1, m_i = decay m_(i-1) + (1 - decay) x_i; the last m",
    paper="Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging",
    use="checkpoints of one training, to smooth out what its last steps overdid",
)
def ema(*checkpoints: Alike, decay: Number(0, 1)) -> Alike:
    """The exponential moving average over checkpoints of one training, the earliest first.

    Written out: `ema(a, b, c, decay: 0.9)` is `0.9 * (0.9 * a + 0.1 * b) + 0.1 * c`.
    """
    decay = Fraction(decay)
    last = len(checkpoints) - 1
    weights = [decay**last, *((1 - decay) * decay ** (last - i) for i in range(1, last + 1))]
    return weighted_mean(checkpoints, weights)


@operator(
    formula="scale x",
    use="the tensors of one model in a `stack` or a `match`, as they are or scaled",
)
def passthrough(x: Alike, *, scale: Number() = 1) -> Alike:
    """Its input as it is: every tensor is copied, byte by byte, unless `scale` is not 1.

    `scale` is for layers that are stacked twice: `match { o_proj | down_proj => 0, _ => 1 }` makes
    their copies pass their input through. The result counts as a model whatever the scale.
    """
    return x if scale == 1 else x * scale
