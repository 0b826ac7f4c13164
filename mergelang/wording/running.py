"""E09: the run."""

from mergelang.wording.kind import Kind

RUNNING: dict[str, Kind] = {
    "E0901": Kind(
        "cannot read {path}: {reason}",
        help=("check that the file is still there and readable, then run again",),
        explain="""\
A file could not be opened or read: one of an input model while the merge was running, a lock, or
one of an output that was to be looked at. The output's place is as it was before the run; nothing
was lost. Mend the cause (a moved folder, a disk that is not mounted, missing permission) and run
again.
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
        "which {why}",
        help=(
            "{dtype} is too narrow: write a wider one, for instance `{{ dtype: f32 }}`",
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
Writing failed: the disk is full, or the folder may not be written. The output's place is as it was
before the run. What was done until then waits in `NAME.partial`, and the next run goes on from
there.
""",
    ),
    "E0908": Kind(
        "{memory} of memory is too little for this recipe: it takes at least {minimum}",
        help=("run with `--memory {minimum}`",),
        explain="""\
`--memory` bounds the whole process, torch included. Most operators need only a few blocks at a
time; those that need whole tensors (see `mergelang ops NAME`) set a higher least. Where several of
them work on one tensor, they are computed one by one in as little as this, and their values wait on
the disk meanwhile. Less is refused before the run begins rather than broken during it.
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
    "E0910": Kind(
        "the worker process {process} was ended from outside",
        help=(
            "run again; where memory was short, with fewer `--threads` or less `--memory`",
        ),
        explain="""\
A process that computed tensors is gone without a word. Most often the system ended it because
memory was short (`dmesg` tells). The output's place is as it was before the run.
""",
    ),
    "E0911": Kind(
        "cannot compute on {device}: {reason}",
        help=(
            "install a {wanted} that is built for CUDA (https://pytorch.org tells how)",
            "leave out `--device`: the processor gives the same bytes, but for functions on whole "
            "tensors",
        ),
        explain="""\
`--device cuda` computes on the first card that torch finds, `--device cuda:1` on the second. It
takes a torch that is built for CUDA, NVIDIA's driver, and a card that `nvidia-smi` lists and
`CUDA_VISIBLE_DEVICES` does not hide. `--device torch` takes the same steps with torch on the
processor, as a check of them.
""",
    ),
    "E0912": Kind(
        "the card has too little free memory for tensor {tensor}",
        help=(
            "run again with fewer `--threads`: what was done until then is kept",
            "leave out `--device`: the processor takes no more than `--memory`",
        ),
        explain="""\
A run takes half of the memory that is free on the card when it begins, for the blocks of all
threads. Functions on whole tensors take what they need on top, and so do other programs that come
later. What was done waits in `NAME.partial`, and the next run goes on from there, on the card or
without it, unless functions on whole tensors tie it to the one.
""",
    ),
    "E0913": Kind(
        "the function {function} does not run on {device}: {reason}",
        help=(
            "leave out `--device`: on the processor it may",
            "if it is yours, make new tensors where those are that it is given: "
            "`x.new_zeros(...)`, `torch.zeros(..., device=x.device)`",
        ),
        explain="""\
A function on whole tensors or on rows is given tensors that lie on the device of the run, and
returns one that lies there. It runs with `torch.use_deterministic_algorithms`, so what torch cannot
do on a card with the same result each time is an error, too.
""",
    ),
}
