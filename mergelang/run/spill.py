"""Values that wait on the disk for the passes that read them, where memory has no room for them."""

import os
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from mergelang.run import disk


class Spilled:
    """An array of one dimension in a file without a name, which ends with this object, or with the
    process. Parts of it are read by slices, from any thread."""

    def __init__(self, value: np.ndarray, folder: Path):
        self._dtype = value.dtype
        self._folder = folder
        with disk.told(folder):
            self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        disk.write(folder, self._file.fileno(), memoryview(value).cast("B"), 0)

    def __getitem__(self, part: slice) -> np.ndarray:
        size = self._dtype.itemsize
        data = bytearray((part.stop - part.start) * size)
        done, view = 0, memoryview(data)
        with disk.told(self._folder):
            while done < len(data):
                got = os.preadv(self._file.fileno(), [view[done:]], part.start * size + done)
                if not got:
                    raise OSError(None, "a file that waited there is shorter than it was")
                done += got
        return np.frombuffer(data, dtype=self._dtype)
