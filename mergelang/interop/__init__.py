"""mergekit's YAML files in and out: their configurations as recipes, recipes as configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mergelang.errors import Diagnostic, RecipeError
from mergelang.interop.config import read_document
from mergelang.interop.export import Exporter
from mergelang.interop.nodes import Reader
from mergelang.interop.recipe import Writer
from mergelang.interop.values import Flow
from mergelang.lang import ast, format, parse
from mergelang.source import Source

__all__ = ["export_yaml", "import_yaml"]


def import_yaml(
    source: Source, folder: Path, *, into: Path | None = None
) -> tuple[str, tuple[Diagnostic, ...]]:
    """The formatted recipe that does what a mergekit file says, and warnings.

    `folder` is that of the file, `into` the folder where the recipe will stand (the same by
    default). Looks whether the models it names are there, to tell paths from names on the Hub.

    Matches mergekit 0.1.5; where our defaults differ from its own, the recipe says its own. Three
    things are better here on purpose: `dtype` rounds the result and not the inputs before the
    merge; merges that others use are not rounded at all; the config comes from the first model
    where mergekit takes any. A model of one layer takes the first value of a gradient, there the
    last.

    One thing is as in any recipe, since no model is opened to import one: without `dtype` a tensor
    has that of the donor (the base or the first model), where mergekit takes the widest of all.

    Raises RecipeError with everything that is wrong, at its place in the YAML text.
    """
    reader = Reader(source)
    nodes = reader.documents()
    documents = [read_document(reader, node) for node in nodes]
    writer = Writer(reader, Path(folder), Path(into or folder), Path(source.name).stem)
    text = writer.text([each for each in documents if each is not None])
    found = tuple(sorted(reader.found, key=lambda each: each.span.start))
    if reader.has_errors:
        raise RecipeError(found)
    made = Source(source.name, _comments(source.text) + text)
    tree, problems = parse(made)
    assert not problems, [str(each) for each in problems]
    return format(tree), found


def export_yaml(
    tree: ast.Recipe, output: ast.Output, settings: Mapping[str, str]
) -> tuple[str, tuple[Diagnostic, ...]]:
    """One output of a sound recipe as the text of a mergekit file, and warnings.

    Several documents, for mergekit-multi, where the output is made of other merges. Weights are
    computed in float32 there too, and our defaults are written out where mergekit's are others.
    `settings` are values of params. Raises RecipeError with what does not fit, at its place.
    """
    exporter = Exporter(tree, settings)
    documents = exporter.documents(output)
    texts = [
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for each in documents
    ]
    return "---\n".join(texts), tuple(exporter.found)


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line, others indented under their key; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _flow(dumper: yaml.SafeDumper, data: Flow) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(Flow, _flow)


def _comments(text: str) -> str:
    """The comments at the head of a file, with an empty line behind them."""
    kept = []
    for line in text.splitlines():
        if line.startswith("#"):
            kept.append(line.rstrip())
        elif line.strip() not in ("", "---"):
            break
    return "\n".join([*kept, "", ""]) if kept else ""
