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
            "a call can say whose to take: `linear({algebra}, ..., mismatch: from({algebra}))`",
        ),
        explain="""\
Tensors of different shapes cannot be merged. Often the vocabulary of one model was extended; then
the embeddings differ. The call may say whose tensors to take. The config says how large the
vocabulary is, so take it from the same model: from the first input, or with `config:`.

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
        help=('take them from the other: an arm `"{name}" => {first}` in front',),
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
    "E0710": Kind(
        "`gate: {gate}` is part of the language, but not in this version yet",
        label="not supported yet",
        help=("write `gate: random`: routers of random numbers, to be trained",),
        explain="""\
The gates of a mixture say which expert works on which token. This version knows `random` only;
gates made from prompts come later. Nothing is ever accepted and ignored, so this is an error.

wrong:  let x = moe(a, b, gate: hidden)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0711": Kind(
        "`gate: random` has no use for the `{option}` of `{text}`",
        label="has `{option}`",
        help=("leave `{option}` out",),
        explain="""\
`prompts` and `avoid` say what an expert is for, and gates are made from them. Random gates are made
from nothing.

wrong:  let x = moe(a { prompts: ["solve"] }, b, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0712": Kind(
        "`top_k` is {top_k}, and the mixture has {experts} experts",
        label="more than there are",
        help=("write `top_k: {experts}` or less",),
        explain="""\
`top_k` of the experts work on each token, so it is at most their number. It is 2 unless said
otherwise.

wrong:  let x = moe(a, b, gate: random, top_k: 3)

right:  let x = moe(a, b, gate: random, top_k: 2)
""",
    ),
    "E0713": Kind(
        "a mixture is made of Llama or Mistral models, and the architecture of `{text}` is "
        "{architecture}",
        label="cannot be an expert",
        help=("the architecture is the `model_type` of the model's config.json",),
        explain="""\
The experts of a mixture become a Mixtral, whose layers are those of a Llama or a Mistral. A bare
.safetensors file has no config.json, so its architecture is unknown: name the model's folder.

wrong:  model flat = "flat.safetensors"
        let x = moe(a, flat, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0714": Kind(
        "`{text}` has the tensor {name}, and a Mixtral has no place for it",
        label="does not fit",
        help=("leave this model out: without that tensor it would not be the same model",),
        explain="""\
A mixture is written as a Mixtral, whose layers have no biases and no further norms. A Llama or
Mistral that has them cannot be put into it without a loss.
""",
    ),
    "E0715": Kind(
        "`{text}` lacks the tensor {name} of the base",
        label="does not have it",
        help=(
            "take models of one family; the base is what `base:` says, else the first input",
        ),
        explain="""\
The models of a mixture have the same tensors, of the same shapes.

wrong:  let x = moe(a, headless, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0716": Kind(
        "{name} is {got} in `{text}` and {wanted} in the base",
        label="{got}",
        help=(
            "take models of one shape; the base is what `base:` says, else the first input",
        ),
        explain="""\
The models of a mixture have the same tensors, of the same shapes.

wrong:  let x = moe(a, wide, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
}
