"""E06..: models on disk."""

from mergelang.wording.kind import Kind

MODELS: dict[str, Kind] = {
    "E0601": Kind(
        "the source of a model is empty",
        label="names nothing",
        help=("name a folder or a .safetensors file, relative to the recipe",),
        explain="""\
A `model` statement names where the model is: a folder in Hugging Face layout or one .safetensors
file. Relative paths start from the folder of the recipe.

wrong:  model a = ""

right:  model a = "./a"
""",
    ),
    "E0602": Kind(
        "`{text}` is not the name of a model on the Hub",
        label="not org/name",
        help=("write `hf:org/name`, `hf:org/name@revision` or `hf:org/name@revision/folder`",),
        explain="""\
A model on the Hugging Face Hub has the name of its owner and its own, with a slash between them,
and may have a revision (branch, tag or commit) after an `@`. What follows after a slash is a folder
of the repository. A slash in the name of a branch is written `%2F`.
""",
    ),
    "E0604": Kind(
        "cannot read {path}: {reason}",
        label="cannot be read",
        help=("check that the file is there and may be read",),
        explain="A file of the model could not be opened or read.\n",
    ),
    "E0605": Kind(
        "there is no model at `{path}`",
        label="not there",
        help=(
            "did you mean `{near}`?",
            "relative paths start from the folder of the recipe; on the command line, from yours",
        ),
        explain="""\
The source is neither a folder nor a file. Relative paths in a recipe start from its own folder, not
from where the command was typed; those on the command line do.
""",
    ),
    "E0606": Kind(
        "`{path}` {what}, and no safetensors weights",
        label="not safetensors",
        help=(
            "allow it to be read, as tensors alone: `{allow}`",
            "convert it once: `{command}`",
            "models are folders in Hugging Face layout or single .safetensors files{bare}",
        ),
        explain="""\
A .bin file is a Python pickle: reading one can run any code that somebody put into it. With
`--allow-pickle` it is read by torch in its mode for weights alone, which builds tensors and nothing
else, and a recipe works on it as on any model. The command converts it once and for all; most
models on the Hub have safetensors by now.
""",
    ),
    "E0607": Kind(
        "the folder `{path}` holds no weights",
        label="no .safetensors file in it",
        help=("a model is a folder with model.safetensors, or with shards and their index",),
        explain="""\
A model folder in Hugging Face layout holds model.safetensors, or shards with
model.safetensors.index.json, beside its config.json and tokenizer.
""",
    ),
    "E0608": Kind(
        "`{path}` is quantised: {what}",
        label="quantised weights",
        help=("merge the model that it was made from, and quantise the result",),
        explain="""\
Quantised weights are codes that mean something only together with their scales. Their raw numbers
cannot be added or averaged: the result would be garbage that loads. Use the unquantised model.
""",
    ),
    "E0609": Kind(
        "`{path}` is an adapter, not a model",
        label="holds an adapter_config.json",
        help=('add it to its base: `base + lora("{path}")`',),
        explain="""\
A LoRA adapter holds differences from a base in factored form. `lora` makes a task vector of it,
which is added to the base like any other.

wrong:  model code = "./adapter"

right:  let code = base + lora("./adapter")
""",
    ),
    "E0610": Kind(
        "`{path}` is not a whole safetensors file",
        label="cannot be read",
        help=(
            "it ends after {cut} bytes, inside its header: fetch it again",
            "was it a Git LFS pointer or an interrupted download? Fetch it again",
        ),
        explain="""\
A safetensors file starts with eight bytes that say how long its header is, then the header, a JSON
object. This file does not: it was cut short, or is something else. A file of some hundred bytes is
often a Git LFS pointer, fetched without `git lfs`.
""",
    ),
    "E0611": Kind(
        "the header of `{path}` is wrong about tensor {tensor}",
        label="damaged",
        help=("fetch the file again",),
        explain="""\
Shape, dtype and position of a tensor in the header of the file contradict each other.
""",
    ),
    "E0612": Kind(
        "tensor {tensor} of `{path}` has the unknown dtype {dtype}",
        label="unknown dtype",
        help=("known are F64, F32, F16, BF16, integers and BOOL",),
        explain="The file holds a tensor of a dtype that this version does not know.\n",
    ),
    "E0613": Kind(
        "`{path}` is cut short: {missing} bytes of tensor {tensor} are missing",
        label="cut short",
        help=("fetch the file again",),
        explain="""\
The header of the file says where each tensor lies, and the file ends before that. Most likely a
download or a copy was interrupted.
""",
    ),
    "E0614": Kind(
        "`{path}` lacks {file}, which its {index} names",
        label="not complete",
        help=("fetch the missing file",),
        explain="""\
A model of several shards has an index that says which tensor lies in which file. One of the files
is not there.
""",
    ),
    "E0615": Kind(
        "cannot make sense of {file} in `{path}`",
        label="damaged",
        help=("it should be a JSON object as `transformers` writes it; fetch it again",),
        explain="The file is not JSON, or not what such a file holds.\n",
    ),
    "E0616": Kind(
        "tensor {tensor} lies in two files of `{path}`: {first} and {second}",
        label="twice the same tensor",
        help=("remove the shards of the other version of the model",),
        explain="Each tensor of a model lies in one of its files.\n",
    ),
    "E0617": Kind(
        "`{path}` holds no tensors",
        label="empty",
        help=("fetch the model again",),
        explain="The file is a safetensors file without any tensor.\n",
    ),
    "E0618": Kind(
        "`{path}` holds {count} {kind} files and no {index}",
        label="which of them?",
        help=("name one of the files, or add the index",),
        explain="""\
Several files of weights in a folder may be shards of one model, which then has an index, or several
models. Without an index that cannot be told apart.
""",
    ),
    "E0619": Kind(
        "the {index} of `{path}` says that {tensor} lies in {file}, and it does not",
        label="index and files do not fit",
        help=("fetch the model again, all files of one revision",),
        explain="The index and the shards are not of the same version of the model.\n",
    ),
    "E0620": Kind(
        "this cannot be the path of a file: {reason}",
        label="no path",
        help=("paths start from the folder of the recipe; `~/` is your home folder",),
        explain="""\
The system that mergelang runs on cannot have a file or a folder of this name: it is too long, holds
a character that no name can have, or begins with the name of a user (`~user`) who is not there.
""",
    ),
    "E0621": Kind(
        "`{path}` does not hold the {what} statistics of `{text}`",
        label="has statistics of another kind or model",
        help=(
            "tensor {name} has another shape there",
            "{nothing}none of its tensors is there",
            "make it again: `mergelang stats MODEL --data FILE --kind {what} -o {path}`",
        ),
        explain="""\
`fisher` and `regmean` weigh the elements of a model by statistics of data: for each tensor the mean
squared gradients (`--kind fisher`, of the tensor's own shape), or for each linear layer the
products of its inputs (`--kind gram`, inputs by inputs). The file has to be made of the same model.
""",
    ),
}
