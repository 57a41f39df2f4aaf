import json
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.merging import EVIDENCE_NAME, MANIFEST_NAME
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.planning.plan import PlacedOut, Plan, digest_for_playbook
from aprqa_ci.vocabulary import Outcome, Status
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_shard

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

PLAN = planned(
    playbook_data(test_matrix={"modalities": ["run", "chat", "serve"]}), tier="mvp", shards=3
)


def write(
    directory: Path,
    name: str,
    *,
    attempt: int = 1,
    plan: Plan = PLAN,
    outcomes: Mapping[str, Outcome] | None = None,
) -> Path:
    shard = made_shard(plan, name, attempt=attempt, outcomes=outcomes)
    digest = write_evidence(directory / EVIDENCE_NAME, shard.records)
    manifest = msgspec.structs.replace(shard.manifest, files={EVIDENCE_NAME: digest})
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    (tmp_path / "plan.json").write_bytes(pretty_json(PLAN))
    return [write(tmp_path / shard.id, shard.id) for shard in PLAN.shards]


def test_shards_in_any_order_give_the_same_verdict(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path
) -> None:
    told = set()
    for number, order in enumerate(permutations(shards)):
        ended = aprqa("merge", *order, "--plan", "plan.json", "-o", f"out{number}")
        assert ended.code == 0
        told.add(ended.out.replace(f"out{number}", "out"))
        assert "status CERTIFIED" in ended.out
        certificate = json.loads((tmp_path / f"out{number}/tiny/certificate.json").read_bytes())
        assert certificate["mqs"] == 1000
        assert certificate["coverage"]["missing"] == []
        assert (tmp_path / f"out{number}/tiny/report.md").exists()
    assert len(told) == 1


def test_the_number_of_processes_changes_nothing(aprqa: "Aprqa", tmp_path: Path) -> None:
    plan = planned(*(playbook_data(name) for name in ("one", "two", "three")), shards=4)
    (tmp_path / "plan.json").write_bytes(pretty_json(plan))
    wrong = plan.cells[0].scenarios[0].id
    places = [write(tmp_path / shard.id, shard.id, plan=plan) for shard in plan.shards]
    places[0] = write(tmp_path / "again", "s001", attempt=2, plan=plan)
    places.append(write(tmp_path / "s001", "s001", plan=plan, outcomes={wrong: Outcome.CRASHED}))
    told, written = [], []
    for workers in (1, 2, 5):
        out = f"out{workers}"
        ended = aprqa(
            "merge", *places[::-1], "--plan", "plan.json", "-o", out, "--workers", workers
        )
        told.append((ended.code, ended.out.replace(out, "out"), ended.err))
        files = sorted((tmp_path / out).rglob("*.*"))
        written.append({str(each.relative_to(tmp_path / out)): each.read_bytes() for each in files})
    assert told[0][0] == 1
    certified = [name for name in written[0] if name.endswith("accepted-certificate.json")]
    assert (len(written[0]), len(certified)) == (3 * 7 + 2, 2)
    assert told[0] == told[1] == told[2]
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_written_where_one_record_is_not_as_it_was(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path, workers: int
) -> None:
    path = shards[2] / EVIDENCE_NAME
    path.write_bytes(path.read_bytes().replace(b"Corroborated", b"Falsified   ", 1))
    ended = aprqa("merge", *shards, "--plan", "plan.json", "-o", "out", "--workers", workers)
    assert ended.code == 2
    assert "the file is not the one that the manifest names" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_missing_shard_is_named_and_leaves_no_verdict(aprqa: "Aprqa", shards: list[Path]) -> None:
    ended = aprqa("merge", shards[0], shards[2], "--plan", "plan.json", "-o", "out")
    assert ended.code == 3
    assert ended.out.startswith("missing: shard s002\n")
    assert "status INCONCLUSIVE" in ended.out


def test_an_older_attempt_is_left_out_and_named(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path
) -> None:
    again = write(tmp_path / "again", "s002", attempt=2)
    ended = aprqa("merge", *shards, again, "--plan", "plan.json", "-o", "out")
    assert ended.code == 0
    assert ended.out.startswith("s002 a1 does not count: a better attempt is there\n")


