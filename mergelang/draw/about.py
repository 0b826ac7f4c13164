"""What there is to say about a word of a recipe: its signature, its documentation, its meaning."""

from mergelang.check.complete import BEGINNINGS, call_at, given_names
from mergelang.check.program import Program
from mergelang.check.schedule import ONE, ZERO
from mergelang.draw.operator_text import WIDTH, operator_text
from mergelang.draw.units import counted, size
from mergelang.draw.words import number_text, plain_text, schedule_text
from mergelang.lang.highlight import CALL, KEYWORD, OPTION, ROLE, word_at
from mergelang.ops.registry import operators
from mergelang.ops.signature import REQUIRED

WORDS = {
    "match": "match { pattern => value, ... }\n\nThe value of the first pattern that a tensor "
    "matches. Patterns: a word of its name, a \"glob\", layers a..b, a @role; with ! & | and ( ).",
    "_": "The pattern that every tensor matches. It closes a match.",
    "true": "A truth value.", "false": "A truth value.", "as": BEGINNINGS["use"],
}  # fmt: skip

SAYINGS = {
    "mergelang": "The edition of the language. The first statement; may be left out.",
    "seed": "The root of all randomness of this file.",
    "use": "Makes the names of another recipe known, as name.x. It keeps its own seed.",
    "param": "A number that may be set from outside: --set t=0.3, or a slider in the plan.",
    "model": "A model: a folder in the layout of Hugging Face, or a .safetensors file.",
    "let": "Gives a name to an expression: a model, a task vector, a number.",
    "output": "A folder to write, and the model that goes there. Options: dtype, shards.",
}

ROLES = {
    "@embed": "embeddings of tokens and positions", "@head": "the output layer",
    "@norm": "normalisations", "@attn": "attention", "@mlp": "feed-forward layers",
}  # fmt: skip


def about(text: str, offset: int, program: Program | None = None, width: int = WIDTH) -> str:
    """What is said about the word at a place; empty where there is nothing to say."""
    word = word_at(text, offset)
    if word is None:
        return ""
    said = text[word.start : word.end]
    if word.kind == KEYWORD:
        if said in SAYINGS:
            return f"{BEGINNINGS[said]}\n\n{SAYINGS[said]}"
        return WORDS.get(said, "")
    if word.kind == ROLE and said in ROLES:
        return f"{said}: tensors that are {ROLES[said]}"
    if word.kind == CALL and said in operators():
        return operator_text(operators()[said].signature, width)
    if word.kind == OPTION:
        return _option(text, word.start, said)
    return _name(text, said, program)


def _option(text: str, start: int, name: str) -> str:
    signature = call_at(text, start)
    option = signature.option(name) if signature else None
    if option is None:
        if signature is not None and name == "base" and signature.takes_base:
            return f"base: of {signature.name}\n\nThe model that task vectors are taken from."
        return ""
    default = "required" if option.default is REQUIRED else f"default {option.default}"
    scope = "of each input, in its record or for all in the call" if option.each else "of the call"
    return f"{name}: of {signature.name}\n\n{option.kind}, {default}; {scope}"


def _name(text: str, name: str, program: Program | None) -> str:
    word = given_names(text).get(name)
    if word is None:
        return ""
    if program is None:
        return f"{word} {name}"
    if name in program.params:
        param = program.params[name]
        bounds = ", ".join(f"{key} {number_text(value)}" for key, value in param.record.items())
        value = param.value if isinstance(param.value, bool | str) else number_text(param.value)
        return f"param {name} = {value}" + (f"\n\n{bounds}" if bounds else "")
    term = program.terms.get(name)
    if term is None:
        return f"{word} {name}"
    kinds = {ONE: "a model", ZERO: "a task vector"}
    kind = kinds.get(term.mass, f"mass {schedule_text(term.mass)}")
    lines = [f"{word} {name} = {plain_text(term.span)}", "", kind]
    if term.inventory is not None:
        held = term.inventory
        lines.append(f"{counted(len(held), 'tensor')}, {size(held.nbytes)}")
        if held.layering.count:
            lines.append(counted(held.layering.count, "layer"))
    return "\n".join(lines)
