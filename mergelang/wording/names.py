"""E02.., W02..: names, imports, params."""

from mergelang.wording.kind import Kind

NAMES: dict[str, Kind] = {
    "E0201": Kind(
        "nothing is called `{name}`",
        label="not known here",
        help=(
            "did you mean `{suggestion}`?",
            "`{operator}` is an operator: write `{operator}(...)` with its inputs",
            "names of this file: {known}",
        ),
        explain="""\
A name stands for what a `model`, `let`, `param` or `use` statement above gave it. This one was
given by none. Usually it is a slip of the finger.

wrong:  model chat = "./chat"
        let blend = mean(chat, chatt)

right:  model chat = "./chat"
        model code = "./code"
        let blend = mean(chat, code)
""",
    ),
    "E0202": Kind(
        "`{name}` is given twice",
        label="given again",
        related=("first given here",),
        help=("choose another name for one of the two",),
        explain="""\
A name is given once in a file and then stays what it is: so the text can be read in any order, and
no circle can be written. Give the second value a name of its own.

wrong:  let soup = mean(a, b)
        let soup = slerp(soup, c, t: 0.5)

right:  let soup = mean(a, b)
        let blend = slerp(soup, c, t: 0.5)
""",
    ),
    "E0203": Kind(
        "`{name}` is used before it is given",
        label="used here",
        related=("given here",),
        help=(
            "move the statement that gives `{other}` above this one",
            "an expression cannot use itself: which value of `{itself}` did you mean?",
        ),
        explain="""\
A statement may use the names that stand above it. So a recipe reads from top to bottom, and an
expression cannot use itself.

wrong:  let tall = stack(soup[..2], soup[1..])
        let soup = mean(a, b)

right:  let soup = mean(a, b)
        let tall = stack(soup[..2], soup[1..])
""",
    ),
    "E0205": Kind(
        "cannot read `{path}`: {reason}",
        label="used here",
        help=("the path starts from the folder of this recipe",),
        explain="""\
`use "other.merge" as house` reads another recipe and gives its names as `house.name`. The path
starts from the folder of the recipe that says `use`, not from the folder you are in.

wrong:  use "../nowhere/other.merge" as house

right:  use "other.merge" as house
""",
    ),
    "E0206": Kind(
        "recipes use each other in a circle",
        label="closes the circle",
        help=(
            "the circle: {chain}; move what both need into a third recipe",
            "{itself} is this recipe itself: its own names need no `use`",
        ),
        explain="""\
A recipe that is used by another cannot use it in turn: neither could be read first. Move the
models and expressions that both need into a third recipe and let both use that one.

wrong:  # a.merge
        use "b.merge" as b
        # b.merge
        use "a.merge" as a

right:  # a.merge
        use "common.merge" as common
        # b.merge
        use "common.merge" as common
""",
    ),
    "E0207": Kind(
        "{path} gives nothing called `{name}`",
        label="not in that file",
        help=("did you mean `{suggestion}`?", "it gives {known}"),
        explain="""\
`house.name` is a name that the used recipe gives with `model`, `let`, `param` or `use`.

wrong:  use "other.merge" as house
        let x = house.blendd

right:  use "other.merge" as house
        let x = house.blend
""",
    ),
    "E0208": Kind(
        "`{text}` has no names in it: it is {got}",
        label="a dot reaches into used recipes and into models",
        related=("given here",),
        help=('names with a dot come from `use "other.merge" as house`: `house.blend`',),
        explain="""\
A recipe that was brought in by `use` has names in it, and a model has modules.

wrong:  param t = 0.5
        let x = t.blend * chat

right:  use "other.merge" as house
        let x = house.blend
""",
    ),
    "E0209": Kind(
        "`{name}` is a used recipe, not a model",
        label="a recipe",
        help=("say which of its names you mean, for instance `{example}`",),
        explain="""\
`use` brings in a whole recipe under one name. A model in it is reached with a dot.

wrong:  use "other.merge" as house
        let x = mean(house, chat)

right:  use "other.merge" as house
        let x = mean(house.blend, chat)
""",
    ),
    "E0210": Kind(
        "this recipe is written in edition {number} of the language, and this version reads "
        "edition {known}",
        label="not known",
        help=("install a newer mergelang, or write `mergelang {known}`",),
        explain="""\
The first statement of a recipe may say in which edition of the language it is written, so that
later editions can change without breaking it.

wrong:  mergelang 9

right:  mergelang 1
""",
    ),
    "E0211": Kind(
        "a recipe has one seed",
        label="second seed",
        related=("first seed",),
        help=("leave one of them out",),
        explain="""\
`seed` is the root of all randomness of its file. To draw other random numbers in one call, give
the call the option `draw`.

wrong:  seed 1
        seed 2

right:  seed 1
""",
    ),
    "E0214": Kind(
        "the recipe has no param `{name}` to set",
        help=(
            "did you mean `{suggestion}`?",
            "its params: {known}",
            "the recipe has no params at all{none}; declare one: `param {name} = 0.5`",
        ),
        explain="""\
`--set name=value` gives a value to a `param` of the recipe on the command line. The params of used
recipes keep their defaults.

wrong:  mergelang run x.merge --set tt=0.3      # x.merge says: param t = 0.4

right:  mergelang run x.merge --set t=0.3
""",
    ),
    "E0215": Kind(
        "`{text}` is no value for `{name}`: {wanted} is wanted",
        label="set from outside",
        help=("a setting has the kind of the default: `--set {name}=VALUE`",),
        explain="""\
The value of a setting has the kind of the param's default: a number, true or false, or a string.

wrong:  --set t=much      # param t = 0.4

right:  --set t=0.3
""",
    ),
    "E0216": Kind(
        "{value} is out of range for `{name}`: {bounds}",
        label="may be {bounds}",
        help=("you set `{set}`", "give a value of {bounds}, or change `min` and `max`"),
        explain="""\
The record of a param bounds its values, the default among them.

wrong:  param t = 1.4 { min: 0, max: 1 }

right:  param t = 0.4 { min: 0, max: 1 }
""",
    ),
    "E0217": Kind(
        "a param has no option `{name}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "a param has `min` and `max`"),
        explain="""\
The record of a param holds its bounds, `min` and `max`, and nothing else.

wrong:  param t = 0.4 { least: 0 }

right:  param t = 0.4 { min: 0 }
""",
    ),
    "E0218": Kind(
        "the default of a param is one number, true, false or a string; this is {got}",
        label="{got}",
        help=("give `{name}` a plain value, or make it a `let`",),
        explain="""\
A param is a knob that can be set from outside, so its value is plain: a number, `true`, `false` or
a string. Schedules and models are given names with `let`.

wrong:  param t = curve(0, 1)

right:  let t = curve(0, 1)
""",
    ),
    "E0219": Kind(
        "no number is both at least {low} and at most {high}",
        label="min is above max",
        help=("swap them: `{{ min: {high}, max: {low} }}`",),
        explain="""\
`min` and `max` of a param bound its values, both included.

wrong:  param t = 0.4 { min: 1, max: 0 }

right:  param t = 0.4 { min: 0, max: 1 }
""",
    ),
    "E0220": Kind(
        "bounds are for numbers, and the default is {got}",
        label="has no effect",
        help=("leave the record out",),
        explain="""\
`min` and `max` bound a number. A param that is true or false, or a string, has no bounds.

wrong:  param scaled = true { min: 0 }

right:  param scaled = true
""",
    ),
    "W0201": Kind(
        "nothing uses the {what} `{name}`",
        label="not used",
        help=("leave it out, or use it in an output",),
        explain="""\
A name that no output needs does nothing. Often it is the trace of a slip: another name was written
where this one was meant.

wrong:  model chat = "./chat"
        model code = "./code"
        output "out" = mean(chat, chat)

right:  model chat = "./chat"
        model code = "./code"
        output "out" = mean(chat, code)
""",
    ),
}
