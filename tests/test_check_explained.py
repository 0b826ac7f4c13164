"""The examples of `mergelang explain CODE`: the wrong one gets that code, the right one not."""

import re
from textwrap import dedent

import pytest

from mergelang.check import check
from mergelang.errors import RecipeError
from mergelang.source import Source
from mergelang.wording import KINDS
from tests.checkpoints import write_model, write_speakers, write_tokenizer, write_zoo

SHOWN = re.compile(r"^wrong:(.*?)^right:(.*)", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    code: SHOWN.search(kind.explain)
    for code, kind in sorted(KINDS.items())
    if re.match(r"[EW](?:0[1234578]|220|23|24)", code) and SHOWN.search(kind.explain)
}
MODELS = (
    "base", "chat", "math", "code", "a", "b", "c", "small", "large", "wide", "headless", "model",
    "bare", "llama", "gappy", "thin",
)  # fmt: skip
SCHEDULE = re.compile(r"curve\(|match \{")
SETTINGS = re.compile(r"--set (\w+)=(\S+)(?:\s+# (?:x.merge says: )?(param .*))?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_zoo(tmp_path_factory.mktemp("zoo"))
    for name in ("a", "b", "c", "code", "model", "bare", "llama"):
        write_model(folder / name)
    write_model(folder / "small", layers=32)
    write_model(folder / "large", layers=33)
    for name in ("other", "b", "common"):
        (folder / f"{name}.merge").write_text('model a = "a"\nlet blend = mean(a, a)\n')
    (folder / "b.merge").write_text('use "a.merge" as a\n')
    return folder


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    folder = write_zoo(tmp_path_factory.mktemp("speakers"))
    for name in ("a", "b", "c", "code", "model", "small", "large", "wide"):
        write_tokenizer(write_model(folder / name), [f"w{i}" for i in range(28)])
    (folder / "other.merge").write_text('model a = "a"\nlet blend = mean(a, a)\n')
    return write_speakers(folder)


def told(folder, code, example, declared=""):
    """The codes that an example gets, with all names given that it does not give itself."""
    text = dedent("      " + example).strip("\n")
    text = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    settings = {}
    if said := SETTINGS.search(text):
        settings = {said[1]: said[2]}
        text = said[3] or declared
    name = "x.merge"
    if text.startswith("# a.merge"):
        name, text = "a.merge", text.split("\n")[1]
    if SCHEDULE.match(text):
        text = f"let shown = linear(a {{ weight: {text.split('      #')[0]} }}, b)"
    declared_too = {"t5": "t5", "other": "t5"} if "t5" in text else {}
    declared_too |= {"broad": "broad"} if "broad" in text else {}
    given = set(re.findall(r"^(?:model|let|param) (\w+)", text, re.MULTILINE))
    head = [f'model {each} = "{each}"' for each in MODELS if each not in given]
    head += [f'model {each} = "{path}"' for each, path in declared_too.items()]
    head += [] if "use " in text or code == "E0205" else ['use "other.merge" as house']
    for each, value in {"soup": "mean(a, b)", "x": "a", "t": "0.5", "tuned": "a"}.items():
        if each not in given and re.search(rf"\b{each}\b", text):
            head.append(f"let {each} = {value}")
    # What gives the names stands behind the edition, which has to come first.
    first, text = text.split("\n", 1) if re.match(r"mergelang.*\n", text) else ("", text)
    source = Source(name, "\n".join([first, *head, text]) + "\n")
    added = range(len(first), len("\n".join([first, *head])) + 1)
    try:
        found = check(source, folder=folder, settings=settings).diagnostics
    except RecipeError as error:
        found = error.diagnostics
    return {
        each.code
        for each in found
        if each.span is None or each.span.source is not source or each.span.start not in added
    }


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_examples_of_an_explanation_are_true(code, folder, speakers):
    folder = speakers if code[1:3] == "24" else folder
    wrong, right = EXAMPLES[code].groups()
    declared = (SETTINGS.search(wrong) or [""] * 4)[3]
    assert code in told(folder, code, wrong)
    assert code not in told(folder, code, right, declared)
