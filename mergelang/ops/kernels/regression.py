"""The least-squares problem of `regmean`."""

import torch


def regmean(*tensors: torch.Tensor, weights: tuple[float, ...], reduce: float) -> torch.Tensor:
    """Weights [out, in] of n models, then their products of inputs [in, in]; gives [out, in].

    Solved in float64; where the sum of the products is singular, by its pseudoinverse.
    """
    count = len(weights)
    models, grams = tensors[:count], tensors[count:]
    left = grams[0].new_zeros(grams[0].shape, dtype=torch.float64)
    right = models[0].new_zeros(models[0].T.shape, dtype=torch.float64)
    for model, gram, by in zip(models, grams, weights, strict=True):
        wide = gram.double() * by
        diagonal = wide.diagonal().clone()
        wide *= reduce
        wide.diagonal().copy_(diagonal)
        left += wide
        right += wide @ model.T.double()
    solved, singular = torch.linalg.solve_ex(left, right)
    if singular or not torch.isfinite(solved).all():
        solved = torch.linalg.pinv(left, hermitian=True) @ right
    return solved.T.to(models[0].dtype)