def test_running_again_until_it_is_right_does_not_hide_the_failure(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path
) -> None:
    wrong = next(
        each.id for cell in PLAN.cells for each in cell.scenarios if each.gate_id == "G1-LOAD"
    )
    name = next(shard.id for shard in PLAN.shards if wrong.partition("#")[0] in shard.cells)
    first = write(tmp_path / "first", name, outcomes={wrong: Outcome.FALSIFIED})
    second = write(tmp_path / "second", name, attempt=2)
    others = [shard for shard in shards if shard.name != name]
    ended = aprqa("merge", second, first, *others, "--plan", "plan.json", "-o", "out")
    assert ended.code == 1
    told = f"flaky: {wrong}: attempt 1 Falsified, attempt 2 Corroborated"
    assert told in ended.out
    bundle = tmp_path / "out" / "tiny"
    certificate = json.loads((bundle / "certificate.json").read_bytes())
    assert certificate["status"] == "BLOCKED"
    assert certificate["gateways"]["G1"]["state"] == "failed"
    assert certificate["flaky"] == [wrong]
    ends = certificate["flaky_ends"][0]["ends"]
    assert [(end["attempt"], end["outcome"]) for end in ends] == [
        (1, "Falsified"),
        (2, "Corroborated"),
    ]
    assert "Flaky: attempts ended in different ways" in (bundle / "report.md").read_text()
    assert "attempt 1 Falsified, attempt 2 Corroborated" in (bundle / "junit.xml").read_text()
    report = json.loads((bundle / "report.json").read_bytes())
    assert report["certificate"]["flaky_ends"] == certificate["flaky_ends"]
    # Whoever has the bundle alone comes to the same.
    again = aprqa("score", bundle, "--explain")
    assert (again.code, told in again.out, f"0.00  {told}" in again.out) == (1, True, True)
    summary = json.loads(aprqa("score", bundle, "--json").out)
    assert summary["flaky"] == {wrong: ["Falsified", "Corroborated"]}
    assert read_bundle(bundle).score.flaky[0].scenario == wrong


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("unplaced", "No runner class has room for 1 cell, not tested: {cell} (it"),
        (
            "deferred",
            "Deferred to a run of the repository's own: 1 cell, not tested: {cell} (it",
        ),
    ],
)
def test_what_is_in_no_shard_is_named_everywhere_and_blocks_the_certificate(
    aprqa: "Aprqa", tmp_path: Path, field: str, told: str
) -> None:
    left, *others = PLAN.shards
    (cell,) = left.cells
    out = {field: (PlacedOut(cell=cell, reason="it is *too* large"),)}
    plan = msgspec.structs.replace(PLAN, shards=tuple(others), **out)
    (tmp_path / "plan.json").write_bytes(pretty_json(plan))
    places = [write(tmp_path / shard.id, shard.id, plan=plan) for shard in others]
    ended = aprqa("merge", *places, "--plan", "plan.json", "-o", "out")
    assert ended.code == 3
    assert told.format(cell=cell) in ended.out
    assert "There is no record of" not in ended.out
    bundle = tmp_path / "out" / "tiny"
    certificate = json.loads((bundle / "certificate.json").read_bytes())
    assert certificate[field] == [{"cell": cell, "reason": "it is *too* large"}]
    assert certificate["status"] == "INCONCLUSIVE"
    # The same test on other machines is the same test.
    assert certificate["plan_digest"] == digest_for_playbook(PLAN, "tiny")
    report = json.loads((bundle / "report.json").read_bytes())
    missing = [each for each in report["scenarios"] if each["outcome"] == "missing"]
    assert {each["cell"] for each in missing} == {cell}
    assert all("it is *too* large" in each["reason"] for each in missing)
    assert "it is \\*too\\* large" in (bundle / "report.md").read_text()
    assert "no record of it: " in (bundle / "junit.xml").read_text()
    again = aprqa("score", bundle)
    assert (again.code, told.format(cell=cell) in again.out) == (3, True)
    assert read_bundle(bundle).score.status is Status.INCONCLUSIVE
    changed = json.loads((bundle / "plan.json").read_bytes()) | {field: []}
    (bundle / "plan.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=f"`{field}` is not what plan and evidence give"):
        read_bundle(bundle)


def test_a_cell_that_was_run_all_the_same_is_not_called_left_out(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    out = PlacedOut(cell=PLAN.cells[0].id, reason="too large")
    plan = msgspec.structs.replace(PLAN, unplaced=(out,))
    (tmp_path / "plan.json").write_bytes(pretty_json(plan))
    places = [write(tmp_path / shard.id, shard.id, plan=plan) for shard in plan.shards]
    assert aprqa("merge", *places, "--plan", "plan.json", "-o", "out").code == 0
    assert read_bundle(tmp_path / "out" / "tiny").certificate.unplaced == ()


def test_every_problem_is_told_and_nothing_is_written(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path
) -> None:
    other = planned(playbook_data(), tier="quick")
    foreign = write(tmp_path / "foreign", "s001", plan=other)
    ended = aprqa("merge", *shards, foreign, shards[1], "--plan", "plan.json", "-o", "out")
    assert ended.code == 2
    assert "ran another plan" in ended.err
    assert "shard s002 attempt 1 is given twice" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_no_shard_is_bad_input(
    aprqa: "Aprqa", shards: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ended = aprqa("merge", *shards, "empty", "--plan", "plan.json", "-o", "out")
    assert ended.code == 2
    assert (
        "error: empty: there is no shard here: no manifest.json (name each shard's directory)"
        in ended.err
    )


def test_a_plan_that_is_not_there_is_bad_input(aprqa: "Aprqa", shards: list[Path]) -> None:
    ended = aprqa("merge", *shards, "--plan", "paln.json", "-o", "out")
    assert ended.code == 2
    assert "error: paln.json: cannot read the file" in ended.err
