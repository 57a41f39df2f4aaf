from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.planning.questions import questions_digest
from aprqa_ci.scoring.certificate import Certificate, baseline_from, build_certificate
from aprqa_ci.vocabulary import Category, Gateway, GatewayState, Outcome, Status
from aprqa_ci.wire import decode_wire, digest_of, pretty_json

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CELL = "book:run-cpu-gguf"


def certify(
    bench: "Bench", plan: Plan, records: list[EvidenceRecord], playbook: str = "book"
) -> Certificate:
    return build_certificate(
        bench.score(records, plan, playbook=playbook),
        plan,
        playbook,
        records,
        evidence_digest="e" * 64,
        model_digests={"gguf-q8_0": {"model.gguf": "a" * 64}, "safetensors": {"w": "b" * 64}},
        tool_version="0.1.0",
    )


def test_it_tells_what_was_tested_and_what_came_of_it(bench: "Bench") -> None:
    plan = bench.plan(playbooks=("book", "other"))
    certificate = certify(bench, plan, bench.evidence(plan, {f"{CELL}#001": Outcome.FALSIFIED}))
    assert certificate.schema == "aprqa-certificate/1"
    assert certificate.model.hf_repo == "org/model"
    assert certificate.model.files["gguf-q8_0"] == {"model.gguf": "a" * 64}
    assert (certificate.playbook.name, certificate.playbook.version) == ("book", "1.0.0")
    assert certificate.plan_digest == plan_digest(plan.for_playbook("book"))
    assert (certificate.evidence_digest, certificate.run_id) == ("e" * 64, "run-1")
    assert (certificate.mqs, certificate.grade, certificate.raw) == (966, "A", 966)
    assert (certificate.status, certificate.certified_tier) == (Status.CERTIFIED, "mvp")
    assert certificate.engines == {"reference": "0.1.0"}
    assert [host.hostname for host in certificate.hosts] == ["box"]
    assert certificate.gateways[Gateway.G4].state is GatewayState.PASSED
    qual = certificate.categories[Category.QUAL]
    assert (qual.tally.planned, qual.tally.corroborated, qual.tally.falsified) == (6, 5, 1)
    assert (certificate.pass_rate.corroborated, certificate.pass_rate.planned) == (25, 26)
    assert certificate.declared_not_run == ("fuzzing",)
    assert certificate.throughput[0].tokens_per_second == 40.0
    assert certificate.obstacles == ()
    assert (certificate.started, certificate.finished) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:25Z",
    )


def test_it_reads_back_as_it_was_written(bench: "Bench") -> None:
    plan = bench.plan(tier="quick")
    outcomes = {
        f"{CELL}#001": Outcome.TIMEOUT,
        f"{CELL}#002": None,
        f"{CELL}#003": Outcome.SKIPPED,
    }
    records = [*bench.evidence(plan, outcomes), bench.record("F-A1-001", number=99, run_id="run-1")]
    certificate = certify(bench, plan, records)
    assert [each.code for each in certificate.penalties] == ["TIMEOUT"]
    assert certificate.coverage.missing == (f"{CELL}#002",)
    assert certificate.coverage.skipped == {f"{CELL}#003": ""}
    assert {each.kind for each in certificate.findings} == {"unknown-scenario", "wrong-plan"}
    again = decode_wire(pretty_json(certificate), Certificate, source="certificate.json")
    assert again == certificate
    assert digest_of(again) == digest_of(certificate)


def test_it_speaks_of_the_newest_run_only(bench: "Bench") -> None:
    plan = bench.plan()
    old = bench.evidence(plan, {f"{CELL}#001": Outcome.FALSIFIED})
    new = bench.evidence(plan, run_id="run-2", start=60)
    other = msgspec.structs.replace(new[0].host, hostname="another")
    new[0] = msgspec.structs.replace(
        new[0], host=other, metadata=new[0].metadata | {"engine_version": "0.2.0"}
    )
    bare = {key: value for key, value in new[1].metadata.items() if key != "engine_version"}
    new[1] = msgspec.structs.replace(new[1], metadata=bare)
    certificate = certify(bench, plan, [*old, *new])
    assert (certificate.run_id, certificate.started) == ("run-2", "2026-01-01T00:01:00Z")
    assert certificate.engines == {"reference": "0.1.0, 0.2.0, unknown"}
    assert [host.hostname for host in certificate.hosts] == ["another", "box"]
    assert certificate.flaky == (f"{CELL}#001",)
    (flaky,) = certificate.flaky_ends
    ends = [(end.run_id, end.attempt, end.outcome, end.reason) for end in flaky.ends]
    assert (flaky.scenario, ends) == (
        f"{CELL}#001",
        [
            ("run-1", 1, Outcome.FALSIFIED, "because"),
            ("run-2", 1, Outcome.CORROBORATED, "because"),
        ],
    )
    evidence = {each.id: each.outcome for each in [*old, *new]}
    assert all(evidence[end.record] is end.outcome for end in flaky.ends)


def test_a_certificate_of_before_the_ends_were_named_is_read(bench: "Bench") -> None:
    plan = bench.plan()
    certificate = certify(bench, plan, bench.evidence(plan))
    data = msgspec.to_builtins(certificate)
    del data["flaky_ends"]
    assert msgspec.convert(data, Certificate) == certificate


def test_a_run_without_records_has_no_time(bench: "Bench") -> None:
    certificate = certify(bench, bench.plan(), [])
    assert certificate.status is Status.INCONCLUSIVE
    assert (certificate.started, certificate.finished, certificate.hosts) == (None, None, ())


def test_a_score_of_another_plan_is_refused(bench: "Bench") -> None:
    plan, other = bench.plan(), bench.plan(tier="full")
    records = bench.evidence(plan)
    with pytest.raises(InputError, match="not of playbook book under this plan"):
        build_certificate(
            bench.score(records, other),
            plan,
            "book",
            records,
            evidence_digest="e" * 64,
            model_digests={},
            tool_version="0.1.0",
        )


def test_unknown_keys_are_refused(bench: "Bench") -> None:
    text = pretty_json(certify(bench, bench.plan(), [])).replace(b'"mqs"', b'"mgs"', 1)
    with pytest.raises(InputError, match=r"certificate\.json"):
        decode_wire(text, Certificate, source="certificate.json")


def test_the_next_run_compares_itself_with_it(bench: "Bench") -> None:
    plan = bench.plan()
    certificate = certify(bench, plan, bench.evidence(plan, {f"{CELL}#001": Outcome.FALSIFIED}))
    baseline = baseline_from(certificate)
    assert baseline.certificate_digest == digest_of(certificate)
    assert baseline.model_digests == {
        "gguf-q8_0/model.gguf": "a" * 64,
        "safetensors/w": "b" * 64,
    }
    cell = baseline.cells[CELL]
    assert cell.tokens_per_second == 40.0
    (asked,) = (each for each in plan.cells if each.id == CELL)
    assert cell.questions == questions_digest(asked)
    assert (baseline.engines, baseline.revision) == (
        certificate.engines,
        certificate.model.revision,
    )
    assert f"{CELL}#002" in cell.corroborated
    assert f"{CELL}#001" not in cell.corroborated
