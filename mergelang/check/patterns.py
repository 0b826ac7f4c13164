"""Patterns by themselves: roles that exist, ranges that hold a layer."""

from mergelang.check.report import Report
from mergelang.check.suggest import listed, nearest
from mergelang.lang import ast

ROLES = ("embed", "head", "norm", "attn", "mlp")
"""The roles of tensors that the architectures name."""


def check_pattern(pattern: ast.Pattern, report: Report) -> bool:
    """Whether a pattern can match anything at all; reported if not."""
    match pattern:
        case ast.Role(role) if role not in ROLES:
            suggestion = nearest(role, ROLES)
            report.add(
                "E0511", pattern.span, role=role, suggestion=suggestion,
                known=None if suggestion else listed(f"@{each}" for each in ROLES),
            )  # fmt: skip
            return False
        case ast.Layers(range) if range.high is not None and range.high <= (range.low or 0):
            low, high = range.low or 0, range.high
            word = pattern.span.text[: pattern.span.text.index(range.span.text)].rstrip()
            turned = f"{word} {high}..{low}" if high < low else f"{word} {low}..{low + 1}"
            report.add("E0508", pattern.span, text=pattern.span.text, suggestion=turned)
            return False
        case ast.Not(operand):
            return check_pattern(operand, report)
        case ast.And(left, right) | ast.Or(left, right):
            # Both sides are looked at, also when the first is wrong.
            return check_pattern(left, report) & check_pattern(right, report)
    return True
