"""E09: the run. E10: the command line."""

from mergelang.wording.kind import Kind

RUNNING: dict[str, Kind] = {
    "E0901": Kind(
        "cannot read {path}: {reason}",
        help=("check that the file is still there and readable, then run again",),
        explain="""\
A file of an input model could not be opened or read while the merge was running. The output's
place is as it was before the run; nothing was lost. Mend the cause (a moved folder, a disk that is
not mounted, missing permission) and run again.
""",
    ),
    "E0902": Kind(
        "{path} ends at byte {offset}: it was cut short or replaced while it was read",
        help=("let nothing write to the inputs while a merge runs; fetch a broken file again",),
        explain="""\
The header of the file says that a tensor lies there, but the file ended before it. Either the
download was incomplete, or something wrote the file while the merge read it. The output's place is
as it was before the run.
""",
    ),
    "E0903": Kind(
        "tensor {tensor} of {path} holds {value} at element {position}",
        help=(
            "the input is damaged or diverged in training: leave it out, or mend it",
            "`--allow-nonfinite` merges it all the same",
        ),
        explain="""\
A NaN or an infinity in one weight spreads through every merge that it takes part in, and the model
that comes out speaks nonsense without any other sign. So the run stops at the first one and names
its tensor and position (a flat index from 0). `--allow-nonfinite` lets it through on purpose.
""",
    ),
    "E0904": Kind(
        "the merge gives {value} for tensor {tensor} at element {position}, "
        "which {dtype} cannot hold",
        help=(
            "write a wider dtype, for instance `{{ dtype: bf16 }}` or `{{ dtype: f32 }}`",
            "check weights and rescaling: results this large are seldom meant",
        ),
        explain="""\
The inputs are finite, the result is not, or is beyond the largest number of the output's dtype
(65504 for f16). The usual causes: fp16 output, large weights, a small density with rescaling. The
run stops rather than write infinities; `--allow-nonfinite` writes them all the same.
""",
    ),
    "E0905": Kind(
        "the kernel {function} returned {got}, but {wanted} was wanted",
        help=("return one tensor of the shape and dtype of the inputs",),
        explain="""\
A function on whole tensors (`whole("module:function", ...)` in the body of an operator) returns
one tensor of the output's shape, in the dtype in which it was given its inputs.
""",
    ),
    "E0906": Kind(
        "the run was cancelled",
        explain="The run was cancelled or interrupted. The output's place is as it was before.\n",
    ),
    "E0907": Kind(
        "cannot write {path}: {reason}",
        help=("make room or choose another place with `-o`, then run again",),
        explain="""\
Writing failed: the disk is full, or the folder may not be written. The partial folder was removed
and the output's place is as it was before the run.
""",
    ),
    "E0908": Kind(
        "{memory} of memory is too little for this recipe: it takes at least {minimum}",
        help=("run with `--memory {minimum}`",),
        explain="""\
`--memory` bounds the whole process, torch included. Most operators need only a few blocks at a
time; those that need whole tensors (see `mergelang ops NAME`) set a higher least. Less is refused
before the run begins rather than broken during it.
""",
    ),
    "E0909": Kind(
        "tensor {tensor} ({dtype}) differs between {first} and {second}",
        help=(
            "integer and bool tensors are copied, not merged: take it from one input with "
            '`match {{ "{tensor}" => x, _ => ... }}`',
        ),
        explain="""\
Integer and bool tensors (positions, masks, counters) have no mean. They are copied when all inputs
agree, and an error where they do not: a `match` says whose to take.
""",
    ),
    "E1001": Kind(
        "cannot read {path}: {reason}",
        help=("give the path of a .merge file",),
        explain="The recipe named on the command line is not there or may not be read.\n",
    ),
    "E1002": Kind(
        "{path} is not text: byte {offset} is not UTF-8",
        help=("recipes are UTF-8 text files; did you name a model by mistake?",),
        explain="A recipe is a UTF-8 text file.\n",
    ),
    "E1003": Kind(
        "{path} is a YAML file, and this version reads .merge recipes only",
        help=("write the recipe in the language of grammar/REFERENCE.md",),
        explain="Reading mergekit's YAML files is planned and not in this version.\n",
    ),
    "E1004": Kind(
        "`-o` redirects one output, and this run has {count}",
        help=("name the output to run: `mergelang run RECIPE OUTPUT -o DIR`",),
        explain="`-o DIR` takes the place of the path of the only output that is run.\n",
    ),
    "E1005": Kind(
        "the recipe has no output `{name}`",
        help=("its outputs: {known}",),
        explain="Outputs are named on the command line by their path, as the recipe writes it.\n",
    ),
    "E1006": Kind(
        "{recipe} has no output to run",
        help=('add one: `output "out/merged" = ...`',),
        explain="""\
A recipe says what to write with `output "folder" = expression`. One without outputs can be checked
and used by others, but there is nothing to plan or to run.
""",
    ),
    "E1007": Kind(
        "`{text}` is not a {what}",
        help=("write it like {example}",),
        explain="An option of the command line could not be read.\n",
    ),
    "E1008": Kind(
        "there is no code {code}",
        help=("did you mean {suggestion}?", "all codes: `mergelang explain`"),
        explain="`mergelang explain CODE` explains one code; without a code it lists them all.\n",
    ),
    "E1009": Kind(
        "there is no operator `{name}`",
        help=("did you mean `{suggestion}`?", "all operators: `mergelang ops`"),
        explain="`mergelang ops NAME` describes one operator; without a name it lists them all.\n",
    ),
}
