"""A small Hub on loopback: what huggingface_hub asks of one, of repositories that a test makes.

Large files (weights) are served as the Hub serves LFS: a redirect to another host, with their
sha256 as the tag. A test can gate a repository, break transfers, and look at what was asked.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from mergelang.api import Recipe, load

LARGE = (".safetensors", ".bin")
WEIGHTS = "model.safetensors"


@dataclass
class Repository:
    """Commits with their files by name, and what branches and tags stand at."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Mapping[str, bytes] | Path, ref: str = "main") -> str:
        """Adds a commit of these files (or those of a folder) and moves a branch to it."""
        if isinstance(files, Path):
            paths = [each for each in sorted(files.rglob("*")) if each.is_file()]
            files = {each.relative_to(files).as_posix(): each.read_bytes() for each in paths}
        text = repr(sorted((name, sha1(data)) for name, data in files.items()))
        commit = hashlib.sha1(f"{text} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit


@dataclass
class FakeHub:
    """`broken` is how many bytes of a file a transfer gives before it breaks off, for each of the
    next transfers of it; `asked` lists method, path and range of all requests."""

    repos: dict[str, Repository] = field(default_factory=dict)
    broken: dict[str, list[int]] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    endpoint: str = ""
    down: bool = False

    def repo(self, name: str) -> Repository:
        return self.repos.setdefault(name, Repository())

    def asked_for(self, part: str, method: str = "GET") -> list[str]:
        """The ranges of the requests for paths with this part."""
        return [ranged for how, path, ranged in self.asked if how == method and part in path]


def sha1(data: bytes) -> str:
    """The name of a file's contents in git."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A Hub that answers until the end of the block."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            if hub.down:
                self._send(503, b"down")
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self._info(found[1], found[2] or "main")
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
                self._tree(*found.groups())
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(*found.groups(), body)
            elif found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/([^/]+)/(.+)", path):
                self._file(found[3], hub.repos[found[1]].commits[found[2]][found[3]], {}, body)
            else:
                self._send(404, b"")

        def _repo(self, name: str, revision: str) -> tuple[Repository, str] | None:
            repo = hub.repos.get(name)
            if repo is None:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
                return None
            commit = repo.refs.get(revision, revision)
            if commit not in repo.commits:
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                return None
            return repo, commit

        def _info(self, name: str, revision: str) -> None:
            found = self._repo(name, revision)
            if found is None:
                return
            repo, commit = found
            siblings = []
            for path, data in repo.commits[commit].items():
                entry = {"rfilename": path, "size": len(data), "blobId": sha1(data)}
                if path.endswith(LARGE):
                    entry["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}
                siblings.append(entry)
            table = {"id": name, "sha": commit, "siblings": siblings, "gated": repo.gated}
            self._send(200, json.dumps(table).encode(), {"Content-Type": "application/json"})

        def _tree(self, name: str, revision: str) -> None:
            found = self._repo(name, revision)
            if found is None:
                return
            entries = []
            for path, data in found[0].commits[found[1]].items():
                entry = {"type": "file", "path": path, "size": len(data), "oid": sha1(data)}
                if path.endswith(LARGE):
                    entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
                entries.append(entry)
            self._send(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

        def _resolve(self, name: str, revision: str, path: str, body: bool) -> None:
            found = self._repo(name, revision)
            if found is None:
                return
            repo, commit = found
            facts = {"X-Repo-Commit": commit}
            if repo.gated and self.headers.get("Authorization") != "Bearer let-in":
                self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            elif path not in repo.commits[commit]:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", **facts})
            elif path.endswith(LARGE):
                data = repo.commits[commit][path]
                linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{_sha256(data)}"'}
                cdn = hub.endpoint.replace("127.0.0.1", "localhost")
                where = f"{cdn}/cdn/{name}/{commit}/{path}"
                self._send(302, b"", {**facts, **linked, "Location": where})
            else:
                data = repo.commits[commit][path]
                self._file(path, data, {**facts, "ETag": f'"{sha1(data)}"'}, body)

        def _file(self, path: str, data: bytes, facts: dict[str, str], body: bool) -> None:
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(found[1]) if found else 0
            last = min(int(found[2]) + 1 if found and found[2] else len(data), len(data))
            piece = data[first:last]
            if path in hub.spoilt:
                piece = bytes(len(piece))
            status = 206 if found else 200
            if found:
                facts["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
            cuts = hub.broken.get(path, [])
            if body and cuts and not (found and found[2]):
                self._head(status, len(piece), facts)
                self.wfile.write(piece[: cuts.pop(0)])
                self.close_connection = True
                return
            self._send(status, piece, facts, body)

        def _send(
            self, status: int, data: bytes, facts: Mapping[str, str] = {}, body: bool = True
        ) -> None:
            self._head(status, len(data), facts)
            if body and self.command != "HEAD":
                self.wfile.write(data)

        def _head(self, status: int, length: int, facts: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in facts.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def recipe(folder: Path, *sources: str, expr: str | None = None) -> Recipe:
    """A recipe of the sources `m0`, `m1`, ...: their mean, or another expression."""
    models = [f'model m{i} = "{source}"' for i, source in enumerate(sources)]
    expr = expr or f"mean({', '.join(f'm{i}' for i in range(len(sources)))})"
    (folder / "x.merge").write_text("\n".join([*models, f'output "out" = {expr}', ""]))
    return load(folder / "x.merge")


def codes(error: pytest.ExceptionInfo) -> list[str]:
    return [each.code for each in error.value.diagnostics]
