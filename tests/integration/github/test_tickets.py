"""Issues for root causes against the double."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.cli.main import run
from aprqa_ci.github import client as client_module
from aprqa_ci.github.client import Client
from aprqa_ci.github.tickets import DeliveredTickets, deliver_tickets
from aprqa_ci.reports.tickets import coverage_of, tickets_of
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import Connect

AUTHOR = "github-actions[bot]"
G1 = {scenario_id("G1-LOAD"): Outcome.CRASHED}
PROMPT = {scenario_id(): Outcome.FALSIFIED}
Made = Callable[..., Bundle]


@pytest.fixture
def client(connected: Connect) -> Client:
    return connected("tickets")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(days: int = 0, **more: Any) -> Bundle:
        return made_bundle(tmp_path / f"b{len(list(tmp_path.iterdir()))}", days=days, **more)

    return make


def deliver(client: Client, bundle: Bundle, *, dry_run: bool = False) -> DeliveredTickets:
    scenarios = bundle.report.scenarios
    return deliver_tickets(
        client,
        tickets_of(bundle.score, scenarios, playbook_path="p.yaml"),
        coverage_of(bundle.score, scenarios),
        dry_run=dry_run,
    )


def states(hub: FakeHub) -> dict[int, str]:
    return {number: issue["state"] for number, issue in hub.repo.issues.items()}


def writes(hub: FakeHub) -> list[str]:
    return [f"{method} {path}" for method, path, _ in hub.log if method != "GET"]


def said(hub: FakeHub) -> list[str]:
    return [comment["body"] for comment in hub.repo.comments.values()]


def test_a_cause_comes_stays_goes_and_comes_back(client: Client, hub: FakeHub, made: Made) -> None:
    first = deliver(client, made(outcomes=PROMPT))
    assert not first.failures
    assert states(hub) == {1: "open"}
    assert hub.repo.issue_labels[1] == ["certification"]
    assert "opened #1" in first.lines[0]
    hub.log.clear()

    # the same run again
    assert "left #1" in deliver(client, made(outcomes=PROMPT)).lines[0]
    assert writes(hub) == []

    # a newer run: the text alone
    hub.repo.issue_labels[1].append("a person's")
    before = hub.repo.issues[1]["body"]
    assert "updated #1" in deliver(client, made(1, outcomes=PROMPT)).lines[0]
    assert writes(hub) == ["PATCH /repos/acme/widgets/issues/1"]
    assert hub.repo.issues[1]["body"] != before
    assert hub.repo.issue_labels[1] == ["certification", "a person's"]

    # an older one that comes late, with the cause and without
    assert "left #1" in deliver(client, made(outcomes=PROMPT)).lines[0]
    assert "left #1" in deliver(client, made()).lines[0]
    assert states(hub) == {1: "open"}

    # a newer one that did not test it
    skipped = dict.fromkeys(PROMPT, Outcome.SKIPPED)
    untested = deliver(client, made(2, outcomes=skipped, cause="infrastructure:no-memory"))
    assert "was tested again" in untested.lines[0]
    assert states(hub) == {1: "open"}

    # one that tested it, and lost something else to the machine
    skipped = {scenario_id(variant="safetensors"): Outcome.SKIPPED}
    lost = deliver(client, made(2, outcomes=skipped, cause="infrastructure:no-memory"))
    assert "came to no verdict" in lost.lines[0]
    assert states(hub) == {1: "open"}

    # and one that did
    assert "closed #1" in deliver(client, made(3)).lines[0]
    assert states(hub) == {1: "closed"}
    assert hub.repo.issues[1]["state_reason"] == "completed"
    assert len(said(hub)) == 1
    assert "does not show in the evidence that ends 2026-01-05" in said(hub)[0]
    assert deliver(client, made(3)).lines == ()

    # it is back, and goes once more
    assert "reopened #1" in deliver(client, made(4, outcomes=PROMPT)).lines[0]
    assert states(hub) == {1: "open"}
    deliver(client, made(5))
    assert (states(hub), len(said(hub))) == ({1: "closed"}, 2)


def test_each_cause_has_an_issue(client: Client, hub: FakeHub, made: Made) -> None:
    deliver(client, made(outcomes={**G1, **PROMPT}))
    assert len(hub.repo.issues) == len({issue["title"] for issue in hub.repo.issues.values()}) == 2
    deliver(client, made(1, outcomes=PROMPT))
    assert sorted(states(hub).values()) == ["closed", "open"]
    # Another playbook's causes are its own.
    deliver(client, made(2, playbook="second-mvp"))
    assert sorted(states(hub).values()) == ["closed", "open"]


def test_what_a_person_closed(client: Client, hub: FakeHub, made: Made) -> None:
    deliver(client, made(outcomes=PROMPT))
    hub.put_issue(hub.repo, 1, {"state": "closed"})
    hub.repo.issues[1]["closed_at"] = "2026-01-04T00:00:00Z"
    assert "a person closed it" in deliver(client, made(1, outcomes=PROMPT)).lines[0]
    assert states(hub) == {1: "closed"}
    assert "newer than its closing" in deliver(client, made(3, outcomes=PROMPT)).lines[0]
    assert states(hub) == {1: "open"}
    hub.put_issue(hub.repo, 1, {"state": "closed", "state_reason": "not_planned"})
    hub.repo.issues[1]["closed_at"] = "2026-01-04T00:00:00Z"
    assert "as not planned" in deliver(client, made(9, outcomes=PROMPT)).lines[0]
    assert states(hub) == {1: "closed"}


def test_what_a_person_opened_again_stays_open(client: Client, hub: FakeHub, made: Made) -> None:
    deliver(client, made(outcomes=PROMPT))
    deliver(client, made(1))
    hub.put_issue(hub.repo, 1, {"state": "open"})
    assert "a person opened it again" in deliver(client, made(2)).lines[0]
    assert states(hub) == {1: "open"}


def test_somebody_elses_issue_is_never_touched(client: Client, hub: FakeHub, made: Made) -> None:
    deliver(client, made(outcomes=PROMPT))
    stolen = {key: hub.repo.issues[1][key] for key in ("title", "body")}
    theirs = hub.add_issue(hub.repo, **stolen, by="stranger")
    pull = hub.add_pull(
        hub.repo, head="x", sha=hub.repo.branch("main"), body=stolen["body"], by=AUTHOR
    )
    kept = (dict(hub.repo.issues[theirs]), dict(hub.repo.pulls[pull]))
    deliver(client, made(1))
    assert states(hub) == {1: "closed", theirs: "open"}
    assert (hub.repo.issues[theirs], hub.repo.pulls[pull]) == kept
    # One whose marker a person took away is no longer ours.
    deliver(client, made(2, outcomes=PROMPT))
    hub.repo.issues[1]["body"] = "mine now"
    deliver(client, made(3, outcomes=PROMPT))
    assert hub.repo.issues[1]["body"] == "mine now"
    assert len(hub.repo.issues) == 3


def test_an_issue_is_found_on_any_page(client: Client, hub: FakeHub, made: Made) -> None:
    deliver(client, made(outcomes=PROMPT))
    for number in range(120):
        hub.add_issue(hub.repo, title=f"other {number}")
    deliver(client, made(1, outcomes=PROMPT))
    assert len(hub.repo.issues) == 121
    assert any("page=2" in path for _, path, _ in hub.log)


def test_two_runs_at_once_leave_one_issue_open(
    client: Client, connected: Connect, hub: FakeHub, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run opens its issue after this one has looked for it."""
    bundle = made(outcomes=PROMPT)
    real = type(client.issues).create

    def late(*arguments: Any, **values: Any) -> Any:
        monkeypatch.setattr(type(client.issues), "create", real)
        deliver(connected("tickets"), bundle)
        return real(*arguments, **values)

    monkeypatch.setattr(type(client.issues), "create", late)
    done = deliver(client, bundle)
    assert "#1 is of the same cause" in done.lines[-1]
    assert states(hub) == {1: "open", 2: "closed"}
    assert hub.repo.issues[2]["state_reason"] == "duplicate"


