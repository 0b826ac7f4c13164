"""The Hugging Face Hub: a repository at one commit, its small files, the headers of its weights.

What is fetched lies in the ordinary cache of huggingface_hub, with its token and its offline mode.
What a commit holds never changes: the list of its files and the headers of its weights are kept
in mergelang's own cache, so that a source is asked for no more than whether it has moved.
huggingface_hub is imported when a recipe names a model there, not before.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from mergelang.errors import InputError
from mergelang.files import cache_folder
from mergelang.models.licence import CARD
from mergelang.models.reference import HubName
from mergelang.models.sidecars import modules

TIMEOUT = 10.0
"""Seconds after which the Hub counts as one that cannot be reached."""

AHEAD = 1 << 16
"""Bytes of a weight file that are fetched at first: most headers are shorter."""

SMALL = 64 << 20
"""Bytes of the largest file beside the weights that is fetched before a run."""

BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py")
"""The files that may belong to a model beside its weights."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


class RemoteFile(NamedTuple):
    """Size and digest of a file of a commit: `sha256:...` of a large one, else git's `sha1:...`."""

    size: int
    digest: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A folder of a repository at one commit.

    `folder` is where it lies in the Hub's cache, file by file as they are fetched; `files` are all
    that it has, by their names in it. `stale` says why the Hub could not be asked whether the
    revision has moved; empty where it was, or where the revision is a commit itself. `whole`:
    `files` are all of them, not only those that were fetched before.
    """

    name: HubName
    commit: str
    folder: Path
    files: Mapping[str, RemoteFile]
    stale: str = ""
    whole: bool = True

    @property
    def cards(self) -> tuple[Path, ...]:
        """The folders whose card may speak of it: its own, and that of the whole repository."""
        return self.folder, _folder(self.name.repo, self.commit)

    def path_in_repo(self, name: str) -> str:
        return f"{self.name.subfolder}/{name}" if self.name.subfolder else name

    @property
    def command(self) -> str:
        """What fetches all of it."""
        only = f' --include "{self.name.subfolder}/*"' if self.name.subfolder else ""
        return f"hf download {self.name.repo} --revision {self.commit}{only}"


@dataclass
class Hub:
    """The Hub during one check: each revision is resolved once.

    `pins` are commits to use for revisions: by `org/name` or `org/name@revision`, as a recipe
    writes it.
    """

    pins: Mapping[str, str] = field(default_factory=dict)
    _resolved: dict[tuple[str, str], Snapshot] = field(default_factory=dict)

    def snapshot(self, name: HubName, shown: str) -> Snapshot:
        """The folder that a name says, with its small files fetched.

        Raises InputError: E2220 where the Hub cannot be reached and this machine has not what is
        needed, E2221 to E2224 where it is reached and does not have it or does not give it.
        """
        key = (name.repo, name.revision)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(name, shown)
        whole = self._resolved[key]
        start = f"{name.subfolder}/" if name.subfolder else ""
        mine = {
            path.removeprefix(start): file
            for path, file in whole.files.items() if path.startswith(start)
        }  # fmt: skip
        if not mine:
            folders = sorted({path.rpartition("/")[0] for path in whole.files} - {""})
            known = ", ".join(f"`{each}`" for each in folders[:6]) or "none"
            raise InputError("E2224", repo=name.repo, subfolder=name.subfolder, known=known)
        found = replace(whole, name=name, folder=whole.folder / start, files=mine)
        _fetch_small(found, shown)
        for each in (found, whole) if start else (whole,):
            _fetch_card(each, shown)
        return found

    def _resolve(self, name: HubName, shown: str) -> Snapshot:
        """The whole repository at the commit of the revision."""
        root = HubName(name.repo, name.revision)
        pinned = self.pins.get(name.pinned, "")
        commit = pinned or name.revision
        if _COMMIT.fullmatch(commit):
            known = _listing(name.repo, commit)
            if known:
                return Snapshot(root, commit, _folder(name.repo, commit), known)
        try:
            with told(name, shown, pinned):
                here, files = _ask(name.repo, commit)
            return Snapshot(root, here, _folder(name.repo, here), files)
        except InputError as error:
            if error.code != "E2220":
                raise
            here = commit if _COMMIT.fullmatch(commit) else _last(name.repo, commit or "main")
            known = _listing(name.repo, here) if here else {}
            files = known or (_local(name.repo, here) if here else {})
            if not files:
                raise
            stale = "" if here == commit else error.facts["reason"]
            return Snapshot(root, here, _folder(name.repo, here), files, stale, bool(known))


@contextmanager
def told(name: HubName, shown: str, commit: str = "") -> Iterator[None]:
    """What goes wrong between us and the Hub, as InputErrors."""
    from huggingface_hub import constants, errors

    revision = commit or name.revision
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{name.repo}"
        raise InputError("E2221", text=shown, page=page) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError("E2222", repo=name.repo) from error
    except errors.LocalEntryNotFoundError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise unreachable(name, shown, reason, commit) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        kept = commit not in ("", name.revision)
        raise InputError(
            "E2223", repo=name.repo, revision=revision or "main", text=shown if kept else None,
            written=None if kept else "",
        ) from error
    except errors.HFValidationError as error:
        raise InputError("E0602", text=shown) from error
    except errors.OfflineModeIsEnabled as error:
        raise unreachable(name, shown, "offline mode is on (HF_HUB_OFFLINE)", commit) from error
    except (errors.HTTPError, OSError) as error:
        response = getattr(error, "response", None)
        reason = f"it answers {response.status_code}" if response is not None else str(error)
        raise unreachable(name, shown, reason.partition("\n")[0], commit) from error


def unreachable(name: HubName, shown: str, reason: str, commit: str = "") -> InputError:
    revision = commit or name.revision
    command = f"hf download {name.repo}" + (f" --revision {revision}" if revision else "")
    if name.subfolder:
        command += f' --include "{name.subfolder}/*"'
    return InputError("E2220", text=shown, reason=reason, command=command)


def _ask(repo: str, revision: str) -> tuple[str, dict[str, RemoteFile]]:
    """The commit of a revision and its files, from the Hub."""
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT, library_name="mergelang")
    info = api.model_info(repo, revision=revision or None, files_metadata=True, timeout=TIMEOUT)
    files = {
        each.rfilename: RemoteFile(
            each.size or 0, f"sha256:{each.lfs.sha256}" if each.lfs else f"sha1:{each.blob_id}"
        )
        for each in info.siblings or () if ".." not in each.rfilename.split("/")
    }  # fmt: skip
    _write(_kept(repo, info.sha) / "files.json", files)
    if not _COMMIT.fullmatch(revision):
        # As `hf download` notes it: what offline mode takes the revision for.
        ref = storage(repo) / "refs" / (revision or "main")
        _write_text(ref, info.sha)
    return info.sha, files


def _fetch_small(snapshot: Snapshot, shown: str) -> None:
    """The files beside the weights, and those of the modules behind a model."""
    small = [name for name, file in snapshot.files.items() if file.size <= SMALL]
    beside = [
        name for name in small
        if name.count("/") < 2 and any(fnmatchcase(name, form) for form in BESIDE)
    ]  # fmt: skip
    _fetch(snapshot, beside, shown)
    folders = tuple(f"{each}/" for each in modules(snapshot.folder))
    _fetch(snapshot, [name for name in small if name.startswith(folders)], shown)


def _fetch_card(snapshot: Snapshot, shown: str) -> None:
    """The card, which states the licence. A model is merged without it, too."""
    if CARD in snapshot.files and snapshot.files[CARD].size <= SMALL and not snapshot.stale:
        with suppress(InputError):
            _fetch(snapshot, [CARD], shown)


def _fetch(snapshot: Snapshot, names: Iterable[str], shown: str) -> None:
    """Those of these files that are not here, all at once."""
    wanted = [name for name in names if not (snapshot.folder / name).exists()]
    if not wanted:
        return
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import silent_tqdm

    def fetch(name: str) -> None:
        hf_hub_download(
            snapshot.name.repo, snapshot.path_in_repo(name), revision=snapshot.commit,
            cache_dir=constants.HF_HUB_CACHE, endpoint=constants.ENDPOINT,
            library_name="mergelang", tqdm_class=silent_tqdm,
        )  # fmt: skip

    with told(snapshot.name, shown, snapshot.commit), ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, wanted))


def header(snapshot: Snapshot, name: str, shown: str) -> tuple[bytes, int]:
    """The start of a weight file that is not here, to the end of its header; the file's size."""
    size = snapshot.files[name].size
    kept = _kept(snapshot.name.repo, snapshot.commit) / "headers" / snapshot.path_in_repo(name)
    if kept.is_file():
        return kept.read_bytes(), size
    if size < 8:
        return b"", size
    with told(snapshot.name, shown, snapshot.commit):
        start = _range(snapshot, name, 0, min(size, AHEAD))
        length = 8 + int.from_bytes(start[:8], "little")
        if len(start) < length <= min(size, 100_000_008):
            start += _range(snapshot, name, len(start), length)
    start = start[:length]
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.partial")
    partial.write_bytes(start)
    partial.replace(kept)
    return start, size


