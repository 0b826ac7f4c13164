"""E05.., W05..: schedules, patterns, layers."""

from mergelang.wording.kind import Kind

SCHEDULES: dict[str, Kind] = {
    "E0501": Kind(
        "this `match` leaves tensors without a value",
        label="has no `_` arm",
        help=("close it with an arm for all the rest: `_ => 0.5`",),
        explain="""\
The first arm that names a tensor wins, and `_ =>` takes all the rest. It may be left out only in an
option that has a default, which the rest then takes.

wrong:  let t = match { mlp => 0.7 }
        let x = a + t * (b - a)

right:  let t = match { mlp => 0.7, _ => 0.3 }
        let x = a + t * (b - a)
""",
    ),
    "E0502": Kind(
        "a curve needs at least one point",
        label="no points",
        help=("for instance `curve(0.2, 0.8)`: from the first layer to the last",),
        explain="""\
`curve(a, b, ...)` runs through its points, evenly spaced over the layers, in straight lines.

wrong:  curve()

right:  curve(0, 0.5, 0.2)
""",
    ),
    "E0503": Kind(
        "a point of a curve is one number, and this is {got}",
        label="{got}",
        help=("write numbers, or params: `curve(0.2, t)`",),
        explain="""\
The points of a curve are plain numbers, params, or arithmetic between them.

wrong:  curve(0, curve(0, 1))

right:  curve(0, 0.5, 1)
""",
    ),
    "E0504": Kind(
        "`{text}` has {layers}, numbered 0 to {last}",
        label="beyond the last layer",
        help=("up to the last one: `[{suggestion}]`", "all of them: `[{all}]`"),
        explain="""\
A slice `x[a..b]` takes the layers from a up to, not including, b. Layers are counted from 0.

wrong:  let x = small[0..33]      # small has 32 layers

right:  let x = small[0..32]
""",
    ),
    "E0505": Kind(
        "the slice `{text}` holds no layer",
        label="empty",
        help=("the end is not included; did you mean `[{suggestion}]`?",),
        explain="""\
A slice `x[a..b]` takes the layers from a up to, not including, b. So b is larger than a.

wrong:  let x = model[8..8]

right:  let x = model[8..9]
""",
    ),
    "E0506": Kind(
        "`{text}` has no layers to slice",
        label="no numbered layers found",
        help=("layers are tensors with a running number in their names: `model.layers.0.`",),
        explain="""\
A slice takes numbered layers. This model's tensors have no running numbers in their names.
""",
    ),
    "E0507": Kind(
        "no tensor ever reaches this arm",
        label="after the `_` arm",
        related=("takes all tensors that come to it",),
        help=("move the `_` arm to the end",),
        explain="""\
The first arm that names a tensor wins, and `_` names every tensor: nothing is left for arms after
it.

wrong:  match { _ => 0.3, mlp => 0.7 }

right:  match { mlp => 0.7, _ => 0.3 }
""",
    ),
    "E0508": Kind(
        "`{text}` holds no layer",
        label="empty",
        help=("the end is not included; did you mean `{suggestion}`?",),
        explain="""\
`layers a..b` names the layers from a up to, not including, b. So b is larger than a.

wrong:  match { layers 8..0 => 0.5, _ => 0.3 }

right:  match { layers 0..8 => 0.5, _ => 0.3 }
""",
    ),
    "E0509": Kind(
        "this `match` leaves {tensors} without a model",
        label="no arm for {name}",
        help=("close it with an arm for all the rest: `_ => base`",),
        explain="""\
A `match` between models says for every tensor where it comes from. The first arm that names it
wins; `_ =>` takes all the rest.

wrong:  let x = match { @attn => a, @mlp => b }

right:  let x = match { @attn => a, _ => b }
""",
    ),
    "E0510": Kind(
        "`{option}` is one number for the whole model, and this varies",
        label="varies",
        help=("write a plain number",),
        explain="""\
Options that are numbers may vary over the model; whole numbers (seeds of a draw, counts) may not.

wrong:  let x = dare(a, b, base: base, density: 0.5, draw: curve(0, 1))

right:  let x = dare(a, b, base: base, density: 0.5, draw: 1)
""",
    ),
    "E0511": Kind(
        "there is no role `@{role}`",
        label="not known",
        help=("did you mean `@{suggestion}`?", "the roles: {known}"),
        explain="""\
A role names tensors by what they do: @embed (token embeddings), @head (the output projection),
@norm, @attn, @mlp. Other tensors are named by a word of their name (`q_proj`) or by a glob.

wrong:  match { @attention => 0.5, _ => 0.3 }

right:  match { @attn => 0.5, _ => 0.3 }
""",
    ),
    "E0512": Kind(
        "this schedule is computed from more than {most} parts",
        label="too many",
        help=("write it as one `curve` or one `match` of the numbers that come out",),
        explain="""\
A schedule that is computed from schedules that are computed from schedules is looked through whole,
at every tensor. Curves, arms and signs of arithmetic are parts; a name counts as what it stands
for.
""",
    ),
    "W0501": Kind(
        "no tensor matches `{text}`",
        label="matches nothing",
        help=(
            "did you mean `{suggestion}`?",
            "names here look like `{example}`; a word is one part of a name between dots, a string "
            "is a glob over the whole name",
        ),
        explain="""\
An arm of a `match` names no tensor of the expression that it steers, so it does nothing. A bare
word is one whole part of a tensor's name between dots; a string is a glob over the whole name.

wrong:  match { q_prj => 0.5, _ => 0.3 }

right:  match { q_proj => 0.5, _ => 0.3 }
""",
    ),
    "W0502": Kind(
        "`{text}` reaches beyond the model, which has {layers}",
        label="beyond the last layer",
        help=("layers are counted from 0, the end is not included",),
        explain="""\
`layers a..b` names the layers from a up to, not including, b, of the expression that the `match`
steers: after a slice, of the slice.

wrong:  match { layers 2..6 => 0.5, _ => 0.3 }      # a model of 4 layers

right:  match { layers 2..4 => 0.5, _ => 0.3 }
""",
    ),
    "W0503": Kind(
        "the arms above take every tensor that `{text}` matches",
        label="never reached",
        help=("the first arm that matches wins: move the narrower pattern up",),
        explain="""\
The first arm that names a tensor wins. All tensors of this arm are taken before.

wrong:  match { self_attn => 0.5, q_proj => 0.2, _ => 0.3 }

right:  match { q_proj => 0.2, self_attn => 0.5, _ => 0.3 }
""",
    ),
}
