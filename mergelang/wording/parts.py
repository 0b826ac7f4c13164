"""E230.: models of several towers, modules."""

from mergelang.wording.kind import Kind

PARTS: dict[str, Kind] = {
    "E2301": Kind(
        "`{text}` has several towers of layers: {towers}",
        label="which layers?",
        help=(
            "name the module: `{text}.{module}[{range}]`",
            "name the module of each input of `{operator}`: `{text}.{module}`",
            "what is made of a module is put back with `graft({text}, {module}: ...)`",
        ),
        explain="""\
An encoder beside a decoder, or layers that look at images beside those that write: each tower has
layers of its own, numbered from 0. A slice or a stack takes one of them, a module of the model,
and `graft` puts the result back in its place.

wrong:  let x = t5[..4]

right:  let x = graft(t5, encoder: t5.encoder[..4])
""",
    ),
    "E2302": Kind(
        "the config of the result cannot be made: {edit} puts layers where `{key}` in config.json "
        "cannot say of which kind they are",
        help=("keep layers of one kind together, or whole periods of them",),
        explain="""\
Some configs say by a number which layers are of another kind: the first so many, or every so many.
The layers of this result do not stand so, and the model would be loaded wrongly.
""",
    ),
    "E2303": Kind(
        "`{text}` does not say of which tower: there are {towers}",
        label="which layers?",
        help=("name the module: `{example}`",),
        explain="""\
A model with several towers numbers the layers of each from 0. A pattern says which it means, by a
part of the names of its tensors.

wrong:  let x = slerp(t5, other, t: match { layers 0..4 => 0.2, _ => 0.5 })

right:  let x = slerp(t5, other, t: match { layers(encoder) 0..4 => 0.2, _ => 0.5 })
""",
    ),
    "E2304": Kind(
        "`{text}` does not fit into `{whole}` as its `{word}`: {name} has no place there",
        label="one tensor too many",
        related=("has no such tensor",),
        help=("graft what was made of `{whole}.{word}`, or of models like it",),
        explain="""\
A module that is put into a model has the tensors of the one that it takes the place of, under the
names that `model.module` shows; only the number of its layers may differ.

wrong:  let x = graft(t5, encoder: llama)

right:  let x = graft(t5, encoder: mean(t5.encoder, other.encoder))
""",
    ),
    "E2305": Kind(
        "`{text}` does not fit into `{whole}` as its `{word}`: {name} is {got}, there {wanted}",
        label="another shape",
        related=("{wanted}",),
        help=("if the vocabularies differ, they have to be made equal first",),
        explain="""\
A module that is put into a model has the shapes of the one that it takes the place of: else the
rest of the model could not work with it.

wrong:  let x = graft(chat, model: wide.model)

right:  let x = graft(chat, model: mean(chat.model, math.model))
""",
    ),
    "E2306": Kind(
        "`{text}` does not fit into `{whole}` as its `{word}`: it lacks {name}",
        label="{count} of its tensors are not there",
        related=("has it",),
        help=("graft what was made of `{whole}.{word}`, or of models like it",),
        explain="""\
A module that is put into a model brings every tensor of the one that it takes the place of. Nothing
is filled in.

wrong:  let x = graft(t5, encoder: t5.decoder)

right:  let x = graft(t5, encoder: mean(t5.encoder, other.encoder))
""",
    ),
    "E2307": Kind(
        "`{text}` has no module `{word}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "its modules are {known}"),
        explain="""\
A dot behind a model names one of its modules: a part of the names of its tensors, outside of the
layers. `mergelang inspect MODEL` shows the names. `language_model`, `vision_tower` and
`audio_tower` also find what plays their part under another name.

wrong:  let x = t5.middle

right:  let x = t5.encoder
""",
    ),
    "E2308": Kind(
        "`graft` takes one model, and what takes the place of its modules, by their names",
        label="not so",
        help=("for instance `graft(vlm, language_model: merged)`",),
        explain="""\
`graft` gives the model with other models in the place of some of its modules.

wrong:  let x = graft(t5, other.encoder)

right:  let x = graft(t5, encoder: other.encoder)
""",
    ),
    "E2309": Kind(
        "`{text}` is a part of a model, for which config.json has no section",
        label="cannot be written alone",
        help=("put it back into the whole: `graft({whole}, {word}: {text})`",),
        explain="""\
A module can be written as a model of its own where the config has a section about it, such as
`text_config`. The encoder of a T5 has none: nothing could load it.

wrong:  output "out" = t5.encoder

right:  output "out" = graft(t5, encoder: t5.encoder[..4])
""",
    ),
}
