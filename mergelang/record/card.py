"""The model card: what the Hub and people read about a merged model."""

from dataclasses import replace
from pathlib import PurePosixPath

from mergelang.draw.mermaid import mermaid
from mergelang.draw.vocabulary_text import vocabulary_lines
from mergelang.errors import Diagnostic
from mergelang.graph import Graph, build
from mergelang.lang import format
from mergelang.models.reference import hub_name
from mergelang.plan.origin import Parent, path_in_recipe
from mergelang.plan.plan import OutputPlan, Plan

TOKENS = 100
"""Tokens that are named of each kind."""


def card(plan: Plan, output: OutputPlan) -> bytes:
    """`README.md`: metadata that the Hub understands, the parents in order, recipe and graph.

    Only Hub models stand under `base_model`: that field names repositories, not folders. A licence
    stands there if all sources state the same.
    """
    origin = output.origin
    sources = [each.source for each in origin.parents if each.kind == "model"]
    hub = dict.fromkeys(
        hub_name(source[3:], source).repo for source in sources if source.startswith("hf:")
    )
    lines = ["---"]
    if hub:
        lines += ["base_model:", *(f"- {name}" for name in hub), "base_model_relation: merge"]
    if output.documents.get("config.json") is not None:
        lines += ["library_name: transformers"]
    stated = {each.licence for each in licensed(output)}
    if len(stated) == 1:
        lines += stated.pop()
    lines += ["tags:", "- merge", "- mergelang", "---", ""]
    title = PurePosixPath(origin.output).name
    lines += [
        f"# {title}",
        "",
        "A merge made with mergelang. Its parents, in the order in which the recipe uses them:",
        "",
        *(f"- `{source}`" for source in sources),
        "",
        "## Recipe",
        "",
        f"The output `{origin.output}` of:",
        "",
        "```merge",
        format(plan.graph.program.tree).rstrip("\n"),
        "```",
        "",
        *_vocabulary(plan, output),
        "## Graph",
        "",
        "```mermaid",
        mermaid(_alone(plan, output)).rstrip("\n"),
        "```",
        "",
    ]
    return "\n".join(lines).encode()


def _alone(plan: Plan, output: OutputPlan) -> Graph:
    """The graph of one output, whatever else is made with it; the output called as the recipe calls
    it, wherever it is written to."""
    program, target = plan.graph.program, output.destination
    named = replace(target, text=path_in_recipe(program, target))
    return build(replace(program, outputs=(named,)))


def licensed(output: OutputPlan) -> list[Parent]:
    """The sources whose licence the output falls under: all but statistics of data."""
    return [each for each in output.origin.parents if each.kind != "statistics"]


def with_warnings(plan: Plan) -> Plan:
    """The plan with a warning (W2131) for each output whose sources state different licences."""
    found = []
    for output in plan.outputs:
        stated: dict[tuple[str, ...], str] = {}
        for each in licensed(output):
            if each.licence:
                stated.setdefault(each.licence, each.source)
        if len(stated) > 1:
            said = [
                f"{source} has {' '.join(line.partition(': ')[2] for line in licence)}"
                for licence, source in stated.items()
            ]
            facts = {"output": output.destination.text, "said": ", ".join(said)}
            found.append(Diagnostic("W2131", output.destination.span, facts))
    if not found:
        return plan
    program = plan.graph.program
    told = replace(program, diagnostics=(*program.diagnostics, *found))
    return replace(plan, graph=replace(plan.graph, program=told))


def _vocabulary(plan: Plan, output: OutputPlan) -> list[str]:
    lines = vocabulary_lines(plan.graph, output, TOKENS)
    if not lines:
        return []
    return ["## Vocabulary", "", *(f"- {line}" for line in lines), ""]
