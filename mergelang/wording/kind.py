"""What the wording of one code consists of, and how a template is filled."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any


@dataclass(frozen=True)
class Kind:
    """The sentences of one code.

    `message` is the headline, `label` stands behind the carets, `related` behind those of the
    further spans, `help` names the fix, `explain` is what `mergelang explain CODE` prints: what it
    means, why it is so, an example that shows it and one that is right.
    """

    message: str
    label: str = ""
    related: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    explain: str = ""


def fill(template: str, facts: Mapping[str, Any]) -> str | None:
    """The template filled with the facts; None when one of them is missing or None."""
    needed = [name for _, name, _, _ in Formatter().parse(template) if name]
    if any(facts.get(name) is None for name in needed):
        return None
    return template.format(**facts)
