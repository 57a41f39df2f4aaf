"""Every call of keeping issues answered with each fault once.

Runs of one playbook, one after the other, against the double of GitHub: issues are opened, brought
up to date with their labels, closed with a comment, one comes back, and one that is there twice is
closed. Before each of them all is as it would be without faults; then, for each request of it and
each fault, with that one request answered with it; and then once more without any, as the next run
would. What must hold each time: nothing but a named failure comes of a fault, nothing is there
twice, nobody else's issue is touched, and after the next run all is as if nothing had happened.

    python -m scripts.campaigns.ticketing --write
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.client import connect
from aprqa_ci.github.tickets import deliver_tickets
from aprqa_ci.reports.tickets import coverage_of, tickets_of
from aprqa_ci.vocabulary import Outcome
from scripts.campaigns.campaign import Campaign, parser, run_campaign
from scripts.campaigns.publishing import FAULTS, wired
from tests.bundles import made_bundle, scenario_id
from tests.github_double.fakehub import FakeHub, serve
from tests.github_double.fixtures import BOT, TOKENS

__all__ = ["RUNS", "faultless", "made_runs", "one_fault"]

_PROMPT = {scenario_id(): Outcome.FALSIFIED}
_BOTH = {scenario_id("G1-LOAD"): Outcome.CRASHED} | _PROMPT
RUNS = {
    "opening": _BOTH,
    "updating": _BOTH,
    "closing": {},
    "reopening": _PROMPT,
    "closing what is twice": _PROMPT,
}
"""What fails in each run, each newer than the one before."""
_NAMES = tuple(RUNS)


class _Place:
    """A GitHub with one repository, and a job that keeps its issues."""

    def __init__(self, folder: Path) -> None:
        self.hub = FakeHub(folder / "hub")
        self.hub.tokens.update({token: dict(rights) for token, rights in TOKENS.items()})
        self.repo = self.hub.add_repo("acme/widgets")
        self.hub.add_issue(self.repo, title="somebody else's", body="theirs")
        self._server = serve(self.hub)
        self.time = 1_800_000_000.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def prepare(self, name: str) -> None:
        """Do what people, or another run at once, did before this run."""
        if name == "updating":
            for number, labels in self.repo.issue_labels.items():
                if self._is_ours(number):
                    labels[:] = ["a person's", "gateway: G9"]
        if name == "closing what is twice":
            issue = next(
                each
                for number, each in self.repo.issues.items()
                if self._is_ours(number) and each["state"] == "open"
            )
            same = {key: issue[key] for key in ("title", "body")}
            self.hub.add_issue(self.repo, **same, by=BOT["login"])

    def run(self, bundle: Bundle) -> tuple[str, ...]:
        """Keep the issues as the command does; return what failed."""
        try:
            return self._run(bundle)
        except DeliveryError as error:
            # The command ends with it where there is no connection at all.
            return (str(error),)

    def _run(self, bundle: Bundle) -> tuple[str, ...]:
        scenarios = bundle.report.scenarios
        client = connect(
            "acme/widgets",
            token="tickets",  # noqa: S106 - of the double
            api_url=f"http://127.0.0.1:{self._server.server_port}",
            clock=lambda: self.time,
            sleep=self.sleep,
            pace=0.0,
        )
        tickets = tickets_of(bundle.score, scenarios, playbook_path="p.yaml")
        return deliver_tickets(client, tickets, coverage_of(bundle.score, scenarios)).failures

    def state(self) -> object:
        """Return all that keeping issues changes, whatever their numbers and times."""
        return sorted(
            (
                *(str(each[key]) for key in ("title", "body", "state", "state_reason", "by")),
                sorted(self.repo.issue_labels[number]),
                self._said(number),
            )
            for number, each in self.repo.issues.items()
        )

    def twice(self) -> list[str]:
        """Return the titles of open issues, and the comments on one issue, that are there twice."""
        things = [each["title"] for each in self.repo.issues.values() if each["state"] == "open"]
        for number in self.repo.issues:
            things += [f"{number}: {each}" for each in self._said(number)]
        return sorted({each for each in things if things.count(each) > 1})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _is_ours(self, number: int) -> bool:
        return bool(self.repo.issues[number]["by"] == BOT["login"])

    def _said(self, number: int) -> list[str]:
        comments = self.repo.comments.values()
        return sorted(each["body"] for each in comments if each["n"] == number)


def made_runs(folder: Path) -> dict[str, Bundle]:
    """Write the bundle of each run."""
    return {
        name: made_bundle(folder / str(day), days=day, outcomes=outcomes)
        for day, (name, outcomes) in enumerate(RUNS.items())
    }


@contextmanager
def _placed(runs: dict[str, Bundle], name: str) -> Iterator[_Place]:
    """Give a place in which all runs before this one have been."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        place = _Place(Path(scratch))
        try:
            for before in _NAMES[: _NAMES.index(name)]:
                place.prepare(before)
                if failures := place.run(runs[before]):
                    raise SystemExit("\n".join(failures))
            place.prepare(name)
            yield place
        finally:
            place.close()


def faultless(runs: dict[str, Bundle], name: str) -> tuple[int, object]:
    """Keep the issues without a fault; return how many requests it takes, and what comes of it."""
    with _placed(runs, name) as place, wired(0, "") as wire:
        before = place.state()
        if failures := place.run(runs[name]):
            raise SystemExit("\n".join(failures))
        if place.state() == before:
            msg = f"{name} changes nothing"
            raise SystemExit(msg)
        return wire.sent, place.state()


def one_fault(
    campaign: Campaign,
    runs: dict[str, Bundle],
    name: str,
    *,
    number: int,
    fault: str,
    expected: object,
) -> None:
    """Answer one request of a run with a fault, then keep the issues again without any."""
    with _placed(runs, name) as place:
        with wired(number, fault) as wire:
            case = f"{name}, request {number}, {fault}"
            try:
                failures = place.run(runs[name])
            except Exception as error:  # noqa: BLE001 - any at all is what is looked for
                campaign.check("a failure is named", holds=False, case=f"{case}: {error!r}")
                return
        case = f"{case} ({wire.faulty})"
        check = partial(campaign.check, case=case)
        campaign.count(f"{name}: requests answered with a fault")
        campaign.count("faults that were got over", int(not failures))
        campaign.count("faults that were named as failures", int(bool(failures)))
        check("a failure is named", holds=bool(wire.faulty) and all(failures))
        if not failures:
            check("without a failure all is done", holds=place.state() == expected)
        if name != "closing what is twice":  # where something is there twice to begin with
            check("nothing is there twice", holds=not place.twice())
        again = place.run(runs[name])
        check("the next run delivers", holds=not again)
        check("nothing is there twice after it", holds=not place.twice())
        check("all is as without the fault", holds=place.state() == expected)


def main() -> int:
    """Run the campaign."""
    told = parser(__doc__ or "").parse_args()

    def work(campaign: Campaign) -> None:
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            runs = made_runs(Path(folder))
            campaign.count("kinds of faults", len(FAULTS))
            for name in RUNS:
                count, expected = faultless(runs, name)
                campaign.count(f"{name}: requests", count)
                for number in range(1, count + 1):
                    for fault in FAULTS:
                        one_fault(
                            campaign, runs, name, number=number, fault=fault, expected=expected
                        )

    return run_campaign("ticketing", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
