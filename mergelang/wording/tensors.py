"""E07..: tensors that do not fit."""

from mergelang.wording.kind import Kind

TENSORS: dict[str, Kind] = {
    "E0701": Kind(
        "the tensors do not fit: `{other}` {what}",
        label="for instance {names}",
        related=("compared with this",),
        help=(
            "say what to do with them in the call: `missing: skip` leaves them out, "
            "`missing: from({call})` takes them from `{call}`",
            "a call can say what to do with them: "
            "`linear({first}, ..., missing: from({algebra}))`",
        ),
        explain="""\
A merge of values needs every tensor in every input. Nothing is dropped or guessed: the call says
what to do with tensors that some inputs lack.

wrong:  let x = mean(small, large)

right:  let x = mean(small, large, missing: from(large))
""",
    ),
    "E0702": Kind(
        "the tensors do not fit: {name} is {got} in `{other}` and {wanted} in `{first}`{more}",
        label="{got}",
        related=("{wanted}",),
        help=(
            "say whose to take: `mismatch: from({call})`",
            'name the model that it was trained on: `lora("{adapter}", base: x)`',
            "a call can say whose to take: `linear({algebra}, ..., mismatch: from({algebra}))`",
        ),
        explain="""\
Tensors of different shapes cannot be merged. Often the vocabulary of one model was extended; then
the embeddings differ. The call may say whose tensors to take. The config of the result says how
many rows they have; all else in it, and the other files, come from the first input, or from the
model that `config:` names.

wrong:  let x = mean(chat, wide)

right:  let x = mean(chat, wide, mismatch: from(chat))
        let y = mean(chat, wide, mismatch: from(wide), config: from(wide))
""",
    ),
    "E0703": Kind(
        "`{text}` lacks {tensors} to be taken from it: {names}",
        label="does not have them",
        help=("name a model that has them all",),
        explain="""\
`mismatch: from(x)` takes tensors whose shapes differ from `x`, so `x` has to have them.
""",
    ),
    "E0704": Kind(
        "the {count} inputs have no tensor in common",
        label="nothing would be left",
        help=("were these models meant? `mergelang inspect MODEL` shows the names of its tensors",),
        explain="""\
With `missing: skip` only the tensors that all inputs have are merged. Here there are none: the
models are of different kinds.
""",
    ),
    "E0705": Kind(
        "`{other}` is to give {tensors} that it does not have: {names}",
        label="does not have them",
        related=("has them",),
        help=(
            "take them from the other: an arm `{arm} => {first}` in front",
            'take them from the other: arms in front that name them, as `"{such}" => {first}` does',
        ),
        explain="""\
In a `match` between models every tensor is taken from the expression of its arm, which has to have
it.

wrong:  let x = match { @attn | @head => headless, _ => b }

right:  let x = match { @attn => headless, _ => b }
""",
    ),
    "E0706": Kind(
        "{name} is {got} in `{other}` and {dtype} in `{first}`",
        label="{got}",
        related=("{dtype}",),
        help=(
            'take it from one of them: `match {{ "{name}" => {first}, _ => ... }}`',
        ),
        explain="""\
Floating-point tensors of different dtypes are merged; integer and bool tensors are copied, and have
to be of one dtype in all inputs.
""",
    ),
    "E0707": Kind(
        "`{text}` has no layers to stack",
        label="no numbered layers found",
        help=("layers are tensors with a running number in their names: `model.layers.0.`",),
        explain="""\
A stack puts numbered layers one upon another. This model's tensors have no running numbers in their
names.

wrong:  model flat = "flat.safetensors"
        let x = stack(a, flat)

right:  let x = stack(a, b)
""",
    ),
    "E0708": Kind(
        "the layers of `{text}` are called `{prefix}0` and so on, those of the first piece "
        "`{first}0`",
        label="of another architecture",
        help=("stack models of one architecture",),
        explain="""\
The layers of a stack are numbered anew, under one name. Models that call their layers otherwise
are of another architecture: their layers would not work together.

wrong:  model gpt = "gpt.safetensors"
        let x = stack(a, gpt)

right:  let x = stack(a, b)
""",
    ),
    "W0701": Kind(
        "the config comes from `{donor}`, where {name} has another shape than in the result{more}",
        label="may not be loaded",
        help=(
            "take it from where they are taken: `config: from({giver})`",
            "take it from where they are taken, with `config: from(x)` in a call{several}",
        ),
        explain="""\
A config says how wide the layers of a model are, and how many heads they have. Where tensors of
other shapes than those of its donor are taken, it says what is not so, and the model cannot be
loaded. Of tables of tokens it says the right number of rows in any case.

wrong:  output "out" = mean(chat, broad, mismatch: from(broad))

right:  output "out" = mean(chat, broad, mismatch: from(broad), config: from(broad))
""",
    ),
}
