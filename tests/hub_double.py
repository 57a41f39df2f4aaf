"""A double of the hub of models: a real server on this machine, for the library that asks it.

It speaks what `huggingface_hub` uses to list a repository and to download a file: the listing with
sizes and digests, the headers of a file, redirects of large files to another host, ranges, and the
hub's words for what it refuses. Its bytes and digests are computed, never written down twice.

What it does not prove: that the hub of Hugging Face answers so today (the shapes are those that the
library reads, and of its public documentation); Xet storage, which the library takes where the hub
offers it and the double never does; limits on requests; certificates and proxies.
"""

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["HubDouble", "Repository", "Seen", "commit_of", "git_id", "serve_hub"]

_LISTING = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
LARGE = 10_000
"""From so many bytes on, a file is large: known by its SHA-256, and served by the other host."""


def git_id(data: bytes) -> str:
    """Git's name for the bytes."""
    header = f"blob {len(data)}\0".encode()
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def commit_of(text: str) -> str:
    """A commit, as good as any."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(kw_only=True)
class Repository:
    """One repository at one commit."""

    files: dict[str, bytes]
    commit: str = commit_of("first")
    refs: dict[str, str] = field(default_factory=dict)
    """Branches and tags; ``main`` is the commit if it is not among them."""
    token: str | None = None
    """Who may read the files; the listing is for everybody."""
    private: bool = False
    """Whether the listing needs the token as well."""

    def commit_named(self, revision: str) -> str | None:
        known = {"main": self.commit, self.commit: self.commit, **self.refs}
        return known.get(revision)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that came."""

    host: str
    """``hub`` or ``store``."""
    method: str
    path: str
    token: str | None
    range: str | None


@dataclass(kw_only=True)
class HubDouble:
    """What the double has, how it misbehaves, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    """The next answers are these alone."""
    break_off: dict[str, deque[int]] = field(default_factory=dict)
    """After how many bytes a file's next downloads break off."""
    instead: dict[str, deque[bytes]] = field(default_factory=dict)
    """Other bytes of a file, for its next downloads."""
    endless: set[str] = field(default_factory=set)
    """Files whose bytes never end."""
    listed: Callable[[dict[str, Any]], None] = lambda _: None
    """Changes a listing before it is sent."""
    endpoint: str = ""
    store: str = ""

    def asked(self, host: str, method: str = "GET") -> list[str]:
        """The paths that were asked for."""
        return [each.path for each in self.seen if (each.host, each.method) == (host, method)]


def _handler(double: HubDouble, host: str) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one server, read in one place
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
            del format, arguments

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
            path = urlsplit(self.path).path
            double.seen.append(
                Seen(
                    host=host,
                    method=self.command,
                    path=unquote(path),
                    token=token,
                    range=self.headers.get("range"),
                )
            )
            if double.statuses:
                return self._answer(double.statuses.popleft())
            if found := _LISTING.fullmatch(path):
                return self._list(found["repo"], unquote(found["revision"]), token)
            if found := _FILE.fullmatch(path):
                return self._file(found["repo"], unquote(found["revision"]), found["path"], token)
            return self._refuse(404, "RepoNotFound")

        def _found(self, name: str, token: str | None, *, listing: bool) -> Repository | None:
            if name in double.renamed:
                self._answer(307, {"Location": self.path.replace(name, double.renamed[name], 1)})
                return None
            repository = double.repositories.get(name)
            allowed = repository is not None and token == repository.token
            if repository is None or (repository.private and not allowed):
                self._refuse(404 if token else 401, "RepoNotFound" if token else None)
                return None
            if not listing and repository.token is not None and not allowed:
                self._refuse(403 if token else 401, "GatedRepo")
                return None
            return repository

        def _list(self, name: str, revision: str, token: str | None) -> None:
            repository = self._found(name, token, listing=True)
            if repository is None:
                return None
            commit = repository.commit_named(revision)
            if commit is None:
                return self._refuse(404, "RevisionNotFound")
            told = {
                "id": name,
                "sha": commit,
                "private": repository.private,
                "siblings": [_sibling(path, data) for path, data in repository.files.items()],
            }
            double.listed(told)
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(told).encode())
            return None

        def _file(self, name: str, revision: str, path: str, token: str | None) -> None:
            repository = (
                double.repositories[name]
                if host == "store"
                else self._found(name, token, listing=False)
            )
            if repository is None:
                return None
            path = unquote(path)
            data = repository.files.get(path)
            commit = repository.commit_named(revision)
            if data is None or commit is None:
                return self._refuse(404, "EntryNotFound" if commit else "RevisionNotFound")
            large = len(data) >= LARGE
            headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            headers["ETag"] = f'"{hashlib.sha256(data).hexdigest() if large else git_id(data)}"'
            if large and host == "hub":
                headers["X-Linked-Etag"] = headers["ETag"]
                headers["X-Linked-Size"] = str(len(data))
                return self._answer(302, headers | {"Location": double.store + self.path})
            if self.command == "GET":
                waiting = double.instead.get(path)
                if waiting:
                    data = waiting.popleft()
            self._send(path, data, headers)
            return None

        def _send(self, path: str, data: bytes, headers: dict[str, str]) -> None:
            if path in double.endless and self.command == "GET":
                self._send_for_ever(headers)
                return
            start = 0
            if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or ""):
                start = int(found[1])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            breaking = double.break_off.get(path)
            stop = breaking.popleft() if breaking and self.command == "GET" else None
            self._answer(206 if start else 200, headers, data[start:], stop)

        def _send_for_ever(self, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, text in {**headers, "Transfer-Encoding": "chunked"}.items():
                self.send_header(name, text)
            self.end_headers()
            chunk = b"x" * (1 << 16)
            try:
                while True:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            except OSError:
                self.close_connection = True

        def _refuse(self, status: int, code: str | None) -> None:
            self._answer(status, {"X-Error-Code": code, "X-Error-Message": code} if code else {})

        def _answer(
            self,
            status: int,
            headers: dict[str, str] | None = None,
            body: bytes = b"",
            stop: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, text in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, text)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:stop])
            if stop is not None:
                self.wfile.flush()
                self.close_connection = True

    return Handler


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_id(data)}
    if len(data) >= LARGE:
        sha256 = hashlib.sha256(data).hexdigest()
        told["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 134}
    return told


@contextmanager
def serve_hub(double: HubDouble) -> Iterator[HubDouble]:
    """Serve the double until the end of the block."""
    servers = []
    for host in ("hub", "store"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double, host))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
    double.endpoint, double.store = (f"http://127.0.0.1:{each.server_port}" for each in servers)
    try:
        yield double
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
