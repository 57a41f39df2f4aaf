"""A little of each campaign: what must hold there holds here, in seconds."""

import errno
from pathlib import Path

import pytest

from scripts.campaigns.campaign import Campaign
from scripts.campaigns.filling import fail_at
from scripts.campaigns.killing import Undisturbed, kill_and_resume, undisturbed
from scripts.campaigns.publishing import JOBS, all_faults, one_fault
from scripts.campaigns.registering import register_at_once
from scripts.campaigns.ticketing import RUNS, faultless, made_runs
from scripts.campaigns.ticketing import one_fault as one_fault_in_tickets
from scripts.campaigns.truncating import artifacts, cut_artifact, cut_journal, made
from tests.bundles import made_bundle


@pytest.fixture
def campaign() -> Campaign:
    return Campaign("test")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Undisturbed]:
    """A folder, below which every run is of one playbook, and what that comes to."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "undisturbed").mkdir()
    return folder, undisturbed(folder / "undisturbed", questions=5)


def test_a_killed_run_loses_nothing(campaign: Campaign, ran: tuple[Path, Undisturbed]) -> None:
    folder, expected = ran
    (folder / "killed").mkdir()
    kill_and_resume(campaign, folder / "killed", expected, [expected.seconds * 0.7])
    assert campaign.held
    assert campaign.failures == []


@pytest.mark.parametrize("first", [1, 9, 30])
def test_a_full_disk_loses_nothing(
    campaign: Campaign, ran: tuple[Path, Undisturbed], first: int
) -> None:
    folder, expected = ran
    place = folder / f"full-{first}"
    place.mkdir()
    assert fail_at(campaign, place, expected, first, errno.ENOSPC)
    assert campaign.failures == []


def test_two_registers_at_once_lose_no_row(campaign: Campaign, tmp_path: Path) -> None:
    one = made_bundle(tmp_path / "one").directory
    other = made_bundle(tmp_path / "other", model="org/other-1M").directory
    register_at_once(campaign, tmp_path / "both", (one, other), case="both", stale=True)
    assert len(campaign.held) == 4
    assert campaign.failures == []


def test_files_that_are_cut_off_are_refused(campaign: Campaign, tmp_path: Path) -> None:
    made(tmp_path)
    for artifact in artifacts():
        cut_artifact(campaign, tmp_path, artifact, (0, 50, 99))
    cut_journal(campaign, tmp_path, range(0, 100, 10))
    assert campaign.counts["journal: read"] == 10
    assert campaign.failures == []


@pytest.mark.parametrize("job", JOBS)
def test_a_fault_of_github_doubles_nothing(campaign: Campaign, job: str) -> None:
    count, expected = all_faults(job)
    for number, fault in ((count // 2, "lost answer"), (count - 1, "garbage")):
        one_fault(campaign, job, number, fault, expected)
    assert campaign.held
    assert campaign.failures == []


def test_a_fault_of_github_doubles_and_loses_no_issue(campaign: Campaign, tmp_path: Path) -> None:
    runs = made_runs(tmp_path)
    for name in RUNS:
        count, expected = faultless(runs, name)
        for number, fault in (
            (count - 1, "time-out after"),
            (count, "lost answer"),
            (count, "422"),
        ):
            one_fault_in_tickets(
                campaign, runs, name, number=number, fault=fault, expected=expected
            )
    assert campaign.held
    assert campaign.failures == []
