"""The certification pull request against the double; the branch is cloned with real git."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.certification.bundle import Bundle, read_bundle
from aprqa_ci.errors import DeliveryError
from aprqa_ci.github import certification_pr
from aprqa_ci.github.certification_pr import Proposed, deliver_proposal
from aprqa_ci.github.certified import marker_of
from aprqa_ci.github.client import Client
from aprqa_ci.github.proposal import (
    Base,
    Declined,
    Places,
    Proposal,
    certified_of,
    propose,
)
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import apply, read_registry
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import Connect

CSV = "docs/certifications/models.csv"
BRANCH = "aprqa/certify/tiny-mvp"
Clone = Callable[[str], Path]


def deliver(
    client: Client,
    bundle: Bundle,
    *,
    between: Callable[[], None] = lambda: None,
    attempts: int = 5,
    footer: str = "run 1",
    dry_run: bool = False,
) -> Any:
    """Deliver a bundle; ``between`` happens after the base was read."""

    def proposal(base: Base) -> Proposal | Declined:
        between()
        return propose(
            bundle,
            base,
            places=Places(),
            publishing=load_publishing(),
            verified=True,
            footer=footer,
        )

    return deliver_proposal(
        client,
        bundle,
        base_branch="main",
        places=Places(),
        attempts=attempts,
        propose=proposal,
        dry_run=dry_run,
    )


@pytest.fixture
def client(connected: Connect, registry: bytes) -> Client:
    assert registry
    return connected()


def expected(old: bytes, *bundles: Bundle) -> bytes:
    data = old
    for bundle in bundles:
        update = update_from_certificate(bundle.certificate)
        assert update is not None
        data, _ = apply(read_registry(data, source="x"), update)
    return data


def merge(hub: FakeHub, branch: str) -> None:
    """Merge a branch into main, as a person does who presses the button."""
    tree = hub.repo.git("merge-tree", "--write-tree", "main", branch)
    heads = [hub.repo.git("rev-parse", name) for name in ("main", branch)]
    hub.repo.git("update-ref", "refs/heads/main", hub.repo.commit(tree, heads, "merge"))


def test_a_certification_lands(
    client: Client, hub: FakeHub, clone: Clone, registry: bytes, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "b")
    done = deliver(client, bundle)
    assert isinstance(done, Proposed)
    assert done.action == "created"
    pull = hub.repo.pulls[done.number]
    assert pull["title"] == "feat(cert): tiny mvp: CERTIFIED 1000 (A)"
    assert (pull["head"], pull["base"], pull["state"]) == (BRANCH, "main", "open")
    assert hub.repo.issue_labels[done.number] == [
        "certification",
        "status: certified",
        "tier: mvp",
    ]
    files = clone(BRANCH)
    new = (files / CSV).read_bytes()
    assert new == expected(registry, bundle)
    # Every old byte is the beginning of the new file: the model's row came at the end.
    assert new.startswith(registry)
    assert new.removeprefix(registry).count(b"\n") == 1
    assert (files / "other.txt").read_bytes() == b"stays\n"
    assert b"| [tiny-1M](" in (files / "README.md").read_bytes()
    assert read_bundle(files / "certifications" / "tiny-mvp").certificate == bundle.certificate
    command = ["git", "-C", str(files), "diff", "--name-only", "origin/main...HEAD"]
    changed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {path for path in changed if not path.startswith("certifications/tiny-mvp/")} == {
        CSV,
        "README.md",
    }


def test_the_same_publish_twice_changes_nothing(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "b")
    first = deliver(client, bundle)
    hub.log.clear()
    again = deliver(client, bundle, footer="run 1, attempt 2")
    assert again == Proposed(
        action="unchanged", number=first.number, url=first.url, commit=first.commit
    )
    assert len(hub.repo.pulls) == 1
    writes = {path.split("/")[-1] for method, path, _ in hub.log if method != "GET"}
    # Git's objects are named by their content; no commit, no branch, no pull request is written.
    assert writes <= {"blobs", "trees"}


def test_newer_evidence_updates_the_one_pull_request(
    client: Client, hub: FakeHub, clone: Clone, registry: bytes, tmp_path: Path
) -> None:
    first = deliver(client, made_bundle(tmp_path / "a"))
    hub.repo.issue_labels[first.number].append("a person's label")
    fallen = made_bundle(tmp_path / "b", outcomes={scenario_id("G1-LOAD"): Outcome.CRASHED}, days=1)
    second = deliver(client, fallen)
    assert (second.action, second.number) == ("updated", first.number)
    assert hub.repo.pulls[first.number]["title"] == "feat(cert): tiny mvp: BLOCKED 0 (F)"
    assert hub.repo.issue_labels[first.number] == [
        "certification",
        "tier: mvp",
        "a person's label",
        "status: blocked",
    ]
    files = clone(BRANCH)
    assert (files / CSV).read_bytes() == expected(registry, fallen)
    # The certificate of the first was never merged, so the second does not compare with it.
    assert not (files / "certifications" / "tiny-mvp" / "accepted-certificate.json").exists()


def test_older_evidence_replaces_nothing_that_is_open(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    older, newer = made_bundle(tmp_path / "a"), made_bundle(tmp_path / "b", days=1)
    first = deliver(client, newer)
    before = (hub.repo.branch(BRANCH), dict(hub.repo.pulls[1]))
    for dry_run in (True, False):
        declined = deliver(client, older, dry_run=dry_run)
        assert isinstance(declined, Declined)
        assert "what is proposed already is of 2026-01-03" in declined.reason
    quick = made_bundle(tmp_path / "c", tier="quick", days=2)
    assert deliver(client, quick) == Declined(
        reason="tier quick is below mvp, which is proposed already"
    )
    assert (hub.repo.branch(BRANCH), hub.repo.pulls[1]) == before
    # Once a person has closed it, the base alone decides again.
    hub.repo.pulls[first.number]["state"] = "closed"
    assert deliver(client, older).action == "created"


@pytest.mark.parametrize("kept", ["text", "branch"])
def test_text_and_branch_each_say_what_is_open(
    client: Client, hub: FakeHub, tmp_path: Path, kept: str
) -> None:
    """A run may die, or be overtaken, between branch and text; either is enough."""
    older, newer = made_bundle(tmp_path / "a"), made_bundle(tmp_path / "b", days=1)
    deliver(client, newer)
    certificate = "certifications/tiny-mvp/certificate.json"
    if kept == "text":
        hub.repo.commit_files(BRANCH, {certificate: b"a person broke this"})
    else:
        hub.repo.pulls[1]["body"] = "a person wrote this"
    declined = deliver(client, older)
    assert isinstance(declined, Declined)
    assert "what is proposed already" in declined.reason
    hub.repo.pulls[1]["body"] = "a person wrote this"
    hub.repo.commit_files(BRANCH, {certificate: b"a person broke this"})
    # Now nothing tells what is proposed, so it is made again.
    assert deliver(client, older).action == "updated"


def test_a_branch_whose_pull_request_is_not_open_yet_stands_as_well(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    older, newer = made_bundle(tmp_path / "a"), made_bundle(tmp_path / "b", days=1)
    hub.repo.actions_may_open_pulls = False
    with pytest.raises(DeliveryError, match="forbids it"):
        deliver(client, newer)
    hub.repo.actions_may_open_pulls = True
    declined = deliver(client, older)
    assert isinstance(declined, Declined)
    assert hub.repo.pulls == {}
    assert deliver(client, newer).action == "created"


@pytest.mark.parametrize("after", ["_place", "_pull_request"])
def test_an_older_run_that_is_overtaken_leaves_the_newer_one(
    client: Client,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    after: str,
) -> None:
    """The newer one comes once the branch is written, and once the text is."""
    older, newer = made_bundle(tmp_path / "a"), made_bundle(tmp_path / "b", days=1)
    deliver(client, made_bundle(tmp_path / "first", days=-1))
    real = getattr(certification_pr, after)

    def overtaken(*arguments: Any) -> Any:
        done = real(*arguments)
        monkeypatch.setattr(certification_pr, after, real)
        assert deliver(client, newer).action == "updated"
        return done

    monkeypatch.setattr(certification_pr, after, overtaken)
    declined = deliver(client, older)
    assert isinstance(declined, Declined)
    assert "what is proposed already is of 2026-01-03" in declined.reason
    found = hub.repo.git("cat-file", "blob", f"{BRANCH}:{CSV}")
    assert "2026-01-03" in found
    (pull,) = hub.repo.pulls.values()
    assert pull["body"].startswith(marker_of(certified_of(newer, "main")))


def test_a_fall_of_what_stands_is_proposed(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    deliver(client, made_bundle(tmp_path / "a"))
    merge(hub, BRANCH)
    hub.repo.pulls[1]["state"] = "closed"
    hub.repo.git("update-ref", "-d", f"refs/heads/{BRANCH}")
    done = deliver(
        client,
        made_bundle(tmp_path / "b", outcomes={scenario_id("G1-LOAD"): Outcome.CRASHED}, days=1),
    )
    assert done.action == "created"
    title = hub.repo.pulls[done.number]["title"]
    assert title == "feat(cert): tiny mvp: BLOCKED 0 (F), was CERTIFIED 1000"
    assert hub.repo.git("cat-file", "-e", f"{BRANCH}:certifications/tiny-mvp/report.md") == ""
    quick = made_bundle(tmp_path / "c", tier="quick", days=2)
    assert deliver(client, quick) == Declined(reason="tier quick is below mvp, which stands")


def test_what_was_merged_is_not_proposed_again(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "a")
    deliver(client, bundle)
    merge(hub, BRANCH)
    assert deliver(client, bundle) == Declined(reason="all of it stands already")
    assert len(hub.repo.pulls) == 1


def test_a_pull_request_that_a_person_closed_stays_closed(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "a")
    first = deliver(client, bundle)
    hub.repo.pulls[first.number]["state"] = "closed"
    assert deliver(client, bundle).action == "closed"
    assert len(hub.repo.pulls) == 1
    assert deliver(client, made_bundle(tmp_path / "b", days=1)).action == "created"


def test_two_models_both_land(
    client: Client, hub: FakeHub, clone: Clone, registry: bytes, tmp_path: Path
) -> None:
    one = made_bundle(tmp_path / "one")
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    assert deliver(client, one).number == 1
    assert deliver(client, two).number == 2
    merge(hub, BRANCH)
    # The second is made again on the base that now has the first one's row; nothing is lost.
    again = deliver(client, two)
    assert (again.action, again.number) == ("updated", 2)
    merge(hub, "aprqa/certify/second-mvp")
    files = clone("main")
    assert (files / CSV).read_bytes() == expected(registry, one, two)
    assert (files / "README.md").read_bytes().count(b"huggingface.co/aprqa/") == 2


def test_two_models_at_the_same_time_both_land(
    hub: FakeHub, connected: Connect, registry: bytes, tmp_path: Path
) -> None:
    bundles = [
        made_bundle(tmp_path / name, playbook=f"{name}-mvp", model=f"aprqa/{name}-1B")
        for name in ("one", "two", "three")
    ]
    clients = [connected() for _ in bundles]
    with ThreadPoolExecutor(len(bundles)) as threads:
        done = list(threads.map(deliver, clients, bundles))
    assert {each.action for each in done} == {"created"}
    assert len(hub.repo.pulls) == 3
    for bundle, each in zip(bundles, done, strict=True):
        branch = f"aprqa/certify/{bundle.certificate.playbook.name}"
        assert hub.repo.branch(branch) == each.commit
        data = hub.repo.git("cat-file", "blob", f"{branch}:{CSV}", raw=True)
        assert data == expected(registry, bundle)


def test_a_base_that_moves_is_read_again(
    client: Client, hub: FakeHub, clone: Clone, registry: bytes, tmp_path: Path
) -> None:
    row = b"late/comer,x,1B,tiny,PENDING,0,-,none,2026-01-31T00:00:00Z,"
    row += b"false,false,false,false,,,,,,,false\n"
    moves = [lambda: hub.repo.commit_files("main", {CSV: registry + row})]

    def once() -> None:
        if moves:
            moves.pop()()

    bundle = made_bundle(tmp_path / "b")
    done = deliver(client, bundle, between=once)
    assert done.action == "created"
    assert len(hub.repo.pulls) == 1
    assert (clone(BRANCH) / CSV).read_bytes() == expected(registry + row, bundle)


@pytest.mark.parametrize("there", [True, False])
def test_a_branch_that_moves_is_made_again(
    client: Client,
    hub: FakeHub,
    registry: bytes,
    tmp_path: Path,
    *,
    there: bool,
) -> None:
    """Another run of the same playbook is quicker, once before and once after the branch is."""
    if there:
        deliver(client, made_bundle(tmp_path / "earlier"))
    bundle = made_bundle(tmp_path / "b", days=1)
    rivals = [True]

    def rival(request: Any) -> None:
        del request
        hub.repo.commit_files(BRANCH, {CSV: b"a rival wrote this\n"})

    def race() -> None:
        if rivals and rivals.pop():
            method = "PATCH" if there else "POST"
            # The write of the rival comes first, and ours is then answered as GitHub would.
            body = {"message": "Update is not a fast forward"}
            said = body if there else {"message": "Reference already exists"}
            rival(None)
            hub.faults.append(
                [method, "/git/refs", 1, (422, {}, {**said, "documentation_url": "x"})]
            )

    done = deliver(client, bundle, between=race)
    assert len(hub.repo.pulls) == 1
    assert hub.repo.branch(BRANCH) == done.commit
    data = hub.repo.git("cat-file", "blob", f"{BRANCH}:{CSV}", raw=True)
    assert data == expected(registry, bundle)


def test_a_repository_that_never_stands_still(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    count = iter(range(100))

    def move() -> None:
        hub.repo.commit_files("main", {"x.txt": b"%d" % next(count)})

    with pytest.raises(DeliveryError, match="moved 3 times"):
        deliver(client, made_bundle(tmp_path / "b"), between=move, attempts=3)
    assert hub.repo.pulls == {}


def test_lost_answers_leave_one_branch_and_one_pull_request(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    def branch(request: Any) -> None:
        hub.repo.git("update-ref", request.get_json()["ref"], request.get_json()["sha"])

    def pull(request: Any) -> None:
        sent = request.get_json()
        hub.add_pull(
            hub.repo,
            title=sent["title"],
            body=sent["body"],
            head=sent["head"],
            sha=hub.repo.branch(sent["head"]),
        )

    boom = {"message": "Server Error"}
    hub.faults += [
        ["POST", "/git/refs", 1, (502, {}, branch)],
        ["POST", "/pulls$", 1, (502, {}, pull)],
        ["POST", "/git/(blobs|trees|commits)", 1, (502, {}, boom)],
        ["POST", "/labels", 1, (502, {}, boom)],
    ]
    done = deliver(client, made_bundle(tmp_path / "b"))
    assert done.action == "created"
    assert list(hub.repo.pulls) == [done.number]
    assert hub.repo.branch(BRANCH) == done.commit
    assert "certification" in hub.repo.issue_labels[done.number]


def test_a_dry_run_writes_nothing(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    hub.log.clear()
    done = deliver(client, made_bundle(tmp_path / "b"), dry_run=True)
    assert isinstance(done, Proposal)
    assert "+aprqa/tiny-1M,,1M,tiny,CERTIFIED,1000,A,mvp" in done.diff
    assert {method for method, _, _ in hub.log} == {"GET"}


def test_files_that_somebody_added_to_the_branch_do_not_stay(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    bundle = made_bundle(tmp_path / "b")
    deliver(client, bundle)
    hub.repo.commit_files(BRANCH, {".github/workflows/evil.yml": b"on: push\n"})
    assert deliver(client, bundle).action == "updated"
    paths = hub.repo.git("ls-tree", "-r", "--name-only", BRANCH).split()
    assert ".github/workflows/evil.yml" not in paths


def test_a_missing_base_branch_is_named(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    hub.repo.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(DeliveryError, match="no branch main"):
        deliver(client, made_bundle(tmp_path / "b"))
