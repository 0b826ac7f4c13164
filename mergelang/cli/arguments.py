"""Values of command-line options: sizes and settings."""

import re

from mergelang.errors import UsageError

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Bytes of `512MiB`, `1GiB`, `2GB`, `1.5GiB`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError("E1007", text=text, what="size", example="`512MiB` or `2GB`")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """Names and values of `--set name=value`."""
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError("E1007", text=pair, what="setting", example="`--set t=0.3`")
        settings[name.strip()] = value.strip()
    return settings
