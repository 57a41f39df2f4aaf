"""Fixtures around the double: a hub with one repository, served on loopback and checked."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from aprqa_ci.github.client import Client, connect
from tests.github_double.fakehub import FakeHub, serve
from tests.github_double.ghspec import Checked, GitHubSpec

__all__ = ["Connect", "clock", "connected", "ghspec", "hub", "loopback_only"]

BOT = {"login": "github-actions[bot]", "app": True}
READ_ONLY = dict.fromkeys(("contents", "pull_requests", "checks", "actions"), "read")
TOKENS: dict[str, dict[str, Any]] = {
    # GITHUB_TOKEN of a job with the rights that the workflows ask for
    "gha": {
        **BOT,
        "github_token": True,
        "permissions": {
            "contents": "write",
            "pull_requests": "write",
            "checks": "write",
            "actions": "read",
        },
    },
    # GITHUB_TOKEN of a pull request from a fork
    "fork": {**BOT, "github_token": True, "permissions": READ_ONLY},
    # GITHUB_TOKEN of a job that keeps issues
    "tickets": {
        **BOT,
        "github_token": True,
        "permissions": {"contents": "read", "issues": "write"},
    },
    # a token of somebody else's app
    "other": {"login": "other-app[bot]", "app": True, "permissions": "all"},
}

Connect = Callable[..., Client]


class Clock:
    """A clock that stands still but for the sleeping."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def ghspec() -> GitHubSpec:
    return GitHubSpec(strict_response=True)


@pytest.fixture
def hub(tmp_path: Path, ghspec: GitHubSpec) -> Iterator[FakeHub]:
    """A hub with one repository, ``hub.repo`` (acme/widgets).

    Any exchange that GitHub's description does not allow fails the test when it ends.
    """
    made = FakeHub(tmp_path / "hub")
    made.tokens.update({token: dict(rights) for token, rights in TOKENS.items()})
    made.repo = made.add_repo("acme/widgets")
    made.checked = Checked(made, ghspec)
    server = serve(made.checked)
    made.base_url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    assert not made.checked.problems, "\n".join(made.checked.problems)


@pytest.fixture
def connected(hub: FakeHub, clock: Clock) -> Connect:
    """Connect to a repository of the hub, acme/widgets with GITHUB_TOKEN unless told otherwise."""

    def make(token: str = "gha", repository: str = "acme/widgets") -> Client:
        return connect(
            repository,
            token=token,
            api_url=hub.base_url,
            clock=clock.now,
            sleep=clock.sleep,
            pace=0.0,
        )

    return make


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test talks to anything but this machine."""
    send = requests.adapters.HTTPAdapter.send

    def guarded(self: Any, request: Any, **kwargs: Any) -> requests.Response:
        host = urlsplit(request.url).hostname
        assert host in ("127.0.0.1", "localhost"), f"test tried to reach {host}"
        return send(self, request, **kwargs)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", guarded)
