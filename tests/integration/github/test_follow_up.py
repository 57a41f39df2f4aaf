"""Reviews, auto-merge and closing against the double, with each fault that GitHub can have."""

import copy
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import requests

from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.certification_pr import Proposed
from aprqa_ci.github.certified import Certified, marker_of
from aprqa_ci.github.client import Client
from aprqa_ci.github.follow_up import Delivered, Followed, FollowUp, follow_up
from aprqa_ci.github.reviewers import Reviewers
from aprqa_ci.markdown import Inline
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import BOT, Connect

CSV = "docs/certifications/models.csv"
BOT_NAME = str(BOT["login"])
NEW = Certified(
    playbook="new-mvp",
    path="playbooks/new-mvp.yaml",
    model="acme/model",
    tier="mvp",
    finished="2026-01-03T00:00:00Z",
    base="main",
)
OLD = msgspec.structs.replace(
    NEW, playbook="old-mvp", path="playbooks/old-mvp.yaml", finished="2026-01-02T00:00:00Z"
)
GONE = "its playbook `playbooks/old-mvp.yaml` is gone from `main`"
ALL = FollowUp(
    reviewers=Reviewers(users=("alice", "bob")),
    auto_merge=AutoMerge.SQUASH,
    close_superseded=True,
)


def opened(hub: FakeHub, certified: Certified, *, by: str = BOT_NAME, **changes: Any) -> int:
    """A certification pull request on a branch of its own."""
    branch = f"aprqa/certify/{certified.playbook}"
    head = hub.repo.branch("main")
    hub.repo.git("update-ref", f"refs/heads/{branch}", head)
    told = {"head": branch, "sha": head, "body": marker_of(certified) + "text", "by": by}
    return hub.add_pull(hub.repo, **(told | changes))


