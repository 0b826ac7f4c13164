"""Counter-based random streams: the words at any position, in any order, the same on every machine.

A stream is named by 16 bytes. Element `i` of a mask takes 16 bits of word `i // 2`; the one element
in 65,536 whose bits lie on the edge takes 16 more, so that probabilities are exact to 2^-32 at the
price of half a word an element. The mixing function follows Wellons' hash prospector ("lowbias32",
public domain) with the key added between its rounds.
"""

import numpy as np

_M1, _M2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_S16, _S15 = np.uint32(16), np.uint32(15)
_WORD = 2**64 - 1


class Stream:
    """Random words in reused buffers; one object a thread. `size`: the most elements at a time."""

    def __init__(self, size: int):
        half = size // 2 + 2
        self._counters = np.arange(half, dtype=np.uint32)
        self._words = np.empty(half, dtype=np.uint32)
        self._shifted = np.empty(half, dtype=np.uint32)

    def bits(self, name: bytes, start: int, count: int) -> np.ndarray:
        """16 random bits (uint16) for each of the elements from `start` on.

        The array is reused by the next call.
        """
        first, skip = divmod(start, 2)
        words = (skip + count + 1) // 2
        x, t = self._words[:words], self._shifted[:words]
        np.add(self._counters[:words], np.uint32(first & 0xFFFFFFFF), out=x)
        _mix(x, t, keys_of(name, first >> 32))
        return x.view(np.uint16)[skip : skip + count]

    def keep(self, name: bytes, share: float, start: int, count: int, out: np.ndarray) -> None:
        """Fills the bool array `out`: each kept with probability `share`, exact to 2^-32."""
        high, low = divmod(threshold(share), 1 << 16)
        bits = self.bits(name, start, count)
        np.less(bits, np.uint16(high), out=out)
        if not low:
            return
        edge = np.flatnonzero(bits == np.uint16(high))
        if len(edge):
            out[edge] = _second(name, edge.astype(np.int64) + start) < low

    def uniform(self, name: bytes, start: int, count: int, out: np.ndarray) -> None:
        """Fills `out` with numbers in [0, 1), multiples of 2^-24, which float32 holds exactly."""
        high = self.bits(name, start, count)
        np.multiply(high, np.float32(2**-16), out=out)
        low = self.bits(beside(name, 98), start, count) >> 8
        out += low * np.float32(2**-24)

    def noise(self, name: bytes, start: int, count: int, out: np.ndarray) -> None:
        """Fills `out` with the sum of twelve uniform numbers in (-1/2, 1/2): mean 0, variance 1."""
        totals = np.zeros(count, dtype=np.int32)
        for lane in range(12):
            totals += self.bits(beside(name, lane), start, count)
        out[...] = totals
        out -= 12 * 32767.5
        out /= 65536


def threshold(share: float) -> int:
    """The number of 32 bits below which an element's random bits lie where it is kept."""
    return min(max(round(share * 2**32), 1), 2**32 - 1)


def keys_of(name: bytes, high: int) -> tuple[np.uint32, np.uint32]:
    """The two keys of a stream; beyond 2^33 elements the upper bits of the position enter here.

    Every bit of the name reaches both, through the finaliser of SplitMix64.
    """
    z = int.from_bytes(name[:8], "little")
    for part in (int.from_bytes(name[8:], "little"), high):
        z = (z + 0x9E3779B97F4A7C15 + part) & _WORD
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
        z ^= z >> 31
    return np.uint32(z & 0xFFFFFFFF), np.uint32(z >> 32)


def beside(name: bytes, lane: int) -> bytes:
    """An independent stream beside `name`."""
    shifted = int.from_bytes(name[8:], "little") + (lane + 1) * 0xD1342543DE82EF95
    return (shifted & _WORD).to_bytes(8, "little") + name[:8]


def _mix(x: np.ndarray, t: np.ndarray, keys: tuple[np.uint32, np.uint32]) -> None:
    """The bijective mixing of 32-bit words in place; `t` is scratch of the same shape."""
    np.bitwise_xor(x, keys[0], out=x)
    np.right_shift(x, _S16, out=t)
    np.bitwise_xor(x, t, out=x)
    np.multiply(x, _M1, out=x)
    np.right_shift(x, _S15, out=t)
    np.bitwise_xor(x, t, out=x)
    np.add(x, keys[1], out=x)
    np.multiply(x, _M2, out=x)
    np.right_shift(x, _S16, out=t)
    np.bitwise_xor(x, t, out=x)


def _second(name: bytes, positions: np.ndarray) -> np.ndarray:
    """16 further bits for single positions."""
    result = np.empty(len(positions), dtype=np.uint32)
    scratch = np.empty_like(result)
    for high in np.unique(positions >> 32):
        here = (positions >> 32) == high
        x = (positions[here] & 0xFFFFFFFF).astype(np.uint32)
        _mix(x, scratch[: len(x)], keys_of(beside(name, 99), int(high)))
        result[here] = x & np.uint32(0xFFFF)
    return result
