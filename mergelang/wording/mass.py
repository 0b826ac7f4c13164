"""E04..: kinds of values, mass, algebra."""

from mergelang.wording.kind import Kind

MASS: dict[str, Kind] = {
    "E0401": Kind(
        "{wanted} is wanted here, and this is {got}",
        label="{got}",
        help=("give it a name first: `model name = {source}`",),
        explain="""\
Each place in a recipe wants a certain kind of value: a model, a task vector, a number, a string.

wrong:  let x = mean(a, 0.5)

right:  let x = 0.5 * a + 0.5 * b
""",
    ),
    "E0402": Kind(
        "a model is wanted here, and `{text}` has mass {mass}",
        label="mass {mass}, not 1",
        related=("comes from here",),
        help=(
            "did you mean the mean, `{mean}`?",
            "or, if they were tuned from the same base, `{tuned}`?",
            "weights that sum to 1 give a model: `{linear}` sees to that",
            "if you mean it, `as_model({text})` takes any mass",
        ),
        explain="""\
Every expression has a mass: a model has 1, a coefficient scales it, sums add it up. Only what has
mass 1 is a model: a point among models. A sum of two models has weights of twice the size and
speaks garbage. A model minus a model has mass 0: it is a task vector, and can be added to a model.

wrong:  output "out" = a + b

right:  output "out" = mean(a, b)
        output "other" = a + (b - base)
""",
    ),
    "E0403": Kind(
        "a model is wanted here, and `{text}` is a task vector",
        label="mass 0, not 1",
        related=("comes from here",),
        help=("add it to the model that it was taken from: `{sum}`",),
        explain="""\
The difference of two models has mass 0: it is a task vector, a direction rather than a point. It
becomes a model when it is added to one.

wrong:  output "out" = chat - base

right:  output "out" = base + 0.7 * (chat - base)
""",
    ),
    "E0404": Kind(
        "a task vector is wanted here, and `{text}` is {what}",
        label="mass {mass}, not 0",
        related=("comes from here",),
        help=("subtract the model that it was tuned from: `{delta}`",),
        explain="""\
The operators on task vectors (trim, drop, elect, ...) take differences of models, of mass 0.

wrong:  let x = base + trim(chat, density: 0.2)

right:  let x = base + trim(chat - base, density: 0.2)
""",
    ),
    "E0405": Kind(
        "`{operator}` takes models with a `base:` or task vectors, and here are both",
        label="a model",
        related=("a task vector",),
        help=("make a task vector of the model too: `{model} - base`",),
        explain="""\
A task-vector method takes models and the base that they were tuned from, or task vectors.

wrong:  let x = base + ties(chat, code - base, density: 0.5)

right:  let x = ties(chat, code, base: base, density: 0.5)
        let y = base + ties(chat - base, code - base, density: 0.5)
""",
    ),
    "E0406": Kind(
        "with a `base:`, `{operator}` takes models, and `{text}` is a task vector",
        label="a task vector",
        related=("the base",),
        help=(
            "leave `base:` out and add the result to the base: `{every}`",
            "make a model of it: `{mixed}`",
        ),
        explain="""\
With `base:` a task-vector method subtracts the base from every input itself and adds the result to
it. Inputs that are task vectors already go without it.

wrong:  let x = ties(chat - base, code - base, base: base)

right:  let x = base + ties(chat - base, code - base)
""",
    ),
    "E0407": Kind(
        "the inputs have to be alike, and `{other}` has mass {mass}, `{first}` {wanted}",
        label="mass {mass}",
        related=("mass {wanted}",),
        help=("give models only, or task vectors only",),
        explain="""\
The operator takes models (mass 1) or task vectors (mass 0), and gives the same. A mixture of the
two means nothing.

wrong:  let x = mean(chat, code - base)

right:  let x = mean(chat, code)
        let y = mean(chat - base, code - base)
""",
    ),
    "E0408": Kind(
        "two models cannot be combined with `{op}`",
        label="{lefts} {op} {rights}",
        help=("models are added and subtracted, and scaled by numbers",),
        explain="""\
The algebra of models knows sums, differences and scaling by a number.

wrong:  let x = a * b

right:  let x = 0.5 * a + 0.5 * b
""",
    ),
    "E0409": Kind(
        "`{op}` cannot combine {lefts} and {rights}",
        label="{lefts} {op} {rights}",
        help=("scale with `*`: `0.5 * model`",),
        explain="""\
A number scales a model; it cannot be added to one.

wrong:  let x = a + 0.5

right:  let x = a + 0.5 * (b - a)
""",
    ),
    "E0410": Kind(
        "a number cannot be divided by {rights}",
        label="{lefts} / {rights}",
        help=("a model can be divided by a number: `model / 2`",),
        explain="""\
A model can be divided by a number, not the other way round.

wrong:  let x = 2 / a

right:  let x = (a + b) / 2
""",
    ),
    "E0411": Kind(
        "mass {wanted} is wanted here, and that of `{text}` is {mass} for some tensors",
        label="the mass varies",
        related=("comes from here",),
        help=(
            "for instance {tensor} has mass {mass}",
            "let the weights of every tensor sum to {wanted}: with a schedule t, "
            "`t * a + (1 - t) * b` does",
        ),
        explain="""\
Where a coefficient is a schedule, the mass is one for each tensor, and has to be right for all of
them.

wrong:  let t = curve(0.2, 0.8)
        output "out" = t * a + 0.5 * b

right:  let t = curve(0.2, 0.8)
        output "out" = t * a + (1 - t) * b
""",
    ),
    "E0412": Kind(
        "the arms of a `match` have to be alike, and `{other}` has mass {mass}, `{first}` {wanted}",
        label="mass {mass}",
        related=("mass {wanted}",),
        help=("let every arm be a model, or every arm a task vector",),
        explain="""\
A `match` between models is a model for each tensor; one between task vectors a task vector.

wrong:  let x = match { @attn => a, _ => b - base }

right:  let x = match { @attn => a, _ => b }
""",
    ),
    "E0413": Kind(
        "the arms of a `match` are all numbers or all models, and this is {got}",
        label="{got}",
        related=("{first}",),
        help=("a weight by pattern is `match {{ mlp => 0.7, _ => 0.3 }} * model`",),
        explain="""\
A `match` is a schedule when its arms are numbers, and a model expression when they are models.

wrong:  let x = match { mlp => a, _ => 0.5 }

right:  let x = match { mlp => a, _ => b }
""",
    ),
    "E0414": Kind(
        "division by zero",
        label="is 0",
        help=("a divisor that varies must not be 0 at any tensor either",),
        explain="""\
Nothing can be divided by 0. A curve is 0 at some layer when its points say so.

wrong:  let x = (a + b) / 0

right:  let x = (a + b) / 2
""",
    ),
    "E0415": Kind(
        "the weights of `{operator}` sum to 0",
        label="cannot be normalized",
        help=("change a weight",),
        explain="""\
A weighted mean divides by the sum of its weights, which must not be 0. A difference of models,
whose weights do sum to 0, is a task vector: `chat - code`.

wrong:  let x = linear(a { weight: 1 }, b { weight: -1 })

right:  let x = linear(a { weight: 2 }, b { weight: -1 })
""",
    ),
    "E0416": Kind(
        "the mass of `{operator}` cannot be told when its options vary",
        label="varies",
        help=("give plain numbers instead of schedules",),
        explain="""\
The operator of an installed package reckons the mass of its result in a way that takes plain
numbers only.
""",
    ),
    "E0418": Kind(
        "`{operator}` works on what tuning changed, and its inputs are models without a `base:`",
        label="needs a base",
        help=(
            "say what they were tuned from: `{operator}(..., base: {base})`",
            "say what they were tuned from: `{operator}(..., base: {name})`, "
            "with a `model` of that name",
        ),
        explain="""\
A task vector is what tuning changed: the tuned model minus its base. Given models, the method needs
to know the base; given task vectors, it returns a task vector.

wrong:  let x = ties(chat, code, density: 0.5)

right:  let x = ties(chat, code, base: base, density: 0.5)
        let y = base + ties(chat - base, code - base, density: 0.5)
""",
    ),
}