class Scene:
    """A successor, #1, and the pull request that it supersedes, #2."""

    def __init__(self, hub: FakeHub, client: Client) -> None:
        self.hub, self.client = hub, client
        both = dict.fromkeys((NEW.path, OLD.path), b"name: x\n")
        hub.repo.commit_files("main", {CSV: EMPTY_REGISTRY, **both})
        self.new = opened(hub, NEW)
        self.old = opened(hub, OLD)
        # The playbook is renamed: at #2's commit its file is there, on main it no longer is.
        gone = hub.repo.tree(hub.repo.branch("main"), [("100644", OLD.path, None)])
        moved = hub.repo.commit(gone, [hub.repo.branch("main")], "rename")
        hub.repo.git("update-ref", "refs/heads/main", moved)
        hub.log.clear()

    def run(
        self,
        wanted: FollowUp = ALL,
        *,
        action: Any = "created",
        author: str | None = None,
        touched: tuple[Certified, ...] = (NEW,),
        proposed: bool = True,
        dry_run: bool = False,
    ) -> Followed:
        head = self.hub.repo.branch("aprqa/certify/new-mvp")
        pull = Proposed(action=action, number=self.new, url="u", commit=head or "")
        delivered = [Delivered(certified=NEW, pull=None if dry_run else pull)] if proposed else []
        return follow_up(
            self.client,
            wanted,
            delivered,
            touched=touched,
            base="main",
            registry=CSV,
            author=author,
            footer=Inline("the run"),
            dry_run=dry_run,
        )

    def remembered(self) -> Callable[[], None]:
        """A way back to how things are now."""
        repo, branch = self.hub.repo, "refs/heads/aprqa/certify/old-mvp"
        pulls, head = copy.deepcopy(repo.pulls), repo.branch("aprqa/certify/old-mvp")

        def back() -> None:
            repo.pulls = copy.deepcopy(pulls)
            repo.events, repo.comments = {}, {}
            self.hub.faults.clear()
            self.hub.log.clear()
            repo.git("update-ref", branch, head)

        return back

    def pull(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.hub.repo.pulls[number]
        return found

    def happened(self, event: str) -> list[str | None]:
        events = self.hub.repo.events.get(self.new, [])
        return [each.get("requested_reviewer") for each in events if each["event"] == event]

    def comments(self) -> list[tuple[int, str]]:
        return [(each["n"], each["body"]) for each in self.hub.repo.comments.values()]

    @property
    def is_complete(self) -> bool:
        """Whether all is as it is to be, and nothing was done twice."""
        return (
            self.happened("review_requested") == ["alice", "bob"]
            and len(self.happened("auto_merge_enabled")) == 1
            and self.pull(self.old)["state"] == "closed"
            and self.pull(self.new)["state"] == "open"
            and self.hub.repo.branch("aprqa/certify/new-mvp") is not None
            and [number for number, _ in self.comments()] == [self.old]
        )


@pytest.fixture
def scene(hub: FakeHub, connected: Connect) -> Scene:
    return Scene(hub, connected())


def test_all_of_it_is_done(scene: Scene, hub: FakeHub) -> None:
    done = scene.run()
    assert done.failures == ()
    assert done.lines == (
        "new-mvp: asked for a review: alice, bob",
        "new-mvp: is merged automatically (squash) once the rules of main are met",
        f"old-mvp: #2 is closed, superseded by #1: {GONE}",
    )
    assert scene.is_complete
    assert scene.pull(1)["auto_merge"] == "squash"
    ((_, said),) = scene.comments()
    assert said == (f"<!-- aprqa-ci:superseded -->\nSuperseded by #1: {GONE}\n\nthe run\n")
    assert hub.repo.branch("aprqa/certify/old-mvp") is None


def test_nothing_is_done_that_was_not_asked_for(scene: Scene, hub: FakeHub) -> None:
    assert scene.run(FollowUp()) == Followed()
    assert hub.log == []


@pytest.mark.parametrize("action", ["updated", "unchanged"])
def test_an_update_asks_nobody_again(scene: Scene, hub: FakeHub, action: str) -> None:
    scene.run()
    # Both have answered, and a person has switched auto-merge off.
    scene.pull(1).update(reviewers=[], auto_merge=None)
    hub.add_event(hub.repo, 1, "auto_merge_disabled")
    hub.log.clear()
    done = scene.run(action=action)
    assert done.failures == ()
    (line,) = done.lines
    assert "somebody has switched it off" in line
    assert scene.is_complete
    assert {method for method, _, _ in hub.log} == {"GET"}


def test_a_later_run_makes_up_for_what_failed(scene: Scene, hub: FakeHub) -> None:
    hub.faults.append(["POST", "requested_reviewers|graphql", 10, (500, {}, {"message": "no"})])
    assert len(scene.run().failures) == 2
    hub.faults.clear()
    assert scene.run(action="unchanged").failures == ()
    assert scene.is_complete


def test_a_pull_request_that_a_person_closed_is_left_alone(scene: Scene, hub: FakeHub) -> None:
    assert scene.run(action="closed") == Followed()
    assert {method for method, _, _ in hub.log} == {"GET"}


def test_without_the_events_nobody_is_bothered(scene: Scene, hub: FakeHub) -> None:
    forbidden = {"message": "Resource not accessible by integration"}
    hub.faults.append(["GET", "/events", 9, (403, {}, forbidden)])
    done = scene.run(action="updated")
    assert done.failures == ()
    assert all("without `issues: read`" in line for line in done.lines[:2])
    assert (scene.happened("review_requested"), scene.pull(1)["auto_merge"]) == ([], None)
    scene.run(action="created")
    assert scene.is_complete


# Reviews


def reviews(*users: str, teams: tuple[str, ...] = ()) -> FollowUp:
    return FollowUp(reviewers=Reviewers(users=users, teams=teams))


def test_the_author_is_left_out_and_named(scene: Scene) -> None:
    scene.pull(1)["by"] = "alice"
    done = scene.run(reviews("Alice", "bob"))
    assert done.failures == ()
    assert done.lines == (
        "new-mvp: warning: alice opened the pull request and cannot review it",
        "new-mvp: asked for a review: bob",
    )


def test_who_may_not_review_is_named(scene: Scene, hub: FakeHub) -> None:
    hub.repo.collaborators = {"bob"}
    (failure,) = scene.run(reviews("alice", "bob")).failures
    assert "could not ask alice, bob to review pull request #1" in failure
    assert "422: Reviews may only be requested from collaborators" in failure
    assert scene.happened("review_requested") == []


def test_the_author_as_github_names_it(scene: Scene, hub: FakeHub) -> None:
    """It changes hands between the reading and the asking; GitHub has the last word."""
    said = {"message": "Review cannot be requested from pull request author."}
    hub.faults.append(["POST", "requested_reviewers", 1, (422, {}, said)])
    (failure,) = scene.run(reviews("alice")).failures
    assert "Review cannot be requested from pull request author" in failure


def test_teams_need_the_token_of_an_app(scene: Scene, hub: FakeHub, connected: Connect) -> None:
    (failure,) = scene.run(reviews(teams=("qa",))).failures
    assert "could not ask team qa to review" in failure
    assert "use the token of an app that may read `members`" in failure
    scene.client = connected("other")
    assert scene.run(reviews(teams=("qa",)), action="unchanged").failures == ()
    assert hub.repo.pulls[1]["teams"] == ["qa"]
    scene.pull(1)["teams"] = []
    assert scene.run(reviews(teams=("qa",)), action="unchanged") == Followed()


# Auto-merge


def settings_off(hub: FakeHub) -> None:
    hub.repo.allows_auto_merge = False


def unruled(hub: FakeHub) -> None:
    hub.repo.ruled = set()


def clean(hub: FakeHub) -> None:
    hub.repo.pulls[1]["clean"] = True


def no_squash(hub: FakeHub) -> None:
    hub.repo.merge_methods = {"merge"}


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (settings_off, "Settings → General → Pull Requests → Allow auto-merge"),
        (unruled, "require a review or a check of main under Settings → Rules"),
        (clean, "nothing to wait for; merge it, or require a review"),
        (no_squash, "allow this way of merging under Settings → General"),
    ],
)
def test_what_keeps_auto_merge_off_is_named(
    scene: Scene, hub: FakeHub, spoil: Callable[[FakeHub], None], named: str
) -> None:
    spoil(hub)
    (failure,) = scene.run(FollowUp(auto_merge=AutoMerge.SQUASH)).failures
    assert failure.startswith("new-mvp: could not have pull request #1 merged automatically: ")
    assert named in failure
    assert scene.pull(1)["auto_merge"] is None


