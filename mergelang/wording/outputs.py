"""E08.., W08..: outputs."""

from mergelang.wording.kind import Kind

OUTPUTS: dict[str, Kind] = {
    "E0801": Kind(
        "the config of the result cannot be made: {edit} needs {key} in config.json",
        help=("take the config from a model that has it: `config: from(x)`",),
        explain="""\
Slices, stacks and mixtures change the config of the model that they are made of: the number of
layers, the architecture. The config they start from lacks a key that is needed for that.
""",
    ),
    "E0802": Kind(
        "an output has no option `{name}`",
        label="not known",
        help=("did you mean `{suggestion}`?", "it takes {known}"),
        explain="""\
The record of an output says how it is written: `dtype` and `shards`.

wrong:  output "out" = soup { type: bf16 }

right:  output "out" = soup { dtype: bf16 }
""",
    ),
    "E0803": Kind(
        "`{text}` is no dtype that can be written",
        label="not known",
        help=("did you mean `{suggestion}`?", "write one of {known}"),
        explain="""\
Weights are written as bf16, f16, f32 or f64. Without `dtype` each tensor keeps that of the donor.

wrong:  output "out" = soup { dtype: int8 }

right:  output "out" = soup { dtype: bf16 }
""",
    ),
    "E0804": Kind(
        "`shards` is a size, and this is {got}",
        label="{got}",
        help=("write a number with its unit: `shards: 5GB`",),
        explain="""\
A model is written in files of at most this size: 5GB (5 * 10^9 bytes) unless said otherwise.

wrong:  output "out" = soup { shards: 4 }

right:  output "out" = soup { shards: 2GiB }
""",
    ),
    "E0807": Kind(
        "two outputs go to the same folder",
        label="the same place",
        related=("goes there already",),
        help=("give one of them another name",),
        explain="""\
Each output is a folder of its own.

wrong:  output "out" = a
        output "./out" = b

right:  output "out/a" = a
        output "out/b" = b
""",
    ),
    "E0808": Kind(
        "the output `{text}` and the output `{other}` lie inside each other",
        label="one of them",
        related=("the other",),
        help=("put them side by side: `out/a` and `out/b`",),
        explain="""\
A finished output replaces its folder as a whole, so no output can lie in another's folder.

wrong:  output "out" = a
        output "out/b" = b

right:  output "out/a" = a
        output "out/b" = b
""",
    ),
    "E0809": Kind(
        "the output would replace the model `{source}`, which this recipe reads",
        label="an input",
        help=("write it somewhere else",),
        explain="""\
A merge never overwrites one of its inputs.

wrong:  model chat = "./chat"
        output "chat" = mean(chat, code)

right:  model chat = "./chat"
        output "out/chat" = mean(chat, code)
""",
    ),
    "E0810": Kind(
        "the output lies {how} the folder of the model `{source}`, which this recipe reads",
        label="{how} an input",
        help=("write it somewhere else",),
        explain="""\
A finished output replaces its folder as a whole. Inside the folder of an input it would change that
input; around it it would delete it.

wrong:  model chat = "./chat"
        output "chat/merged" = mean(chat, code)

right:  model chat = "./chat"
        output "merged" = mean(chat, code)
""",
    ),
    "E0811": Kind(
        "`{text}` holds files that mergelang did not write: {names}",
        label="would be replaced",
        help=("move them away, or write the output somewhere else",),
        explain="""\
A finished output replaces its folder as a whole. Only files that an earlier run wrote there (they
are listed in its mergelang.json) may go with it. Where the output is up to date nothing is written,
and others' files may lie beside it.
""",
    ),
    "E0812": Kind(
        "`{text}` cannot be a folder: `{file}` is a file",
        label="a file is there",
        help=("move it away, or write the output somewhere else",),
        explain="An output is a folder; a file of that name, or on its way, is there already.\n",
    ),
    "E0813": Kind(
        "an output needs the name of a folder",
        label="empty",
        help=('for instance `output "out/merged" = ...`',),
        explain="""\
An output is written to a folder, named from the folder of the recipe.

wrong:  output "" = soup

right:  output "out/soup" = soup
""",
    ),
    "W0801": Kind(
        "{recipe} has no output, so there is nothing to run",
        help=('add one: `output "out/merged" = ...`',),
        explain="""\
A recipe without outputs can be checked, and used by others with `use`; `run` has nothing to do.
""",
    ),
}