def _range(snapshot: Snapshot, name: str, first: int, last: int) -> bytes:
    """The bytes from `first` up to `last` of a file."""
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    url = hf_hub_url(
        snapshot.name.repo, snapshot.path_in_repo(name), revision=snapshot.commit,
        endpoint=constants.ENDPOINT,
    )  # fmt: skip
    headers = build_hf_headers(library_name="mergelang")
    headers |= {"Range": f"bytes={first}-{last - 1}", "Accept-Encoding": "identity"}
    found = b""
    with get_session().stream(
        "GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        skip = first if response.status_code == 200 else 0
        for chunk in response.iter_bytes():
            found += chunk
            if len(found) >= skip + last - first:
                break
    return found[skip : skip + last - first]


def storage(repo: str) -> Path:
    """The folder of a repository in the Hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def place_of(name: HubName, commit: str) -> Path:
    """Where the folder that a name says lies in the Hub's cache, at a commit, if it is there."""
    return _folder(name.repo, commit) / name.subfolder


def _folder(repo: str, commit: str) -> Path:
    return storage(repo) / "snapshots" / commit


def _last(repo: str, revision: str) -> str:
    """The commit that a revision was at when it was last asked for, as far as this machine knows;
    empty if it never was."""
    try:
        return (storage(repo) / "refs" / revision).read_text().strip()
    except OSError:
        return ""


def _local(repo: str, commit: str) -> dict[str, RemoteFile]:
    """The files of a commit that lie in the Hub's cache. Their digests are the names of blobs."""
    folder = _folder(repo, commit)
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            blob = path.resolve().name
            kind = {64: "sha256:", 40: "sha1:"}.get(len(blob))
            digest = f"{kind}{blob}" if kind and path.is_symlink() else ""
            found[path.relative_to(folder).as_posix()] = RemoteFile(path.stat().st_size, digest)
    return found


def _kept(repo: str, commit: str) -> Path:
    """Where what a commit holds is kept."""
    return cache_folder() / "hub" / repo.replace("/", "--") / commit


def _listing(repo: str, commit: str) -> dict[str, RemoteFile]:
    """The files of a commit, if it was asked for before; else none."""
    try:
        table: dict[str, Any] = json.loads((_kept(repo, commit) / "files.json").read_bytes())
        return {name: RemoteFile(*entry) for name, entry in table.items()}
    except (OSError, ValueError, TypeError):
        return {}


def _write(path: Path, table: Mapping[str, RemoteFile]) -> None:
    _write_text(path, json.dumps(table, separators=(",", ":")))


def _write_text(path: Path, text: str) -> None:
    """Best effort, as a whole: a cache that cannot be written is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(text)
        partial.replace(path)
    except OSError:
        pass
