"""What several commands take, and values of options: sizes, counts and settings."""

import re
from collections.abc import Callable
from pathlib import Path

from mergelang.cli.command import argument
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


def parse_count(what: str, example: str) -> Callable[[str], int]:
    """What reads a whole number from 1 on, and says what it is not and how it is written."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"0*[1-9]\d{0,5}", text.strip()):
            raise UsageError("E1007", text=text, what=what, example=f"`{example}`")
        return int(text)

    return parse


def parse_how_many(text: str) -> int:
    """A whole number from 1 on; 0 for `all`."""
    if text.strip() == "all":
        return 0
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text.strip()):
        raise UsageError("E1007", text=text, what="number of tensors", example="`3` or `all`")
    return int(text)


def parse_share(text: str) -> float:
    """A number above 0, up to 1; `95%` is 0.95."""
    number, percent, rest = text.strip().partition("%")
    match = re.fullmatch(r"\d*\.?\d+", number)
    share = float(number) / (100 if percent else 1) if match and not rest else 0.0
    if not 0 < share <= 1:
        raise UsageError("E1007", text=text, what="share", example="`0.95` or `95%`")
    return share


def parse_setting(text: str) -> tuple[str, str]:
    """Name and value of `--set name=value`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError("E1007", text=text, what="setting", example="`--set t=0.3`")
    return name.strip(), value.strip()


def parse_cache(text: str) -> str:
    """Which values `--cache` keeps."""
    if text not in ("auto", "all", "none"):
        raise UsageError("E1007", text=text, what="choice", example="`auto`, `all` or `none`")
    return text


def parse_device(text: str) -> str:
    """The name of a device."""
    from mergelang.run.device import checked

    return checked(text.strip())


def parse_port(text: str) -> int:
    """A port of the network, 1 to 65535."""
    if not re.fullmatch(r"\d{1,5}", text.strip()) or not 0 < int(text) < 1 << 16:
        raise UsageError("E1007", text=text, what="port", example="`--port 8000`")
    return int(text)


RECIPE = argument("recipe", metavar="RECIPE", type=Path, help="a .merge file, or one of mergekit")
OUTPUTS = argument(
    # Without a default argparse holds it for required, and says so beside one that is.
    "outputs", metavar="OUTPUT", nargs="*", default=[],
    help="as the recipe names it; all by default",
)  # fmt: skip
SETTINGS = argument(
    "--set", dest="settings", metavar="NAME=VALUE", action="append", type=parse_setting,
    default=[], help="sets a param; may be repeated",
)  # fmt: skip
INTO = argument("-o", dest="into", metavar="DIR", help="where to write the only output instead")
MEMORY = argument(
    "--memory", metavar="SIZE", type=parse_size, default=None,
    help="bounds the resident memory of the process (default: 1GiB)",
)  # fmt: skip
FRESH = argument("--fresh", action="store_true", help="starts over, takes over no earlier output")
CACHE = (
    argument("--cache", metavar="WHICH", type=parse_cache, default="auto",
             help="values kept for later runs: auto (the default: what costs more to compute than "
                  "to read back), all or none"),
    argument("--cache-limit", metavar="SIZE", type=parse_size, default=None,
             help="bounds the store of values (default: 20GB)"),
)  # fmt: skip
NO_SOURCES = argument(
    "--no-sources", action="store_true", help="looks at the text alone, at no model"
)
ALLOW_PICKLE = argument(
    "--allow-pickle", action="store_true",
    help="reads weights that only torch can read (.bin), as tensors alone",
)  # fmt: skip
JSON = argument("--json", dest="as_json", action="store_true", help="prints one JSON object")
