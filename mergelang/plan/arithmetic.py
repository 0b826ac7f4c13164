"""The name of the arithmetic that whole-matrix operators and forward passes are tied to.

Elementwise work gives the same bytes everywhere. What goes through a linear algebra library does
not: its bytes are those of one build of torch on one class of CPU, which is said here, without
loading torch.
"""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TIED = frozenset({"whole"}), frozenset({"whole", "rowwise"})
"""Operations whose bytes depend on the arithmetic: of the processor, and of a card."""

_LEVELS = (("avx512f", "avx512"), ("avx2", "avx2"), ("asimd", "neon"))


def tied(arith: str | None) -> frozenset[str]:
    """Operations whose bytes depend on an arithmetic; None is that of the processor."""
    return TIED[arith is not None]


@cache
def arithmetic() -> str:
    """`torch 2.13.0+cpu, x86_64 AuthenticAMD avx512`: build of torch, processor, maker, vectors."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    chosen = os.environ.get("ATEN_CPU_CAPABILITY")
    parts = [platform.machine(), *_processor(), *([f"ATEN_CPU_CAPABILITY={chosen}"] * bool(chosen))]
    return f"torch {torch}, {' '.join(part for part in parts if part)}"


def _processor() -> tuple[str, str]:
    """Maker and widest vectors of the first processor, as far as the system tells."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, colon, value = line.partition(":")
            if not colon:
                break
            facts.setdefault(name.strip(), value.strip())
    except OSError:
        return platform.processor(), ""
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    level = next((name for flag, name in _LEVELS if flag in flags), "")
    return facts.get("vendor_id", facts.get("CPU implementer", "")), level
