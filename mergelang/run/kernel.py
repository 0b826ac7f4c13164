"""Functions that operators name instead of importing, so that operators need no torch."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np


def kernel(name: str) -> Callable[..., Any]:
    """The function of `"module:name"`."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def by_torch(
    name: str, arrays: Sequence[np.ndarray], parameters: Sequence[tuple[str, Any]] = (),
    device: Any = None,
) -> np.ndarray:  # fmt: skip
    """What a function that works on tensors of torch makes of arrays, on a device if one is given.

    It runs on one thread: sums in a library depend on the number of threads.
    """
    import torch

    if device is not None:
        return device.call(name, map(torch.from_numpy, arrays), dict(parameters))
    torch.set_num_threads(1)
    return kernel(name)(*map(torch.from_numpy, arrays), **dict(parameters)).numpy()