def test_a_dry_run_writes_nothing(client: Client, hub: FakeHub, made: Made) -> None:
    assert (
        "would open an issue for" in deliver(client, made(outcomes=PROMPT), dry_run=True).lines[0]
    )
    deliver(client, made(outcomes=PROMPT))
    hub.log.clear()
    assert "would close #1" in deliver(client, made(1), dry_run=True).lines[0]
    assert writes(hub) == []


NO = {"message": "Resource not accessible by integration"}
FAULTS: dict[str, tuple[int, Any]] = {
    "403": (403, NO),
    "404": (404, {"message": "Not Found"}),
    "409": (409, {"message": "Conflict"}),
    "422": (422, {"message": "Validation Failed"}),
    "429": (429, {"message": "You have exceeded a secondary rate limit"}),
    "500": (500, {"message": "Server Error"}),
    "503": (503, b"<html>Unicorn!</html>"),
    "garbage": (200, b"<html>"),
    "another form": (200, b'{"number": "seven"}'),
}
CALLS = [
    ("GET", r"/user$"),
    ("GET", r"/issues$"),
    ("POST", r"/issues$"),
    ("GET", r"/issues/1$"),
    ("GET", r"/issues/1/comments$"),
    ("POST", r"/issues/1/comments$"),
    ("PATCH", r"/issues/1$"),
]


