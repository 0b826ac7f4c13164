"""Merge operators: signatures and bodies without torch, and the registry.

What a package that brings operators of its own needs is here: `operator`, the kinds of inputs and
of options, and the arithmetic on values. See `examples/operator/`.
"""

from mergelang.ops.expr import (
    Value,
    acos,
    cos,
    dot,
    exp,
    keep,
    largest,
    log,
    norm,
    sign,
    sin,
    sqrt,
    top,
    total,
    where,
    whole,
)
from mergelang.ops.registry import operator
from mergelang.ops.signature import (
    Alike,
    Boolean,
    Choice,
    Delta,
    Each,
    Integer,
    Layers,
    Model,
    Number,
    Text,
    Texts,
)
from mergelang.ops.sums import weighted_mean, weighted_sum

__all__ = [
    "Alike", "Boolean", "Choice", "Delta", "Each", "Integer", "Layers", "Model", "Number", "Text",
    "Texts", "Value", "acos", "cos", "dot", "exp", "keep", "largest", "log", "norm", "operator",
    "sign", "sin", "sqrt", "top", "total", "weighted_mean", "weighted_sum", "where", "whole",
]  # fmt: skip
