import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.github.reviewers import MOST_REVIEWERS, Reviewers, not_yet_asked, read_reviewers

answers = pytest.importorskip("aprqa_ci.github.answers")


def pull(
    *, users: tuple[str, ...] = (), teams: tuple[str, ...] = (), author: str = "bot"
) -> object:
    side = {"ref": "x", "sha": "0" * 40}
    return answers.msgspec.convert(
        {
            "number": 1,
            "html_url": "u",
            "state": "open",
            "title": "t",
            "head": side,
            "base": side,
            "user": {"login": author},
            "requested_reviewers": [{"login": user} for user in users],
            "requested_teams": [{"slug": team} for team in teams],
        },
        type=answers.PullRequest,
    )


def asked(**who: str) -> object:
    told = {"requested_reviewer": {"login": who["user"]}} if "user" in who else {}
    told |= {"requested_team": {"slug": who["team"]}} if "team" in who else {}
    event = {"event": "review_requested", **told}
    return answers.msgspec.convert(event, type=answers.IssueEvent)


def test_users_and_teams_are_told_apart() -> None:
    read = read_reviewers(["alice", "Acme/gpu-team", "ALICE", "bob_corp"], owner="acme")
    assert read == Reviewers(users=("alice", "bob_corp"), teams=("gpu-team",))
    assert str(read) == "alice, bob_corp, team gpu-team"
    assert not read_reviewers([], owner="acme")


@pytest.mark.parametrize("name", ["@alice", "a b", "", "acme/", "/x", "acme/a/b", "x" * 200, "-a"])
def test_what_is_no_name_is_named(name: str) -> None:
    with pytest.raises(InputError, match="no reviewer"):
        read_reviewers([name], owner="acme")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_reviewers(["@a", "other/team", *(f"u{n}" for n in range(16))], owner="acme")
    texts = [str(problem) for problem in caught.value.problems]
    assert len(texts) == 3
    assert "a team of other, not of acme" in texts[1]
    assert f"more than {MOST_REVIEWERS}" in texts[2]


@pytest.mark.parametrize(
    ("there", "events", "left"),
    [
        (pull(), [], (("alice", "bob"), ("qa",))),
        (pull(users=("Alice",)), [], (("bob",), ("qa",))),
        (pull(teams=("qa",)), [], (("alice", "bob"), ())),
        # who has answered, or was taken off, is no longer among the requested
        (pull(), [asked(user="alice"), asked(team="qa")], (("bob",), ())),
        (pull(author="bob"), [], (("alice",), ("qa",))),
        (pull(author="bob"), [asked(user="alice"), asked(team="qa")], ((), ())),
    ],
)
def test_each_is_asked_once_and_the_author_never(
    there: object, events: object, left: object
) -> None:
    wanted = Reviewers(users=("alice", "bob"), teams=("qa",))
    found = not_yet_asked(wanted, there, events)  # type: ignore[arg-type] # made above
    assert (found.users, found.teams) == left


def test_other_events_do_not_count() -> None:
    labelled = answers.IssueEvent(event="review_request_removed")
    found = not_yet_asked(Reviewers(users=("a",)), pull(), [labelled])  # type: ignore[arg-type] # made above
    assert found.users == ("a",)
