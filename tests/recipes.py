"""Hypothesis strategies for recipes: random trees, written with random blanks and comments.

A recipe is drawn as statements, each a list of tokens; `texts` writes them in every way in which
the language lets them be written.
"""

from hypothesis import strategies as st

NAMES = ("a", "b", "chat", "t", "model", "let", "layers", "as", "é", "house")
NUMBERS = ("0", "1", "0.50", "1e-3", "90%", "5GB", "2KiB", "12")
STRINGS = ('"x"', '"a # b"', '"(["', '"\\"q\\\\\\n"', '"ü"', '""')
RANGES = ("0..8", "8..", "..8")
PATTERNS = ("mlp", '"*.q"', "@attn", "layers 0..2", "layers ..2", "layers 2..", "layers", "_")

names = st.sampled_from(NAMES)
_strings = st.sampled_from(STRINGS).map(lambda string: [string])


def _separated(items, most=3):
    """`item, item,` with or without the last comma."""

    def join(drawn):
        parts, trailing = drawn
        tokens = [token for index, part in enumerate(parts) for token in [","] * (index > 0) + part]
        return tokens + [","] * (trailing and bool(parts))

    return st.tuples(st.lists(items, max_size=most), st.booleans()).map(join)


def _sequence(*parts):
    """Tokens one after the other; strings stand for themselves."""
    made = (st.just([part]) if isinstance(part, str) else part for part in parts)
    return st.tuples(*made).map(lambda each: [token for part in each for token in part])


def _one(strategy):
    return strategy.map(lambda token: token.split())


_patterns = st.recursive(
    _one(st.sampled_from(PATTERNS)),
    lambda inner: st.one_of(
        _sequence("!", "(", inner, ")"),
        _sequence("!", _one(st.sampled_from(PATTERNS))),
        _sequence(inner, _one(st.sampled_from("&|")), inner),
        _sequence("(", inner, ")"),
    ),
    max_leaves=4,
)


def _records(values):
    return _sequence("{", _separated(_sequence(_one(names), ":", values)), "}")


def _arguments(values):
    return st.one_of(
        values,
        _sequence(values, _records(values)),
        _sequence(_one(names), ":", values),
        _sequence(_one(names), ":", values, _records(values)),
    )


def _grow(values):
    arm = _sequence(_patterns, "=>", values)
    return st.one_of(
        _sequence(values, _one(st.sampled_from("+-*/")), values),
        _sequence("(", values, ")"),
        _sequence("-", values),
        _sequence(_one(names), "[", _one(st.sampled_from(RANGES)), "]"),
        _sequence("(", values, ")", "[", _one(st.sampled_from(RANGES)), "]"),
        _sequence(_one(names), ".", _one(names)),
        _sequence(_one(names), "(", _separated(_arguments(values)), ")"),
        _sequence("[", _separated(values), "]"),
        _sequence("{", _separated(_sequence(_strings, ":", values)), "}"),
        _sequence("match", "{", arm, st.just([","]), _separated(arm, 2), "}"),
    )


expressions = st.recursive(
    st.one_of(
        _one(names),
        _one(st.sampled_from(NUMBERS)),
        _strings,
        _one(st.sampled_from((*RANGES, "true", "false"))),
    ),
    _grow,
    max_leaves=12,
)

statements = st.one_of(
    _sequence("seed", st.just(["42"])),
    _sequence("use", _strings, "as", _one(names)),
    _sequence("param", _one(names), "=", expressions, _records(expressions)),
    _sequence("model", _one(names), "=", _strings),
    _sequence("let", _one(names), "=", expressions),
    _sequence("output", _strings, "=", expressions, _records(expressions)),
)

WIDE = (" ", "  ", "\t", "\u00a0")
INSIDE = (*WIDE, "\n", "\r\n", "\n\n  ", " # {}\n", "\n  # {} )\n  ", " # {}\n\n# {}\n")
BETWEEN = ("\n", "\r\n", "\n\n", "\n\n\n", " # {}\n", "\n# {}\n", "\n  # {}\n\n# {}\n")


@st.composite
def texts(draw):
    """A recipe: statements with any blanks between their tokens, comments where lines may end."""
    out, number = [draw(st.sampled_from(("", "\ufeff", "# {}\n\n")))], 0
    for tokens in draw(st.lists(statements, max_size=4)):
        depth = 0
        for index, token in enumerate(tokens):
            depth += (token in "([{") - (token in ")]}")
            out.append(token)
            if index + 1 < len(tokens):
                closely = [""] * (not _word(token) or not _word(tokens[index + 1]))
                # Most gaps are plain, so that lines of all lengths come about.
                gaps = [" "] * 12 + [*WIDE, *closely, *(INSIDE if depth else ())]
                out.append(draw(st.sampled_from(gaps)))
        out.append(draw(st.sampled_from(BETWEEN)))
    text = "".join(out)
    while "# {}" in text:
        number += 1
        text = text.replace("# {}", f"# {number}", 1)
    return text


def _word(token):
    """Whether a token would run into a word beside it."""
    return token[0].isalnum() or token[0] in "_@." or token[-1].isalnum() or token[-1] in "%."
