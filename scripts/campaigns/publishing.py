"""Every call of publishing answered with each fault once.

Two jobs run against the double of GitHub: one on a pull request (comment and check run), one on a
schedule (certification pull request, reviewers, auto-merge, closing of what is superseded). First
without a fault, to see which requests there are; then, for each request and each fault, with that
one request answered with it; and then once more without any, as the next run would. What must hold
each time: nothing but a named failure comes of a fault, the verdict is the same, nothing is there
twice, and after the next run all is as if nothing had happened.

    python -m scripts.campaigns.publishing --write
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import requests

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.certified import Certified, marker_of
from aprqa_ci.github.client import connect
from aprqa_ci.github.context import read_context
from aprqa_ci.github.publish import Published, PublishOptions, publish
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from scripts.campaigns.campaign import Campaign, parser, run_campaign
from tests.bundles import made_bundle
from tests.github_double.fakehub import FakeHub, serve
from tests.github_double.fixtures import BOT, TOKENS

__all__ = ["FAULTS", "JOBS", "Wire", "all_faults", "one_fault", "wired"]

JOBS = ("pull_request", "schedule")
_REFUSED = {403: "Resource not accessible", 409: "Conflict", 422: "Validation Failed"}
FAULTS = (
    *("lost answer", "time-out before", "time-out after", "garbage"),
    *("403", "409", "422", "429", "500", "503"),
)
_OLD = Certified(
    playbook="old-mvp",
    path="playbooks/old-mvp.yaml",
    model="aprqa/tiny-1M",
    tier="mvp",
    finished="2026-01-01T00:00:00Z",
    base="main",
)
_OLD_BRANCH = f"aprqa/certify/{_OLD.playbook}"
_README = b"<!-- CERTIFICATION_TABLE_START -->\n<!-- CERTIFICATION_TABLE_END -->\n"


@dataclass
class Wire:
    """Sends requests, and answers the one with this number with a fault."""

    number: int
    fault: str
    sent: int = 0
    faulty: str = ""
    """Method and path of the request that got the fault."""

    def send(self, send: Callable[..., Any], adapter: Any, request: Any, **named: Any) -> Any:  # noqa: ANN401 - requests' own
        """Send a request, or do to it what the fault is."""
        self.sent += 1
        if self.sent != self.number:
            return send(adapter, request, **named)
        self.faulty = f"{request.method} {request.path_url.partition('?')[0]}"
        if self.fault == "time-out before":
            raise requests.exceptions.ConnectTimeout
        if self.fault.isdecimal():
            return self._answer(request, int(self.fault))
        answer = send(adapter, request, **named)
        if self.fault == "time-out after":
            raise requests.exceptions.ReadTimeout
        if self.fault == "lost answer":
            return self._answer(request, 502)
        answer._content = b"<html>"  # noqa: SLF001 - there is no other way to give it a body
        return answer

    @staticmethod
    def _answer(request: Any, status: int) -> requests.Response:  # noqa: ANN401 - requests' own
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = status, request.url, request
        if status == 429:
            answer.headers["Retry-After"] = "3"
        message = {"message": _REFUSED.get(status, "Server Error")}
        answer._content = json.dumps(message).encode()  # noqa: SLF001 - see above
        return answer


class _Place:
    """A GitHub with one repository, and a job that publishes to it."""

    def __init__(self, folder: Path, job: str) -> None:
        self.hub = FakeHub(folder / "hub")
        self.hub.tokens.update({token: dict(rights) for token, rights in TOKENS.items()})
        self.repo = self.hub.add_repo("acme/widgets")
        self._server = serve(self.hub)
        self.time = 1_800_000_000.0
        event = self._pulled() if job == "pull_request" else self._scheduled()
        path = folder / "event.json"
        own = {"repository": {"full_name": "acme/widgets", "default_branch": "main"}}
        path.write_text(json.dumps(own | event), encoding="utf-8")
        self.context = read_context(
            {
                "GITHUB_EVENT_NAME": job,
                "GITHUB_EVENT_PATH": str(path),
                "GITHUB_REPOSITORY": "acme/widgets",
                "GITHUB_REF": "refs/pull/1/merge" if job == "pull_request" else "refs/heads/main",
                "GITHUB_SHA": "c" * 40,
                "GITHUB_ACTOR": "someone",
                "GITHUB_RUN_ID": "77",
                "GITHUB_SERVER_URL": "https://github.com",
            }
        )

    def _pulled(self) -> dict[str, Any]:
        base = self.repo.branch("main")
        head = self.repo.commit_files("topic", {"x.txt": b"x"})
        number = self.hub.add_pull(self.repo, head="topic", sha=head)
        side = {"repo": {"full_name": "acme/widgets"}}
        pull = {
            "number": number,
            "head": {"sha": head, "ref": "topic", **side},
            "base": {"sha": base, "ref": "main", **side},
        }
        return {"action": "opened", "pull_request": pull}

    def _scheduled(self) -> dict[str, Any]:
        files = dict.fromkeys(("playbooks/tiny-mvp.yaml", _OLD.path), b"name: x\n")
        table = {"docs/certifications/models.csv": EMPTY_REGISTRY, "README.md": _README}
        self.repo.commit_files("main", files | table)
        head = self.repo.branch("main")
        self.repo.git("update-ref", f"refs/heads/{_OLD_BRANCH}", str(head))
        body = f"{marker_of(_OLD)}text"
        self.hub.add_pull(self.repo, head=_OLD_BRANCH, sha=head, body=body, by=BOT["login"])
        repo: Any = self.repo  # whose own methods have no types
        gone = repo.tree(head, [("100644", _OLD.path, None)])
        renamed = repo.commit(gone, [head], "rename")
        self.repo.git("update-ref", "refs/heads/main", renamed)
        return {}

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def run(self, bundle: Bundle) -> Published:
        return publish(
            [bundle],
            context=self.context,
            options=PublishOptions(
                reviewers=("alice", "bob"), auto_merge=AutoMerge.SQUASH, close_superseded=True
            ),
            connect=lambda: connect(
                "acme/widgets",
                token="gha",  # noqa: S106 - of the double
                api_url=f"http://127.0.0.1:{self._server.server_port}",
                clock=lambda: self.time,
                sleep=self.sleep,
                pace=0.0,
            ),
        )

    def state(self) -> object:
        """Return all that publishing changes, without commits, whose ids have the time in them."""
        repo = self.repo
        found = repo.git("for-each-ref", "--format=%(refname) %(tree)", "refs/heads")
        branches = set(found.splitlines())
        if self.leftover:
            # Closed first, so that the next run does not find it any more.
            branches -= {each for each in branches if each.startswith(f"refs/heads/{_OLD_BRANCH} ")}
        return {
            "branches": sorted(branches),
            "comments": sorted((each["n"], each["body"]) for each in repo.comments.values()),
            "checks": sorted((each["name"], each["conclusion"]) for each in repo.checks.values()),
            "pulls": [
                (number, each["state"], each["title"], each.get("auto_merge"))
                for number, each in sorted(repo.pulls.items())
            ],
            "asked": sorted(
                (number, str(each.get("requested_reviewer")), each["event"])
                for number, events in repo.events.items()
                for each in events
            ),
        }

    @property
    def leftover(self) -> bool:
        """Whether the branch of the pull request that was closed is there still."""
        closed = any(
            each["head"] == _OLD_BRANCH and each["state"] == "closed"
            for each in self.repo.pulls.values()
        )
        return closed and self.repo.branch(_OLD_BRANCH) is not None

    def twice(self) -> list[str]:
        """Return what is there twice."""
        repo = self.repo
        things = [
            *(f"comment on {each['n']}" for each in repo.comments.values()),
            *(f"check run {each['name']}" for each in repo.checks.values()),
            *(f"pull {each['head']}" for each in repo.pulls.values() if each["state"] == "open"),
        ]
        return sorted({each for each in things if things.count(each) > 1})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def wired(number: int, fault: str) -> Iterator[Wire]:
    """Have all requests sent by a wire that answers the one with this number with a fault."""
    wire, send = Wire(number, fault), requests.adapters.HTTPAdapter.send

    def sending(self: Any, request: Any, **named: Any) -> Any:  # noqa: ANN401 - requests' own
        return wire.send(send, self, request, **named)

    with mock.patch.object(requests.adapters.HTTPAdapter, "send", sending):
        yield wire


@contextmanager
def _placed(job: str) -> Iterator[tuple[_Place, Bundle]]:
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        place = _Place(Path(scratch), job)
        try:
            yield place, made_bundle(Path(scratch) / "bundle")
        finally:
            place.close()


def all_faults(job: str) -> tuple[int, object]:
    """Publish without a fault; return how many requests it takes, and what comes of it."""
    with _placed(job) as (place, bundle), wired(0, "") as wire:
        done = place.run(bundle)
        if done.failures:
            raise SystemExit("\n".join(done.failures))
        requests_made = wire.sent
        place.run(bundle)
        return requests_made, place.state()


def one_fault(campaign: Campaign, job: str, number: int, fault: str, expected: object) -> None:
    """Answer one request with a fault, then publish again without any."""
    with _placed(job) as (place, bundle):
        with wired(number, fault) as wire:
            case = f"{job}, request {number}, {fault}"
            try:
                done = place.run(bundle)
            except Exception as error:  # noqa: BLE001 - any at all is what is looked for
                campaign.check("a failure is named", holds=False, case=f"{case}: {error!r}")
                return
        case = f"{case} ({wire.faulty})"
        campaign.count(f"{job}: requests answered with {fault}")
        campaign.count("faults that publishing got over", int(not done.failures))
        campaign.count("faults that were named as failures", int(bool(done.failures)))
        campaign.check("a failure is named", holds=all(done.failures), case=case)
        verdicts = [run.report.score.verdict for run in done.runs]
        campaign.check("the verdict is the same", holds=verdicts == ["good"], case=case)
        campaign.check("nothing is there twice", holds=not place.twice(), case=case)
        again = place.run(bundle)
        campaign.check("the next run delivers", holds=not again.failures, case=case)
        campaign.check("nothing is there twice after it", holds=not place.twice(), case=case)
        campaign.count("branches of closed pull requests left for a person", int(place.leftover))
        held = place.state() == expected
        campaign.check("all is as without the fault", holds=held, case=case)


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--step", type=int, default=1, help="leave out all but every n-th request")
    told = options.parse_args()

    def work(campaign: Campaign) -> None:
        for job in JOBS:
            count, expected = all_faults(job)
            campaign.count(f"{job}: requests", count)
            for number in range(1, count + 1, told.step):
                for fault in FAULTS:
                    one_fault(campaign, job, number, fault, expected)

    return run_campaign("publishing", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
