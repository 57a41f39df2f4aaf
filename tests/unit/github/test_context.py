import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.github.activity import Activity, activity_for
from aprqa_ci.github.context import EventContext, read_context

SHA = "a" * 40
OTHER = "b" * 40
Read = Callable[..., EventContext]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read an event made of the given payload; capital keywords are variables."""

    def make(payload: Any = None, **variables: str) -> EventContext:
        path = tmp_path / "event.json"
        whole = {"repository": {"full_name": "org/repo", "default_branch": "trunk"}}
        if isinstance(payload, bytes):
            path.write_bytes(payload)
        else:
            path.write_text(json.dumps(whole | (payload or {})))
        environment = {
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_REPOSITORY": "org/repo",
            "GITHUB_REF": "refs/heads/trunk",
            "GITHUB_SHA": SHA,
            "GITHUB_ACTOR": "someone",
            "GITHUB_RUN_ID": "77",
        }
        return read_context(environment | variables)

    return make


def pull(head: str | None = "org/repo", **changes: Any) -> dict[str, Any]:
    return {
        "action": "opened",
        "pull_request": {
            "number": 7,
            "title": "x\n::error::y",
            "head": {"sha": OTHER, "ref": "topic/x", "repo": head and {"full_name": head}},
            "base": {"sha": SHA, "ref": "trunk", "repo": {"full_name": "org/repo"}},
        },
    } | changes


def run_of(event: str = "pull_request", head: str | None = "org/repo") -> dict[str, Any]:
    return {
        "action": "completed",
        "workflow_run": {
            "id": 5,
            "event": event,
            "run_attempt": 2,
            "conclusion": "success",
            "head_sha": OTHER,
            "head_branch": "topic",
            "head_repository": head and {"full_name": head},
            "pull_requests": [{"number": 99}],
        },
    }


def test_a_push(read: Read) -> None:
    context = read(GITHUB_RUN_ATTEMPT="3")
    assert context == EventContext(
        event="push",
        repository="org/repo",
        default_branch="trunk",
        ref="refs/heads/trunk",
        sha=SHA,
        actor="someone",
        run_id=77,
        run_attempt=3,
        server_url="https://github.com",
        api_url="https://api.github.com",
    )
    assert context.run_url == "https://github.com/org/repo/actions/runs/77"


def test_a_pull_request(read: Read) -> None:
    found = read(pull(), GITHUB_EVENT_NAME="pull_request").pull_request
    assert found is not None
    assert (found.number, found.head_sha, found.head_ref) == (7, OTHER, "topic/x")
    assert (found.base_sha, found.base_ref, found.is_fork) == (SHA, "trunk", False)


@pytest.mark.parametrize(
    ("head", "fork"),
    [("org/repo", False), ("Org/Repo", False), ("stranger/repo", True), (None, True)],
)
def test_the_head_of_a_fork_is_in_another_repository_or_gone(
    read: Read, head: str | None, *, fork: bool
) -> None:
    found = read(pull(head), GITHUB_EVENT_NAME="pull_request")
    assert found.pull_request is not None
    assert found.pull_request.is_fork is fork
    assert found.read_only is fork
    run = read(run_of(head=head), GITHUB_EVENT_NAME="workflow_run").workflow_run
    assert run is not None
    assert run.is_fork is fork
    assert run.head_owner == ("" if head is None else head.split("/", maxsplit=1)[0])


def test_a_workflow_run(read: Read) -> None:
    run = read(run_of(), GITHUB_EVENT_NAME="workflow_run").workflow_run
    assert run is not None
    assert (run.id, run.attempt, run.event, run.conclusion) == (5, 2, "pull_request", "success")
    assert (run.head_sha, run.head_branch) == (OTHER, "topic")


def test_a_schedule_has_an_event_without_a_repository(read: Read) -> None:
    context = read(b'{"schedule": "0 3 * * *"}', GITHUB_EVENT_NAME="schedule")
    assert context.default_branch == "main"


def test_every_wrong_variable_is_named() -> None:
    with pytest.raises(InputError) as caught:
        read_context({"GITHUB_SHA": "$(id)", "GITHUB_REPOSITORY": "a/b; rm", "GITHUB_ACTOR": ""})
    text = str(caught.value)
    for name in ("EVENT_PATH", "EVENT_NAME", "REF", "ACTOR", "RUN_ID"):
        assert f"GITHUB_{name} is not set" in text
    assert "GITHUB_SHA has an unexpected form: '$(id)'" in text
    assert "GITHUB_REPOSITORY has an unexpected form" in text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        pull(pull_request={"number": 0, "head": {}, "base": {}}),
        pull(pull_request={"number": "7"}),
    ],
)
def test_an_event_of_another_shape_is_refused(read: Read, payload: Any) -> None:
    with pytest.raises(InputError, match=r"event\.json: the event is not of the shape"):
        read(payload)


@pytest.mark.parametrize(
    ("place", "value"),
    [("sha", "HEAD"), ("sha", "a" * 41), ("ref", "a b"), ("ref", "a\n::error::b"), ("ref", "")],
)
def test_hostile_names_are_refused(read: Read, place: str, value: str) -> None:
    payload = pull()
    payload["pull_request"]["head"][place] = value
    with pytest.raises(InputError, match="shape"):
        read(payload)


def test_an_event_of_another_repository_is_refused(read: Read) -> None:
    with pytest.raises(InputError, match="the event is of other/repo, the job of org/repo"):
        read({"repository": {"full_name": "other/repo", "default_branch": "main"}})


def test_a_missing_event_file_is_named(read: Read, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json: cannot read the file"):
        read(GITHUB_EVENT_PATH=str(tmp_path / "gone.json"))


DEFAULT = {"GITHUB_REF": "refs/heads/trunk"}
TOPIC = {"GITHUB_REF": "refs/heads/topic"}


@pytest.mark.parametrize(
    ("event", "payload", "variables", "activity"),
    [
        ("pull_request", pull(), {}, Activity.CERTIFY_PULL_REQUEST),
        ("pull_request", pull(action="synchronize"), {}, Activity.CERTIFY_PULL_REQUEST),
        ("pull_request", pull(action="closed"), {}, Activity.PLAN_ONLY),
        ("pull_request", {}, {}, Activity.PLAN_ONLY),
        ("pull_request", pull("stranger/repo"), {}, Activity.CERTIFY_FORK),
        ("pull_request", pull(None), {}, Activity.CERTIFY_FORK),
        ("pull_request", pull(), {"GITHUB_ACTOR": "dependabot[bot]"}, Activity.CERTIFY_FORK),
        ("pull_request_target", pull(), {}, Activity.PLAN_ONLY),
        ("pull_request_target", pull("stranger/repo"), {}, Activity.PLAN_ONLY),
        ("push", {}, DEFAULT, Activity.CERTIFICATION_PR),
        ("push", {}, TOPIC, Activity.CERTIFY_ONLY),
        ("push", {}, {"GITHUB_REF": "refs/tags/trunk"}, Activity.CERTIFY_ONLY),
        ("push", {"deleted": True}, TOPIC, Activity.PLAN_ONLY),
        ("schedule", {}, DEFAULT, Activity.CERTIFICATION_PR),
        ("workflow_dispatch", {}, DEFAULT, Activity.CERTIFICATION_PR),
        ("workflow_dispatch", {}, TOPIC, Activity.CERTIFY_ONLY),
        ("repository_dispatch", {}, DEFAULT, Activity.CERTIFICATION_PR),
        ("merge_group", {}, {"GITHUB_REF": "refs/heads/gh-readonly-queue/trunk/x"}, "certify_only"),
        ("workflow_run", run_of(), DEFAULT, Activity.REPORT_ONLY),
        ("workflow_run", run_of(head="stranger/repo"), DEFAULT, Activity.REPORT_ONLY),
        ("workflow_run", run_of("push"), DEFAULT, Activity.PLAN_ONLY),
        ("workflow_run", {}, DEFAULT, Activity.PLAN_ONLY),
        ("issue_comment", {}, DEFAULT, Activity.PLAN_ONLY),
    ],
)
def test_what_is_done_for_an_event(
    read: Read, event: str, payload: Any, variables: dict[str, str], activity: str
) -> None:
    assert activity_for(read(payload, GITHUB_EVENT_NAME=event, **variables)) == activity
