"""Random streams on a device: the words of `run.stream`, by integers of 32 bits.

torch has few operations on unsigned integers; signed ones of 32 bits wrap around in the same way,
and a logical shift is an arithmetic one with the copies of the sign cut off.
"""

from typing import Any

import torch

from mergelang.run.stream import beside, keys_of, threshold

_M1, _M2 = 0x7FEB352D, 0x846CA68B
_SIGN = 1 << 15


def keep(name: bytes, share: float, start: int, out: torch.Tensor) -> None:
    """Fills a mask: each element kept with probability `share`, exact to 2^-32."""
    high, low = divmod(threshold(share), 1 << 16)
    bits = _bits(name, start, len(out), out.device)
    bits ^= -_SIGN  # in the order of unsigned numbers
    torch.lt(bits, high - _SIGN, out=out)
    if low:
        edge = (bits == high - _SIGN).nonzero().flatten()
        out[edge] = _second(name, edge + start) < low


def uniform(name: bytes, start: int, out: torch.Tensor) -> None:
    """Fills `out` with numbers in [0, 1), multiples of 2^-24. All that is done is exact."""
    high, low = (
        _unsigned(_bits(each, start, len(out), out.device)) for each in (name, beside(name, 98))
    )
    out.copy_((high << 8) | (low >> 8)).mul_(2.0**-24)


def noise(name: bytes, start: int, out: torch.Tensor) -> None:
    """Fills `out` with the sum of twelve uniform numbers in (-1/2, 1/2). All of it is exact."""
    totals = torch.zeros(len(out), dtype=torch.int32, device=out.device)
    for lane in range(12):
        totals += _unsigned(_bits(beside(name, lane), start, len(out), out.device))
    out.copy_(totals).sub_(12 * 32767.5).mul_(2.0**-16)


def _bits(name: bytes, start: int, count: int, device: torch.device) -> torch.Tensor:
    """16 random bits for each of the elements from `start` on, as int16; word `i // 2` has those of
    element `i`, the lower half those of an even one."""
    first, skip = divmod(start, 2)
    words = (skip + count + 1) // 2
    x = torch.arange(words, dtype=torch.int32, device=device)
    x += _signed(first & 0xFFFFFFFF)
    _mix(x, name, first >> 32)
    return x.view(torch.int16)[skip : skip + count]


def _mix(x: torch.Tensor, name: bytes, high: int) -> None:
    """See `run.stream._mix`; in place."""
    one, two = map(int, keys_of(name, high))
    x ^= _signed(one)
    x ^= (x >> 16) & 0xFFFF
    x *= _M1
    x ^= (x >> 15) & 0x1FFFF
    x += _signed(two)
    x *= _signed(_M2)
    x ^= (x >> 16) & 0xFFFF


def _second(name: bytes, positions: torch.Tensor) -> torch.Tensor:
    """16 further bits for single positions."""
    result = torch.empty(len(positions), dtype=torch.int32, device=positions.device)
    upper = positions >> 32
    for high in upper.unique().tolist():
        here = upper == high
        x = _signed(positions[here] & 0xFFFFFFFF).to(torch.int32)
        _mix(x, beside(name, 99), high)
        result[here] = x & 0xFFFF
    return result


def _unsigned(bits: torch.Tensor) -> torch.Tensor:
    """Numbers of 16 bits as int32, without a sign."""
    return bits.to(torch.int32).bitwise_and_(0xFFFF)


def _signed(word: Any) -> Any:
    """The signed number of 32 bits that has the bits of an unsigned one; also of a tensor."""
    return (word ^ 0x80000000) - 0x80000000
