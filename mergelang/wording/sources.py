"""E22..: adapters, models on the Hub, pickles."""

from mergelang.wording.kind import Kind

SOURCES: dict[str, Kind] = {
    "E2200": Kind(
        "`lora` takes the source of one adapter, a string, and perhaps its `base:`",
        label="not that",
        help=('write `lora("./adapter")`, or `lora("./adapter", base: base)`',),
        explain="""\
An adapter is named where it is used, by its folder or by its name on the Hub. How much it counts
stands in front of it.

wrong:  let x = base + lora("./adapter", weight: 0.8)

right:  let x = base + 0.8 * lora("./adapter")
""",
    ),
    "E2201": Kind(
        "there is no adapter at `{path}`: it {what}",
        label="no adapter",
        help=(
            "an adapter of PEFT is a folder with adapter_config.json and adapter_model.safetensors",
        ),
        explain="""\
`lora` reads adapters as PEFT saves them: a folder with a config and the weights in safetensors.

wrong:  let x = base + lora("./math")      # a whole model

right:  model math = "./math"
        let x = base + (math - base)
""",
    ),
    "E2202": Kind(
        "the adapter `{path}` {what}, which cannot be merged here",
        label="not a plain LoRA",
        help=("merge it with peft (`merge_and_unload`), save the model, and name its folder",),
        explain="""\
Adapters of the type LORA are read: with ranks and alphas by module, rsLoRA, DoRA, fan_in_fan_out,
embeddings, biases and modules that were saved whole. This one holds something else. peft can merge
some of these; what it saves is a model like any other.
""",
    ),
    "E2203": Kind(
        "the adapter `{path}` was trained on a base that its start (`{start}`) had changed",
        label="fits no base that is stored",
        help=(
            "save it again with `path_initial_model_for_weight_conversion` of peft, which makes "
            "it a plain LoRA",
        ),
        explain="""\
PiSSA, OLoRA, CorDA, LoftQ and others begin by taking something out of the base's weights and
putting it into the adapter. What the adapter adds is right only for the base less that. peft can
turn such an adapter into a plain LoRA when it saves it.
""",
    ),
    "E2204": Kind(
        "the adapter `{path}` does not fit together at {tensor}: {why}",
        label="damaged",
        help=("fetch or save the adapter again, config and weights of one training",),
        explain="""\
For each module that it changes, an adapter has two factors, of the rank that its config states, and
scales their product by the config's alpha.
""",
    ),
    "E2205": Kind(
        "`{path}` is no task vector without its base: {why} ({tensor})",
        label="needs its base",
        help=('name the base: `lora("{path}", base: {base})`',),
        explain="""\
What a LoRA adds is the same whatever it is added to. A DoRA scales the base's own weights, and
modules that were saved whole replace those of the base: what they add can only be said together
with the base. `lora("./dora", base: base)` is what the adapter makes of `base`, less `base`.

wrong:  let x = base + 0.8 * lora("./dora")

right:  let x = base + 0.8 * lora("./dora", base: base)
""",
    ),
    "E2206": Kind(
        "{tensors} of `{text}` fit nothing in `{other}`: {names}",
        label="an adapter for another model",
        related=("has no such tensor",),
        help=("the nearest name there is {like}", "use the model that it was trained on"),
        explain="""\
An adapter names the modules of the model that it was trained on. Where the other model lacks one of
them, part of the adapter would be lost, so this is an error. Most likely the adapter belongs to a
model of another architecture or with more layers.
""",
    ),
    "E2207": Kind(
        "the layers of `{text}` are not known: an adapter lists only what it changes",
        label="made of adapters alone",
        help=('name its base: `lora("./a", base: base)`, or add it first and take layers then',),
        explain="""\
Slices and stacks number layers anew, and an adapter does not say how many there are: those that it
does not change are not in it.

wrong:  let x = base + lora("./adapter")[..2]

right:  let x = (base + lora("./adapter"))[..2]
""",
    ),
    "E2208": Kind(
        "`{text}` is made of adapters alone: there is no model in it",
        label="no whole model",
        help=("add it to its base: `base + lora(...)`",),
        explain="""\
An adapter holds differences of some tensors. An output is a whole model, with all its tensors, a
config and a tokenizer, and those come from the base.

wrong:  output "x" = as_model(lora("./adapter"))

right:  output "x" = base + lora("./adapter")
""",
    ),
}
