"""The Kullback-Leibler divergence between rows, for `arcee_fusion`."""

import torch

FLOOR = 1e-8
"""Added to each probability, as in mergekit."""


def divergence(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """For each row of [rows, n]: sum(p log(p / q)) of the softmaxes, at least 0; float64 [rows]."""
    p = torch.softmax(x.double(), dim=1) + FLOOR
    q = torch.softmax(base.double(), dim=1) + FLOOR
    return (p * torch.log(p / q)).sum(dim=1).clamp_(min=0)
