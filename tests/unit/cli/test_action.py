import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.certification.collecting import artifact_name
from aprqa_ci.cli import action as action_module
from aprqa_ci.errors import TerminatedRunError
from aprqa_ci.evidence.journal import JOURNAL_NAME, Journal, JournalHead
from aprqa_ci.evidence.merging import EVIDENCE_NAME, MANIFEST_NAME, ShardManifest, read_shard
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.files import sha256_file
from aprqa_ci.github.publish import Published
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_records, made_shard
from tests.unit.cli.conftest import Aprqa, Ended

SHA = "a" * 40
SHARDED: Plan = planned(
    playbook_data(
        model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0"]},
        test_matrix={"modalities": ["run", "chat"]},
    ),
    tier="mvp",
    shards=2,
)
EVIDENCE = Path("aprqa-out/evidence")

Action = Callable[..., Ended]


@pytest.fixture
def action(aprqa: Aprqa, monkeypatch: pytest.MonkeyPatch) -> Action:
    """Runs the action in an empty directory; capital keywords are variables, others inputs."""

    def call(command: str, /, payload: Any = None, **given: str) -> Ended:
        Path("event.json").write_text(
            json.dumps(
                {"repository": {"full_name": "org/repo", "default_branch": "main"}}
                | (payload or {})
            )
        )
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            Path(name).unlink(missing_ok=True)
        inputs = {name: text for name, text in given.items() if not name.isupper()}
        variables = {
            "GITHUB_EVENT_PATH": "event.json",
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_REPOSITORY": "org/repo",
            "GITHUB_REF": "refs/heads/topic",
            "GITHUB_SHA": SHA,
            "GITHUB_ACTOR": "someone",
            "GITHUB_RUN_ID": "77",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_OUTPUT": "GITHUB_OUTPUT",
            "GITHUB_STEP_SUMMARY": "GITHUB_STEP_SUMMARY",
            "INPUT_COMMAND": command,
            **{name: text for name, text in given.items() if name.isupper()},
            **{f"INPUT_{name.upper()}": text for name, text in inputs.items()},
        }
        with monkeypatch.context() as patched:
            for name, text in variables.items():
                patched.setenv(name, text)
            return aprqa("action")

    return call


