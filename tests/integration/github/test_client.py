"""The client against a double that checks every exchange, with the faults that GitHub can have."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.answers import Annotated
from aprqa_ci.github.client import Client, connect
from aprqa_ci.github.refusals import RefusedError
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import BOT, Clock, Connect

BOOM = {"message": "Server Error"}
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}
PRIMARY = {"message": "API rate limit exceeded for installation ID 1."}
AUTHOR = BOT["login"]


def ours(body: str) -> bool:
    return body.startswith("report")


def fail(
    hub: FakeHub,
    method: str,
    path: str,
    status: int,
    *,
    body: Any = BOOM,
    headers: dict[str, str] | None = None,
    times: int = 1,
) -> None:
    hub.faults.append([method, path, times, (status, headers or {}, body)])


@pytest.fixture
def pull(hub: FakeHub) -> int:
    hub.repo.commit_files("topic", {"p.txt": b"x"})
    return hub.add_pull(hub.repo, head="topic", sha=hub.repo.branch("topic"))


@pytest.fixture
def client(connected: Connect, hub: FakeHub, pull: int) -> Client:
    assert pull == 1
    made = connected()
    hub.log.clear()
    return made


def bodies(hub: FakeHub) -> list[str]:
    return [comment["body"] for comment in hub.repo.comments.values()]


def comment_on(client: Client, pull: int, text: str = "report 1") -> Any:
    return client.create_comment(pull, text, author=str(AUTHOR), ours=ours)


# Comments


def test_a_comment_is_made_found_and_updated(client: Client, hub: FakeHub, pull: int) -> None:
    made = comment_on(client, pull)
    found = client.find_comment(pull, author=str(AUTHOR), ours=ours)
    assert found == made
    assert client.update_comment(made.id, "report 2").body == "report 2"
    assert bodies(hub) == ["report 2"]


def test_a_comment_is_found_on_a_late_page_and_only_ones_own(
    client: Client, hub: FakeHub, pull: int
) -> None:
    for number in range(230):
        hub.add_comment(hub.repo, pull, f"chatter {number}", {"login": "human"})
    hub.add_comment(hub.repo, pull, "report, says somebody else", {"login": "human"})
    hub.add_comment(hub.repo, pull, "not a report", {"login": AUTHOR})
    assert client.find_comment(pull, author=str(AUTHOR), ours=ours) is None
    wanted = hub.add_comment(hub.repo, pull, "report", {"login": AUTHOR})
    hub.add_comment(hub.repo, pull, "report, a younger one", {"login": AUTHOR})
    hub.log.clear()
    found = client.find_comment(pull, author=str(AUTHOR), ours=ours)
    assert found is not None
    assert found.id == wanted
    assert len(hub.log) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_lost_answer_makes_no_second_comment(
    client: Client, hub: FakeHub, clock: Clock, pull: int, status: int
) -> None:
    def carried_out(request: Any) -> None:
        hub.add_comment(hub.repo, pull, request.get_json()["body"], {"login": AUTHOR})

    fail(hub, "POST", "/comments", status, body=carried_out)
    made = comment_on(client, pull)
    assert bodies(hub) == ["report 1"]
    assert made.id in hub.repo.comments
    assert sum(clock.slept) > 0


def test_a_comment_that_was_not_made_is_sent_again(client: Client, hub: FakeHub, pull: int) -> None:
    fail(hub, "POST", "/comments", 502, times=2)
    comment_on(client, pull)
    assert bodies(hub) == ["report 1"]


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ReadTimeout(),
        requests.exceptions.ConnectionError("reset"),
        requests.exceptions.ConnectTimeout(),
    ],
)
def test_an_answer_that_is_lost_on_the_way(
    client: Client,
    hub: FakeHub,
    pull: int,
    monkeypatch: pytest.MonkeyPatch,
    error: requests.exceptions.RequestException,
) -> None:
    send = requests.adapters.HTTPAdapter.send
    never_sent = isinstance(error, requests.exceptions.ConnectTimeout)
    lost: list[Any] = []

    def losing(self: Any, request: Any, **kwargs: Any) -> Any:
        if request.method == "POST" and not lost:
            lost.append(request)
            if not never_sent:
                send(self, request, **kwargs)
            raise error
        return send(self, request, **kwargs)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", losing)
    comment_on(client, pull)
    assert bodies(hub) == ["report 1"]
    # Nothing is looked for when GitHub cannot have seen the request.
    assert any(method == "GET" for method, _, _ in hub.log) is not never_sent


def test_a_patch_is_sent_again(client: Client, hub: FakeHub, pull: int) -> None:
    made = comment_on(client, pull)
    fail(hub, "PATCH", "/comments", 502, times=2)
    client.update_comment(made.id, "report 2")
    assert bodies(hub) == ["report 2"]


# Limits, waits and time-outs


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"Retry-After": "7"}, SECONDARY, 7),
        ({}, SECONDARY, 60),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000030"}, PRIMARY, 31),
    ],
)
def test_a_limit_is_waited_for(
    *,
    client: Client,
    hub: FakeHub,
    clock: Clock,
    pull: int,
    status: int,
    method: str,
    headers: dict[str, str],
    body: dict[str, str],
    wait: float,
) -> None:
    fail(hub, method, "/comments|/pulls/1", status, headers=headers, body=body)
    if method == "GET":
        assert list(client.comments(pull)) == []
    elif method == "POST":
        comment_on(client, pull)
        assert bodies(hub) == ["report 1"]
    else:
        client.update_pull_request(pull, title="new", body="b")
    assert clock.slept == [wait]
    assert len(hub.log) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "3600"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800003600"},
    ],
)
def test_a_limit_that_ends_too_late_is_not_waited_for(
    client: Client, hub: FakeHub, clock: Clock, pull: int, headers: dict[str, str]
) -> None:
    fail(hub, "GET", "/comments", 403, headers=headers, body=PRIMARY)
    with pytest.raises(
        DeliveryError, match=r"limits our requests \(403: API rate limit.*360[01] s"
    ):
        list(client.comments(pull))
    assert clock.slept == []
    assert len(hub.log) == 1


def test_waits_grow_and_attempts_end(client: Client, hub: FakeHub, clock: Clock, pull: int) -> None:
    fail(hub, "GET", "/comments", 500, times=99)
    with pytest.raises(
        DeliveryError, match=r"GitHub failed \(500: Server Error\) \(GET, attempt 5"
    ):
        list(client.comments(pull))
    assert clock.slept == [1, 2, 4, 8]
    assert len(hub.log) == 5


def test_nobody_listening_is_a_clear_error(clock: Clock) -> None:
    with pytest.raises(DeliveryError, match="could not read the repository a/b: GitHub cannot be"):
        connect("a/b", token="t", api_url="http://127.0.0.1:9", clock=clock.now, sleep=clock.sleep)
    assert len(clock.slept) == 4


def test_writes_keep_their_pace(hub: FakeHub, clock: Clock, pull: int) -> None:
    client = connect(
        "acme/widgets", token="gha", api_url=hub.base_url, clock=clock.now, sleep=clock.sleep
    )
    for number in range(3):
        client.update_pull_request(pull, title=f"t{number}", body="b")
        list(client.comments(pull))
    assert clock.slept == [1, 1]


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"message": "Bad credentials"}, "GitHub does not accept the token"),
        (
            403,
            {"message": "Resource not accessible by integration"},
            "Grant `pull-requests: write` to the job",
        ),
        (404, {"message": "Not Found"}, "does not find it, or the token lacks `pull-requests: w"),
        (410, {"message": "Gone"}, r"refuses \(410: Gone\)"),
        (
            422,
            {"message": "Validation Failed", "errors": [{"field": "body", "code": "missing"}]},
            r"refuses \(422: Validation Failed; body missing\)",
        ),
        (422, {"message": "a\n::error::b"}, "a ::error::b"),
        (418, {"message": ""}, r"418: no message"),
    ],
)
def test_a_refusal_is_told_once_and_clearly(
    *, client: Client, hub: FakeHub, clock: Clock, pull: int, status: int, body: Any, message: str
) -> None:
    documented = {"documentation_url": "https://docs.github.com/rest"}
    fail(hub, "POST", "/comments", status, body={**documented, **body}, times=9)
    with pytest.raises(RefusedError, match=message) as caught:
        comment_on(client, pull)
    assert "could not comment on pull request #1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert len(hub.log) == 1
    assert clock.slept == []


def test_the_permissions_that_github_accepts_are_named(
    client: Client, hub: FakeHub, pull: int
) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"}
    body = {"message": "Resource not accessible by integration"}
    fail(hub, "POST", "/comments", 403, headers=headers, body=body)
    with pytest.raises(DeliveryError, match="GitHub accepts issues=write; pull_requests=write"):
        comment_on(client, pull)


def test_the_token_of_a_fork_cannot_comment(connected: Connect, pull: int) -> None:
    with pytest.raises(DeliveryError, match="the token lacks a permission"):
        comment_on(connected("fork"), pull)


def test_a_wrong_token_shows_at_once(connected: Connect) -> None:
    with pytest.raises(DeliveryError, match="does not accept the token"):
        connected("nobody")


def test_a_redirected_write_is_an_error(client: Client, hub: FakeHub, pull: int) -> None:
    moved = {"message": "Moved Permanently", "url": "x"}
    fail(hub, "POST", "/comments", 307, body=moved, headers={"Location": "/repositories/1"})
    with pytest.raises(DeliveryError, match=r"redirects \(307\); was the repository renamed"):
        comment_on(client, pull)
    hub.checked.problems.clear()  # 307 is not among the documented answers


def test_a_renamed_repository_goes_by_its_new_name(hub: FakeHub, connected: Connect) -> None:
    headers = {"Location": f"{hub.base_url}/repos/acme/widgets"}
    fail(hub, "GET", "/repos/old/name$", 301, headers=headers, body={"message": "Moved"})
    assert connected(repository="old/name").repository == "acme/widgets"


def test_an_answer_that_cannot_be_read_is_an_error(client: Client, hub: FakeHub, pull: int) -> None:
    fail(hub, "GET", "/comments", 500, headers={"X-RateLimit-Reset": "soon"})
    with pytest.raises(DeliveryError, match="could not read the comments of pull request #1"):
        list(client.comments(pull))


def test_a_redirect_to_another_host_is_an_error(hub: FakeHub, connected: Connect) -> None:
    fail(hub, "GET", "/repos/old/name$", 301, headers={"Location": "http://evil.test/x"})
    with pytest.raises(DeliveryError, match="redirected from host"):
        connected(repository="old/name")


@pytest.mark.parametrize("body", [{"id": "no number"}, {"message": "?"}])
def test_an_answer_of_another_form_is_an_error(
    client: Client, hub: FakeHub, pull: int, body: dict[str, str]
) -> None:
    fail(hub, "GET", "/git/ref", 200, body=body)
    fail(hub, "GET", "/comments", 200, body=body)
    with pytest.raises(DeliveryError, match="GitHub's answer has another form"):
        client.git.branch_head("main")
    with pytest.raises(DeliveryError, match="GitHub's answer has another form"):
        list(client.comments(pull))
    hub.checked.problems.clear()


def test_a_list_without_end_ends(
    client: Client, hub: FakeHub, pull: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aprqa_ci.github.rest._MAX_PAGES", 2)
    for number in range(201):
        hub.add_comment(hub.repo, pull, f"{number}", {"login": "human"})
    with pytest.raises(DeliveryError, match="more than 200 entries"):
        list(client.comments(pull))


# Who we are


def test_who_we_are_is_asked_where_that_is_allowed(
    client: Client, hub: FakeHub, connected: Connect
) -> None:
    assert connected("other").own_login() == "other-app[bot]"
    fail(hub, "GET", "/user", 403, body={"message": "Resource not accessible by integration"})
    assert client.own_login() == "github-actions[bot]"
    fail(hub, "GET", "/user", 401, body={"message": "Bad credentials"})
    with pytest.raises(DeliveryError):
        client.own_login()


# Pull requests


def branch_with_commit(hub: FakeHub, name: str = "bot/x") -> None:
    hub.repo.commit_files(name, {"q.txt": name.encode()})


def open_pull(client: Client, title: str = "t") -> Any:
    return client.create_pull_request(branch="bot/x", base="main", title=title, body="b")


def test_a_pull_request_that_exists_is_the_one(client: Client, hub: FakeHub) -> None:
    branch_with_commit(hub)
    made = open_pull(client)
    again = open_pull(client, "another title")
    assert again.number == made.number
    assert len(hub.repo.pulls) == 2  # the one of the fixture as well


def test_a_lost_answer_makes_no_second_pull_request(client: Client, hub: FakeHub) -> None:
    branch_with_commit(hub)

    def carried_out(request: Any) -> None:
        sent = request.get_json()
        hub.add_pull(hub.repo, title=sent["title"], head="bot/x", sha=hub.repo.branch("bot/x"))

    fail(hub, "POST", "/pulls", 502, body=carried_out)
    assert open_pull(client).title == "t"
    assert len(hub.repo.pulls) == 2


def test_a_refusal_for_another_reason_stays_one(client: Client) -> None:
    with pytest.raises(RefusedError, match="PullRequest head invalid"):
        open_pull(client)


def test_the_repository_setting_is_named(client: Client, hub: FakeHub) -> None:
    branch_with_commit(hub)
    hub.repo.actions_may_open_pulls = False
    with pytest.raises(DeliveryError, match="Settings → Actions → General → Allow GitHub Actions"):
        open_pull(client)


def test_a_pull_request_of_a_fork_is_found_by_its_head(client: Client, hub: FakeHub) -> None:
    number = hub.add_pull(hub.repo, head="main", sha="f" * 40, fork="stranger/widgets")
    hub.add_pull(hub.repo, head="main", sha="e" * 40, fork="another/widgets")
    found = client.pull_requests(head="stranger:main")
    assert [pull.number for pull in found] == [number]
    assert found[0].head.sha == "f" * 40


def test_labels_come_and_go(client: Client, hub: FakeHub, pull: int) -> None:
    client.add_labels(pull, ["certification", "tier: mvp"])
    client.remove_label(pull, "tier: mvp")
    client.remove_label(pull, "never there")
    assert hub.repo.issue_labels[pull] == ["certification"]
    fail(hub, "DELETE", "/labels", 403, body={"message": "Resource not accessible by integration"})
    with pytest.raises(DeliveryError, match="could not label #1"):
        client.remove_label(pull, "certification")


# Git


def test_files_are_committed_and_can_be_cloned(
    client: Client, hub: FakeHub, tmp_path: Path
) -> None:
    git, head = client.git, hub.repo.branch("main")
    assert head is not None
    odd = b"\xff\x00\r\nx"
    tree = git.create_tree(git.commit(head).tree.sha, {"a/b.bin": odd, "README.md": None})
    commit = git.create_commit("one", tree=tree, parents=[head])
    assert git.create_branch("new/branch", commit)
    clone = tmp_path / "clone"
    url = f"{hub.base_url}/acme/widgets.git"
    command = ["git", "clone", "-q", "-b", "new/branch", url, str(clone)]
    subprocess.run(command, check=True)
    assert (clone / "a" / "b.bin").read_bytes() == odd
    assert not (clone / "README.md").exists()
    assert git.file("a/b.bin", commit) == odd
    assert git.file("README.md", commit) is None
    with pytest.raises(DeliveryError, match="a is no file in the repository but a dir"):
        git.file("a", commit)
    assert set(git.directory("a", commit)) == {"b.bin"}
    assert git.directory("no/such", commit) == {}
    with pytest.raises(DeliveryError, match=r"a/b.bin has 5 bytes, more than the 4"):
        git.file("a/b.bin", commit, limit=4)
    fail(hub, "GET", "/git/blobs", 200, body={"content": "*", "encoding": "base64"})
    with pytest.raises(DeliveryError, match="is not base64"):
        git.file("a/b.bin", commit)
    hub.checked.problems.clear()


@pytest.mark.parametrize(
    ("data", "blobs"),
    [
        ("\ufeffä\r\n\u2028\x1b\x7f no newline".encode(), 0),
        (b"", 0),
        (b"x" * 100_000, 0),
        (b"x" * 100_001, 1),
        (b"a\0b", 1),
        (b"\xc3\x28", 1),
    ],
    ids=["odd text", "empty", "at the limit", "long", "NUL", "no UTF-8"],
)
def test_text_goes_with_its_tree_and_stays_what_it_is(
    client: Client, hub: FakeHub, data: bytes, blobs: int
) -> None:
    base = client.git.commit("main").tree.sha
    tree = client.git.create_tree(base, {"a/b": data})
    assert hub.repo.git("cat-file", "blob", f"{tree}:a/b", raw=True) == data
    assert [path.split("/")[-1] for method, path, _ in hub.log if method == "POST"] == [
        *["blobs"] * blobs,
        "trees",
    ]


def commits(client: Client, hub: FakeHub) -> tuple[str, str, str]:
    """Return the head of main, a commit on it, and another on it."""
    head = hub.repo.branch("main")
    assert head is not None
    one, two = (
        client.git.create_commit(
            text,
            tree=client.git.create_tree(client.git.commit(head).tree.sha, {"f": text.encode()}),
            parents=[head],
        )
        for text in ("one", "two")
    )
    return head, one, two


def test_a_branch_moves_forward_alone(client: Client, hub: FakeHub) -> None:
    head, one, two = commits(client, hub)
    assert client.git.branch_head("b") is None
    assert client.git.create_branch("b", head)
    assert client.git.advance_branch("b", one)
    assert not client.git.advance_branch("b", two)
    assert hub.repo.branch("b") == one
    assert not client.git.advance_branch("gone", two)
    fail(hub, "PATCH", "/git/refs", 403, body={"message": "Resource not accessible"})
    with pytest.raises(DeliveryError, match="Grant `contents: write`"):
        client.git.advance_branch("b", two)


def test_a_branch_that_exists_is_no_success_at_another_commit(client: Client, hub: FakeHub) -> None:
    head, one, _ = commits(client, hub)
    assert client.git.create_branch("b", one)
    assert client.git.create_branch("b", one)
    assert not client.git.create_branch("b", head)
    with pytest.raises(RefusedError, match="Object does not exist"):
        client.git.create_branch("c", "0" * 40)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_lost_answer_about_a_branch(client: Client, hub: FakeHub, method: str) -> None:
    head, one, _ = commits(client, hub)

    def carried_out(_: Any) -> None:
        hub.repo.git("update-ref", "refs/heads/b", one)

    if method == "PATCH":
        assert client.git.create_branch("b", head)
    fail(hub, method, "/git/refs", 502, body=carried_out)
    move: Callable[[str, str], bool] = (
        client.git.create_branch if method == "POST" else client.git.advance_branch
    )
    assert move("b", one)
    assert hub.repo.branch("b") == one


def test_the_merge_base(client: Client, hub: FakeHub) -> None:
    head, one, two = commits(client, hub)
    assert client.git.merge_base(one, two) == head
    assert client.git.merge_base("main", "gone") is None


# Check runs and artifacts


def check(client: Client, hub: FakeHub, number: int) -> Any:
    head = hub.repo.branch("main")
    assert head is not None
    notes = [
        Annotated(path="p.yaml", line=n + 1, level="failure", message=f"m{n}", title="t" * (n % 2))
        for n in range(number)
    ]
    return client.create_check_run(
        name="certification",
        sha=head,
        conclusion="failure",
        title="BLOCKED",
        summary="s",
        annotations=notes,
        external_id="run-1",
    )


@pytest.mark.parametrize(("number", "requests_"), [(0, 1), (50, 1), (51, 2), (120, 3)])
def test_annotations_go_in_batches(
    client: Client, hub: FakeHub, number: int, requests_: int
) -> None:
    made = check(client, hub, number)
    assert hub.repo.checks[made.id]["output"]["annotations_count"] == number
    assert hub.repo.checks[made.id]["conclusion"] == "failure"
    assert len(hub.log) == requests_


def test_a_lost_answer_makes_no_second_check_run(client: Client, hub: FakeHub) -> None:
    def carried_out(request: Any) -> None:
        hub.put_check(hub.repo, 4, request.get_json())

    fail(hub, "POST", "/check-runs", 502, body=carried_out)
    check(client, hub, 60)
    assert len(hub.repo.checks) == 1
    assert hub.repo.checks[4]["output"]["annotations_count"] == 60


def test_artifacts_beyond_a_page_are_listed_and_downloaded(client: Client, hub: FakeHub) -> None:
    run = hub.add_run(hub.repo)
    for number in range(105):
        hub.add_artifact(hub.repo, run, f"evidence-{number}-a1", {"x": b"%d" % number})
    listed = list(client.artifacts(run))
    assert [each.name for each in listed] == [f"evidence-{number}-a1" for number in range(105)]
    fail(hub, "GET", "/zip", 502)
    data = client.download_artifact(listed[-1], limit=10_000)
    assert data == hub.blobs[str(listed[-1].id)]


def test_an_artifact_that_cannot_be_had(client: Client, hub: FakeHub) -> None:
    run = hub.add_run(hub.repo)
    hub.add_artifact(hub.repo, run, "old", {"x": b""}, expired=True)
    number = hub.add_artifact(hub.repo, run, "big", {"x": b"x" * 5000})
    old, big = client.artifacts(run)
    with pytest.raises(DeliveryError, match="artifact old has expired"):
        client.download_artifact(old, limit=10)
    with pytest.raises(DeliveryError, match=r"artifact big has [0-9]+ bytes, more than 10"):
        client.download_artifact(big, limit=10)
    # One that lies about its size is stopped on the way.
    hub.repo.artifacts[number]["size_in_bytes"] = 5
    _, lying = client.artifacts(run)
    with pytest.raises(DeliveryError, match="more than 10 bytes"):
        client.download_artifact(lying, limit=10)
    hub.repo.artifacts[number]["expired"] = True
    with pytest.raises(RefusedError, match=r"410: Artifact has expired"):
        client.download_artifact(lying, limit=10)
