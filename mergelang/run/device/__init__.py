"""Computing on a device: a card of CUDA, or torch on the processor, which takes the same steps.

A run on a device is a run like any other: tasks, passes, journal and digests are the same, and so
are the bytes, since each step rounds as it does elsewhere, sums have the same partition and order,
and what is selected is found exactly. What differs is where blocks lie and what works on them. Only
functions on whole tensors and on rows (`whole`, `rowwise`) go through libraries that round in a way
of their own: an output with such is tied to the name of the card's arithmetic.

The workers are threads, each with a stream of its own, buffers of its own on the card and a few
pinned ones beside it: while the blocks of one are computed, those of others are read from the disk
and copied in, or copied out, hashed and written.

    place      a device: its memory, streams and name; all that knows CUDA
    machine    the buffers of one worker, and how bytes come in and go out
    steps      the steps of a tape, on tensors of torch
    random     random masks and numbers, by integers of 32 bits
    partial    what reductions keep of a block

This module is loaded for any run that names a device, and loads torch only to open one.
"""

import re
from functools import cache
from importlib import import_module
from typing import Any

from mergelang.errors import UsageError

PROCESSOR = "cpu"
"""The name of the ordinary way: no device."""

THREADS = 8
"""Workers of a run on a device, unless there are fewer cores or it is said otherwise."""

LARGEST = 1 << 24
"""Elements of the largest block: larger ones keep no card busier, and wait longer for the disk."""

_NAMES = re.compile(r"cpu|torch|cuda(?::(\d{1,3}))?")


def checked(name: str) -> str:
    """The name of a device, `cpu`, `cuda`, `cuda:1` or `torch`; UsageError (E1007) for others."""
    if _NAMES.fullmatch(name) is None:
        example = "`cpu`, `cuda`, `cuda:1` or `torch`"
        raise UsageError("E1007", text=name, what="device", example=example)
    return name


@cache
def open_device(name: str) -> Any:
    """The device of this name (`place.Device`), None for `cpu`. Raises RunError (E0911) for one
    that cannot be used, UsageError for a name that is none."""
    match = _NAMES.fullmatch(checked(name))
    if name == PROCESSOR:
        return None
    place = import_module("mergelang.run.device.place")
    return place.Device() if name == "torch" else place.Card(int(match[1] or 0))
