"""E01.. the text."""

from mergelang.wording.kind import Kind

LANGUAGE: dict[str, Kind] = {
    "E0101": Kind(
        "`{text}` does not fit here",
        label="expected {wanted}",
        help=("a number begins with a digit: `{number}`",),
        explain="""\
The statement cannot be read past this place: something else has to stand here. What could stand
here is shown behind the carets.

wrong:  let x = mean(a, + b)

right:  let x = mean(a, b)
""",
    ),
    "E0102": Kind(
        "a statement cannot begin with `{word}`",
        label="no statement word",
        help=(
            "did you mean `{suggestion}`?",
            "to name an expression write `let {let} = ...`",
            "a statement begins with {known}",
        ),
        explain="""\
Every statement begins with one of the words `mergelang`, `seed`, `use`, `param`, `model`, `let` and
`output`.

wrong:  soup = mean(a, b)

right:  let soup = mean(a, b)
""",
    ),
    "E0103": Kind(
        "a line cannot begin with `{text}`",
        label="the statement before has ended",
        help=("put the whole expression in parentheses; inside them lines may break anywhere",),
        explain="""\
A statement ends with its line. Inside brackets line ends do not count, so a long expression is put
in parentheses.

wrong:  let x = 0.6 * a
          + 0.4 * b

right:  let x = (
          0.6 * a
          + 0.4 * b
        )
""",
    ),
    "E0104": Kind(
        "`{bracket}` is never closed",
        label="opened here",
        related=("the next statement begins here",),
        help=("close it with `{close}`",),
        explain="""\
A bracket is open when the next statement begins, or when the file ends. A line that begins, at its
very first column, as a statement does ends all open brackets, so one forgotten bracket is one
mistake.

wrong:  let x = mean(a, b
        let y = mean(a, c)

right:  let x = mean(a, b)
        let y = mean(a, c)
""",
    ),
    "E0105": Kind(
        "`{bracket}` closes nothing",
        label="expected `{wanted}`",
        related=("opened here",),
        help=(
            "close it with `{wanted}`",
            "remove it, or open it before: `{alone}` stands alone",
        ),
        explain="""\
Brackets come in pairs of one kind: `( )`, `[ ]` and `{ }`.

wrong:  let x = mean(a, b]

right:  let x = mean(a, b)
""",
    ),
    "E0106": Kind(
        "the string is never closed",
        label="a string ends on its line",
        help=('close it with `"`; a line end inside a string is written `\\n`',),
        explain="""\
A string stands between double quotes, on one line.

wrong:  model a = "./a

right:  model a = "./a"
""",
    ),
    "E0107": Kind(
        "`{char}` is no part of the language",
        label="not known",
        help=(
            "strings stand between double quotes: {quotes}...{quotes}",
            "a statement ends with its line: leave the `{semicolon}` out",
            "the unit follows its number without a space: `90{percent}`",
        ),
        explain="""\
Outside of strings and comments the language has names, numbers, the brackets ( ) [ ] { } and the
signs + - * / = => : , . .. ! & | @ _ and #.

wrong:  model a = './a';

right:  model a = "./a"
""",
    ),
    "E0108": Kind(
        "a comma is missing before `{text}`",
        label="expected `,` before this",
        help=("separate the items with `,`",),
        explain="""\
Inputs, options, items and arms are separated by commas; one after the last is allowed.

wrong:  let x = mean(a b)

right:  let x = mean(a, b)
""",
    ),
    "E0109": Kind(
        "`{name}` cannot be a name",
        label="reserved",
        help=("choose another name",),
        explain="""\
`match`, `true`, `false` and `_` have a meaning of their own wherever they stand. All other words
may be names, the statement words too.

wrong:  let match = mean(a, b)

right:  let matched = mean(a, b)
""",
    ),
    "E0110": Kind(
        "the statement is not finished",
        label="expected {wanted}",
        help=("a statement ends with its line, unless a bracket is open",),
        explain="""\
The line ends before the statement does.

wrong:  let x =

right:  let x = mean(a, b)
""",
    ),
    "E0111": Kind(
        "`{text}` stands behind a finished statement",
        label="expected the end of the line",
        help=("begin a new line, or was an operator or a bracket forgotten?",),
        explain="""\
A statement ends with its line, and nothing may stand behind it but a comment.

wrong:  let x = a b

right:  let x = mean(a, b)
""",
    ),
    "E0112": Kind(
        "only operators are called",
        label="not a name",
        help=("was a `*` forgotten before the parenthesis?",),
        explain="""\
Before the parenthesis of a call stands the name of an operator.

wrong:  let x = 0.5(a - b)

right:  let x = b + 0.5 * (a - b)
""",
    ),
    "E0113": Kind(
        "`{text}` cannot bound a range",
        label="not a whole number",
        help=("layers are counted in whole numbers from 0: `x[8..16]`",),
        explain="""\
A range of layers is half open and counts from 0: `x[0..8]` are the first eight layers.

wrong:  let x = stack(a[0..50%], b[2..])

right:  let x = stack(a[0..2], b[2..])
""",
    ),
    "E0114": Kind(
        "`{word}` takes no range",
        label="only `layers` does",
        help=("did you mean `layers {range}`?",),
        explain="""\
In a pattern `layers 0..8` names the tensors of these layers. A bare word names a component of the
tensors' names.

wrong:  let x = linear(a { weight: match { layer 0..2 => 1, _ => 0.5 } }, b)

right:  let x = linear(a { weight: match { layers 0..2 => 1, _ => 0.5 } }, b)
""",
    ),
    "E0115": Kind(
        "`{escape}` means nothing in a string",
        label="unknown",
        help=(
            'known are `\\"`, `\\\\`, `\\n` and `\\t`; a backslash itself is written `\\\\`, '
            "a path with `/`",
        ),
        explain="""\
A backslash in a string says something about the character behind it: `\\"` is a quote, `\\\\` a
backslash, `\\n` a line end, `\\t` a tab. Paths are written with forward slashes.

wrong:  model a = ".\\models\\a"

right:  model a = "./a"
""",
    ),
    "E0116": Kind(
        "`{text}` is not a number",
        label="unknown unit",
        help=(
            "units are `%` and, for sizes, `kB`, `MB`, `GB`, `TB` (powers of 1000) and `KiB`, "
            "`MiB`, `GiB`, `TiB` (powers of 1024); names do not begin with a digit",
        ),
        explain="""\
A number is written `3`, `0.5` or `1e-3`; with a unit behind it, without a space, `90%` or `5GB`.

wrong:  output "out" = a { shards: 5Gb }

right:  output "out" = a { shards: 5GB }
""",
    ),
    "E0117": Kind(
        "`{text}` is not a whole number",
        label="a whole number is wanted",
        help=("write for instance `seed 42`, or `mergelang 1`",),
        explain="""\
The seed and the edition of the language are whole numbers without a unit.

wrong:  seed 0.5

right:  seed 5
""",
    ),
    "E0118": Kind(
        "the edition is not the first statement",
        label="stands too late",
        related=("this comes first",),
        help=("move the `mergelang` statement to the top of the file",),
        explain="""\
`mergelang 1` says which edition of the language the file is written in, so it stands before all
else. It may be left out.

wrong:  seed 1
        mergelang 1

right:  mergelang 1
        seed 1
""",
    ),
    "E0119": Kind(
        "options are written with `:`, not with `{text}`",
        label="expected `:`",
        help=("write `name: value`",),
        explain="""\
Inside brackets an option is its name, a colon and its value. `=` gives a name to a value, in
statements only.

wrong:  let x = slerp(a, b, t=0.5)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0120": Kind(
        "the keys of a map are strings, and `{name}` is a name",
        label="expected a string",
        help=(
            "a record `{{ {name}: ... }}` stands behind an argument; in a map put the key in "
            "double quotes",
        ),
        explain="""\
`{ weight: 0.5 }` is a record and stands behind an argument of a call, an output or a param; where
a value is wanted, `{ "key": value }` is a map.

wrong:  let x = linear({ weight: 0.5 }, a, b)

right:  let x = linear(a { weight: 0.5 }, b)
""",
    ),
    "E0121": Kind(
        "a record cannot stand here",
        label="belongs behind an argument",
        help=("records stand behind an argument of a call, an output or a param",),
        explain="""\
A record gives options to one input of a call, to an output or to a param. A name or an expression
by itself has none.

wrong:  let x = a { weight: 0.5 }

right:  let x = linear(a { weight: 0.5 }, b)
""",
    ),
    "E0122": Kind(
        "an arm is written with `=>`, not with `{text}`",
        label="expected `=>`",
        help=("write `pattern => value`",),
        explain="""\
An arm of a `match` is a pattern, an arrow and a value.

wrong:  let x = linear(a { weight: match { mlp: 1, _: 0.5 } }, b)

right:  let x = linear(a { weight: match { mlp => 1, _ => 0.5 } }, b)
""",
    ),
    "E0123": Kind(
        "`{text}` is not in quotes",
        label="expected a string",
        help=("put it in double quotes",),
        explain="""\
Paths and names of models are strings, in double quotes.

wrong:  model a = ./a

right:  model a = "./a"
""",
    ),
    "E0124": Kind(
        "the expression is nested too deeply",
        label="deeper than {deepest} levels",
        help=("name parts of it with `let`; long sums are better written as `linear(...)`",),
        explain="""\
Expressions may be nested a hundred levels deep; each operator of a long sum is a level too.
""",
    ),
    "E0125": Kind(
        "the `match` has no arms",
        label="empty",
        help=("write at least `_ => value`",),
        explain="""\
A `match` chooses a value for each tensor by its arms.

wrong:  let x = linear(a { weight: match {} }, b)

right:  let x = linear(a { weight: match { mlp => 1, _ => 0.5 } }, b)
""",
    ),
    "E0126": Kind(
        "the keys of a record are names, and {text} is a string",
        label="expected a name",
        help=("write the key without quotes",),
        explain="""\
The options of a record are bare words.

wrong:  let x = linear(a { "weight": 0.5 }, b)

right:  let x = linear(a { weight: 0.5 }, b)
""",
    ),
    "E0127": Kind(
        "the number `{text}` is out of reach",
        label="{bounds}",
        explain="""\
Numbers are exact, so there is an end to how long they can be: 150 digits, and powers of ten from
-150 to 150. A seed has at most 18 digits, and layers are counted up to 9999.

wrong:  let x = as_model(1e400 * a)

right:  let x = as_model(1e40 * a)
""",
    ),
}