def test_a_head_that_is_not_ours_is_not_merged(scene: Scene, hub: FakeHub) -> None:
    real = scene.client.course.get(1)
    hub.repo.commit_files("aprqa/certify/new-mvp", {"evil.txt": b"x"})
    pull = Proposed(action="created", number=1, url="u", commit=real.head.sha)
    done = follow_up(
        scene.client,
        FollowUp(auto_merge=AutoMerge.MERGE),
        [Delivered(certified=NEW, pull=pull)],
        touched=[NEW],
        base="main",
        registry=CSV,
        author=None,
        footer=Inline("r"),
    )
    assert "head" in done.failures[0]
    assert scene.pull(1)["auto_merge"] is None


def test_a_limit_of_graphql_is_waited_for(scene: Scene, hub: FakeHub) -> None:
    limited = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
    hub.faults.append(["POST", "/graphql", 1, (200, {}, limited)])
    assert scene.run(FollowUp(auto_merge=AutoMerge.MERGE)).failures == ()
    assert scene.pull(1)["auto_merge"] == "merge"


def test_a_right_that_graphql_misses_is_named(scene: Scene, hub: FakeHub) -> None:
    rights = {"contents": "read", "pull_requests": "write", "checks": "write", "actions": "read"}
    hub.tokens["gha"]["permissions"] = rights
    (failure,) = scene.run(FollowUp(auto_merge=AutoMerge.MERGE)).failures
    assert "Grant `contents: write` and `pull-requests: write` to the job" in failure


def test_a_right_that_is_missing_is_named_once(scene: Scene, hub: FakeHub) -> None:
    forbidden = {"message": "Resource not accessible by integration"}
    hub.faults.append(["POST", "requested_reviewers", 9, (403, {}, forbidden)])
    head = hub.repo.branch("aprqa/certify/new-mvp")
    one = Proposed(action="created", number=1, url="u", commit=head)
    two = Proposed(action="created", number=2, url="u", commit=head)
    done = follow_up(
        scene.client,
        reviews("alice"),
        [Delivered(certified=NEW, pull=one), Delivered(certified=OLD, pull=two)],
        touched=[NEW, OLD],
        base="main",
        registry=CSV,
        author=None,
        footer=Inline("r"),
    )
    (failure,) = done.failures
    assert failure.count("`pull-requests: write`") == 1
    assert failure.endswith("for that reason not tried for old-mvp")


# Closing

CLOSING = FollowUp(close_superseded=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"by": "human"},
        {"body": "no marker"},
        {"body": "> " + marker_of(OLD)},
        {"fork": "stranger/widgets"},
        {"state": "closed"},
        {"base": "release"},
    ],
)
def test_what_is_somebody_elses_is_never_closed(
    scene: Scene, hub: FakeHub, changes: dict[str, Any]
) -> None:
    hub.repo.git("update-ref", "refs/heads/release", "main")
    scene.pull(scene.old).update(changes)
    before = dict(scene.pull(scene.old))
    assert scene.run(CLOSING) == Followed()
    assert scene.pull(scene.old) == before
    assert hub.repo.branch("aprqa/certify/old-mvp") is not None


