"""E20: what is remembered between runs, and runs that go on."""

from mergelang.wording.kind import Kind

STORE: dict[str, Kind] = {
    "E2001": Kind(
        "{path} was changed while it was read",
        help=("let nothing write to the inputs while a merge runs, then run again",),
        explain="""\
A file has another size, another time of change or another inode than when its reading began. What
was read may be half of the old file and half of the new one, so it is not used. The output's place
is as it was before the run.
""",
    ),
    "E2002": Kind(
        "{output} is being written by process {process}",
        help=("wait until it has ended, or stop it: what it has done is kept",),
        explain="""\
One run at a time writes an output. The lock ends with the process that holds it, however it ends;
there is nothing to remove by hand.
""",
    ),
    "E2003": Kind(
        "{path} is in the way: it is no unfinished run",
        help=(
            "it holds {names}, which mergelang did not put there",
            "move it away, or write the output to another place with `-o`",
        ),
        explain="""\
An output is written beside its place, in `NAME.partial`, before it takes its place. Something else
has that name: it is left as it is, and nothing is run.
""",
    ),
    "E2004": Kind(
        "{path} holds files that mergelang did not write: {names}",
        help=(
            "move them away and run again: the new output waits, complete, in {partial}",
        ),
        explain="""\
A folder with files of somebody else is never replaced. These came while the run went on, so the new
output is complete and waits beside its place: once they are elsewhere, a run only has to look at
what is there and puts it in place.
""",
    ),
    "E2005": Kind(
        "the work on tensor {tensor} failed: {reason}",
        help=("run again: what was done until then is kept",),
        explain="""\
A kernel raised an error: one of ours, then it is a bug to be reported, or one of a package that
brings operators of its own. There may also have been too little memory. The output's place is as it
was before the run.
""",
    ),
    "E2006": Kind(
        "the cache in {path} cannot be used: {reason}",
        help=(
            "let its folders be read and written, or set `MERGELANG_CACHE` to another place",
        ),
        explain="""\
What runs keep for later ones lies in `$MERGELANG_CACHE`, else in the cache folder of the user, who
has to own it: a run of another user, or one as root, may have left files there. A run does without
the cache, with a warning; a command that looks at it or clears it cannot.
""",
    ),
    "W2005": Kind(
        "nothing is kept for later runs: the cache in {path} cannot be written: {reason}",
        help=("let its folders be written, or set `MERGELANG_CACHE` to another place",),
        explain="""\
The run goes on, and its output is right; what can be read in the cache is taken all the same. But
what it computes, the digests of its inputs and the state of its output are not remembered, so a
later run does not know that the output is up to date.
""",
    ),
    "W2001": Kind(
        "tensor {tensor} of {output} is not what was written there: it is made anew",
        explain="""\
What has not changed is copied from the output as it was, what an interrupted run has done is used
by the next one, and the digest is taken on the way. Here it is not the one of what was written: the
file was changed or damaged since. The tensor is made from the inputs, so the new output is right;
the disk may not be.
""",
    ),
    "W2003": Kind(
        "a stored value for tensor {tensor} of {output} was damaged: it is dropped and made anew",
        explain="""\
Values that earlier runs have computed are kept in the cache folder, each with its digest, which is
checked when one is read. This one did not hold what was written into it, so it was removed and
computed again: the output is right. `mergelang cache verify` looks at all of them.
""",
    ),
    "W2004": Kind(
        "the {what} that lay in the store were damaged: they are dropped and made anew",
        explain="""\
What has to be made before the tensors of an output, and the numbers that passes over tensors gave,
are kept in the cache folder like other values, with their digest. They did not hold what was
written into them, so they were removed and made again: the output is right. `mergelang cache
verify` looks at all values.
""",
    ),
    "W2002": Kind(
        "the unfinished run of {output} is not continued: {why}",
        explain="""\
An interrupted run leaves what it has done in `NAME.partial`, and the next run of the same recipe
goes on from there. This one is another: another recipe, other values of its params, another version
of an operator, an input whose file has changed, or a card where functions on whole tensors depend
on it. So it begins anew.
""",
    ),
}
