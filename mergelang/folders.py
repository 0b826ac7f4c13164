"""Where mergelang keeps what can be made again: parser tables, digests, results of earlier runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$MERGELANG_CACHE`, else the user's cache folder. It need not be there yet."""
    chosen = os.environ.get("MERGELANG_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mergelang", appauthor=False)