def test_pull_requests_of_other_models_are_their_own_runs_affair(scene: Scene) -> None:
    other = msgspec.structs.replace(NEW, model="acme/another", playbook="another")
    done = scene.run(CLOSING, touched=(other,), proposed=False)
    assert done == Followed()
    assert scene.pull(scene.old)["state"] == "open"


@pytest.mark.parametrize("path", ["made/up.yaml", "../outside.yaml", "/root/x.yaml", "x.yaml"])
def test_a_playbook_that_never_was_in_the_repository_is_not_gone(scene: Scene, path: str) -> None:
    scene.pull(scene.old)["body"] = marker_of(msgspec.structs.replace(OLD, path=path))
    assert scene.run(CLOSING) == Followed()
    assert scene.pull(scene.old)["state"] == "open"


def test_newer_evidence_on_main_closes_without_a_successor(scene: Scene, hub: FakeHub) -> None:
    """Nothing was proposed, since what stands is newer; the open one would bring it back."""
    row = b"acme/model,x,1B,tiny,CERTIFIED,900,A,mvp,2026-02-01T00:00:00Z,"
    row += b"true,true,true,true,,,,,,,false\n"
    main = hub.repo.commit_files("main", {CSV: EMPTY_REGISTRY + row})
    done = scene.run(CLOSING, proposed=False)
    assert len(done.lines) == 2
    assert [scene.pull(number)["state"] for number in (1, 2)] == ["closed", "closed"]
    for _, said in scene.comments():
        assert f"Superseded by what stands on `main` at `{main[:12]}`: the evidence ends" in said


def test_a_branch_on_which_another_pull_request_stands_stays(scene: Scene, hub: FakeHub) -> None:
    """Certifications went to trunk before; main's pull request has the same branch."""
    hub.repo.git("update-ref", "refs/heads/trunk", "main")
    moved = msgspec.structs.replace(NEW, base="trunk")
    number = hub.add_pull(
        hub.repo,
        head="aprqa/certify/new-mvp",
        sha=hub.repo.branch("aprqa/certify/new-mvp"),
        base="trunk",
        body=marker_of(moved),
        by=BOT_NAME,
    )
    done = scene.run(CLOSING)
    assert any("its branch, which stays" in line for line in done.lines)
    assert scene.pull(number)["state"] == "closed"
    assert scene.pull(1)["state"] == "open"
    assert hub.repo.branch("aprqa/certify/new-mvp") is not None


def test_one_that_changes_in_between_is_left_alone(scene: Scene, hub: FakeHub) -> None:
    def rival(request: Any) -> None:
        del request
        hub.repo.commit_files("aprqa/certify/old-mvp", {"more.txt": b"x"})

    # The rival comes with the first answer to the second reading; the reading is repeated.
    hub.faults.append(["GET", f"/pulls/{scene.old}$", 1, (502, {}, rival)])
    done = scene.run(CLOSING)
    assert done.lines == ("old-mvp: #2 is not closed: it changed meanwhile",)
    assert scene.pull(scene.old)["state"] == "open"
    assert scene.comments() == []


def test_a_branch_that_moves_at_the_last_moment_stays(scene: Scene, hub: FakeHub) -> None:
    def rival(request: Any) -> None:
        hub.dispatch(request)
        hub.repo.commit_files("aprqa/certify/old-mvp", {"more.txt": b"x"})

    hub.faults.append(["PATCH", f"/pulls/{scene.old}$", 1, (502, {}, rival)])
    (line,) = scene.run(CLOSING).lines
    assert line.endswith("its branch has moved on and stays")
    assert hub.repo.branch("aprqa/certify/old-mvp") is not None


def test_an_apps_pull_requests_are_found_by_its_name(
    scene: Scene, hub: FakeHub, connected: Connect
) -> None:
    scene.client = connected("other")
    scene.pull(scene.old)["by"] = "other-app[bot]"
    assert scene.run(CLOSING, author="somebody").lines == ()
    assert scene.run(CLOSING, author="other-app[bot]").failures == ()
    assert scene.pull(scene.old)["state"] == "closed"
    assert len(hub.repo.comments) == 1


