"""Text by the cells of a terminal that it takes: a wide character takes two."""

from unicodedata import combining, east_asian_width


def cells(text: str) -> list[str]:
    """The text by cells of a terminal: a wide character is followed by an empty one."""
    cells: list[str] = []
    for char in text:
        if combining(char) and cells:
            cells[-1] += char
        else:
            cells.append(char)
            if east_asian_width(char) in "WF":
                cells.append("")
    return cells


def cell_count(text: str) -> int:
    return len(text) if text.isascii() else len(cells(text))


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text with blanks behind it, or before it, up to a width."""
    space = " " * (width - cell_count(text))
    return space + text if right else text + space


def beginning(text: str, width: int) -> str:
    """As much of the text as there is room for; half a wide character is none of it."""
    found = cells(text)
    halved = width < len(found) and not found[width]
    return "".join(found[: max(0, width - halved)])


def end(text: str, width: int) -> str:
    """As much of the end of the text as there is room for; half a wide character is empty."""
    return "".join(cells(text)[-width:]) if width > 0 else ""
