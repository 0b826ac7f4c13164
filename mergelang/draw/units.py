"""Numbers as people read them."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 output`, `2 outputs`, `3 passes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(count: float) -> str:
    """Bytes in decimal units, as disks are sold: `5.31 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
