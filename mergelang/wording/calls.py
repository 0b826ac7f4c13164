"""E03..: calls, inputs and options."""

from mergelang.wording.kind import Kind

CALLS: dict[str, Kind] = {
    "E0301": Kind(
        "there is no operator `{name}`",
        label="not known",
        help=(
            "`{name}` is {bound}, and cannot be called",
            "did you mean `{suggestion}`?",
            "`mergelang ops` lists all operators",
        ),
        explain="""\
What stands before a bracket is an operator: one of ours, or of an installed package.
`mergelang ops` lists them.

wrong:  let x = slurp(a, b, t: 0.5)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0302": Kind(
        "`{operator}` takes {wanted}, and here {got}",
        label="needs {wanted}",
        help=("`mergelang ops {operator}` says what it does with them",),
        explain="""\
Every operator says how many inputs it takes.

wrong:  let x = slerp(a, t: 0.5)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0303": Kind(
        "`{operator}` takes {wanted}, and here {got}",
        label="one too many",
        help=("`mergelang ops {operator}` says what it does with them",),
        explain="""\
Every operator says how many inputs it takes. For more than two models `mean` and `linear` are
means, or one call is put into another.

wrong:  let x = slerp(a, b, c, t: 0.5)

right:  let x = slerp(slerp(a, b, t: 0.5), c, t: 0.33)
""",
    ),
    "E0304": Kind(
        "`{operator}` needs `{option}` ({kind})",
        label="`{option}` is missing",
        help=(
            "write for instance `{call}` in the call",
            "or give each input its own: `{each}`",
            "write for instance `{record}`",
        ),
        explain="""\
The option has no default, since none would be right for most merges. An option of the call stands
in its brackets; an option of one input stands in a record after that input, or in the brackets
for all inputs.

wrong:  let x = slerp(a, b)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0305": Kind(
        "`{operator}` has no option `{name}` here",
        label="not known",
        help=("did you mean `{suggestion}`?", "it takes {known}"),
        explain="""\
No option is ever accepted and ignored. `mergelang ops NAME` lists those of an operator.

wrong:  let x = slerp(a, b, weight: 0.5)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0306": Kind(
        "`{name}` is given twice",
        label="given again",
        related=("first given here",),
        help=("leave one of them out",),
        explain="""\
Each option is given once.

wrong:  let x = slerp(a, b, t: 0.5, t: 0.6)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0307": Kind(
        "`{option}` is to be {wanted}, and this is {got}",
        label="{got}",
        help=("`mergelang ops {operator}` says what each option takes",),
        explain="""\
Every option says what it takes: a number (or a schedule), a whole number, true or false, one of a
few words, a string, a list of strings.

wrong:  let x = linear(a, b, normalize: 1)

right:  let x = linear(a, b, normalize: true)
""",
    ),
    "E0308": Kind(
        "{value} is out of range for `{option}` of `{operator}`",
        label="{kind}",
        help=("`{option}` takes a {kind}",),
        explain="""\
The option has bounds; a round bracket means that the bound itself is not allowed. All numbers of a
schedule have to lie within.

wrong:  let x = ties(a { density: 1.5 }, b, base: base)

right:  let x = ties(a { density: 0.5 }, b, base: base)
""",
    ),
    "E0309": Kind(
        "the inputs of `{operator}` have no options of their own",
        label="no record here",
        help=("options of the call stand in its brackets: {known}", "leave the record out{bare}"),
        explain="""\
A record after an input gives options of that input. This operator has none; its options stand in
the brackets of the call.

wrong:  let x = slerp(a { t: 0.5 }, b)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0310": Kind(
        "`{name}` is an option of the whole call, not of one input",
        label="does not belong here",
        help=("move it out of the record: `{operator}(..., {name}: ...)`",),
        explain="""\
Some options steer one input and stand in its record; others steer the whole call and stand in its
brackets.

wrong:  let x = linear(a { weight: 0.5, normalize: false }, b)

right:  let x = linear(a { weight: 0.5 }, b, normalize: false)
""",
    ),
    "E0311": Kind(
        "inputs stand before options",
        label="an input after an option",
        related=("the option",),
        help=("move the input in front of the options",),
        explain="""\
In a call the inputs come first and the named options after them.

wrong:  let x = slerp(a, t: 0.5, b)

right:  let x = slerp(a, b, t: 0.5)
""",
    ),
    "E0313": Kind(
        "`{option}` cannot be `{text}`",
        label="one of {known}",
        help=("did you mean `{suggestion}`?", "it is written as a bare word: {known}"),
        explain="""\
The option takes one of a few words, written without quotes.

wrong:  let x = dare(a, b, base: base, density: 0.5, rescale: "inverse")

right:  let x = dare(a, b, base: base, density: 0.5, rescale: inverse)
""",
    ),
    "E0314": Kind(
        "a record stands after an input, and `{name}:` is an option",
        label="no record here",
        help=("leave the record out",),
        explain="""\
A record gives options to one input of the call. A named argument is an option itself.

wrong:  let x = ties(a, b, base: base { weight: 0.5 })

right:  let x = ties(a { weight: 0.5 }, b, base: base)
""",
    ),
    "E0315": Kind(
        "`from(x)` only answers `missing:`, `mismatch:` and `config:`",
        label="stands alone here",
        help=("write `missing: from(x)` in a call, or just the model",),
        explain="""\
`from(x)` says where tensors or the config are taken from, as the value of one of the three options.

wrong:  let x = mean(from(a), b)

right:  let x = mean(a, b, missing: from(a))
""",
    ),
    "E0316": Kind(
        "`as_model` takes one expression, and here {got}",
        label="one expression",
        help=("write `as_model(expression)`",),
        explain="""\
`as_model(expression)` says that an expression is to be taken as a model whatever its mass.

wrong:  let x = as_model(a, b)

right:  let x = as_model(a + b)
""",
    ),
    "E0317": Kind(
        "`{option}` is {allowed}",
        label="not one of them",
        help=("write for instance `{option}: from({example})`",),
        explain="""\
`missing:` says what to do with tensors that not all inputs have: `skip` leaves them out of the
result, `from(x)` takes them from `x`. `mismatch:` says the same about tensors of different shapes,
and takes `from(x)`. `config: from(x)` says whose config and tokenizer files the result takes.

wrong:  let x = mean(a, b, missing: a)

right:  let x = mean(a, b, missing: from(a))
""",
    ),
    "E0318": Kind(
        "`{operator}` cannot take these inputs: {reason}",
        label="here",
        explain="An operator of an installed package refused its inputs; its reason is shown.\n",
    ),
    "E0319": Kind(
        "`{operator}` takes no `base`",
        label="not known",
        help=("only methods on task vectors take a base, such as `ties` and `dare`",),
        explain="""\
`base:` says what the inputs of a task-vector method were tuned from. Means have no base; operators
on task vectors take them written out.

wrong:  let x = mean(a, b, base: base)

right:  let x = task_arithmetic(a, b, base: base)
""",
    ),
    "E0320": Kind(
        "`{operator}` of the package `{package}` fails on tensor {tensor}: {reason}",
        label="called here",
        help=("tell those who made the package; the other operators are not affected",),
        explain="""\
The operator comes from an installed package, and its function raised the error that is shown. An
operator says what is to be computed for a tensor before anything is read, so this is found by
`plan`, and at the first tensor.
""",
    ),
    "W0301": Kind(
        "the operators of the package `{package}` cannot be used: {reason}",
        help=("mend or remove it: `pip uninstall {package}`",),
        explain="""\
Installed packages bring operators of their own (entry points of the group `mergelang.operators`).
This one failed when it was loaded, so none of its operators exist. All others are not affected.
""",
    ),
    "E0321": Kind(
        "`{option}` of `{operator}` counts only with `{other}: {value}`",
        label="would be ignored",
        help=("add `{other}: {value}`, or leave `{option}` out",),
        explain="""\
Some options say more about a choice that another option makes. Without that choice they would be
passed over, and the result would not be what the recipe seems to say.

wrong:  let x = nuslerp(a, b, row_wise: true)

right:  let x = nuslerp(a, b, flatten: false, row_wise: true)
""",
    ),
}
