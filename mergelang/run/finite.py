"""Finding NaN and infinity in the bytes of stored floats.

Read as integers, the bits of finite floats lie below those of infinity and NaN, positive ones
whether signed or not, negative ones as unsigned numbers: two maxima tell, without a float.
"""

import numpy as np

_INFINITY = {
    "F64": (np.int64, np.uint64, 0x7FF0000000000000), "F32": (np.int32, np.uint32, 0x7F800000),
    "F16": (np.int16, np.uint16, 0x7C00), "BF16": (np.int16, np.uint16, 0x7F80),
}  # fmt: skip
"""Signed and unsigned integers of the width of a dtype, and the bits of its infinity."""


def nonfinite(raw: np.ndarray, dtype: str) -> int | None:
    """The position of the first NaN or infinity among the elements in some bytes, or None.

    `raw` are the bytes (uint8) of whole elements of `dtype`, as safetensors names it; dtypes that
    are no floats have none.
    """
    if dtype not in _INFINITY or not len(raw):
        return None
    signed, unsigned, infinity = _INFINITY[dtype]
    sign = 1 << (8 * np.dtype(signed).itemsize - 1)
    numbers = raw.view(unsigned)
    if raw.view(signed).max() < infinity and numbers.max() < sign | infinity:
        return None
    # One of the two is true of a positive or a negative number that is not finite.
    return int(np.argmax((numbers & infinity) == infinity))
