"""Means weighted by statistics of data: `fisher`, `regmean`, after MergeLM.

`mergelang stats` makes the statistics of a model; each input names its file in its record.
"""

from fractions import Fraction

from mergelang.ops.expr import load, norm, structure, where, whole
from mergelang.ops.means import mean_mass
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Each, Model, Number, Statistics
from mergelang.ops.sums import added, divided, times, weighted_mean


@operator(
    least=1, mass=mean_mass,
    formula="sum(w_i f_i x_i) / sum(w_i f_i), f_i the Fisher information of x_i, at least epsilon",
    paper="Merging models with Fisher-weighted averaging, arXiv 2111.09832",
    use="fine-tunes with a sample of the data of each, when different elements matter to each",
)  # fmt: skip
def fisher(
    *models: Model,
    stats: Each(Statistics("fisher")),
    weight: Each(Number(0)) = 1,
    normalize: Boolean() = False,
    epsilon: Number(0) = 1e-6,
) -> Model:
    """The mean in which each element counts as much as the data of its model care about it.

    The statistics are mean squared gradients. `normalize: true` divides those of each tensor by
    their norm first, so that no model outweighs the others by the size of its gradients. Elements
    on which no statistics are above `epsilon` get the mean by `weight`, and so do tensors without
    statistics.
    """
    if None in stats:
        return weighted_mean(models, weight)
    scores = []
    for x, extent, w in zip(models, stats, weight, strict=True):
        score = load(extent, structure("stats", x.key), x.context)
        if normalize:
            score = divided(score, norm(score))
        score = where(score < epsilon, epsilon, score)
        scores.append(times(score, w))
    moved = [score * (x - models[0]) for score, x in zip(scores[1:], models[1:], strict=True)]
    if not moved:
        return models[0]
    return models[0] + divided(added(moved), added(scores))


@operator(
    least=1, mass=mean_mass,
    formula="W' = inverse(sum(w_i G_i)) sum(w_i G_i W_i'), G_i the products of the layer's inputs",
    paper="Dataless knowledge fusion (RegMean), arXiv 2212.09849",
    use="fine-tunes with a sample of the data of each, when their layers shall answer as before",
)  # fmt: skip
def regmean(
    *models: Model,
    stats: Each(Statistics("gram")),
    weight: Each(Number(0)) = 1,
    reduce: Number(0, 1) = 0.9,
) -> Model:
    """The linear layers that come nearest to the outputs of each model on its own data.

    Solves one least-squares problem for each linear layer; all other tensors get the weighted mean.
    Off-diagonal products are scaled by `reduce`, as the paper does, which keeps the problem well
    posed. Works on whole matrices.
    """
    if None in stats or len(models[0].context.type.shape) != 2:
        return weighted_mean(models, weight)
    weights = tuple(float(Fraction(each)) for each in weight)
    kernel = "mergelang.ops.kernels.regression:regmean"
    return whole(kernel, *models, files=stats, room=12, weights=weights, reduce=float(reduce))
