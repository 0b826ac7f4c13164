"""`param` statements: their defaults, bounds, and the settings given from outside."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mergelang.check.expressions import Expressions
from mergelang.check.program import Parameter
from mergelang.check.report import Report
from mergelang.check.schedule import Constant
from mergelang.check.suggest import listed, nearest, show
from mergelang.check.value import UNKNOWN, Number, Unknown, Value, describe, exactly
from mergelang.lang import ast

KNOWN = ("min", "max")
"""What the record of a param may hold."""

_NUMBER = re.compile(r"[-+]?(\d+(\.\d+)?|\.\d+)([eE][-+]?\d+)?%?")


def check_param(
    param: ast.Param, expressions: Expressions, settings: Mapping[str, Any]
) -> tuple[Value, Parameter | None]:
    """The value in force, and the param itself; (UNKNOWN, None), and reported, when it is wrong."""
    report = expressions.report
    value = expressions.value(param.value)
    default = _constant(value)
    if default is None:
        if not isinstance(value, Unknown):
            report.add("E0218", param.value.span, name=param.name.id, got=describe(value))
        _bounds(param, expressions, None)
        return UNKNOWN, None
    bounds = _bounds(param, expressions, default)
    if bounds is None:
        return UNKNOWN, None
    if not _within(default, bounds):
        report.add(
            "E0216", param.value.span, name=param.name.id, value=show(default),
            bounds=_text(bounds), set=None,
        )  # fmt: skip
        return UNKNOWN, None
    chosen = default
    if param.name.id in settings:
        chosen = _setting(param, settings[param.name.id], default, bounds, report)
        if chosen is None:
            return UNKNOWN, None
    made = Parameter(param.name.id, chosen, default, bounds, param.span)
    return (Number(Constant(chosen)) if isinstance(chosen, Fraction) else chosen), made


def check_settings(
    settings: Mapping[str, Any], names: Mapping[str, Any], report: Report
) -> None:
    """Reports settings of params that the recipe does not have."""
    for name in settings:
        if name not in names:
            suggestion = nearest(name, names)
            report.add(
                "E0214", None, name=name, suggestion=suggestion,
                known=None if suggestion else listed(names) or None,
                none="" if not names else None,
            )  # fmt: skip


def _constant(value: Value) -> Any:
    """The value of a param: a Fraction, true or false, a string; None for all else."""
    return value if isinstance(value, bool | str) else exactly(value)


def _bounds(param: ast.Param, expressions: Expressions, default: Any) -> dict[str, Any] | None:
    """`min` and `max` of the record; None, and reported, when it is wrong."""
    report, found, places = expressions.report, {}, {}
    sound = True
    for entry in param.record.entries if param.record else ():
        key = entry.key.id if isinstance(entry.key, ast.Name) else entry.key.value
        if key not in KNOWN:
            suggestion = nearest(key, KNOWN)
            report.add("E0217", entry.key.span, name=key, suggestion=suggestion)
            sound = False
            continue
        if key in places:
            report.add("E0306", entry.key.span, places[key].span, name=key)
            sound = False
            continue
        places[key] = entry.key
        value = expressions.value(entry.value)
        number = exactly(value)
        if number is None:
            expressions.unfit(entry.value, value, "a number")
            sound = False
        else:
            found[key] = number
    if places and isinstance(default, bool | str):
        report.add("E0220", param.record.span, got=describe(default))
        return None
    if sound and len(found) == 2 and found["min"] > found["max"]:
        report.add(
            "E0219", param.record.span, low=show(found["min"]), high=show(found["max"])
        )
        return None
    return found if sound else None


def _setting(
    param: ast.Param, given: Any, default: Any, bounds: Mapping[str, Fraction], report: Report
) -> Any:
    """The value of a setting, of the default's kind; None, and reported, when it is none."""
    name = param.name.id
    value = _read(given, default)
    if value is None:
        wanted = "true or false" if isinstance(default, bool) else "a number"
        report.add("E0215", param.name.span, name=name, text=given, wanted=wanted)
    elif not _within(value, bounds):
        report.add(
            "E0216", param.name.span, name=name, value=show(value), bounds=_text(bounds),
            set=f"{name}={given}",
        )  # fmt: skip
        return None
    return value


def _read(given: Any, default: Any) -> Any:
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        return given if isinstance(given, bool) else words.get(str(given).lower())
    if isinstance(default, str):
        return str(given)
    if isinstance(given, bool):
        return None
    if isinstance(given, Fraction):
        return given
    text = str(given).strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = Fraction(text.removesuffix("%"))
    return number / 100 if text.endswith("%") else number


def _within(value: Any, bounds: Mapping[str, Fraction]) -> bool:
    if not isinstance(value, Fraction):
        return True
    return bounds.get("min", value) <= value <= bounds.get("max", value)


def _text(bounds: Mapping[str, Fraction]) -> str:
    if len(bounds) == 2:
        return f"{show(bounds['min'])} to {show(bounds['max'])}"
    if "min" in bounds:
        return f"{show(bounds['min'])} or more"
    return f"{show(bounds['max'])} or less"