@pytest.mark.parametrize("fault", [*FAULTS, "time-out", "lost"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_whatever_fails_once_there_is_one_issue_in_the_end(
    *,
    client: Client,
    hub: FakeHub,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    fault: str,
) -> None:
    import re

    runs = [made(outcomes=PROMPT), made(1, outcomes=PROMPT), made(2)]
    times = [1]
    send = requests.adapters.HTTPAdapter.send

    def losing(self: Any, request: Any, **kwargs: Any) -> Any:
        hit = request.method == method and re.search(path, request.path_url.partition("?")[0])
        if not hit or not times:
            return send(self, request, **kwargs)
        times.clear()
        if fault == "lost":
            send(self, request, **kwargs)
        raise requests.exceptions.ReadTimeout

    if fault in FAULTS:
        status, body = FAULTS[fault]
        hub.faults.append([method, path, 1, (status, {}, body)])
    else:
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", losing)
    for bundle in runs:
        done = deliver(client, bundle)
        if done.failures:
            done = deliver(client, bundle)
        assert not done.failures
        assert len(hub.repo.issues) == 1
        assert states(hub) == {1: "closed" if bundle is runs[2] else "open"}
    assert len(said(hub)) == 1
    hub.checked.problems.clear()  # the faults themselves are in no description
    if fault in FAULTS:
        assert hub.faults[0][2] == 0, "the call is made"
    else:
        assert not times, "the call is made"


def test_the_command_opens_and_fails_as_it_says(
    hub: FakeHub,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import functools

    quick = functools.partial(client_module.connect, pace=0.0)
    monkeypatch.setattr(client_module, "connect", quick)
    monkeypatch.setenv("GITHUB_API_URL", hub.base_url)
    monkeypatch.setenv("GITHUB_TOKEN", "tickets")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    bundle = str(made(outcomes=PROMPT).directory)
    arguments = ["tickets", bundle, "--open", "--repository", "acme/widgets"]
    assert run([*arguments, "--dry-run"]) == 0
    assert states(hub) == {}
    assert run(arguments) == 0
    assert states(hub) == {1: "open"}
    assert "opened #1" in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_TOKEN", "fork")
    assert run(arguments) == 4
    assert "issues: read" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_TOKEN", "tickets")
    hub.repo.has_issues = False
    other = made(outcomes={**G1, **PROMPT}).directory
    assert run([*arguments[:1], str(other), *arguments[2:]]) == 4
    assert "Issues are disabled" in capsys.readouterr().err