def test_a_registry_that_cannot_be_read_closes_nothing(scene: Scene, hub: FakeHub) -> None:
    hub.repo.commit_files("main", {CSV: b"no,registry\n"})
    (failure,) = scene.run(CLOSING).failures
    assert "could not tell what is superseded" in failure
    assert scene.pull(scene.old)["state"] == "open"


def test_a_dry_run_says_what_would_be_done(scene: Scene, hub: FakeHub) -> None:
    done = scene.run(dry_run=True)
    assert done.failures == ()
    assert done.lines == (
        "new-mvp: would ask for a review, unless that was done: alice, bob",
        "new-mvp: would have it merged automatically (squash)",
        f"old-mvp: would close #2, superseded by `aprqa/certify/new-mvp`: {GONE}",
    )
    assert {method for method, _, _ in hub.log} == {"GET"}


# Every new request with every fault, once

REQUESTS = {
    "read one": ("GET", r"/pulls/\d+$"),
    "read events": ("GET", "/events$"),
    "request reviews": ("POST", "/requested_reviewers$"),
    "enable": ("POST", "/graphql$"),
    "list": ("GET", "/pulls$"),
    "comment": ("POST", "/comments$"),
    "close": ("PATCH", r"/pulls/\d+$"),
    "delete": ("DELETE", "/git/refs/"),
}
FAULTS: dict[str, Any] = {
    "lost": None,
    "timeout": None,
    "403": (403, {}, {"message": "Resource not accessible by integration"}),
    "404": (404, {}, {"message": "Not Found"}),
    "409": (409, {}, {"message": "Conflict"}),
    "422": (422, {}, {"message": "Validation Failed", "documentation_url": "x"}),
    "429": (429, {"Retry-After": "3"}, {"message": "slow down"}),
    "500": (500, {}, {"message": "Server Error"}),
    "garbage": (200, {}, b"<html>"),
}
# Answered in the end, so that nothing is to be reported.
RECOVERED = {"lost", "timeout", "429", "500"}


@pytest.mark.parametrize("request_", REQUESTS)
def test_one_fault_leaves_everything_right(
    scene: Scene, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    method, path = REQUESTS[request_]
    hub.add_pull(hub.repo, head="topic", sha="f" * 40, by="human", body=marker_of(OLD))
    again = scene.remembered()
    for fault, given in FAULTS.items():
        again()
        with monkeypatch.context() as patched:
            if fault == "timeout":
                lose_one_answer(patched, method, path)
            else:
                hub.faults.append([method, path, 1, given or (502, {}, hub.dispatch)])
            # An update reads the events as well.
            first = scene.run(action="updated")
        assert not any(times for _, _, times, _ in hub.faults), fault
        if fault in RECOVERED:
            assert first.failures == (), fault
            assert scene.is_complete, fault
        if fault in {"lost", "timeout"}:
            # Looked for and not sent again: GitHub would notify people twice.
            asked = [path for method, path, _ in hub.log if path.endswith("requested_reviewers")]
            assert len(asked) == 1, fault
        # Whatever became of it: nothing was done twice, and nothing to anybody else's.
        assert [scene.pull(number)["state"] for number in (1, 3)] == ["open", "open"], fault
        assert len(scene.happened("review_requested")) in {0, 2}, fault
        assert len(scene.happened("auto_merge_enabled")) <= 1, fault
        assert all(number == scene.old for number, _ in scene.comments()), fault
        # Closed first, and its branch not deleted: the next run does not find it any more.
        is_left = request_ == "delete" and fault not in RECOVERED
        assert (hub.repo.branch("aprqa/certify/old-mvp") is not None) is (
            is_left or scene.pull(2)["state"] == "open"
        ), fault
        scene.run(action="updated")
        assert scene.is_complete, fault
        assert scene.pull(3)["state"] == "open", fault
    # Garbage is what GitHub's description does not allow.
    garbage = re.compile("not JSON|-> 200: status not documented")
    problems = [each for each in hub.checked.problems if not garbage.search(each)]
    hub.checked.problems[:] = problems


def lose_one_answer(monkeypatch: pytest.MonkeyPatch, method: str, path: str) -> None:
    """Let a request be carried out and its answer never come, once."""
    send = requests.adapters.HTTPAdapter.send
    lost: list[str] = []

    def losing(self: Any, request: Any, **kwargs: Any) -> Any:
        answer = send(self, request, **kwargs)
        where = request.url.partition("?")[0]
        if request.method == method and re.search(path, where) and not lost:
            lost.append(where)
            raise requests.exceptions.ReadTimeout
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", losing)
