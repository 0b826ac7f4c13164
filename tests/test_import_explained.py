"""The examples of `mergelang explain CODE` about mergekit's files.

The wrong one gets that code, the right one does not.
"""

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from mergelang.errors import RecipeError
from mergelang.interop import import_yaml
from mergelang.source import Source
from mergelang.wording import KINDS

SHOWN = re.compile(r"^wrong:(.*?)^right:(.*)", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    code: SHOWN.search(kind.explain)
    for code, kind in sorted(KINDS.items())
    if re.match(r"[EW]11[012]", code) and SHOWN.search(kind.explain)
}
AROUND = {
    "model:": "merge_method: linear\nparameters: {weight: 1}\nmodels:\n  -\n",
    "layer_range:": "merge_method: passthrough\nslices:\n- sources:\n  - model: a\n",
    "sources:": "merge_method: ties\nbase_model: base\nparameters: {weight: 1}\nslices:\n-\n",
    "weight:": "merge_method: linear\nmodels: [{model: a}]\nparameters:\n",
    "filter:": "merge_method: passthrough\nslices:\n- sources:\n  - model: a\n"
               "    layer_range: [2, 4]\n    parameters:\n      scale:\n        value: 1\n",
}  # fmt: skip
"""What stands around a piece of a file that begins with a key."""


def completed(code: str, text: str) -> str:
    """A whole file for an example that shows a piece of one."""
    text = dedent(" " * 8 + text.strip("\n").lstrip()).strip("\n") + "\n"
    first = text.split()[0]
    if first in AROUND:
        around = AROUND[first]
        deeper = len(around.rstrip("-\n").splitlines()[-1].split("- ")[0]) + 2
        depth = 8 if first == "filter:" else 4 if around.endswith("-\n") else deeper
        return around + indent(text, " " * depth)
    given = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    if "merge_method" not in given and code != "E1105":
        method = "slerp" if "\n  t:" in text else "linear"
        text = f"merge_method: {method}\nbase_model: a\n{text}"
    if not given & {"models", "model", "slices"} and code != "E1108":
        text += "models: [{model: a}, {model: b}]\n"
    return text if "parameters" in given else text + "parameters: {}\n"


def told(text: str) -> set[str]:
    try:
        _, found = import_yaml(Source("x.yml", text), Path("/nowhere"))
    except RecipeError as error:
        found = error.diagnostics
    return {each.code for each in found}


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_examples_of_an_explanation_are_true(code):
    wrong, right = (completed(code, text) for text in EXAMPLES[code].groups())
    assert code in told(wrong), wrong
    assert code not in told(right) and "E1101" not in told(right), right
