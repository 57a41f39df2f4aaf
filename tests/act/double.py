"""The double of GitHub for runs of act, in the process of the test: its state is at hand."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.github_double.fakehub import FakeHub, Repo, serve
from tests.github_double.ghspec import Checked, GitHubSpec

__all__ = ["TOKEN", "Double", "double_of_github", "token_rights"]

TOKEN = "ghs_fake_token_for_tests"
"""What act.sh gives to the jobs."""

_LEVELS = ("none", "read", "write")


@dataclass(frozen=True, kw_only=True)
class Double:
    """A GitHub with one repository, octo/consumer."""

    hub: FakeHub
    repo: Repo
    socket: Path
    """Where it answers to :mod:`relay`."""

    def take(self, source: Path, rights: Mapping[str, str]) -> None:
        """Push the branches of a repository, and give the token of a job these rights."""
        with self.hub.lock:
            self.repo.git("fetch", "-q", str(source.resolve()), "+refs/heads/*:refs/heads/*")
        who = {"login": "github-actions[bot]", "app": True, "github_token": True}
        granted = {scope.replace("-", "_"): level for scope, level in rights.items()}
        self.hub.tokens[TOKEN] = {**who, "permissions": granted}

    @property
    def comments(self) -> list[str]:
        return [each["body"] for each in self.repo.comments.values()]

    @property
    def pulls(self) -> dict[str, str]:
        """The titles of the pull requests by their branches; there is one of each branch."""
        told = {each["head"]: each["title"] for each in self.repo.pulls.values()}
        assert len(told) == len(self.repo.pulls)
        return told

    @property
    def writes(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.hub.log if method != "GET"]


@contextmanager
def double_of_github(root: Path, spec: GitHubSpec) -> Iterator[Double]:
    """Serve a double; when it ends, every exchange must have kept to GitHub's description."""
    hub = FakeHub(root)
    repo = hub.add_repo("octo/consumer")
    checked = Checked(hub, spec)
    # The path of a Unix socket has at most about a hundred bytes, less than pytest's own take.
    with tempfile.TemporaryDirectory(prefix="aprqa-") as short:
        socket = Path(short) / "github"
        servers = [serve(checked, host=f"unix://{socket}"), serve(checked)]
        hub.base_url = f"http://127.0.0.1:{servers[1].server_port}"
        try:
            yield Double(hub=hub, repo=repo, socket=socket)
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()
    assert not checked.problems, "\n".join(checked.problems)


def token_rights(workflow: Path, called: Path) -> dict[str, str]:
    """Return the rights of the token of the one job that may write to pull requests.

    act gives every job the same token and knows no permissions, so the double keeps to what the
    workflow says. A job of a called workflow has no more rights than the job that calls it.

    Args:
        workflow: the workflow.
        called: the reusable workflow that its job may call.
    """
    job, mine = _publisher(workflow)
    if "uses" not in job:
        return mine
    _, theirs = _publisher(called)
    return {
        scope: min(level, mine.get(scope, "none"), key=_LEVELS.index)
        for scope, level in theirs.items()
    }


def _publisher(workflow: Path) -> tuple[dict[str, object], dict[str, str]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    (job,) = (each for each in jobs if each["permissions"].get("pull-requests") == "write")
    return job, job["permissions"]
