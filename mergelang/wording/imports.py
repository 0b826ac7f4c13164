"""E110.., E111.., E112.., W110..: mergekit's YAML files read."""

from mergelang.wording.kind import Kind

IMPORT: dict[str, Kind] = {
    "E1101": Kind(
        "this is not YAML: {reason}",
        label="here",
        help=("look at the indentation, at brackets and quotes near this place",),
        explain="""\
The file has the ending of a YAML file and cannot be read as one.

wrong:  models: [{model: a}, {model: b}

right:  models: [{model: a}, {model: b}]
""",
    ),
    "E1102": Kind(
        "{where} has no key `{name}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "it has {known}"),
        explain="""\
mergekit passes over keys that it does not know, so a slip of the pen changes the merge and nobody
is told. Here every key is one that mergekit 0.1.5 reads, or an error.

wrong:  merge_method: linear
        model:
          - model: a

right:  merge_method: linear
        models:
          - model: a
""",
    ),
    "E1103": Kind(
        "the key `{name}` stands twice in one mapping",
        label="again",
        related=("first here",),
        help=("leave one of them out; YAML keeps the last and says nothing",),
        explain="""\
YAML readers keep the last of two equal keys and drop the first.

wrong:  parameters: {weight: 1, weight: 2}

right:  parameters: {weight: 2}
""",
    ),
    "E1104": Kind(
        "{what} is {wanted}, and this is {got}",
        label="{got}",
        explain="""\
The value of a key is of another kind than mergekit reads there.

wrong:  models: a

right:  models:
          - model: a
""",
    ),
    "E1105": Kind(
        "{where} needs `{name}`",
        label="`{name}` is missing",
        explain="""\
A key that mergekit cannot do without is missing.

wrong:  models:
          - model: a

right:  merge_method: linear
        models:
          - model: a
""",
    ),
    "E1106": Kind(
        "mergekit has no merge method `{name}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "it has {known}"),
        explain="""\
`merge_method` is one of the methods of mergekit 0.1.5.

wrong:  merge_method: tys

right:  merge_method: ties
""",
    ),
    "E1107": Kind(
        "the file says nothing",
        label="no merge here",
        help=("a merge has a `merge_method` and `models`, `slices` or `modules`",),
        explain="The file is empty, or holds comments only.\n",
    ),
    "E1108": Kind(
        "one of `models`, `slices` and `modules` says what is merged, and here {got}",
        label="exactly one of them",
        related=("the other",),
        explain="""\
`models` merges whole models, `slices` some of their layers, `modules` each module by itself. One
merge is one of the three; a module has `models` or `slices`.

wrong:  merge_method: linear
        parameters: {weight: 1}

right:  merge_method: linear
        models:
          - model: a
        parameters: {weight: 1}
""",
    ),
    "E1109": Kind(
        "`{text}` is no dtype that weights are written in",
        label="not known",
        help=("did you mean `{suggestion}`?", "it is one of {known}"),
        explain="""\
`dtype` and `out_dtype` name a floating-point dtype.

wrong:  dtype: int8

right:  dtype: bfloat16
""",
    ),
    "E1110": Kind(
        "`{name}` is needed, and {of} has none",
        label="no `{name}` for it",
        help=(
            "give it here, or for all at once under `parameters` of the merge{one}",
            "give it under `parameters` of the merge{all}",
        ),
        explain="""\
mergekit has no default for this parameter. It is looked for at the model, then at its slice, at its
module, and at the merge.

wrong:  merge_method: linear
        models:
          - model: a
          - model: b

right:  merge_method: linear
        models:
          - model: a
          - model: b
        parameters: {weight: 1}
""",
    ),
    "E1111": Kind(
        "`{name}` of {of} has no value for tensors that no filter names",
        label="the last condition",
        help=("add an item without a filter: `- value: ...`",),
        explain="""\
A list of conditions gives a value to the tensors whose names hold a filter. The others take the
value of the next level, and this parameter has none there, and no default. Here the filters name
layers that are not those of the slice.

wrong:  merge_method: slerp
        base_model: a
        slices:
          - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]
            parameters: {t: {filter: layers.7., value: 0.5}}

right:  merge_method: slerp
        base_model: a
        slices:
          - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]
            parameters: {t: 0.5}
""",
    ),
    "E1112": Kind(
        "`{text}` names no model",
        label="cannot be read",
        help=("write `path`, `org/name`, `org/name@revision` or `model+adapter`",),
        explain="""\
A model is a path or a name on the Hub, with a revision behind one `@`, and an adapter behind one
`+`.

wrong:  model: org/name@main@v1

right:  model: org/name@main
""",
    ),
    "E1113": Kind(
        "`layer_range` is the first layer and the one after the last",
        label="not two such numbers",
        help=("the first 16 layers are `layer_range: [0, 16]`",),
        explain="""\
Layers are numbered from 0, and the range does not hold its end.

wrong:  layer_range: [16, 8]

right:  layer_range: [8, 16]
""",
    ),
    "E1114": Kind(
        "the sources of a slice have {lengths} layers",
        label="not equally many",
        help=("give all of them ranges of one length",),
        explain="""\
The first layers of all sources are merged with each other, then the second ones, and so on.

wrong:  sources:
          - {model: a, layer_range: [0, 16]}
          - {model: b, layer_range: [0, 12]}

right:  sources:
          - {model: a, layer_range: [0, 12]}
          - {model: b, layer_range: [0, 12]}
""",
    ),
    "E1115": Kind(
        "two merges of this file are called `{name}`",
        label="again",
        related=("the first",),
        help=("give one of them another name",),
        explain="""\
Merges of one file use each other by `name`, so each name is given once.
""",
    ),
    "E1116": Kind(
        "the merge `{name}` is made of itself",
        label="through the models that it names",
        help=("one of the merges has to be made of other models",),
        explain="""\
A merge that uses another by its name needs that one's result first.
""",
    ),
    "E1117": Kind(
        "{what} cannot be imported: there is no counterpart yet",
        label="here",
        help=("leave it out, if the merge is right without it",),
        explain="""\
Nothing of a configuration is dropped in silence. What has no counterpart in a recipe is an error,
so that the result is not another model than mergekit would make.
""",
    ),
    "E1118": Kind(
        "`{name}` varies over the layers, and is one value here",
        label="more than one value",
        help=("write one value, or conditions with a `filter`, each with one value",),
        explain="""\
Switches and whole numbers are no gradients. Where they depend on the tensor's name, the recipe has
one call for each value, in a `match`.

wrong:  parameters: {weight: 1, normalize: [false, true]}

right:  parameters: {weight: 1, normalize: {filter: mlp, value: false}}
""",
    ),
    "E1119": Kind(
        "the filter `{filter}` names a layer by its number, within a slice",
        label="layer {number}?",
        help=("write the number with a dot on both sides: `layers.{number}.`",),
        explain="""\
A filter is a piece of a tensor's name. The layers of a slice are numbered anew, so a number in a
filter is moved with them, which can be done when the whole number is there: `layers.3` would also
be a piece of `layers.31`.

wrong:  filter: layers.3

right:  filter: layers.3.
""",
    ),
    "E1120": Kind(
        "`{method}` has no parameter `{name}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "it has {known}"),
        explain="""\
mergekit passes over parameters that it does not know. Here they are errors.

wrong:  parameters: {wieght: 0.5}

right:  parameters: {weight: 0.5}
""",
    ),
    "E1121": Kind(
        "`tokenizer` and `tokenizer_source` exclude each other",
        label="both",
        related=("the other",),
        help=("`tokenizer: {{source: ...}}` says all that `tokenizer_source` does",),
        explain="""\
`tokenizer_source` is the older form of `tokenizer`.

wrong:  tokenizer_source: union
        tokenizer: {source: base}

right:  tokenizer: {source: base}
""",
    ),
    "E1122": Kind(
        "`{name}` is a parameter of the whole merge with `{method}`, not of one model",
        label="has no effect here",
        help=("move it to `parameters` of the merge or of the slice",),
        explain="""\
mergekit looks for this parameter at the slice, the module and the merge only, and passes over it
at a model.

wrong:  models:
          - model: a
            parameters: {normalize: false}

right:  models:
          - model: a
        parameters: {normalize: false}
""",
    ),
    "E1123": Kind(
        "{what} needs a `base_model`",
        label="no base",
        help=("add `base_model: ...` with the model that the others were tuned from",),
        explain="""\
Methods on task vectors merge what was changed since the base; two-model methods start from it.

wrong:  merge_method: ties
        models:
          - model: a
          - model: b

right:  merge_method: ties
        base_model: base
        models:
          - model: a
          - model: b
""",
    ),
    "E1124": Kind(
        "`{model}` is merged with itself",
        label="again",
        related=("first here",),
        help=("name it once; its weight may be larger",),
        explain="""\
mergekit refuses one model twice among the inputs of one merge.

wrong:  models:
          - model: a
          - model: a

right:  models:
          - model: a
          - model: b
""",
    ),
    "E1125": Kind(
        "the base `{base}` is not among the sources of this slice, and `{method}` needs it",
        label="no source of the base",
        help=("add `- {{model: {base}, layer_range: [...]}}` to its sources",),
        explain="""\
In a slice it has to be said which layers of the base belong to those of the other models.

wrong:  sources:
          - {model: a, layer_range: [0, 8]}
          - {model: b, layer_range: [0, 8]}

right:  sources:
          - {model: a, layer_range: [0, 8]}
          - {model: base, layer_range: [0, 8]}
""",
    ),
    "E1126": Kind(
        "`{method}` merges {wanted}, and here {got}",
        label="another number",
        help=("`base_model` ({added}) is one of them here, since `models` does not list it",),
        explain="""\
The method takes another number of models.

wrong:  merge_method: slerp
        base_model: a
        models:
          - model: a
          - model: b
          - model: c

right:  merge_method: slerp
        base_model: a
        models:
          - model: a
          - model: b
""",
    ),
    "E1127": Kind(
        "two merges of this file have no name",
        label="the second",
        related=("the first",),
        help=("add `name: ...` to all of them but the last",),
        explain="""\
In a file of several merges at most one has no `name`: the one that is made in the end.
""",
    ),
    "E1128": Kind(
        "a `{name}` of 0 leaves nothing of a model",
        label="is 0",
        help=(
            "leave the model out, or let its `weight` be 0 there",
            "a small one, as `1e-6`, keeps next to nothing",
        ),
        explain="""\
The density is the share of a task vector that is kept, here always some of it. A model of which
nothing is kept takes no part in the merge.

wrong:  merge_method: ties
        base_model: base
        models:
          - model: a
            parameters: {weight: 1, density: 0}
          - model: b
        parameters: {weight: 1}

right:  merge_method: ties
        base_model: base
        models:
          - model: b
        parameters: {weight: 1}
""",
    ),
    "W1101": Kind(
        "`{method}` makes no use of `{name}`",
        label="left out",
        explain="""\
The parameter belongs to other methods. mergekit passes over it, and so it is left out.
""",
    ),
    "W1102": Kind(
        "no tensor comes to this condition of `{name}`",
        label="never reached",
        related=("this one holds for all",),
        help=("put the item without a filter last",),
        explain="""\
The first condition that holds is taken, and one without a filter always holds.

wrong:  weight:
          - value: 1
          - filter: mlp
            value: 0.5

right:  weight:
          - filter: mlp
            value: 0.5
          - value: 1
""",
    ),
    "W1103": Kind(
        "{what} has no effect: {why}",
        label="left out",
        explain="The key says something that does not change the merge, and is left out.\n",
    ),
    "W1104": Kind(
        "`{name}` of {of} has a value only for tensors that a filter names",
        label="the last condition",
        help=("add an item without a filter for all the rest: `- value: ...`",),
        explain="""\
Filters say which tensors have a value here, and no other level and no default has one for the rest.
So the recipe is a `match` of what they name, without an arm for others: where the models have such
tensors, that is an error (E0509).

wrong:  parameters:
          t:
            - filter: mlp
              value: 0.5

right:  parameters:
          t:
            - filter: mlp
              value: 0.5
            - value: 0.3
""",
    ),
}
