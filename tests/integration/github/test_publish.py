"""``aprqa publish`` in a job of GitHub Actions, against the double."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.cli.main import run
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.planning.plan import PlacedOut
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json
from tests.bundles import made_bundle, made_plan, scenario_id
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import BOT, Connect

Publish = Callable[..., int]
CERTIFICATE = "certifications/tiny-mvp/certificate.json"
FELL = {scenario_id("G1-LOAD"): Outcome.CRASHED}


class Job:
    """A job: its variables and files."""

    def __init__(self, folder: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.output, self.summary = folder / "output", folder / "summary"
        self.set(
            GITHUB_ACTIONS="true",
            GITHUB_REPOSITORY="acme/widgets",
            GITHUB_API_URL=hub.base_url,
            GITHUB_SERVER_URL="https://github.com",
            GITHUB_ACTOR="someone",
            GITHUB_RUN_ID="77",
            GITHUB_TOKEN="gha",
            GITHUB_SHA="c" * 40,
            GITHUB_EVENT_PATH=str(folder / "event.json"),
            GITHUB_OUTPUT=str(self.output),
            GITHUB_STEP_SUMMARY=str(self.summary),
        )
        self.event("schedule", {})

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def event(self, name: str, payload: dict[str, Any], ref: str = "refs/heads/main") -> None:
        own = {"repository": {"full_name": "acme/widgets", "default_branch": "main"}}
        (self.folder / "event.json").write_text(json.dumps(own | payload))
        self.set(GITHUB_EVENT_NAME=name, GITHUB_REF=ref)

    @property
    def outputs(self) -> dict[str, str]:
        text = self.output.read_text() if self.output.exists() else ""
        return {
            found[1]: found[3]
            for found in re.finditer(
                r"^([a-z-]+)<<(\S+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL
            )
        }


@pytest.fixture
def job(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, connected: Connect) -> Job:
    def quick(repository: str, *, token: str, api_url: str) -> Any:
        assert api_url == hub.base_url
        return connected(token, repository)

    monkeypatch.setattr("aprqa_ci.github.client.connect", quick)
    folder = tmp_path / "job"
    folder.mkdir()
    return Job(folder, hub, monkeypatch)


@pytest.fixture
def pull(hub: FakeHub, job: Job) -> int:
    """A pull request of this repository, whose event the job has."""
    base = hub.repo.branch("main")
    head = hub.repo.commit_files("topic", {"x.txt": b"x"})
    number = hub.add_pull(hub.repo, head="topic", sha=head)
    side = {"repo": {"full_name": "acme/widgets"}}
    payload = {
        "number": number,
        "head": {"sha": head, "ref": "topic", **side},
        "base": {"sha": base, "ref": "main", **side},
    }
    job.event("pull_request", {"action": "opened", "pull_request": payload}, "refs/pull/1/merge")
    return number


def bodies(hub: FakeHub) -> list[str]:
    return [comment["body"] for comment in hub.repo.comments.values()]


def publish(*bundles: Bundle, more: tuple[str, ...] = ()) -> int:
    return run(["publish", *(str(bundle.directory) for bundle in bundles), *more])


# On a pull request


def test_a_pull_request_gets_one_comment(
    job: Job, hub: FakeHub, pull: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = made_bundle(tmp_path / "good")
    assert publish(good) == 0
    assert f"comment on #{pull}: created" in capsys.readouterr().out
    (body,) = bodies(hub)
    assert body.startswith("<!-- aprqa-ci:report key=certification content=")
    assert "- **CERTIFIED** `tiny-mvp`" in body
    assert "[run 77, attempt 1](https://github.com/acme/widgets/actions/runs/77)" in body
    assert job.outputs["comment-url"].startswith("http")
    assert job.summary.read_text().startswith("# Certification\n")

    job.set(GITHUB_RUN_ID="78")
    hub.log.clear()
    assert publish(good) == 0
    assert "unchanged" in capsys.readouterr().out
    assert {method for method, _, _ in hub.log} == {"GET"}

    assert publish(made_bundle(tmp_path / "bad", outcomes=FELL)) == 1
    assert "updated" in capsys.readouterr().out
    (body,) = bodies(hub)
    assert "- **BLOCKED** `tiny-mvp`" in body


@pytest.mark.usefixtures("job", "pull")
def test_failures_are_annotated_at_the_playbook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(made_bundle(tmp_path / "bad", outcomes=FELL)) == 1
    out = capsys.readouterr().out
    place = "file=playbooks/tiny-mvp.yaml,line=1"
    assert f"\n::error title=tiny-mvp%3A gateway G1 failed,{place}::1 Crashed; it is " in out
    assert publish(made_bundle(tmp_path / "good")) == 0
    assert "::error" not in capsys.readouterr().out


@pytest.mark.usefixtures("job")
def test_only_our_own_comment_is_updated(hub: FakeHub, pull: int, tmp_path: Path) -> None:
    marker = f"<!-- aprqa-ci:report key=certification content={'0' * 64} -->\n"
    hub.add_comment(hub.repo, pull, f"{marker}mine", {"login": "human"})
    hub.add_comment(hub.repo, pull, f"quoted:\n{marker}", dict(BOT))
    hub.add_comment(hub.repo, pull, marker.replace("certification", "other"), dict(BOT))
    before = bodies(hub)
    assert publish(made_bundle(tmp_path / "b")) == 0
    assert bodies(hub)[:3] == before
    assert len(bodies(hub)) == 4


def test_a_comment_of_another_app_is_found_by_the_named_author(
    job: Job, hub: FakeHub, pull: int, tmp_path: Path
) -> None:
    job.set(GITHUB_TOKEN="other")
    marker = f"<!-- aprqa-ci:report key=certification content={'0' * 64} -->\n"
    hub.add_comment(hub.repo, pull, marker, {"login": "other-app[bot]"})
    assert publish(made_bundle(tmp_path / "b"), more=("--author", "other-app[bot]")) == 0
    assert len(bodies(hub)) == 1


@pytest.mark.usefixtures("pull")
def test_a_comment_that_would_not_be_found_again_is_warned_of(
    job: Job, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.set(GITHUB_TOKEN="other")
    forbidden = {"message": "Resource not accessible by integration"}
    hub.faults.append(["GET", "/user", 1, (403, {}, forbidden)])
    assert publish(made_bundle(tmp_path / "b")) == 0
    out = capsys.readouterr().out
    assert "warning: the comment is other-app[bot]'s; name it as --author" in out


@pytest.mark.usefixtures("registry")
def test_the_comment_compares_with_the_merge_base(job: Job, hub: FakeHub, tmp_path: Path) -> None:
    failed = {scenario_id(f"{n:03d}"): Outcome.FALSIFIED for n in (1, 2)}
    old = made_bundle(tmp_path / "old", outcomes=failed)
    base = hub.repo.commit_files("main", {CERTIFICATE: pretty_json(old.certificate)})
    head = hub.repo.commit_files("topic", {"x.txt": b"x"})
    # Main moves on after the branch was made; that is not what the pull request changes.
    newer = made_bundle(tmp_path / "newer", days=1)
    main = hub.repo.commit_files("main", {CERTIFICATE: pretty_json(newer.certificate)})
    assert hub.repo.git("merge-base", main, head) == base
    number = hub.add_pull(hub.repo, head="topic", sha=head)
    side = {"repo": {"full_name": "acme/widgets"}}
    sides = {
        "head": {"sha": head, "ref": "topic", **side},
        "base": {"sha": main, "ref": "main", **side},
    }
    job.event("pull_request", {"action": "opened", "pull_request": {"number": number, **sides}})
    now = {scenario_id("002"): Outcome.FALSIFIED, scenario_id("003"): Outcome.FALSIFIED}
    assert publish(made_bundle(tmp_path / "new", outcomes=now, days=2)) in {0, 1}
    (body,) = bodies(hub)
    new, still = body.index("### New failures (1)"), body.index("### Still failing (1)")
    fixed = body.index("### Fixed (1)")
    assert scenario_id("003") in body[new:still]
    assert scenario_id("002") in body[still:fixed]
    assert scenario_id("001") in body[fixed:]


@pytest.mark.usefixtures("registry")
def test_a_base_certificate_that_cannot_be_read_is_none(
    job: Job, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repo.commit_files("main", {CERTIFICATE: b'{"schema": "of old"}'})
    head = hub.repo.commit_files("topic", {"x.txt": b"x"})
    number = hub.add_pull(hub.repo, head="topic", sha=head)
    side = {"repo": {"full_name": "acme/widgets"}}
    sides = {
        "head": {"sha": head, "ref": "topic", **side},
        "base": {"sha": hub.repo.branch("main"), "ref": "main", **side},
    }
    job.event("pull_request", {"action": "opened", "pull_request": {"number": number, **sides}})
    assert publish(made_bundle(tmp_path / "b")) == 0
    assert "no earlier certificate" in bodies(hub)[0]


@pytest.mark.parametrize(
    ("mode", "outcomes", "comments"),
    [
        ("failures", None, 0),
        ("failures", FELL, 1),
        ("changes", None, 1),
        ("off", FELL, 0),
    ],
)
@pytest.mark.usefixtures("job", "pull")
def test_comment_modes(
    *,
    hub: FakeHub,
    tmp_path: Path,
    mode: str,
    outcomes: Any,
    comments: int,
) -> None:
    publish(made_bundle(tmp_path / "b", outcomes=outcomes), more=("--comment-mode", mode))
    assert len(bodies(hub)) == comments


@pytest.mark.usefixtures("job", "pull")
def test_a_comment_that_is_there_is_kept_true(hub: FakeHub, tmp_path: Path) -> None:
    publish(made_bundle(tmp_path / "bad", outcomes=FELL), more=("--comment-mode", "failures"))
    publish(made_bundle(tmp_path / "good"), more=("--comment-mode", "failures"))
    (body,) = bodies(hub)
    assert "**CERTIFIED**" in body


@pytest.mark.usefixtures("job", "pull")
def test_cells_that_no_machine_was_given_are_named(hub: FakeHub, tmp_path: Path) -> None:
    whole = made_plan()
    first, second = (cell.id for cell in whole.cells)
    plan = msgspec.structs.replace(
        whole,
        unplaced=(PlacedOut(cell=first, reason="90 GB @team are needed"),),
        deferred=(PlacedOut(cell=second, reason="only gpu could take it"),),
    )
    bundle = write_bundle(tmp_path / "b", plan, (), model_digests={})
    assert publish(bundle) == 3
    (body,) = bodies(hub)
    assert f"room for it (1)\n\n- `{first}` – 90 GB @\u200dteam are needed" in body
    assert f"own (1)\n\n- `{second}` – only gpu could take it" in body


HOSTILE = {
    "mention": "@org/team look",
    "closing": "fixes #1, closes GH-2",
    "image": "![x](https://evil.test/p.png) <img src=https://evil.test/p.png>",
    "html": "<script>alert(1)</script>",
    "fence": "```\n# heading\n~~~",
    "pipe": "a | b || c",
    "bidi": "abc\u202edef",
    "ansi": "\x1b[31mred\x1b[0m",
    "marker": f"<!-- aprqa-ci:report key=certification content={'0' * 64} -->",
    "command": "\n::error::forged\n  ::set-output name=x::1\n##[error]x",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.usefixtures("pull")
def test_hostile_answers_reach_nobody(
    *,
    job: Job,
    hub: FakeHub,
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = HOSTILE[kind]

    def mend(record: EvidenceRecord) -> EvidenceRecord:
        return msgspec.structs.replace(record, reason=text, output=text, stderr=text)

    bundle = made_bundle(tmp_path / "b", outcomes={scenario_id(): Outcome.FALSIFIED}, mend=mend)
    publish(bundle)
    publish(bundle, more=("--dry-run",))
    (body,) = bodies(hub)
    marker, _, content = body.partition("\n")
    assert marker.startswith("<!-- aprqa-ci")
    for shown in (content, job.summary.read_text()):
        plain = shown.replace("https://github.com/acme", "")
        assert not re.search(r"@\w|(?<![\w&])#\d|GH-\d|://|[\x1b\u202e]|<[a-z!/]", plain)
        assert not re.search(r"^\s*(::|##\[|```)", plain, re.MULTILINE)
    out = capsys.readouterr().out
    commands = re.findall(r"^\s*::([a-z-]+)(?: .*)?::", out, re.MULTILINE)
    # Every other command is an annotation of ours, about our gate and at our playbook.
    place = "title=tiny-mvp%3A [A-Z0-9-]+ failed,file=playbooks/tiny-mvp.yaml,line=1"
    own = re.findall(rf"^::error {place}::1 Falsified; it is tiny-mvp:", out, re.MULTILINE)
    assert own
    others = [command for command in commands if command not in {"add-mask", "stop-commands"}]
    assert others == ["error"] * len(own)


# Forks


def fork_run(job: Job, hub: FakeHub, sha: str = "f" * 40) -> int:
    number = hub.add_pull(hub.repo, head="topic", sha="f" * 40, fork="stranger/widgets")
    payload = {
        "id": 5,
        "event": "pull_request",
        "head_sha": sha,
        "head_branch": "topic",
        "head_repository": {"full_name": "stranger/widgets"},
    }
    job.event("workflow_run", {"action": "completed", "workflow_run": payload})
    return number


def test_a_forks_own_job_publishes_nothing(
    job: Job, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.set(GITHUB_TOKEN="fork")
    sides = {
        "head": {"sha": "f" * 40, "ref": "x", "repo": {"full_name": "stranger/widgets"}},
        "base": {"sha": "c" * 40, "ref": "main", "repo": {"full_name": "acme/widgets"}},
    }
    job.event("pull_request", {"action": "opened", "pull_request": {"number": 1, **sides}})
    hub.log.clear()
    assert publish(made_bundle(tmp_path / "b")) == 0
    assert "published nothing: certify_fork, by pull_request" in capsys.readouterr().out
    assert hub.log == []
    assert "**CERTIFIED**" in job.summary.read_text()
    assert publish(made_bundle(tmp_path / "b"), more=("--mode", "comment")) == 2


@pytest.mark.usefixtures("registry")
def test_evidence_of_a_fork_is_reported_as_unverified(
    job: Job, hub: FakeHub, tmp_path: Path
) -> None:
    fork_run(job, hub)
    assert publish(made_bundle(tmp_path / "b")) == 0
    assert hub.repo.checks == {}
    assert [comment["n"] for comment in hub.repo.comments.values()] == [1]
    assert "**Unverified:**" in bodies(hub)[0]
    assert "**Unverified:**" in job.summary.read_text()
    assert "`ffffffffffff`" in bodies(hub)[0]


@pytest.mark.usefixtures("registry")
def test_evidence_of_a_commit_that_is_no_longer_the_head_is_not_reported(
    job: Job,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fork_run(job, hub, sha="e" * 40)
    assert publish(made_bundle(tmp_path / "b")) == 0
    assert "no comment: no open pull request" in capsys.readouterr().out
    assert bodies(hub) == []


@pytest.mark.usefixtures("registry")
def test_evidence_of_a_fork_never_reaches_the_registry(
    job: Job,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fork_run(job, hub)
    assert publish(made_bundle(tmp_path / "b"), more=("--mode", "pr")) == 0
    assert "no pull request: the evidence is unverified" in capsys.readouterr().out
    assert {method for method, _, _ in hub.log} == {"GET"}


# The check run


def checks(hub: FakeHub) -> list[tuple[str, str, int]]:
    return [
        (each["name"], each["conclusion"], each["output"]["annotations_count"])
        for each in hub.repo.checks.values()
    ]


@pytest.mark.parametrize(
    ("outcomes", "cause", "conclusion", "annotated"),
    [
        (None, None, "success", False),
        (FELL, None, "failure", True),
        (
            {scenario_id("G1-LOAD"): Outcome.SKIPPED},
            "infrastructure:engine-missing",
            "neutral",
            True,
        ),
    ],
)
@pytest.mark.usefixtures("job")
def test_the_check_run_has_the_verdict(
    *,
    hub: FakeHub,
    pull: int,
    tmp_path: Path,
    outcomes: Any,
    cause: str | None,
    conclusion: str,
    annotated: bool,
) -> None:
    publish(made_bundle(tmp_path / "b", outcomes=outcomes, cause=cause))
    ((name, concluded, count),) = checks(hub)
    assert (name, concluded) == ("aprqa / tiny-mvp", conclusion)
    assert (count > 0) is annotated
    (check,) = hub.repo.checks.values()
    assert check["head_sha"] == hub.repo.branch("topic")
    assert check["output"]["summary"].startswith("# Certification\n")
    assert hub.repo.pulls[pull]["head"] == "topic"


@pytest.mark.usefixtures("job", "pull")
def test_the_newest_check_run_is_true_and_there_is_none_too_many(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = made_bundle(tmp_path / "good"), made_bundle(tmp_path / "bad", outcomes=FELL)
    for bundle, count, done in (
        (good, 1, "created, success"),
        (good, 1, "unchanged, success"),
        (bad, 2, "updated, failure"),
        (good, 3, "updated, success"),
    ):
        publish(bundle)
        assert f"check run aprqa / tiny-mvp: {done}" in capsys.readouterr().out
        assert len(checks(hub)) == count
    assert checks(hub)[-1][1] == "success"


@pytest.mark.usefixtures("job", "pull")
def test_each_playbook_has_its_check_run(hub: FakeHub, tmp_path: Path) -> None:
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    assert publish(made_bundle(tmp_path / "one"), two, more=("--comment-mode", "off")) == 0
    assert [name for name, _, _ in checks(hub)] == ["aprqa / tiny-mvp", "aprqa / second-mvp"]
    assert bodies(hub) == []


@pytest.mark.parametrize(("outcomes", "code"), [(None, 0), (FELL, 1)])
@pytest.mark.usefixtures("job", "pull")
def test_without_the_right_there_is_a_note_and_no_check_run(
    *,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcomes: Any,
    code: int,
) -> None:
    forbidden = {"message": "Resource not accessible by integration"}
    hub.faults.append(["POST", "/check-runs", 1, (403, {}, forbidden)])
    assert publish(made_bundle(tmp_path / "b", outcomes=outcomes)) == code
    out = capsys.readouterr().out
    assert "warning: no check run aprqa / tiny-mvp: " in out
    assert "`checks: write`" in out
    assert checks(hub) == []
    assert len(bodies(hub)) == 1


@pytest.mark.usefixtures("job", "pull")
def test_the_right_that_is_missing_is_named_once(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.tokens["gha"]["permissions"]["checks"] = "read"
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    assert publish(made_bundle(tmp_path / "one"), two) == 0
    out = capsys.readouterr().out
    assert out.count("`checks: write`") == 1
    assert "for that reason none of aprqa / second-mvp" in out
    assert len(bodies(hub)) == 1


@pytest.mark.usefixtures("job", "pull")
def test_a_check_run_that_is_refused_for_another_reason_is_not_delivered(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults.append(["POST", "/check-runs", 1, (422, {}, {"message": "no"})])
    assert publish(made_bundle(tmp_path / "b")) == 4
    assert "not delivered: check run aprqa / tiny-mvp: " in capsys.readouterr().out


@pytest.mark.usefixtures("job", "pull")
def test_a_check_run_without_an_answer_is_not_delivered(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(["POST", "/check-runs", 99, (502, {}, {"message": "no"})])
    assert publish(made_bundle(tmp_path / "b")) == 4
    assert checks(hub) == []


@pytest.mark.parametrize("more", [("--dry-run",), ("--mode", "none")])
@pytest.mark.usefixtures("job", "pull")
def test_what_publishes_nothing_makes_no_check_run(
    hub: FakeHub, tmp_path: Path, more: tuple[str, ...]
) -> None:
    assert publish(made_bundle(tmp_path / "b"), more=more) == 0
    assert checks(hub) == []


# On the default branch


@pytest.mark.usefixtures("registry")
def test_certifications_are_proposed(
    job: Job,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = made_bundle(tmp_path / "one")
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    three = made_bundle(
        tmp_path / "three",
        playbook="third-mvp",
        outcomes={scenario_id(playbook="third-mvp"): Outcome.SKIPPED},
        cause="infrastructure:engine-missing",
    )
    assert publish(one, two, three) == 3
    out = capsys.readouterr().out
    assert "tiny-mvp: pull request #1 created" in out
    assert "second-mvp: pull request #2 created" in out
    assert "third-mvp: no pull request: the run is inconclusive" in out
    assert job.outputs["pr-number"] == "1 2"
    assert len(job.outputs["pr-url"].split()) == 2
    assert len(hub.repo.pulls) == 2
    # Pull requests of a job's own token wait for somebody's approval before workflows run.
    assert ("pull_request", "approval_required") in hub.events


@pytest.mark.usefixtures("job")
def test_a_dry_run_shows_and_writes_nothing(
    hub: FakeHub,
    registry: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.repo.commit_files("main", {"docs/certifications/models.csv": registry})
    hub.log.clear()
    assert publish(made_bundle(tmp_path / "b"), more=("--dry-run",)) == 0
    out = capsys.readouterr().out
    assert "would propose on aprqa/certify/tiny-mvp: feat(cert): tiny mvp: CERTIFIED" in out
    assert "+aprqa/tiny-1M,,1M,tiny,CERTIFIED,1000,A,mvp" in out
    assert {method for method, _, _ in hub.log} == {"GET"}
    # What is shown stands between the commands that keep the runner from obeying it.
    lines = out.split("\n")
    word = next(line for line in lines if line.startswith("::stop-commands::"))[17:]
    stop, start = lines.index(f"::stop-commands::{word}"), lines.index(f"::{word}::")
    shown = next(n for n, line in enumerate(lines) if "would propose" in line)
    assert stop < shown < start


@pytest.mark.usefixtures("job")
def test_other_places_can_be_named(hub: FakeHub, registry: bytes, tmp_path: Path) -> None:
    hub.repo.commit_files("main", {"data/all.csv": registry, "FRONT.md": b"# f\n"})
    places = ("--registry", "data/all.csv", "--readme", "FRONT.md", "--certifications", "certs")
    assert publish(made_bundle(tmp_path / "b"), more=places) == 0
    command = ("diff", "--name-only", "main", "aprqa/certify/tiny-mvp")
    changed = hub.repo.git(*command).split()
    assert changed[0] == "certs/tiny-mvp/accepted-certificate.json"
    assert changed[-1] == "data/all.csv"


FOLLOWED = ("--reviewer", "alice", "--auto-merge", "squash", "--close-superseded")


@pytest.mark.usefixtures("job", "registry")
def test_a_pull_request_is_followed_up(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(made_bundle(tmp_path / "b"), more=FOLLOWED) == 0
    out = capsys.readouterr().out
    assert "tiny-mvp: asked for a review: alice" in out
    assert (hub.repo.pulls[1]["reviewers"], hub.repo.pulls[1]["auto_merge"]) == (
        ["alice"],
        "squash",
    )
    assert publish(made_bundle(tmp_path / "b"), more=FOLLOWED) == 0
    assert [event["event"] for event in hub.repo.events[1]] == [
        "review_requested",
        "auto_merge_enabled",
    ]
    # Somebody registers newer evidence by hand: what is open would bring the row back.
    registry = hub.repo.git(
        "cat-file", "blob", "aprqa/certify/tiny-mvp:docs/certifications/models.csv", raw=True
    )
    hub.repo.commit_files("main", {"docs/certifications/models.csv": registry})
    older = made_bundle(tmp_path / "older", days=-1)
    assert publish(older, more=("--close-superseded", "--dry-run")) == 0
    assert "tiny-mvp: would close #1, superseded by what stands on" in capsys.readouterr().out
    assert hub.repo.pulls[1]["state"] == "open"
    assert publish(older, more=("--close-superseded",)) == 0
    assert hub.repo.pulls[1]["state"] == "closed"
    assert hub.repo.branch("aprqa/certify/tiny-mvp") is None


@pytest.mark.usefixtures("job", "registry")
def test_the_settings_hold_where_no_option_does(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = msgspec.structs.replace(
        load_publishing(), reviewers=("alice",), auto_merge=AutoMerge.MERGE
    )
    monkeypatch.setattr("aprqa_ci.github.publish.load_publishing", lambda: chosen)
    assert publish(made_bundle(tmp_path / "b"), more=("--auto-merge", "off")) == 0
    assert hub.repo.pulls[1]["reviewers"] == ["alice"]
    assert hub.repo.pulls[1]["auto_merge"] is None


@pytest.mark.usefixtures("job", "registry")
def test_reviewers_that_are_none_stop_everything(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.log.clear()
    assert publish(made_bundle(tmp_path / "b"), more=("--reviewer", "other/team")) == 2
    assert "a team of other, not of acme" in capsys.readouterr().err
    assert hub.log == []


@pytest.mark.usefixtures("registry")
def test_a_strangers_evidence_touches_no_pull_request(
    job: Job, hub: FakeHub, tmp_path: Path
) -> None:
    fork_run(job, hub)
    assert publish(made_bundle(tmp_path / "b"), more=("--mode", "pr", *FOLLOWED)) == 0
    assert not [path for _, path, _ in hub.log if "/pulls" in path]


# What can go wrong


def bar_pulls(repo: Any) -> None:
    repo.actions_may_open_pulls = False


def bar_follow_up(repo: Any) -> None:
    repo.allows_auto_merge = False
    repo.collaborators = set()


@pytest.mark.parametrize(("outcomes", "code"), [(None, 4), (FELL, 1)])
@pytest.mark.parametrize(
    ("bar", "more", "failures", "mend"),
    [
        (
            bar_pulls,
            (),
            1,
            "could not open the pull request.*Allow GitHub Actions to create and approve",
        ),
        (bar_follow_up, FOLLOWED, 2, "Allow auto-merge"),
    ],
)
@pytest.mark.usefixtures("job", "registry")
def test_a_failed_delivery_never_changes_the_verdict(
    *,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcomes: Any,
    code: int,
    bar: Callable[[Any], None],
    more: tuple[str, ...],
    failures: int,
    mend: str,
) -> None:
    bar(hub.repo)
    assert publish(made_bundle(tmp_path / "b", outcomes=outcomes), more=more) == code
    shown = capsys.readouterr()
    assert shown.out.count("\nnot delivered: tiny-mvp: ") == failures
    assert shown.out.count("::error title=Not delivered::tiny-mvp") == failures
    assert re.search(f"not delivered: .*{mend}", shown.out)
    # What is asked for beside the pull request keeps it from nothing.
    assert [each["state"] for each in hub.repo.pulls.values()] == (["open"] if more else [])
    told = "the verdict is good, and could not be delivered" in shown.err
    assert told == (code == 4)


@pytest.mark.usefixtures("pull")
@pytest.mark.parametrize("token", ["fork", "nobody"])
def test_a_token_that_may_not(
    *, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    job.set(GITHUB_TOKEN=token)
    assert publish(made_bundle(tmp_path / "b")) == 4
    shown = capsys.readouterr().err
    assert "Grant `pull-requests: write`" in shown or "does not accept the token" in shown


@pytest.mark.usefixtures("registry")
def test_one_failure_does_not_keep_the_others(job: Job, hub: FakeHub, tmp_path: Path) -> None:
    forbidden = {"message": "Resource not accessible by integration"}
    hub.faults.append(["POST", "/git/refs", 1, (403, {}, forbidden)])
    one = made_bundle(tmp_path / "one")
    two = made_bundle(tmp_path / "two", playbook="second-mvp", model="aprqa/second-2B")
    assert publish(one, two) == 4
    assert job.outputs["pr-number"] == "1"
    assert hub.repo.pulls[1]["head"] == "aprqa/certify/second-mvp"


def test_a_missing_token_is_named(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.set(GITHUB_TOKEN="")
    assert publish(made_bundle(tmp_path / "b")) == 2
    assert "GITHUB_TOKEN is not set" in capsys.readouterr().err


@pytest.mark.usefixtures("job")
def test_without_pygithub_the_extra_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("client", "git_data", "rest"):
        monkeypatch.delitem(sys.modules, f"aprqa_ci.github.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "github", None)
    assert publish(made_bundle(tmp_path / "b")) == 2
    assert "pip install 'aprqa-ci[github]'" in capsys.readouterr().err


@pytest.mark.usefixtures("job")
def test_outside_of_a_job_there_is_nothing_to_publish_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    assert publish(made_bundle(tmp_path / "b")) == 2
    assert "GITHUB_EVENT_PATH is not set" in capsys.readouterr().err


@pytest.mark.usefixtures("job")
def test_a_certificate_that_its_evidence_does_not_give_is_refused(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = made_bundle(tmp_path / "b", outcomes=FELL)
    path = bundle.directory / "certificate.json"
    forged = json.loads(path.read_bytes()) | {"status": "CERTIFIED", "mqs": 1000, "grade": "A"}
    path.write_text(json.dumps(forged))
    hub.log.clear()
    assert publish(bundle) == 2
    assert "the certificate's status is 'CERTIFIED'" in capsys.readouterr().err
    assert hub.log == []
