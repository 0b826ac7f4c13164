"""Every sentence about a mistake, in one place, keyed by the code of the diagnostic.

`KINDS` maps a code to its `Kind`; the tables stand in one module an area. A template is filled
with the facts of the diagnostic by `str.format`; of the `help` templates, each whose facts are all
present (and not None) is shown.
"""

from mergelang.errors import Diagnostic
from mergelang.source import draw_spans
from mergelang.wording.exports import EXPORT
from mergelang.wording.imports import IMPORT
from mergelang.wording.kind import Kind, fill
from mergelang.wording.language import LANGUAGE
from mergelang.wording.mixtures import MIXTURES
from mergelang.wording.models import MODELS
from mergelang.wording.parts import PARTS
from mergelang.wording.program import PROGRAM
from mergelang.wording.proof import PROOF
from mergelang.wording.running import RUNNING
from mergelang.wording.sources import SOURCES
from mergelang.wording.statistics import STATISTICS
from mergelang.wording.store import STORE
from mergelang.wording.usage import USAGE
from mergelang.wording.view import VIEW
from mergelang.wording.vocabulary import VOCABULARY

KINDS: dict[str, Kind] = {
    **EXPORT,
    **IMPORT,
    **LANGUAGE,
    **MIXTURES,
    **MODELS,
    **PARTS,
    **PROGRAM,
    **PROOF,
    **RUNNING,
    **SOURCES,
    **STATISTICS,
    **STORE,
    **USAGE,
    **VIEW,
    **VOCABULARY,
}


_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_VISIBLE |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
"""A sign for each control character that a text quotes, which a terminal would obey."""


def message(diagnostic: Diagnostic) -> str:
    """The one-line message, without code or place."""
    return fill(KINDS[diagnostic.code].message, diagnostic.facts) or diagnostic.code


def helps(diagnostic: Diagnostic) -> list[str]:
    """The lines that name the fix."""
    filled = (fill(template, diagnostic.facts) for template in KINDS[diagnostic.code].help)
    return [line for line in filled if line]


def render(diagnostic: Diagnostic) -> str:
    """The whole diagnostic as plain text, no colour, no trailing newline."""
    kind = KINDS[diagnostic.code]
    word = "error" if diagnostic.is_error else "warning"
    lines = [f"{word}[{diagnostic.code}]: {message(diagnostic)}"]
    if diagnostic.span is not None:
        labels = [fill(label, diagnostic.facts) or "" for label in kind.related]
        labels += [""] * (len(diagnostic.related) - len(labels))
        label = fill(kind.label, diagnostic.facts) or ""
        others = tuple(zip(diagnostic.related, labels, strict=False))
        lines += draw_spans((diagnostic.span, label), others)
    lines += [f"help: {line}" for line in helps(diagnostic)]
    return "\n".join(lines).translate(_VISIBLE)
