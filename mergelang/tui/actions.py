"""What a key does: the one table that keys, footer, palette and help are made from."""

from typing import NamedTuple

RECIPE, GRAPH, PLAN, RUN, MODEL, LINEAGE = "recipe", "graph", "plan", "run", "model", "lineage"

PAGES = {
    RECIPE: ("f2", "Recipe"), GRAPH: ("f3", "Graph"), PLAN: ("f4", "Plan"), RUN: ("f5", "Run"),
    MODEL: ("f6", "Model"), LINEAGE: ("f7", "Lineage"),
}  # fmt: skip
"""The pages by name, each with its key and its title."""


class Action(NamedTuple):
    """`keys` as Textual names them, `shown` as people do.

    `call` is a method of the page where the action is of some `pages`, else an action of the app.
    `footer`: whether it stands there. `priority`: it works also where text is typed.
    """

    keys: str
    shown: str
    call: str
    label: str
    text: str
    pages: tuple[str, ...] = ()
    footer: bool = False
    priority: bool = False

    @property
    def method(self) -> str:
        return self.call.partition("(")[0]

    @property
    def action(self) -> str:
        """As Textual wants it."""
        if not self.pages:
            return self.call
        name, _, rest = self.call.partition("(")
        return f"page('{name}'{', ' + rest if rest else ')'}"


def _page(name: str, key: str, title: str) -> Action:
    about = {
        RECIPE: "edit the text, see what is wrong with it",
        GRAPH: "see what is made of what",
        PLAN: "see what a run would do, set the params",
        RUN: "start a run, watch it, pause it",
        MODEL: "look into a model, compare it with another",
        LINEAGE: "see what a model was made of, and how",
    }
    text = f"{title}: {about[name]}"
    return Action(key, key, f"go('{name}')", title, text, priority=True)


ACTIONS = (
    *(_page(name, *facts) for name, facts in PAGES.items()),
    # Recipe
    Action("f8", "f8", "next_problem", "next", "go to the next mistake", (RECIPE,), True, True),
    Action("ctrl+s", "^s", "save", "save", "save the recipe", priority=True),
    Action("f9", "f9", "look", "about", "show what is said about the word, or hide it", (RECIPE,),
           True, True),
    Action("ctrl+t", "^t", "tidy", "format", "format the recipe", (RECIPE,), True, True),
    Action("ctrl+@", "^space", "complete", "complete", "show what may stand here", (RECIPE,),
           False, True),
    Action("ctrl+g", "^g", "to_graph", "in graph", "show the name at the cursor in the graph",
           (RECIPE,), True, True),
    # Graph
    Action("up,k", "↑ k", "walk('up')", "input", "go to an input", (GRAPH,)),
    Action("down,j", "↓ j", "walk('down')", "user", "go to what uses this", (GRAPH,)),
    Action("left,h", "← h", "walk('left')", "left", "go to the box on the left", (GRAPH,)),
    Action("right,l", "→ l", "walk('right')", "right", "go to the box on the right", (GRAPH,)),
    Action("z,plus,minus", "z", "zoom", "zoom", "boxes, or lanes: one line each", (GRAPH,), True),
    Action("enter,e", "enter", "to_text", "in text", "show in the recipe where it stands",
           (GRAPH,), True),
    Action("i", "i", "inspect", "model", "open a source in the model page", (GRAPH,), True),
    # Plan
    Action("d", "d", "defaults", "defaults", "set every param back to its default", (PLAN,), True),
    # Run
    Action("r", "r", "run_recipe", "run", "save the recipe, check it, run it",
           (RUN, PLAN, GRAPH), True),
    Action("p", "p", "pause", "pause", "pause the run, or let it go on", (RUN,), True),
    Action("c", "c", "cancel", "cancel", "cancel the run; outputs stay as they were", (RUN,), True),
    Action("o", "o", "open_result", "result", "open the result in the model page", (RUN,), True),
    # Model
    Action("o", "o", "open", "open", "open a model", (MODEL, LINEAGE), True),
    Action("slash", "/", "filter", "filter", "filter the tensors by name", (MODEL,), True),
    Action("s", "s", "sort", "sort", "sort by the next column", (MODEL,)),
    Action("v", "v", "compare", "compare", "compare with another model", (MODEL,), True),
    Action("m", "m", "measure", "map", "what the map shows: difference, cosine, signs",
           (MODEL,), True),
    Action("t", "t", "toggle_map", "table", "the table of tensors, or the map", (MODEL,), True),
    # Lineage
    Action("v", "v", "diff", "diff", "compare the recipe with that of another model",
           (LINEAGE,), True),
    # Everywhere
    Action("ctrl+o", "^o", "open_recipe", "open", "open a recipe", priority=True),
    Action("ctrl+p", "^p", "command_palette", "palette", "everything there is, by name",
           footer=True, priority=True),
    Action("f10", "f10", "toggle_theme", "theme", "light, or dark", priority=True),
    Action("question_mark,f1", "?", "help", "help", "the keys of this page", footer=True),
    Action("ctrl+q,q", "^q", "leave", "quit", "leave; a run goes on, or is cancelled, as you say",
           footer=True),
)  # fmt: skip
