"""E113.., W113..: recipes written as mergekit's YAML files."""

from mergelang.wording.kind import Kind

EXPORT: dict[str, Kind] = {
    "E1130": Kind(
        "mergekit has no counterpart of {what}",
        label="does not fit into its format",
        help=("a recipe says more than its format can: run this one here",),
        explain="""\
`export` writes YAML for mergekit where the recipe fits into it: one of its methods on models, on
slices of them, or on other merges; and sums of models with plain weights. Nothing is left out in
silence, so the first thing that does not fit is an error at its place.
""",
    ),
    "E1131": Kind(
        "mergekit has no `{option}: {value}`",
        label="what `{operator}` does unless told otherwise",
        help=("write {known}, which it has",),
        explain="""\
Where mergekit is not as the paper of a method, the method here is, and an option does as mergekit.
DARE divides what is left by the density; mergekit scales it to the sum of magnitudes before, or not
at all. A recipe fits into its format with the option only.

wrong:  let x = dare(a { density: 0.5 }, base: base)

right:  let x = dare(a { density: 0.5 }, base: base, rescale: l1)
""",
    ),
    "E1132": Kind(
        "a filter of mergekit is a piece of a tensor's name, and `{text}` says something else",
        label="no piece of a name",
        help=('the tensors with `{word}` within their names: `"*.{word}.*"`',),
        explain="""\
mergekit's conditions look for a text within the name of a tensor. That is what a glob between two
`*` says. Words, roles, layers and what is combined with `&` and `!` say more or less than that.

wrong:  weight: match { mlp => 0.5, _ => 0.3 }

right:  weight: match { "*.mlp.*" => 0.5, _ => 0.3 }
""",
    ),
    "E1133": Kind(
        "mergekit needs the last layer of each slice as a number",
        label="not said in the recipe",
        help=("write both ends: `x[16..32]`",),
        explain="""\
`layer_range` has a first and a last number, and what a recipe leaves open only the model knows.

wrong:  let x = stack(a[..16], b[16..])

right:  let x = stack(a[..16], b[16..32])
""",
    ),
    "E1134": Kind(
        "mergekit takes the config from `base_model`, which `{method}` would merge here",
        label="another model's config",
        help=("take the config from one of the inputs, or leave `config:` out",),
        explain="""\
The config and tokenizer of the result are those of `base_model` there. Where the method uses the
base itself, or it is no input, another donor cannot be said.
""",
    ),
    "W1131": Kind(
        "the seed is not in the file",
        label="left out",
        help=("run `mergekit-yaml ... --random-seed {seed}`; it draws other numbers than we do",),
        explain="mergekit takes the seed from its command line, and its numbers are others.\n",
    ),
    "W1132": Kind(
        "the size of shards is not in the file",
        label="left out",
        help=("run `mergekit-yaml ... --out-shard-size SIZE` for shards of {size}",),
        explain="mergekit takes the size of the output's files from its command line.\n",
    ),
}
