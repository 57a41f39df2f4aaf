"""A stateful double of the GitHub REST API over REAL bare git repositories.

Bodies start from GitHub's own examples (the `examples` of its OpenAPI description, github-api.json), rewritten and
overlaid with real state, so that their shape is not invented here. Object ids are git's own; `git clone`, `fetch`
and `push` work on http://127.0.0.1:PORT/OWNER/NAME.git.

A FakeHub is a WSGI application; wrap it in ghspec.Checked to have every exchange checked against the description.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import os
import pathlib
import re
import subprocess
import threading
import time
import zipfile
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.github_double import graphql

DESCRIPTION = pathlib.Path(__file__).resolve().parent / "github-api.json"
DOCS_URL = "https://docs.github.com/rest"
MAX_COMMENT = 65536  # characters
MAX_ANNOTATIONS = 50  # per request


def load_examples(path=DESCRIPTION) -> dict:
    """{(operation id, status): example body} of the description."""
    doc = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))

    def deref(node, kind):
        while "$ref" in node:
            node = doc["components"][kind][node["$ref"].split("/")[-1]]
        return node

    examples = {}
    operations = [
        op for item in doc["paths"].values() for op in item.values() if isinstance(op, dict)
    ]
    for op in operations:
        for status, response in op.get("responses", {}).items():
            for media in (deref(response, "responses").get("content") or {}).values():
                for example in (media.get("examples") or {}).values():
                    key = op["operationId"], int(status)
                    examples.setdefault(key, deref(example, "examples")["value"])
    return examples


EXAMPLES = load_examples()
EXAMPLE_REPO = re.compile(
    r"(?<=/)(octocat/Hello-World|octocat/hello-world|octo-org/octo-docs|octo-org/octo-repo"
    r"|github/hello-world|octocat/example)(?=[/\"{.:])"
)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Err(Exception):
    """An error answer of the API."""

    def __init__(self, status, message, errors=None, headers=None):
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = {"message": message, "documentation_url": DOCS_URL, "status": str(status)}
        if errors:
            self.body["errors"] = errors


def invalid(resource, **details) -> Err:
    return Err(422, "Validation Failed", [{"resource": resource, **details}])


# ----------------------------------------------------------------------------------------------
# one repository
# ----------------------------------------------------------------------------------------------


class Repo:
    """A bare git repository, and what GitHub keeps beside it."""

    def __init__(self, root: str, full_name: str, id: int = 1296269) -> None:
        self.full, self.id = full_name, id
        self.owner, self.name = full_name.split("/")
        self.dir = os.path.join(root, full_name + ".git")
        os.makedirs(self.dir)
        self.git("init", "-q", "--bare", "-b", "main")
        self.git("config", "http.receivepack", "true")
        self.pulls: dict[int, dict[str, Any]] = {}
        self.last_pull = 0  # number -> dict
        self.comments, self.last_comment = (
            {},
            100,
        )  # id -> {"n": pull number, "body", "at", "up", "by"}
        self.labels, self.issue_labels = {}, {}  # name -> id; pull number -> [names]
        self.issues: dict[int, dict[str, Any]] = {}  # number -> dict; numbers are shared with pulls
        self.has_issues = True  # the repository setting
        self.checks = {}  # id -> dict
        self.runs, self.artifacts = {}, {}  # id -> dict
        self.actions_may_open_pulls = True  # the repository setting
        self.events: dict[int, list[dict[str, Any]]] = {}  # pull number -> events, oldest first
        self.collaborators: set[str] | None = None  # who may review; absent: everybody
        self.allows_auto_merge = True  # the repository setting
        self.merge_methods = {"merge", "squash", "rebase"}  # the repository settings
        self.ruled = {"main"}  # branches with a rule that a merge waits for

    def git(self, *args: str, input=None, env=None, ok=False, raw=False) -> Any:
        """Output of a git command. A failure is None with ok=True, else a 422."""
        done = subprocess.run(
            ["git", "-C", self.dir, *args],
            input=input,
            capture_output=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, **(env or {})},
        )
        if done.returncode and ok:
            return None
        if done.returncode:
            raise Err(422, done.stderr.decode().strip() or "git failed")
        return done.stdout if raw else done.stdout.decode().strip()

    def rev(self, name: str, kind: str = "commit") -> str | None:
        """Full id of a commit (or tree) by any name, or None."""
        return self.git("rev-parse", "-q", "--verify", f"{name}^{{{kind}}}", ok=True)

    def branch(self, name: str) -> str | None:
        """Head commit of a branch, or None."""
        return self.rev(f"refs/heads/{name}")

    def find(self, ref):
        """Commit of a branch name or any other revision, or None."""
        return self.branch(ref) or self.rev(ref)

    def blob(self, data: bytes):
        return self.git("hash-object", "-w", "--stdin", input=data)

    def tree(self, base, entries):
        """Id of a new tree: base (or nothing) with entries [(mode, path, blob id or None to remove)]."""
        index = os.path.join(self.dir, f"idx.{threading.get_ident()}")
        env = {"GIT_INDEX_FILE": index}
        try:
            self.git("read-tree", base or "--empty", env=env)
            for mode, path, sha in entries:
                if sha is None:
                    if not self.git("ls-files", "--", path, env=env):
                        raise Err(422, "GitRPC::BadObjectState")
                    gone = f"0 {'0' * 40}\t{path}\n".encode()
                    self.git("update-index", "--index-info", input=gone, env=env)
                else:
                    self.git(
                        "update-index", "--add", "--cacheinfo", f"{mode},{sha},{path}", env=env
                    )
            return self.git("write-tree", env=env)
        finally:
            if os.path.exists(index):
                os.unlink(index)

    def commit(self, tree, parents, message, author=None, committer=None):
        """Id of a new commit; author and committer are {"name", "email", "date"} as in the API."""
        by = {"name": "octocat", "email": "octocat@nowhere.com", "date": now(), **(author or {})}
        people = {"AUTHOR": by, "COMMITTER": {**by, **(committer or {})}}
        env = {
            f"GIT_{role}_{key.upper()}": who[key]
            for role, who in people.items()
            for key in ("name", "email", "date")
        }
        parent_args = [arg for parent in parents for arg in ("-p", parent)]
        return self.git("commit-tree", tree, *parent_args, input=message.encode(), env=env)

    def commit_files(self, branch: str, files: dict[str, bytes], message: str = "change") -> str:
        """For tests: put {path: bytes} on top of a branch, directly. Returns the new commit."""
        head = self.branch(branch) or self.branch("main")
        entries = [("100644", path, self.blob(data)) for path, data in files.items()]
        sha = self.commit(self.tree(head, entries), [head], message)
        self.git("update-ref", f"refs/heads/{branch}", sha)
        return sha


# ----------------------------------------------------------------------------------------------
# routing
# ----------------------------------------------------------------------------------------------

ROUTES = []


def route(method, path, operation, needs=None):
    """Register a handler(hub, request, repo, body, **path values) for an operation of the description.

    A path starting with "~" is below /repos/OWNER/NAME. needs is the token permission: "contents:write" etc.
    """

    def register(handler):
        full_path = path.replace("~", "/repos/<owner>/<name>")
        ROUTES.append((method, full_path, operation, needs, handler))
        return handler

    return register


class FakeHub:
    def __init__(self, root: Any, public: str | None = None) -> None:
        """root: an empty folder for the bare repositories. public: the address clients use, when it is not the one
        that the request names (behind a proxy); PyGithub insists that URLs in bodies have its base_url's host."""
        self.root, self.public = str(root), public
        self.repos: dict[str, Repo] = {}  # by full name
        # what the fixtures add: the first repository, the middleware, the address
        self.repo: Any = None
        self.checked: Any = None
        self.base_url = ""
        # token -> {"login": str, "permissions": "all" or {"contents": "write", ...},
        #           "app": it is a GitHub App token (GITHUB_TOKEN is one), "github_token": it is GITHUB_TOKEN itself}
        self.tokens: dict[str, dict[str, Any]] = {}
        # [[method regex, path regex, how many times, (status, headers, body)], ...]: answers to give instead.
        # A callable body is called with the request first (apply the write, then fail: a lost answer).
        self.faults: list[Any] = []
        self.log: list[
            tuple[str, str, int]
        ] = []  # (method, path with query, status) of every API request
        self.events: list[
            tuple[str, str]
        ] = []  # (event, "delivered" | "approval_required" | "none"): workflows a write would start
        self.blobs = {}  # artifact id -> zip bytes
        self.lock = threading.RLock()
        self.base = public
        rules = [
            Rule(
                path,
                methods=[method],
                endpoint=(op, needs, handler),
                strict_slashes=False,
                merge_slashes=False,
            )
            for method, path, op, needs, handler in ROUTES
        ]
        self.map = Map(rules)

    # -- state that tests set up ---------------------------------------------------------------

    def add_repo(self, full_name: str, files: dict[str, bytes] | None = None) -> Repo:
        """A repository whose main branch has one commit with files {path: bytes}."""
        repo = self.repos[full_name] = Repo(self.root, full_name, 1296269 + len(self.repos))
        files = files or {"README.md": b"# hi\n"}
        tree = repo.tree(None, [("100644", path, repo.blob(data)) for path, data in files.items()])
        repo.git("update-ref", "refs/heads/main", repo.commit(tree, [], "first"))
        return repo

    def add_run(self, repo: Repo, **fields: Any) -> int:
        run_id = 30433642 + len(repo.runs)
        repo.runs[run_id] = {"id": run_id, **fields}
        return run_id

    def add_artifact(
        self, repo: Repo, run: int, name: str, files: dict[str, bytes], expired: bool = False
    ) -> int:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        artifact_id = 11 + len(repo.artifacts)
        self.blobs[str(artifact_id)] = data.getvalue()
        repo.artifacts[artifact_id] = {
            "id": artifact_id,
            "name": name,
            "size_in_bytes": len(data.getvalue()),
            "expired": expired,
            "run": run,
        }
        return artifact_id

    # -- one request ---------------------------------------------------------------------------

    def __call__(self, environ, start_response):
        request = Request(environ)
        if re.match(r"/([\w.-]+)/([\w.-]+)\.git/", request.path):
            return self.git_http(environ, start_response)
        arrived = int(time.time())
        try:
            with self.lock:
                self.base = self.public or request.host_url.rstrip("/")
                response = self.fault(request) or self.dispatch(request)
        except Err as e:
            response = self.json(e.body, e.status, e.headers)
        except HTTPException:
            response = self.json(
                {"message": "Not Found", "documentation_url": DOCS_URL, "status": "404"}, 404
            )
        response.headers.setdefault("X-RateLimit-Limit", "5000")
        response.headers.setdefault("X-RateLimit-Remaining", "4999")
        response.headers.setdefault("X-RateLimit-Reset", str(arrived + 3600))
        self.log.append((request.method, request.full_path.rstrip("?"), response.status_code))
        return response(environ, start_response)

    def fault(self, request):
        for entry in self.faults:
            method, path, times, (status, headers, body) = entry
            if times > 0 and re.fullmatch(method, request.method) and re.search(path, request.path):
                entry[2] -= 1
                if callable(body):
                    body(request)
                if isinstance(body, bytes):
                    return Response(body, status, headers, content_type="application/json")
                return self.json(
                    body if isinstance(body, dict) else {"message": "Server Error"}, status, headers
                )
        return None

    def dispatch(self, request: Any) -> Any:
        if request.path.startswith("/_blob/"):
            return self.blob_download(request)
        if request.path == "/graphql":
            return graphql.answer(self, request)
        (operation, needs, handler), values = self.map.bind_to_environ(request.environ).match()
        token = self.tokens.get(request.headers.get("Authorization", "").split(" ")[-1])
        if not token:
            raise Err(401, "Bad credentials")
        request.who = token
        repo = None
        if "owner" in values:
            repo = self.repos.get(f"{values.pop('owner')}/{values.pop('name')}")
            if not repo:
                raise NotFound()
        self.authorize(operation, needs, token)
        body = json.loads(request.get_data() or b"null")
        response = getattr(self, handler.__name__)(
            request, repo, body, **values
        )  # may be overridden
        if repo and response.status_code < 300:
            self.record_event(operation, token)
        return response

    @staticmethod
    def authorize(operation, needs, token):
        if not needs:
            return
        scope, level = needs.split(":")
        if token["permissions"] != "all" and token["permissions"].get(scope) not in (
            "write",
            level,
        ):
            raise Err(403, "Resource not accessible by integration")
        if operation.startswith("checks/") and level == "write" and not token.get("app"):
            raise Err(403, "You must authenticate via a GitHub App.")

    def record_event(self, operation, token):
        """GITHUB_TOKEN's own pushes start no workflow; those of its pull requests wait for approval."""
        event = {
            "pulls/create": "pull_request",
            "git/update-ref": "push",
            "git/create-ref": "push",
        }.get(operation)
        if not event:
            return
        if not token.get("github_token"):
            outcome = "delivered"
        else:
            outcome = "approval_required" if event == "pull_request" else "none"
        self.events.append((event, outcome))

    def git_http(self, environ, start_response):
        """Clone, fetch and push through git's own CGI program. No token is asked for."""
        data = Request(environ).get_data()
        env = {
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": environ["PATH_INFO"],
            "QUERY_STRING": environ.get("QUERY_STRING", ""),
            "REMOTE_USER": "x",
            "REQUEST_METHOD": environ["REQUEST_METHOD"],
            "CONTENT_TYPE": environ.get("CONTENT_TYPE", ""),
            "CONTENT_LENGTH": str(len(data)),
            "HTTP_CONTENT_ENCODING": environ.get("HTTP_CONTENT_ENCODING", ""),
            "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", ""),
            "PATH": os.environ["PATH"],
        }
        out = subprocess.run(
            ["git", "http-backend"], input=data, env=env, capture_output=True
        ).stdout
        head, _, body = out.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if line]
        status = dict(headers).get("Status", "200 OK")
        start_response(status, [h for h in headers if h[0] != "Status"])
        return [body]

    # -- answers -------------------------------------------------------------------------------

    def json(self, value, status=200, headers=None):
        if value is None:
            return Response(b"", status, headers, content_type=None)
        return Response(
            json.dumps(value), status, headers, content_type="application/json; charset=utf-8"
        )

    def page(self, request, items, wrap=None):
        """One page of a list, with a Link header; wrap = name of the list in a {"total_count": ...} object."""
        size = min(int(request.args.get("per_page", 30)), 100)
        page = int(request.args.get("page", 1))
        last = max(1, -(-len(items) // size))

        def url(number):
            query = [f"{key}={value}" for key, value in request.args.items() if key != "page"]
            return self.base + request.path + "?" + "&".join([*query, f"page={number}"])

        targets = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        links = [
            f'<{url(number)}>; rel="{rel}"'
            for rel, number in targets.items()
            if 1 <= number <= last and number != page and last > 1
        ]
        part = items[(page - 1) * size : page * size]
        body = {"total_count": len(items), wrap: part} if wrap else part
        return self.json(body, 200, {"Link": ", ".join(links)} if links else {})

    def example(self, operation, status, repo=None, /, **overlay):
        """GitHub's example body with this server's addresses and this repository's name, then overlay."""
        text = json.dumps(copy.deepcopy(EXAMPLES[operation, status]))
        if repo:
            text = EXAMPLE_REPO.sub(repo.full, text)
        text = text.replace("https://api.github.com", self.base).replace(
            "https://HOSTNAME", self.base
        )
        value = json.loads(text)
        if isinstance(value, dict):
            value.update(overlay)
        return value

    def url(self, repo):
        return f"{self.base}/repos/{repo.full}"

    # -- users, repository, branches -----------------------------------------------------------

    @route("GET", "/user", "users/get-authenticated")
    def get_user(self, request, repo, body):
        return self.json(
            {**self.example("users/get-authenticated", 200), "login": request.who["login"]}
        )

    def repo_object(self, repo):
        value = self.example(
            "repos/get",
            200,
            repo,
            id=repo.id,
            name=repo.name,
            full_name=repo.full,
            default_branch="main",
            language=None,
            clone_url=f"{self.base}/{repo.full}.git",
            url=self.url(repo),
        )
        for key in ("parent", "source", "template_repository"):
            value.pop(key, None)
        value["owner"] = {**value["owner"], "login": repo.owner}
        return value

    @route("GET", "~", "repos/get")
    def get_repo(self, request, repo, body):
        return self.json(self.repo_object(repo))

    @route("GET", "~/branches/<path:ref>", "repos/get-branch", "contents:read")
    def get_branch(self, request, repo, body, ref):
        sha = repo.branch(ref)
        if not sha:
            raise Err(404, "Branch not found")
        commit = self.commit_resource(repo, sha)
        value = self.example(
            "repos/get-branch", 200, repo, name=ref, commit=commit, protected=False
        )
        return self.json(value)

    # -- git data: references ------------------------------------------------------------------

    def ref_object(self, repo, ref):
        sha = repo.git("rev-parse", "-q", "--verify", ref, ok=True)
        if not sha:
            raise NotFound()
        kind = repo.git("cat-file", "-t", sha)
        target = {"sha": sha, "type": kind, "url": f"{self.url(repo)}/git/commits/{sha}"}
        return {
            "ref": ref,
            "node_id": "MDM6UmVm",
            "url": f"{self.url(repo)}/git/{ref}",
            "object": target,
        }

    @route("GET", "~/git/ref/<path:ref>", "git/get-ref", "contents:read")
    def get_ref(self, request, repo, body, ref):
        return self.json(self.ref_object(repo, "refs/" + ref))

    @route("POST", "~/git/refs", "git/create-ref", "contents:write")
    def create_ref(self, request, repo, body):
        if not re.match(r"refs/.+/.+", body["ref"]):
            raise Err(422, "Reference name must start with 'refs' and have at least two slashes.")
        if repo.rev(body["ref"]):
            raise Err(422, "Reference already exists")
        if not repo.rev(body["sha"]):
            raise Err(422, "Object does not exist")
        repo.git("update-ref", body["ref"], body["sha"])
        value = self.ref_object(repo, body["ref"])
        return self.json(value, 201, {"Location": value["url"]})

    @route("PATCH", "~/git/refs/<path:ref>", "git/update-ref", "contents:write")
    def update_ref(self, request, repo, body, ref):
        ref = "refs/" + ref
        old = repo.rev(ref)
        if not old:
            raise Err(422, "Reference does not exist")
        if not repo.rev(body["sha"]):
            raise Err(422, "Object does not exist")
        fast_forward = (
            repo.git("merge-base", "--is-ancestor", old, body["sha"], ok=True) is not None
        )
        if not fast_forward and not body.get("force"):
            raise Err(422, "Update is not a fast forward")
        repo.git("update-ref", ref, body["sha"])
        return self.json(self.ref_object(repo, ref))

    @route("DELETE", "~/git/refs/<path:ref>", "git/delete-ref", "contents:write")
    def delete_ref(self, request, repo, body, ref):
        if not repo.rev("refs/" + ref):
            raise Err(422, "Reference does not exist")
        repo.git("update-ref", "-d", "refs/" + ref)
        return self.json(None, 204)

    # -- git data: blobs, trees, commits -------------------------------------------------------

    @route("POST", "~/git/blobs", "git/create-blob", "contents:write")
    def create_blob(self, request, repo, body):
        is_base64 = body.get("encoding") == "base64"
        sha = repo.blob(
            base64.b64decode(body["content"]) if is_base64 else body["content"].encode()
        )
        return self.json({"url": f"{self.url(repo)}/git/blobs/{sha}", "sha": sha}, 201)

    @route("GET", "~/git/blobs/<sha>", "git/get-blob", "contents:read")
    def get_blob(self, request, repo, body, sha):
        data = repo.git("cat-file", "blob", sha, ok=True, raw=True)
        if data is None:
            raise NotFound()
        value = {
            "sha": sha,
            "node_id": "B",
            "size": len(data),
            "url": f"{self.url(repo)}/git/blobs/{sha}",
            "content": base64.encodebytes(data).decode(),
            "encoding": "base64",
        }
        return self.json(value)

    def tree_object(self, repo, sha, recursive=False):
        entries = []
        for line in repo.git("ls-tree", "-l", *(["-r", "-t"] if recursive else []), sha).split(
            "\n"
        ):
            if not line:
                continue
            mode, kind, entry, size, path = re.match(
                r"(\d+) (\w+) (\w+)\s+(\S+)\t(.*)", line
            ).groups()
            value = {"path": path, "mode": mode, "type": kind, "sha": entry}
            if size != "-":
                value["size"] = int(size)
            entries.append({**value, "url": f"{self.url(repo)}/git/{kind}s/{entry}"})
        url = f"{self.url(repo)}/git/trees/{sha}"
        return {"sha": sha, "url": url, "truncated": False, "tree": entries}

    @route("POST", "~/git/trees", "git/create-tree", "contents:write")
    def create_tree(self, request, repo, body):
        base = body.get("base_tree") and repo.rev(body["base_tree"], "tree")
        if body.get("base_tree") and not base:
            raise Err(404, "Not Found")
        entries = [
            (
                entry.get("mode", "100644"),
                entry["path"],
                repo.blob(entry["content"].encode()) if "content" in entry else entry["sha"],
            )
            for entry in body["tree"]
        ]
        return self.json(self.tree_object(repo, repo.tree(base, entries)), 201)

    @route("GET", "~/git/trees/<path:ref>", "git/get-tree", "contents:read")
    def get_tree(self, request, repo, body, ref):
        sha = repo.rev(ref, "tree")
        if not sha:
            raise NotFound()
        return self.json(self.tree_object(repo, sha, "recursive" in request.args))

    def commit_object(self, repo, sha):
        """A commit as the git data API shows it."""
        form = "%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
        raw = repo.git("log", "-1", f"--format={form}", sha, ok=True)
        if raw is None:
            raise NotFound()
        tree, parents, a_name, a_mail, a_date, c_name, c_mail, c_date, message = raw.split("\0")
        url = self.url(repo)
        html = f"https://github.com/{repo.full}/commit/"
        return {
            "sha": sha,
            "node_id": "C",
            "url": f"{url}/git/commits/{sha}",
            "html_url": html + sha,
            "author": {"name": a_name, "email": a_mail, "date": a_date},
            "committer": {"name": c_name, "email": c_mail, "date": c_date},
            "message": message.rstrip("\n"),
            "tree": {"sha": tree, "url": f"{url}/git/trees/{tree}"},
            "parents": [
                {"sha": parent, "url": f"{url}/git/commits/{parent}", "html_url": html + parent}
                for parent in parents.split()
            ],
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
        }

    def commit_resource(self, repo, sha):
        """A commit as the repository API shows it."""
        commit = self.commit_object(repo, sha)
        url = f"{self.url(repo)}/commits/{sha}"
        user = self.example("pulls/get", 200, repo)["user"]
        inner = ("url", "author", "committer", "message", "tree", "verification")
        return {
            "url": url,
            "sha": sha,
            "node_id": "C",
            "html_url": commit["html_url"],
            "comments_url": f"{url}/comments",
            "author": user,
            "committer": user,
            "parents": commit["parents"],
            "commit": {**{key: commit[key] for key in inner}, "comment_count": 0},
        }

    @route("POST", "~/git/commits", "git/create-commit", "contents:write")
    def create_commit(self, request, repo, body):
        parents = body.get("parents", [])
        if not repo.rev(body["tree"], "tree"):
            raise Err(422, "Tree SHA does not exist")
        if not all(repo.rev(parent) for parent in parents):
            raise Err(422, "Parent SHA does not exist or is not a commit object")
        people = body.get("author"), body.get("committer")
        sha = repo.commit(body["tree"], parents, body["message"], *people)
        return self.json(self.commit_object(repo, sha), 201)

    @route("GET", "~/git/commits/<sha>", "git/get-commit", "contents:read")
    def get_git_commit(self, request, repo, body, sha):
        return self.json(self.commit_object(repo, sha))

    @route("GET", "~/commits/<path:ref>", "repos/get-commit", "contents:read")
    def get_commit(self, request, repo, body, ref):
        sha = repo.find(ref)
        if not sha:
            raise Err(422, f"No commit found for SHA: {ref}")
        stats = {"additions": 0, "deletions": 0, "total": 0}
        return self.json({**self.commit_resource(repo, sha), "stats": stats, "files": []})

    @route("GET", "~/compare/<path:basehead>", "repos/compare-commits", "contents:read")
    def compare(self, request, repo, body, basehead):
        shas = [repo.find(name) for name in basehead.split("...")]
        if not all(shas):
            raise NotFound()
        merge_base = repo.git("merge-base", *shas, ok=True)
        if merge_base is None:
            raise Err(404, "No common ancestor between the two commits.")
        value = self.example(
            "repos/compare-commits",
            200,
            repo,
            base_commit=self.commit_resource(repo, shas[0]),
            merge_base_commit=self.commit_resource(repo, merge_base),
            commits=[],
            files=[],
        )
        return self.json(value)

    # -- contents ------------------------------------------------------------------------------

    def file_object(self, repo, ref, path, sha, kind="file", data=None):
        url = f"{self.url(repo)}/contents/{path}?ref={ref}"
        git_url = f"{self.url(repo)}/git/{'blobs' if kind == 'file' else 'trees'}/{sha}"
        html_url = f"https://github.com/{repo.full}/blob/{ref}/{path}"
        value = {
            "type": kind,
            "size": len(data or b""),
            "name": path.split("/")[-1],
            "path": path,
            "sha": sha,
            "url": url,
            "git_url": git_url,
            "html_url": html_url,
            "download_url": html_url if kind == "file" else None,
            "_links": {"self": url, "git": git_url, "html": html_url},
        }
        if data is not None:
            value |= {"encoding": "base64", "content": base64.encodebytes(data).decode()}
        return value

    @route("GET", "~/contents/", "repos/get-content", "contents:read")
    @route("GET", "~/contents/<path:path>", "repos/get-content", "contents:read")
    def get_content(self, request, repo, body, path=""):
        ref = request.args.get("ref", "main")
        commit = repo.find(ref)
        if not commit:
            raise Err(404, f"No commit found for the ref {ref}")
        path = path.strip("/")
        sha = repo.git("rev-parse", "-q", "--verify", f"{commit}:{path}", ok=True)
        if not sha:
            raise NotFound()
        if repo.git("cat-file", "-t", sha) == "blob":
            data = repo.git("cat-file", "blob", sha, raw=True)
            return self.json(self.file_object(repo, ref, path, sha, data=data))
        listing = []
        for entry in self.tree_object(repo, sha)["tree"]:
            name = f"{path}/{entry['path']}".lstrip("/")
            kind = "file" if entry["type"] == "blob" else "dir"
            value = self.file_object(repo, ref, name, entry["sha"], kind)
            listing.append({**value, "size": entry.get("size", 0)})
        return self.json(listing)

    # -- pull requests -------------------------------------------------------------------------

    NOT_IN_LISTS = (
        "merged mergeable rebaseable mergeable_state merged_by comments review_comments "
        "maintainer_can_modify commits additions deletions changed_files"
    ).split()

    # what the double keeps of a pull request beside what GitHub tells under the same name
    OWN_FIELDS = ("sha", "fork", "by", "reviewers", "teams", "auto_merge", "clean")

    @staticmethod
    def node_id(repo: Repo, number: int) -> str:
        return f"PR_{repo.id}_{number}"

    def team_object(self, slug):
        (team,) = self.example("pulls/list-requested-reviewers", 200)["teams"]
        # required since the example was written
        kind = {"type": "organization", "organization_id": 1}
        return {**team, **kind, "slug": slug, "name": slug}

    @staticmethod
    def auto_merge_object(user, method):
        if method is None:
            return None
        texts = {"commit_title": "t", "commit_message": ""}
        return {"enabled_by": user, "merge_method": method, **texts}

    def pull(self, repo, number):
        if number not in repo.pulls:
            raise NotFound()
        return repo.pulls[number]

    def pull_object(self, repo, number, in_list=False):
        pull = repo.pulls[number]
        text = json.dumps(self.example("pulls/get", 200, repo))
        for kind in ("pulls", "issues", "pull"):
            text = text.replace(f"/{kind}/1347", f"/{kind}/{number}")
        value = json.loads(text)
        in_pull = self.repo_object(repo)
        for key in ("network_count", "organization", "subscribers_count"):
            in_pull.pop(key, None)

        def side(ref, sha, full_name=repo.full):
            owner, name = full_name.split("/")
            of = {**in_pull, "full_name": full_name, "name": name}
            return {
                "label": f"{owner}:{ref}",
                "ref": ref,
                "sha": sha,
                "user": value["user"],
                "repo": {**of, "owner": {**of["owner"], "login": owner}},
            }

        value.update(
            {
                **{key: field for key, field in pull.items() if key not in self.OWN_FIELDS},
                "node_id": self.node_id(repo, number),
                "user": {**value["user"], "login": pull["by"]},
                "number": number,
                "id": 9000 + number,
                # lists tell a team's parent, one pull request does not
                "requested_teams": [
                    {
                        key: told
                        for key, told in self.team_object(slug).items()
                        if in_list or key != "parent"
                    }
                    for slug in pull["teams"]
                ],
                "requested_reviewers": [
                    {**value["user"], "login": login} for login in pull["reviewers"]
                ],
                "assignee": None,
                "assignees": [],
                "milestone": None,
                "merged_at": None,
                "merge_commit_sha": None,
                "active_lock_reason": None,
                "auto_merge": self.auto_merge_object(value["user"], pull["auto_merge"]),
                "labels": [
                    self.label_object(repo, name) for name in repo.issue_labels.get(number, [])
                ],
                "head": side(
                    pull["head"],
                    (None if "fork" in pull else repo.branch(pull["head"])) or pull["sha"],
                    pull.get("fork", repo.full),
                ),
                "base": side(pull["base"], repo.branch(pull["base"])),
                "comments": sum(comment["n"] == number for comment in repo.comments.values()),
            }
        )
        if in_list:
            for key in self.NOT_IN_LISTS:
                value.pop(key, None)
        return value

    @route("POST", "~/pulls", "pulls/create", "pull_requests:write")
    def create_pull(self, request, repo, body):
        if not repo.actions_may_open_pulls and request.who.get("github_token"):
            raise Err(403, "GitHub Actions is not permitted to create or approve pull requests.")
        head, base = body["head"].split(":")[-1], body["base"]
        for side, name in (("head", head), ("base", base)):
            if not repo.branch(name):
                raise invalid("PullRequest", field=side, code="invalid")
        is_open = {(p["head"], p["base"]) for p in repo.pulls.values() if p["state"] == "open"}
        if (head, base) in is_open:
            message = f"A pull request already exists for {repo.owner}:{head}."
            raise invalid("PullRequest", code="custom", message=message)
        if not int(repo.git("rev-list", "--count", f"refs/heads/{base}..refs/heads/{head}")):
            message = f"No commits between {base} and {head}"
            raise invalid("PullRequest", code="custom", message=message)
        number = self.add_pull(
            repo,
            title=body["title"],
            body=body.get("body"),
            draft=body.get("draft", False),
            head=head,
            base=base,
            sha=repo.branch(head),
            by=request.who["login"],
        )
        return self.json(self.pull_object(repo, number), 201)

    def add_pull(self, repo: Repo, **fields: Any) -> int:
        """For tests: a pull request, also of a fork (fork="owner/name", head and sha there)."""
        repo.last_pull += 1
        dates = {"created_at": now(), "updated_at": now(), "closed_at": None}
        defaults = {
            "title": "t",
            "body": "",
            "state": "open",
            "draft": False,
            "base": "main",
            "by": "octocat",
            "reviewers": [],
            "teams": [],
            "auto_merge": None,
        }
        repo.pulls[repo.last_pull] = {**defaults, **dates, **fields}
        return repo.last_pull

    @route("GET", "~/pulls", "pulls/list", "pull_requests:read")
    def list_pulls(self, request, repo, body):
        state = request.args.get("state", "open")
        head, base = request.args.get("head"), request.args.get("base")

        def owner(pull):
            return pull.get("fork", repo.full).split("/")[0]

        def wanted(pull):
            return (
                state in ("all", pull["state"])
                and (not head or ":" not in head or head == f"{owner(pull)}:{pull['head']}")
                and (not base or base == pull["base"])
            )

        numbers = [
            number for number in sorted(repo.pulls, reverse=True) if wanted(repo.pulls[number])
        ]
        return self.page(
            request, [self.pull_object(repo, number, in_list=True) for number in numbers]
        )

    @route("GET", "~/pulls/<int:number>", "pulls/get", "pull_requests:read")
    def get_pull(self, request, repo, body, number):
        self.pull(repo, number)
        return self.json(self.pull_object(repo, number))

    @route("PATCH", "~/pulls/<int:number>", "pulls/update", "pull_requests:write")
    def update_pull(self, request, repo, body, number):
        changed = {key: body[key] for key in ("title", "body", "state", "base") if key in body}
        self.pull(repo, number).update(changed)
        return self.json(self.pull_object(repo, number))

    @route(
        "POST",
        "~/pulls/<int:number>/requested_reviewers",
        "pulls/request-reviewers",
        "pull_requests:write",
    )
    def request_reviewers(self, request, repo, body, number):
        pull = self.pull(repo, number)
        users, teams = body.get("reviewers", []), body.get("team_reviewers", [])
        if pull["by"].casefold() in {user.casefold() for user in users}:
            raise Err(422, "Review cannot be requested from pull request author.")
        if repo.collaborators is not None and not repo.collaborators.issuperset(users):
            raise Err(
                422,
                "Reviews may only be requested from collaborators. One or more of the users or teams you specified "
                f"is not a collaborator of the {repo.full} repository.",
            )
        if teams and request.who.get("github_token"):
            # what users of other tools quote; a job's token may not read the organization's members
            raise Err(422, "Could not resolve to a node with the global id of 'T_1'.")
        for name, asked in (("reviewers", users), ("teams", teams)):
            for each in asked:
                if each not in pull[name]:
                    pull[name].append(each)
                    key = "requested_reviewer" if name == "reviewers" else "requested_team"
                    self.add_event(
                        repo, number, "review_requested", request.who["login"], **{key: each}
                    )
        return self.json(self.pull_object(repo, number, in_list=True), 201)

    def add_event(
        self, repo: Repo, number: int, event: str, actor: str = "octocat", **more: str
    ) -> None:
        """Also for tests: something that happened to a pull request."""
        repo.events.setdefault(number, []).append({"event": event, "actor": actor, **more})

    @route("GET", "~/issues/<int:number>/events", "issues/list-events", "pull_requests:read")
    def list_events(self, request, repo, body, number):
        self.pull(repo, number)
        user = self.example("pulls/get", 200, repo)["user"]
        told = []
        for place, event in enumerate(repo.events.get(number, []), 1):
            actor = {**user, "login": event["actor"]}
            value = {
                "id": place,
                "node_id": "E",
                "url": f"{self.url(repo)}/issues/events/{place}",
                "actor": actor,
                "event": event["event"],
                "commit_id": None,
                "commit_url": None,
                "created_at": now(),
                "performed_via_github_app": None,
            }
            if event["event"] == "review_requested":
                value["review_requester"] = actor
            if "requested_reviewer" in event:
                value["requested_reviewer"] = {**user, "login": event["requested_reviewer"]}
            if "requested_team" in event:
                value["requested_team"] = self.team_object(event["requested_team"])
            told.append(value)
        return self.page(request, told)

    # -- issues --------------------------------------------------------------------------------

    @staticmethod
    def numbered(request, repo, number, level):
        """An issue or a pull request; issues take a permission of their own."""
        if number in repo.issues:
            scope = "issues"
        elif number in repo.pulls:
            scope = "pull_requests"
        else:
            raise NotFound()
        FakeHub.authorize("issues", f"{scope}:{level}", request.who)

    def issue_object(self, repo, number):
        if number in repo.pulls:  # GitHub lists pull requests among the issues
            pull = repo.pulls[number]
            url = f"{self.url(repo)}/pulls/{number}"
            html = f"https://github.com/{repo.full}/pull/{number}"
            of_pull = {"url": url, "html_url": html, "diff_url": html + ".diff"}
            kept = {
                **pull,
                "labels": repo.issue_labels.get(number, []),
                "state_reason": None,
                "pull_request": {**of_pull, "patch_url": html + ".patch", "merged_at": None},
            }
        else:
            kept = repo.issues[number]
        text = json.dumps(self.example("issues/create", 201, repo))
        value = json.loads(text.replace("/issues/1347", f"/issues/{number}"))
        value.pop("pull_request", None)
        value.pop("closed_by", None)
        user = value["user"]
        told = ("title", "body", "state", "state_reason", "closed_at", "created_at", "updated_at")
        value.update(
            {
                **{key: kept[key] for key in told},
                **({"pull_request": kept["pull_request"]} if "pull_request" in kept else {}),
                "user": {**user, "login": kept["by"]},
                "number": number,
                "id": 7000 + number,
                "labels": [
                    self.label_object(repo, name) for name in repo.issue_labels.get(number, [])
                ],
                "assignee": None,
                "assignees": [],
                "milestone": None,
                "comments": sum(comment["n"] == number for comment in repo.comments.values()),
            }
        )
        return value

    def add_issue(self, repo: Repo, **fields: Any) -> int:
        """Also for tests: an issue, labels included."""
        repo.last_pull += 1
        dates = {"created_at": now(), "updated_at": now(), "closed_at": None}
        defaults = {
            "title": "t",
            "body": "",
            "state": "open",
            "state_reason": None,
            "by": "octocat",
        }
        labels = fields.pop("labels", [])
        repo.issues[repo.last_pull] = {**defaults, **dates, **fields}
        repo.issue_labels[repo.last_pull] = list(dict.fromkeys(labels))
        return repo.last_pull

    @staticmethod
    def check_issue(repo, body):
        if not repo.has_issues:
            raise Err(410, "Issues are disabled for this repo")
        if len(body.get("title") or "t") > 256:
            raise invalid("Issue", field="title", code="custom", message="title is too long")
        if len(body.get("body") or "") > MAX_COMMENT:
            message = f"body is too long (maximum is {MAX_COMMENT} characters)"
            raise invalid("Issue", field="body", code="custom", message=message)

    @route("POST", "~/issues", "issues/create", "issues:write")
    def create_issue(self, request, repo, body):
        self.check_issue(repo, body)
        fields = {key: body[key] for key in ("title", "body", "labels") if key in body}
        number = self.add_issue(repo, by=request.who["login"], **fields)
        return self.json(self.issue_object(repo, number), 201)

    @route("GET", "~/issues", "issues/list-for-repo", "issues:read")
    def list_issues(self, request, repo, body):
        state = request.args.get("state", "open")
        every = {**repo.issues, **repo.pulls}
        numbers = [n for n in sorted(every, reverse=True) if state in ("all", every[n]["state"])]
        return self.page(request, [self.issue_object(repo, number) for number in numbers])

    @route("GET", "~/issues/<int:number>", "issues/get")
    def get_issue(self, request, repo, body, number):
        self.numbered(request, repo, number, "read")
        return self.json(self.issue_object(repo, number))

    @route("PATCH", "~/issues/<int:number>", "issues/update", "issues:write")
    def update_issue(self, request, repo, body, number):
        if number not in repo.issues:
            raise NotFound()
        self.check_issue(repo, body)
        self.put_issue(repo, number, body)
        return self.json(self.issue_object(repo, number))

    @staticmethod
    def put_issue(repo: Repo, number: int, body: dict[str, Any]) -> None:
        """Also for tests: what a person changes."""
        issue = repo.issues[number]
        was = issue["state"]
        told = ("title", "body", "state", "state_reason")
        issue.update({key: body[key] for key in told if key in body}, updated_at=now())
        if issue["state"] != was:
            is_closed = issue["state"] == "closed"
            issue["closed_at"] = now() if is_closed else None
            default = "completed" if is_closed else "reopened"
            issue["state_reason"] = body.get("state_reason", default)

    # -- comments ------------------------------------------------------------------------------

    def comment_object(self, repo, comment_id):
        comment = repo.comments[comment_id]
        url = f"{self.url(repo)}/issues"
        return self.example(
            "issues/create-comment",
            201,
            repo,
            id=comment_id,
            body=comment["body"],
            created_at=comment["at"],
            updated_at=comment["up"],
            url=f"{url}/comments/{comment_id}",
            issue_url=f"{url}/{comment['n']}",
            user={**self.example("pulls/get", 200, repo)["user"], "login": comment["by"]},
        )

    @staticmethod
    def check_comment(body):
        if not body["body"].strip():
            message = "body cannot be blank"
        elif len(body["body"]) > MAX_COMMENT:
            message = f"body is too long (maximum is {MAX_COMMENT} characters)"
        else:
            return
        raise invalid("IssueComment", field="body", code="custom", message=message)

    @route("POST", "~/issues/<int:number>/comments", "issues/create-comment")
    def create_comment(self, request, repo, body, number):
        self.numbered(request, repo, number, "write")
        self.check_comment(body)
        return self.json(
            self.comment_object(repo, self.add_comment(repo, number, body["body"], request.who)),
            201,
        )

    def add_comment(self, repo: Repo, number: int, text: str, who: dict[str, Any]) -> int:
        """Also for tests that apply a write and then let the answer get lost."""
        repo.last_comment += 1
        at = now()
        comment = {"n": number, "body": text, "at": at, "up": at, "by": who["login"]}
        repo.comments[repo.last_comment] = comment
        return repo.last_comment

    @route("GET", "~/issues/<int:number>/comments", "issues/list-comments")
    def list_comments(self, request, repo, body, number):
        self.numbered(request, repo, number, "read")
        ids = [i for i, comment in sorted(repo.comments.items()) if comment["n"] == number]
        return self.page(request, [self.comment_object(repo, i) for i in ids])

    @route("GET", "~/issues/comments/<int:comment>", "issues/get-comment", "pull_requests:read")
    def get_comment(self, request, repo, body, comment):
        if comment not in repo.comments:
            raise NotFound()
        return self.json(self.comment_object(repo, comment))

    @route(
        "PATCH", "~/issues/comments/<int:comment>", "issues/update-comment", "pull_requests:write"
    )
    def update_comment(self, request, repo, body, comment):
        if comment not in repo.comments:
            raise NotFound()
        self.check_comment(body)
        repo.comments[comment].update(body=body["body"], up=now())
        return self.json(self.comment_object(repo, comment))

    # -- labels --------------------------------------------------------------------------------

    def label_object(self, repo, name):
        label_id = repo.labels.setdefault(name, 208045946 + len(repo.labels))
        return {
            "id": label_id,
            "node_id": "L",
            "url": f"{self.url(repo)}/labels/{quote(name)}",
            "name": name,
            "description": None,
            "color": "ededed",
            "default": False,
        }

    @route("POST", "~/issues/<int:number>/labels", "issues/add-labels")
    def add_labels(self, request, repo, body, number):
        self.numbered(request, repo, number, "write")
        names = repo.issue_labels.setdefault(number, [])
        for name in body["labels"] if isinstance(body, dict) else body:
            if name not in names:
                names.append(name)
        return self.json([self.label_object(repo, name) for name in names])

    @route(
        "GET", "~/issues/<int:number>/labels", "issues/list-labels-on-issue", "pull_requests:read"
    )
    def list_labels(self, request, repo, body, number):
        return self.page(
            request, [self.label_object(repo, name) for name in repo.issue_labels.get(number, [])]
        )

    @route(
        "DELETE",
        "~/issues/<int:number>/labels/<label>",
        "issues/remove-label",
    )
    def remove_label(self, request, repo, body, number, label):
        self.numbered(request, repo, number, "write")
        names = repo.issue_labels.get(number, [])
        if label not in names:
            raise Err(404, "Label does not exist")
        names.remove(label)
        return self.json([self.label_object(repo, name) for name in names])

    # -- check runs ----------------------------------------------------------------------------

    CHECK_FIELDS = (
        "name",
        "head_sha",
        "status",
        "conclusion",
        "started_at",
        "completed_at",
        "details_url",
        "external_id",
    )

    def check_object(self, repo, check):
        url = f"{self.url(repo)}/check-runs/{check}"
        return self.example(
            "checks/create", 201, repo, **repo.checks[check], id=check, url=url, pull_requests=[]
        )

    def put_check(self, repo: Repo, check: int, body: dict[str, Any]) -> Any:
        output = body.get("output") or {}
        annotations = output.get("annotations") or []
        if len(annotations) > MAX_ANNOTATIONS:
            message = f"No more than {MAX_ANNOTATIONS} items are allowed; {len(annotations)} were supplied."
            raise Err(422, "Invalid request.\n\n" + message)
        new = {
            "status": "queued",
            "conclusion": None,
            "started_at": now(),
            "completed_at": None,
            "output": {
                "title": None,
                "summary": None,
                "text": None,
                "annotations_count": 0,
                "annotations_url": f"{self.url(repo)}/check-runs/{check}/annotations",
            },
        }
        state = repo.checks.setdefault(check, new)
        state.update({key: body[key] for key in self.CHECK_FIELDS if key in body})
        if state["conclusion"]:
            state["status"], state["completed_at"] = "completed", state["completed_at"] or now()
        state["output"].update(
            {key: output[key] for key in ("title", "summary", "text") if key in output}
        )
        state["output"]["annotations_count"] += len(annotations)
        return self.check_object(repo, check)

    @route("POST", "~/check-runs", "checks/create", "checks:write")
    def create_check(self, request, repo, body):
        if not repo.rev(body["head_sha"]):
            raise Err(422, f"No commit found for SHA: {body['head_sha']}")
        return self.json(self.put_check(repo, 4 + len(repo.checks), body), 201)

    @route("PATCH", "~/check-runs/<int:check>", "checks/update", "checks:write")
    def update_check(self, request, repo, body, check):
        if check not in repo.checks:
            raise NotFound()
        return self.json(self.put_check(repo, check, body))

    @route("GET", "~/check-runs/<int:check>", "checks/get", "checks:read")
    def get_check(self, request, repo, body, check):
        if check not in repo.checks:
            raise NotFound()
        return self.json(self.check_object(repo, check))

    @route("GET", "~/commits/<path:ref>/check-runs", "checks/list-for-ref", "checks:read")
    def list_checks(self, request, repo, body, ref):
        sha = repo.find(ref)
        ids = [check for check, state in repo.checks.items() if state["head_sha"] == sha]
        return self.page(request, [self.check_object(repo, check) for check in ids], "check_runs")

    # -- Actions: runs, artifacts --------------------------------------------------------------

    @route("GET", "~/actions/runs/<int:run>", "actions/get-workflow-run", "actions:read")
    def get_run(self, request, repo, body, run):
        if run not in repo.runs:
            raise NotFound()
        url = f"{self.url(repo)}/actions/runs/{run}"
        urls = {"url": url, "artifacts_url": url + "/artifacts", "jobs_url": url + "/jobs"}
        return self.json(
            self.example("actions/get-workflow-run", 200, repo, **repo.runs[run], **urls)
        )

    def artifact_object(self, repo, artifact):
        state = repo.artifacts[artifact]
        url = f"{self.url(repo)}/actions/artifacts/{artifact}"
        value = self.example("actions/get-artifact", 200, repo)
        value["workflow_run"]["id"] = state["run"]
        value.update({key: field for key, field in state.items() if key != "run"})
        return {**value, "url": url, "archive_download_url": url + "/zip"}

    def artifact_page(self, request, repo, ids):
        name = request.args.get("name")
        chosen = [i for i in ids if name in (None, repo.artifacts[i]["name"])]
        return self.page(request, [self.artifact_object(repo, i) for i in chosen], "artifacts")

    @route("GET", "~/actions/artifacts", "actions/list-artifacts-for-repo", "actions:read")
    def list_artifacts(self, request, repo, body):
        return self.artifact_page(request, repo, sorted(repo.artifacts, reverse=True))

    @route(
        "GET",
        "~/actions/runs/<int:run>/artifacts",
        "actions/list-workflow-run-artifacts",
        "actions:read",
    )
    def list_run_artifacts(self, request, repo, body, run):
        ids = [i for i, artifact in repo.artifacts.items() if artifact["run"] == run]
        return self.artifact_page(request, repo, ids)

    @route("GET", "~/actions/artifacts/<int:artifact>", "actions/get-artifact", "actions:read")
    def get_artifact(self, request, repo, body, artifact):
        if artifact not in repo.artifacts:
            raise NotFound()
        return self.json(self.artifact_object(repo, artifact))

    @route(
        "GET",
        "~/actions/artifacts/<int:artifact>/<fmt>",
        "actions/download-artifact",
        "actions:read",
    )
    def download_artifact(self, request, repo, body, artifact, fmt):
        if artifact not in repo.artifacts:
            raise NotFound()
        if repo.artifacts[artifact]["expired"]:
            raise Err(410, "Artifact has expired")
        # to another host name, as on GitHub: clients must not send their token there
        location = f"http://localhost:{request.environ['SERVER_PORT']}/_blob/{artifact}?sig=x"
        return Response(b"", 302, {"Location": location})

    def blob_download(self, request):
        if "Authorization" in request.headers:
            return self.json({"message": "AuthenticationFailed"}, 403)
        return Response(self.blobs[request.path.split("/")[2]], content_type="application/zip")


def serve(app: Any, port: int = 0, host: str = "127.0.0.1") -> Any:
    """Start a server in a thread; server.server_port tells the port, server.shutdown() stops it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(host, port, app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
