"""E21: lock, lineage, verify, diff."""

from mergelang.wording.kind import Kind

PROOF: dict[str, Kind] = {
    "E2101": Kind(
        "there is nothing at {path}",
        help=("give the folder of an output, or one of its .safetensors files",),
        explain="`lineage`, `verify` and `diff` look at what is on the disk.\n",
    ),
    "E2102": Kind(
        "{path} has no record of {what}",
        help=(
            "the {file} in it is damaged; a .safetensors file of the folder has the record, too",
            "{lost} is gone; `mergelang verify` of a weight file looks at the record in that",
            "{none}only what mergelang wrote has one: in mergelang.json, and in its weight files",
        ),
        explain="""\
A run writes down what an output was made of: in the file mergelang.json, and in the header of each
weight file. This model has neither, or what is there cannot be read.
""",
    ),
    "E2103": Kind(
        "the recipe in the record of {path} cannot be read",
        help=("use the version of mergelang that made it; `mergelang lineage` says which",),
        explain="""\
The record holds a recipe that this version of mergelang cannot read: it is damaged, or of another
edition of the language.
""",
    ),
    "E2104": Kind(
        "the recipe uses {path}, which lies outside the folder that it is written to",
        help=("print the recipe without `-o`; `lineage --json` has the text of {path}",),
        explain="""\
`lineage --recipe -o FILE` writes the recipe and, at their paths from it, those that it uses. A
record is somebody else's data: it never makes us write outside the folder that was named.
""",
    ),
    "E2105": Kind(
        "{path} is there already, with another text",
        help=("write to another folder: `-o FOLDER/NAME.merge`",),
        explain="""\
`lineage --recipe -o FILE` writes the recipe and, at their paths from it, those that it uses. Files
that the command line did not name are not overwritten.
""",
    ),
    "E2110": Kind(
        "{file} is not of the record: somebody put it there",
        help=("remove it if it does not belong there",),
        explain="""\
`verify` compares the files of a folder with those that the run wrote. This one was added later.
Hidden files (`.gitattributes`) are no part of a model and are not looked at.
""",
    ),
    "E2111": Kind(
        "{file} is missing",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="The record names a file that is not in the folder.\n",
    ),
    "E2112": Kind(
        "{file} is not as it was written",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="""\
The bytes of the file have another digest than the record says: it was edited, or the disk or a copy
damaged it.
""",
    ),
    "E2113": Kind(
        "the header of {file} is not as it was written, so its tensors cannot be told apart",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="""\
The header of a weight file says which tensor lies where. Its bytes have another digest than the
record says, so nothing that it says can be believed.
""",
    ),
    "E2114": Kind(
        "tensor {tensor} in {file} is not as it was written",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="""\
The bytes of the tensor have another digest than the record says: somebody changed the weights, or
the disk or a copy damaged them. All other tensors that are not named are as they were written.
""",
    ),
    "E2115": Kind(
        "tensor {tensor} is missing",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="The record names a tensor that is in none of the weight files.\n",
    ),
    "E2116": Kind(
        "tensor {tensor} in {file} is not of the record",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="A weight file holds a tensor that the run did not write.\n",
    ),
    "E2117": Kind(
        "the records in mergelang.json and in {file} differ in `{key}`",
        help=(
            "see both: `mergelang lineage {shown} --json`, "
            "`mergelang lineage {shown}/{file} --json`",
        ),
        explain="""\
Each weight file carries the record of its output. One of the two has been changed, or the files are
of different runs.
""",
    ),
    "E2118": Kind(
        "{file} has {got} bytes, and had {wanted} when it was written",
        help=("run the recipe again: `mergelang lineage {shown} --recipe` prints it",),
        explain="The file was cut short, extended or replaced since the run wrote it.\n",
    ),
    "E2119": Kind(
        "the root of the record is not that of its tensors",
        help=("the record was changed: trust neither",),
        explain="""\
The root is a digest over the names, types and digests of all tensors. The record says another one
than its own tensors give, so somebody changed one of them.
""",
    ),
    "W2101": Kind(
        "the recipe uses {names}, which the record has, too",
        help=("write them all: `mergelang lineage {path} --recipe -o FOLDER/NAME.merge`",),
        explain="""\
What `lineage --recipe` prints is the main recipe alone. Those that it uses are needed to run it.
""",
    ),
    "E2130": Kind(
        "{file} of `{source}` is not what {lock} says: it was {was}, and now is {now}",
        help=("accept it as it is now: `{command}`",),
        explain="""\
A lock says which bytes the sources of a recipe have, by size and digest. A source on this machine
has others now. If that is meant, accept it with the command shown; if not, fetch the model again.
The outputs stay as they were.
""",
    ),
    "E2131": Kind(
        "{path} is no lock that this version reads: line {line}",
        help=("remove it and write it anew: `mergelang lock RECIPE`",),
        explain="""\
A lock is written by `mergelang lock` and by `run`, one fact a line, sorted. A line that is no fact
was edited, or is left from a merge in version control that was not resolved.
""",
    ),
    "E2132": Kind(
        "there is no {path} that `--frozen` could hold the run to",
        help=("write it: `mergelang lock {recipe}`",),
        explain="`run --frozen` refuses what is not as the lock says, so it needs one.\n",
    ),
    "E2133": Kind(
        "`{fact}` is {now}, and {was} in {lock}",
        help=("accept it: `{command}`",),
        explain="""\
`run --frozen` makes what the lock says, or nothing. A parameter, an operator's version, a source or
something else of the recipe differs from the lock. Without `--frozen` the run would say so, go on,
and write it into the lock.
""",
    ),
    "E2134": Kind(
        "the recipe has no source `{name}`",
        help=("did you mean `{suggestion}`?", "its sources: {known}"),
        explain="""\
`lock --update` takes the name of a `model` statement, or a source as the recipe writes it; one of a
recipe that it uses, by its path from the folder of the main recipe.
""",
    ),
    "E2135": Kind(
        "a recipe that is not in a file has no lock",
        help=("write it to a file: the lock lies beside it",),
        explain="A lock stands beside its recipe: `x.merge.lock` beside `x.merge`.\n",
    ),
    "W2130": Kind(
        "cannot write {lock}: {reason}",
        help=("the outputs are whole; `mergelang lock` writes the lock later",),
        explain="""\
A run writes the lock of its recipe when all is done. This time it could not. The outputs have their
record all the same.
""",
    ),
    "E2136": Kind(
        "{a} is a {first} and {b} is a {second}",
        help=("compare two recipes, two locks or two models",),
        explain="""\
`mergelang diff A B` compares what is of one kind: recipes by what they say, locks by their facts,
models tensor by tensor.
""",
    ),
    "E2120": Kind(
        "the source `{source}` is not there",
        help=(
            "the recipe's paths start from {folder}: another folder is given with `--folder DIR`",
        ),
        explain="""\
A record names sources as the recipe does, relative to its folder, which is found from the output's
path in the recipe. Where the output was moved, `--folder` says where the paths start.
""",
    ),
    "E2121": Kind(
        "{file} of the source `{source}` is missing",
        help=("fetch the source again",),
        explain="The record names a file of a source that is not there any more.\n",
    ),
    "E2122": Kind(
        "{file} of the source `{source}` is not what was merged",
        help=("fetch the source again, or look at what has changed: `mergelang diff`",),
        explain="""\
The file has another size or digest than it had when the output was made from it. The output itself
may be whole: `verify` says so on its own.
""",
    ),
    "E2123": Kind(
        "tensor {tensor} comes out otherwise than it was written",
        help=(
            "the output was made with other arithmetic: {arith}",
            "look at the sources first: `mergelang verify {shown} --parents`",
        ),
        explain="""\
`verify --rebuild` computes tensors again from their sources, as the recipe in the record says.
Their bytes are the same on every machine, but for operators on whole matrices, which are tied to a
build of torch and a class of CPU. A difference means that a source, the output or the record is not
what it was.
""",
    ),
    "W2131": Kind(
        "the sources of `{output}` state different licences: {said}",
        label="its model card names none",
        help=("read them: the result has to keep to all of them",),
        explain="""\
A model card states the licence of a merge where all its sources state the same one. Here they do
not, so the card states none: which licence the result can have is for you to find out.
""",
    ),
}
