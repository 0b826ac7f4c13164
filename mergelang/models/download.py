"""Fetching a weight file from the Hub into its ordinary cache, so that a broken transfer goes on.

huggingface_hub throws away what has arrived when a transfer breaks; here it is kept beside the
place of the whole file, and the next attempt, now or in another run, asks for the rest. A large
file is believed when its sha256 is the one that the Hub states.
"""

import hashlib
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mergelang.errors import RunError
from mergelang.models.hub import TIMEOUT, Snapshot, storage, told

ATTEMPTS = 5
"""How often a transfer is tried without a byte arriving."""

PAUSE = 1.0
"""Seconds between two attempts, times their number."""

Tell = Callable[[int], None]
"""Is told how many bytes of the file are here. What it raises ends the transfer."""


def fetch(snapshot: Snapshot, name: str, shown: str, tell: Tell) -> Path:
    """Fetches a file of a snapshot, unless it is here, and gives its path.

    Raises InputError (E2220 to E2223) where the Hub does not give it, RunError (E2225, E2226)
    where the transfer fails.
    """
    path = snapshot.folder / name
    if path.exists():
        return path
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import WeakFileLock

    where = snapshot.path_in_repo(name)
    place = {"revision": snapshot.commit, "endpoint": constants.ENDPOINT}
    url = hf_hub_url(snapshot.name.repo, where, **place)
    repo = storage(snapshot.name.repo)
    bar: Any = _bar(tell)
    with told(snapshot.name, shown, snapshot.commit):
        facts = get_hf_file_metadata(url, timeout=TIMEOUT, endpoint=constants.ENDPOINT)
        by_xet = facts.xet_file_data and find_spec("hf_xet") and not constants.HF_HUB_DISABLE_XET
        if facts.etag and not by_xet:
            lock = repo.parent / ".locks" / repo.name / f"{facts.etag}.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            (repo / "blobs").mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock):
                _whole(url, repo / "blobs" / facts.etag, snapshot, name, shown, tell)
        # Fetches what is not there by now, and gives the file its name.
        hf_hub_download(
            snapshot.name.repo, where, cache_dir=constants.HF_HUB_CACHE, tqdm_class=bar,
            library_name="mergelang", **place,
        )  # fmt: skip
    return path


def _whole(url: str, blob: Path, snapshot: Snapshot, name: str, shown: str, tell: Tell) -> None:
    """Fetches a blob, from where an earlier attempt stopped."""
    if blob.exists():
        return
    size, digest = snapshot.files[name]
    partial = blob.with_name(f"{blob.name}.mergelang.incomplete")
    failed = 0
    while (have := _size(partial)) < size or not partial.exists():
        try:
            _more(url, partial, have, size, tell)
            failed = 0
        except _Broken as error:
            failed = 0 if _size(partial) > have else failed + 1
            if failed == ATTEMPTS:
                raise RunError("E2225", file=name, text=shown, reason=str(error)) from error
            time.sleep(PAUSE * failed)
    if have > size or (digest.startswith("sha256:") and _sha256(partial) != digest):
        partial.unlink()
        raise RunError("E2226", file=name, text=shown)
    partial.replace(blob)


class _Broken(Exception):
    """A transfer has ended before its end, for a reason that may pass."""


def _more(url: str, partial: Path, have: int, size: int, tell: Tell) -> None:
    """Appends what is missing of a file, as far as it arrives."""
    from huggingface_hub import errors, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers(library_name="mergelang") | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with get_session().stream(
            "GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True
        ) as response:
            if response.status_code >= 500 or response.status_code in (408, 429):
                raise _Broken(f"the Hub answers {response.status_code}")
            hf_raise_for_status(response)
            whole = response.status_code == 200
            with open(partial, "wb" if whole else "ab") as file:
                have = 0 if whole else have
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    have += len(chunk)
                    tell(min(have, size))
    except errors.OfflineModeIsEnabled:
        raise
    except errors.HfHubHTTPError:
        raise
    except errors.HTTPError as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _bar(tell: Tell) -> type:
    """What huggingface_hub takes for a progress bar, as a teller of bytes."""
    from huggingface_hub.utils import silent_tqdm

    class Bar(silent_tqdm):
        def __init__(self, *args: Any, **facts: Any):
            self.have = facts.get("initial") or 0

        def update(self, n: float | None = 1) -> None:
            self.have += int(n or 0)
            tell(self.have)

    return Bar
