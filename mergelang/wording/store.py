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
}
