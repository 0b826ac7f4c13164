"""How the files of the store are written: whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_whole(path: Path, data: bytes) -> None:
    """Puts a file in its place in one step, over one that is there. Raises OSError.

    Readers see the old bytes or the new ones; of two that write at once, the last one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as fresh:
        try:
            fresh.write(data)
            fresh.close()
            os.replace(fresh.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh.name)
            raise
