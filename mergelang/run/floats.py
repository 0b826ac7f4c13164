"""Stored floats as numpy arrays, bfloat16, which numpy does not know, by its bits."""

import ctypes

import numpy as np

from mergelang.run.compiler import library

STORED = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
"""As what numpy sees the elements of each dtype; those of bfloat16 are bits."""


def widen(raw: np.ndarray, dtype: str, out: np.ndarray) -> None:
    """Fills `out` (float32 or float64) with the elements whose bytes `raw` are; each exact but for
    float64 into float32, which is rounded."""
    stored = raw.view(STORED[dtype])
    code = library() if dtype == "F16" and out.dtype == np.float32 else None
    if code is not None:  # numpy takes twenty times as long
        code.widen_half(
            ctypes.c_void_p(raw.ctypes.data), ctypes.c_int64(len(out)),
            ctypes.c_void_p(out.ctypes.data),
        )  # fmt: skip
    elif dtype == "BF16" and out.dtype == np.float32:
        np.left_shift(stored, np.uint32(16), out=out.view(np.uint32), dtype=np.uint32)
    elif dtype == "BF16":
        out[...] = np.left_shift(stored, np.uint32(16), dtype=np.uint32).view(np.float32)
    else:
        with np.errstate(over="ignore"):  # a number beyond the dtype is infinite
            out[...] = stored
