"""The model card: what the Hub and people read about a merged model."""

from mergelang.draw.mermaid import mermaid
from mergelang.lang import format
from mergelang.plan.plan import OutputPlan, Plan


def card(plan: Plan, output: OutputPlan) -> bytes:
    """`README.md`: metadata that the Hub understands, the parents in order, recipe and graph.

    Only Hub models stand under `base_model`: that field names repositories, not folders.
    """
    sources = [each.source for each in output.origin.parents if each.kind == "model"]
    hub = [source[3:].partition("@")[0] for source in sources if source.startswith("hf:")]
    lines = ["---"]
    if hub:
        lines += ["base_model:", *(f"- {name}" for name in hub), "base_model_relation: merge"]
    config = output.documents.get("config.json")
    if config is not None:
        lines += ["library_name: transformers"]
    lines += ["tags:", "- merge", "- mergelang", "---", ""]
    title = output.path.name
    lines += [
        f"# {title}",
        "",
        "A merge made with mergelang. Its parents, in the order in which the recipe uses them:",
        "",
        *(f"- `{source}`" for source in sources),
        "",
        "## Recipe",
        "",
        f"The output `{output.destination.text}` of:",
        "",
        "```merge",
        format(plan.graph.program.tree).rstrip("\n"),
        "```",
        "",
        "## Graph",
        "",
        "```mermaid",
        mermaid(plan.graph).rstrip("\n"),
        "```",
        "",
    ]
    return "\n".join(lines).encode()
