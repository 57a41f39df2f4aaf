"""``aprqa publish`` in two processes at once, as two jobs are; the branches are cloned with git."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import Bundle, read_bundle
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import apply, read_registry
from tests.bundles import made_bundle
from tests.github_double.fakehub import FakeHub

CSV = "docs/certifications/models.csv"
BRANCH = "aprqa/certify/tiny-mvp"
# The command as it is, but for the second that GitHub asks for between two writes.
PUBLISH = """
import functools, sys
from aprqa_ci.github import client
client.connect = functools.partial(client.connect, pace=0.0)
from aprqa_ci.cli.main import run
sys.exit(run(["publish", *sys.argv[1:]]))
"""
Clone = Callable[[str], Path]
Publish = Callable[..., list[str]]


@pytest.fixture
def publish_at_once(hub: FakeHub, tmp_path: Path, registry: bytes) -> Publish:
    """Publish each bundle in a process of its own, all started together; return what they say."""
    assert registry
    event = tmp_path / "event.json"
    own = {"full_name": "acme/widgets", "default_branch": "main"}
    event.write_text(json.dumps({"repository": own}))
    job = {
        "GITHUB_EVENT_NAME": "schedule",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REPOSITORY": "acme/widgets",
        "GITHUB_API_URL": hub.base_url,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_ACTOR": "someone",
        "GITHUB_TOKEN": "gha",
        "GITHUB_SHA": "c" * 40,
        "GITHUB_EVENT_PATH": str(event),
    }

    def publish(*bundles: Bundle, more: tuple[str, ...] = ()) -> list[str]:
        jobs = []
        for number, bundle in enumerate(bundles):
            command = [sys.executable, "-c", PUBLISH, str(bundle.directory), *more]
            variables = {**os.environ, **job, "GITHUB_RUN_ID": str(77 + number)}
            for name in ("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
                variables.pop(name, None)
            jobs.append(
                subprocess.Popen(
                    command,
                    env=variables,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        said = [each.communicate(timeout=120)[0] for each in jobs]
        assert [each.returncode for each in jobs] == [0] * len(jobs), said
        return said

    return publish


def expected(registry: bytes, *bundles: Bundle) -> bytes:
    data = registry
    for bundle in bundles:
        update = update_from_certificate(bundle.certificate)
        assert update is not None
        data, _ = apply(read_registry(data, source="x"), update)
    return data


def merge(hub: FakeHub, branch: str) -> None:
    """Merge a branch as the button does, the pull request included."""
    tree = hub.repo.git("merge-tree", "--write-tree", "main", branch)
    heads = [hub.repo.git("rev-parse", name) for name in ("main", branch)]
    hub.repo.git("update-ref", "refs/heads/main", hub.repo.commit(tree, heads, "merge"))
    for pull in hub.repo.pulls.values():
        if pull["head"] == branch:
            pull["state"] = "closed"


def test_two_models_at_once_both_land(
    hub: FakeHub, clone: Clone, publish_at_once: Publish, registry: bytes, tmp_path: Path
) -> None:
    one = made_bundle(tmp_path / "one")
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    publish_at_once(one, two, more=("--close-superseded",))
    assert {pull["head"]: pull["state"] for pull in hub.repo.pulls.values()} == {
        BRANCH: "open",
        "aprqa/certify/second-mvp": "open",
    }
    for bundle, branch in ((one, BRANCH), (two, "aprqa/certify/second-mvp")):
        assert (clone(branch) / CSV).read_bytes() == expected(registry, bundle)
    # Both touch the same lines of the registry; the second is made again on what the first left.
    merge(hub, BRANCH)
    said = publish_at_once(one, two)
    assert "all of it stands already" in said[0]
    assert "updated" in said[1]
    merge(hub, "aprqa/certify/second-mvp")
    files = clone("main")
    assert (files / CSV).read_bytes() == expected(registry, one, two)
    for bundle in (one, two):
        name = bundle.certificate.playbook.name
        assert read_bundle(files / "certifications" / name).certificate == bundle.certificate


def test_the_same_publish_twice_at_once(
    hub: FakeHub, clone: Clone, publish_at_once: Publish, registry: bytes, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "b")
    publish_at_once(bundle, bundle, more=("--reviewer", "alice"))
    assert [(pull["head"], pull["state"]) for pull in hub.repo.pulls.values()] == [(BRANCH, "open")]
    assert [event["event"] for event in hub.repo.events[1]] == ["review_requested"]
    assert sorted(hub.repo.issue_labels[1]) == ["certification", "status: certified", "tier: mvp"]
    assert (clone(BRANCH) / CSV).read_bytes() == expected(registry, bundle)
    # One commit: who came second found its own tree there.
    assert hub.repo.git("rev-list", "--count", f"main..{BRANCH}") == "1"

    head = hub.repo.branch(BRANCH)
    said = publish_at_once(bundle, bundle, more=("--reviewer", "alice"))
    assert all("pull request #1 unchanged" in each for each in said)
    assert hub.repo.branch(BRANCH) == head
    assert len(hub.repo.events[1]) == 1


@pytest.mark.parametrize("order", ["older first", "newer first"])
def test_of_two_runs_of_one_model_at_once_the_newer_stands(
    hub: FakeHub,
    clone: Clone,
    publish_at_once: Publish,
    registry: bytes,
    tmp_path: Path,
    *,
    order: str,
) -> None:
    """Whoever comes last, the newer evidence is on the branch, whole; nothing is mixed."""
    older, newer = made_bundle(tmp_path / "a"), made_bundle(tmp_path / "b", days=1)
    publish_at_once(*((older, newer) if order == "older first" else (newer, older)))
    assert [(pull["head"], pull["state"]) for pull in hub.repo.pulls.values()] == [(BRANCH, "open")]
    files = clone(BRANCH)
    assert read_bundle(files / "certifications" / "tiny-mvp").certificate == newer.certificate
    assert (files / CSV).read_bytes() == expected(registry, newer)
    head = hub.repo.branch(BRANCH)
    said = publish_at_once(older)
    assert "no pull request: the evidence ends 2026-01-02" in said[0]
    assert hub.repo.branch(BRANCH) == head