def outputs() -> dict[str, str]:
    text = Path("GITHUB_OUTPUT").read_text()
    found = re.findall(r"^([a-z-]+)<<(aprqa-[0-9a-f]+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)
    return {name: value for name, _, value in found}


def annotations(ended: Ended) -> list[str]:
    """The commands that the runner would obey."""
    stopped: str | None = None
    found = []
    for line in ended.out.splitlines():
        if stopped is None and line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line == f"::{stopped}::":
            stopped = None
        elif stopped is None and line.startswith("::"):
            found.append(line)
    assert stopped is None
    return found


def leave(
    shard: str, attempt: int = 1, *, code: int = 0, outcomes: dict[str, Outcome] | None = None
) -> Path:
    """Leave the plan and a shard's artifact as the steps before a merge do."""
    Path("aprqa-out").mkdir(exist_ok=True)
    Path("aprqa-out/plan.json").write_bytes(pretty_json(SHARDED))
    directory = EVIDENCE / artifact_name(shard, attempt)
    directory.mkdir(parents=True)
    made = made_shard(SHARDED, shard)
    own = {record.metadata["scenario"] for record in made.records}
    records = tuple(
        record
        for record in made_records(SHARDED, outcomes, attempt=attempt)
        if record.metadata["scenario"] in own
    )
    if code:
        records = records[:1]
    digest = write_evidence(directory / EVIDENCE_NAME, records)
    manifest = msgspec.structs.replace(
        made.manifest, attempt=attempt, exit=code, files={EVIDENCE_NAME: digest}
    )
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


def test_a_plan_gives_a_matrix(action: Action, playbook: Path) -> None:
    ended = action("plan", playbooks=str(playbook))
    assert ended.code == 0, ended.out
    told = outputs()
    (entry,) = json.loads(told["matrix"])["include"]
    assert (entry["shard"], entry["runs-on"]) == ("s001", "ubuntu-latest")
    assert told["shard-count"] == "1"
    (group,) = json.loads(told["groups"])["include"]
    assert group["matrix"] == told["matrix"]
    assert (group["group"], group["max-parallel"]) == ("g01 ubuntu-latest", 1)
    assert told["max-parallel"] == "1"
    plan = msgspec.json.decode(Path(told["plan"]).read_bytes(), type=Plan)
    assert plan_digest(plan) == told["plan-digest"]
    assert told["plan-digest"][:12] in Path("GITHUB_STEP_SUMMARY").read_text()


def test_what_fits_nowhere_is_named(action: Action, playbook: Path) -> None:
    Path("small.yml").write_text(
        "schema: aprqa-runners/1\nrunners:\n  - {name: small, runs_on: small, backend: cpu,"
        " self_hosted: true, memory_gb: 0.001, disk_gb: 0.001}\n"
    )
    ended = action("plan", playbooks=str(playbook), runners="small.yml")
    assert ended.code == 0, ended.out
    assert outputs()["shard-count"] == "0"
    assert any("No runner class has room" in each for each in annotations(ended))


@pytest.mark.parametrize("event", ["pull_request_target", "issue_comment"])
def test_nothing_is_run_for_events_that_mix_trust(
    action: Action, playbook: Path, event: str
) -> None:
    ended = action("plan", playbooks=str(playbook), GITHUB_EVENT_NAME=event)
    assert ended.code == 2
    assert any(f"nothing is run for the event {event}" in each for each in annotations(ended))


def test_problems_of_inputs_and_job_are_told_together(action: Action) -> None:
    ended = action("merg", GITHUB_SHA="x")
    assert ended.code == 2
    assert len(annotations(ended)) == 2
    assert ended.err == ""


def test_shards_that_are_all_there_give_a_verdict(action: Action) -> None:
    leave("s001")
    leave("s002")
    ended = action("merge", plan_digest=plan_digest(SHARDED))
    assert ended.code == 0, ended.out
    told = outputs()
    assert (told["verdict"], told["status"], told["mqs"]) == ("good", "CERTIFIED", "1000")
    assert Path(told["certificate"]).exists()
    assert "CERTIFIED" in Path("GITHUB_STEP_SUMMARY").read_text()


def test_another_plan_is_refused(action: Action) -> None:
    leave("s001")
    ended = action("merge", plan_digest="b" * 64)
    assert ended.code == 2
    assert "not the one that was made" in annotations(ended)[0]


def test_a_missing_shard_is_no_verdict(action: Action) -> None:
    leave("s001")
    (EVIDENCE / "evidence-s002-a1").mkdir()
    ended = action("merge")
    assert ended.code == 3
    assert outputs()["verdict"] == "inconclusive"
    told = "\n".join(annotations(ended))
    assert "died without a manifest::evidence-s002-a1" in told
    assert "left no evidence::s002" in told


def test_a_shard_that_died_and_was_run_again_is_no_error(action: Action) -> None:
    leave("s001")
    (EVIDENCE / "evidence-s002-a1").mkdir()
    leave("s002", 2)
    ended = action("merge")
    assert ended.code == 0, ended.out
    assert "evidence-s002-a1 died without a manifest; a later attempt came to its end" in ended.out
    assert not [each for each in annotations(ended) if each.startswith("::error")]


def test_without_any_evidence_there_is_no_verdict(action: Action) -> None:
    leave("s001").rename("elsewhere")
    assert action("merge").code == 3


def test_a_shard_that_was_ended_is_merged_and_no_verdict(action: Action) -> None:
    leave("s001")
    leave("s002", code=143)
    ended = action("merge")
    assert ended.code == 3
    assert any("s002 a1 (exit 143)" in each for each in annotations(ended))


def test_failed_jobs_can_be_run_again(action: Action) -> None:
    leave("s001")
    leave("s002", code=143)
    leave("s002", 2)
    ended = action("merge")
    assert ended.code == 0, ended.out
    assert "s002 a1 does not count: a better attempt is there" in ended.out


def test_all_jobs_run_again_do_not_hide_a_failure(action: Action) -> None:
    wrong = SHARDED.cells[0].scenarios[-1].id
    for shard in ("s001", "s002"):
        leave(shard, outcomes={wrong: Outcome.FALSIFIED})
        leave(shard, 2)
    ended = action("merge")
    told = f"{wrong}: attempt 1 Falsified, attempt 2 Corroborated"
    assert f"flaky: {told}" in ended.out
    certificate = json.loads(Path(outputs()["certificate"]).read_bytes())
    assert certificate["flaky"] == [wrong]
    assert certificate["pass_rate"]["rate"] < 1
    summary = Path("GITHUB_STEP_SUMMARY").read_text()
    assert "Flaky: attempts ended in different ways (1)" in summary
    assert "attempt 1 Falsified, attempt 2 Corroborated" in summary


def test_a_plan_that_was_made_anew_leaves_the_earlier_attempts_out(action: Action) -> None:
    for shard in ("s001", "s002"):
        path = leave(shard) / MANIFEST_NAME
        manifest = msgspec.json.decode(path.read_bytes(), type=ShardManifest)
        path.write_bytes(pretty_json(msgspec.structs.replace(manifest, plan_digest="0" * 64)))
        leave(shard, 2)
    ended = action("merge")
    assert ended.code == 0, ended.out
    assert "s001 a1 does not count: it ran the plan of an earlier attempt" in ended.out


def test_evidence_that_was_tampered_with_is_refused(action: Action) -> None:
    leave("s001")
    evidence = leave("s002") / EVIDENCE_NAME
    evidence.write_bytes(evidence.read_bytes().replace(b"because", b"becalse", 1))
    ended = action("merge")
    assert ended.code == 2
    assert "not the one that the manifest names" in annotations(ended)[0]
    assert not Path("GITHUB_OUTPUT").exists()


def test_a_model_that_falls_short(action: Action) -> None:
    cell = SHARDED.cells[0].id
    for shard in ("s001", "s002"):
        leave(shard, outcomes={f"{cell}#G1-LOAD": Outcome.FALSIFIED})
    ended = action("merge")
    assert ended.code == 1
    assert outputs()["status"] == "BLOCKED"
    _not_attested, verdict, gateway = annotations(ended)
    assert verdict.startswith("::error title=tiny%3A BLOCKED 0")
    path = SHARDED.playbooks[0].path
    assert gateway.startswith(f"::error title=tiny%3A gateway G1 failed,file={path},line=1::")
    assert gateway.endswith(f"1 Falsified; it is {cell}#G1-LOAD: because")


def test_a_report_ends_well_whatever_the_verdict(action: Action) -> None:
    leave("s001")
    ended = action("report", plan="aprqa-out/plan.json", evidence=str(EVIDENCE))
    assert any("was not tested" in each for each in annotations(ended))
    assert ended.code == 0, ended.out
    assert outputs()["verdict"] == "inconclusive"


def test_a_reporter_annotates_the_verdict_alone(action: Action) -> None:
    leave("s001")
    run = {"id": 5, "event": "pull_request", "head_sha": SHA, "head_branch": "topic"}
    run["head_repository"] = {"full_name": "someone/fork", "owner": {"login": "someone"}}
    ended = action(
        "report",
        {"action": "completed", "workflow_run": run},
        GITHUB_EVENT_NAME="workflow_run",
        plan="aprqa-out/plan.json",
        evidence=str(EVIDENCE),
    )
    told = "\n".join(annotations(ended))
    assert "INCONCLUSIVE" in told
    assert "was not tested" not in told


def test_what_is_not_delivered_has_its_own_code(
    action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Published:
        return Published(lines=("::error::x",), outputs={}, runs=(), failures=("no right",))

    monkeypatch.setattr(action_module, "publish", refused)
    leave("s001")
    leave("s002")
    ended = action("merge", publish="auto")
    assert ended.code == 4
    assert outputs()["verdict"] == "good"
    told = annotations(ended)
    assert any("Not delivered::no right" in each for each in told)
    assert "::error::x" not in told


def test_the_verdict_goes_before_delivery(action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Published(lines=(), outputs={}, runs=(), failures=("no right",))
    monkeypatch.setattr(action_module, "publish", lambda *_, **__: lost)
    leave("s001")
    assert action("merge", publish="auto").code == 3


def test_a_fault_of_ours_is_no_verdict_and_gives_no_orders(
    action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        msg = "\n::error::from a model"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(action_module, "collect_shards", broken)
    leave("s001")
    ended = action("merge")
    assert ended.code == 3
    assert "ZeroDivisionError" in ended.out
    assert ended.err == ""
    (told,) = annotations(ended)
    assert "a fault of aprqa" in told


def test_a_shard_that_is_terminated_leaves_what_it_knows(
    action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = made_shard(SHARDED, "s001").records

    def ended_in_the_middle(plan: Plan, shard: str, *, out: Path, **_: Any) -> None:
        del shard
        head = JournalHead(
            run_id="r", plan_digest=plan_digest(plan), started="2026-01-02T03:04:05Z"
        )
        with Journal(out / JOURNAL_NAME, head, resume=False) as journal:
            journal.append(records[0])
        msg = "terminated"
        raise TerminatedRunError(msg)

    monkeypatch.setattr(action_module, "run_shard", ended_in_the_middle)
    leave("s001")
    stale = Path("aprqa-out/shard/stale.json")
    stale.parent.mkdir()
    stale.touch()
    ended = action("run", shard="s001")
    assert ended.code == 143
    assert not stale.exists()
    shard = read_shard(Path("aprqa-out/shard"))
    assert shard.records == records[:1]
    assert (shard.manifest.exit, shard.manifest.attempt) == (143, 2)


def test_a_shard_that_there_is_not_leaves_nothing(action: Action) -> None:
    leave("s001")
    ended = action("run", shard="s999")
    assert ended.code == 2
    assert not Path("aprqa-out/shard").exists()


def test_a_model_that_is_nowhere_is_no_error_of_the_shard(action: Action, playbook: Path) -> None:
    action("plan", playbooks=str(playbook))
    ended = action("run", shard="s001", GITHUB_RUN_ATTEMPT="3")
    assert ended.code == 0, ended.out
    assert any("::warning" in each for each in annotations(ended))
    manifest = read_shard(Path("aprqa-out/shard")).manifest
    assert (manifest.attempt, manifest.exit) == (3, 0)
    (shard,) = read_plan(Path("aprqa-out/plan.json")).shards
    assert manifest.runner == shard.runner is not None


def test_all_in_one_job(action: Action, playbook: Path) -> None:
    ended = action("certify", playbooks=str(playbook))
    assert ended.code == 3, ended.out
    assert outputs()["status"] == "INCONCLUSIVE"


ATTESTED = Path("aprqa-out/attestations/tiny")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing that takes everything; what is done with GitHub is tested elsewhere."""
    done = Published(lines=(), outputs={}, runs=(), failures=())
    monkeypatch.setattr(action_module, "publish", lambda *_, **__: done)


@pytest.mark.usefixtures("published")
def test_what_is_published_is_made_ready_to_be_attested(action: Action) -> None:
    leave("s001")
    leave("s002")
    assert action("merge", publish="auto", artifact_prefix="x-").code == 0
    (entry,) = json.loads(outputs()["attest"])
    assert (entry["bundle"], entry["artifact"]) == ("tiny", "x-attestations-a2")
    assert entry["predicate"] == sha256_file(ATTESTED / "predicate.json")
    assert entry["subjects"] == sha256_file(ATTESTED / "subjects.sha256")
    statement = json.loads((ATTESTED / "statement.json").read_bytes())
    assert statement["predicate"] == json.loads((ATTESTED / "predicate.json").read_bytes())
    assert statement["predicate"]["url"] == (
        "https://github.com/org/repo/actions/runs/77/attempts/2"
    )
    lines = (ATTESTED / "subjects.sha256").read_text().splitlines()
    told = {line[66:]: {"sha256": line[:64]} for line in lines}
    assert told == {each["name"]: each["digest"] for each in statement["subject"]}


@pytest.mark.usefixtures("published")
def test_a_verdict_against_the_model_is_attested_too(action: Action) -> None:
    failed = {f"{SHARDED.cells[0].id}#G1-LOAD": Outcome.FALSIFIED}
    leave("s001", outcomes=failed)
    leave("s002", outcomes=failed)
    assert action("merge", publish="auto").code == 1
    assert json.loads(outputs()["attest"])
    assert json.loads((ATTESTED / "predicate.json").read_bytes())["result"] == "FAILED"


FORK = {
    "pull_request": {
        "number": 7,
        "head": {"sha": SHA, "ref": "patch", "repo": {"full_name": "mallory/repo"}},
        "base": {"sha": SHA, "ref": "main", "repo": {"full_name": "org/repo"}},
    }
}


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("given", "payload", "why"),
    [
        ({"publish": "none"}, None, "nothing is published"),
        ({"publish": "auto", "attest": "false"}, None, "as was asked"),
        ({"publish": "auto", "GITHUB_EVENT_NAME": "pull_request"}, FORK, "a run for a fork"),
    ],
)
def test_where_nothing_is_attested_a_notice_says_why(
    action: Action, given: dict[str, str], payload: Any, why: str
) -> None:
    leave("s001")
    leave("s002")
    ATTESTED.mkdir(parents=True)  # of an earlier run on the same machine
    ended = action("merge", payload, **given)
    assert ended.code == 0, ended.out
    assert outputs()["attest"] == ""
    assert not ATTESTED.exists()
    (notice,) = (each for each in annotations(ended) if "Not attested" in each)
    assert notice.startswith("::notice ")
    assert why in notice


@pytest.mark.usefixtures("published")
def test_without_a_verdict_nothing_is_attested(action: Action) -> None:
    leave("s001")
    leave("s002", code=3)
    ended = action("merge", publish="auto")
    assert ended.code == 3
    assert outputs()["attest"] == ""
    (notice,) = (each for each in annotations(ended) if "Not attested" in each)
    assert "there is no verdict" in notice
