import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec

from aprqa_ci.evidence.building import cell_result, host_of, record_of, utc_text
from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.host import HostDescription
from aprqa_ci.execution.result import Cause, EngineRun, Metrics, PassedOver, ScenarioResult
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.redaction import redaction_of
from aprqa_ci.vocabulary import Outcome
from tests.playbooks import planned, playbook_data
from tests.records import NOON, context_of, made_records, result_of

PLAN = planned(playbook_data(test_matrix={"prompts": ["What is 1+1?"], "seed": 3}), tier="smoke")
CELL = PLAN.cells[0]
PROMPT = next(each for each in CELL.scenarios if each.prompt)
CHECK = next(each for each in CELL.scenarios if each.gate_id == "F-PERF-TPS-001")
IDENTIFIER = UUID(int=5)
# The existing tool's fields, in its order.
FIELDS = [
    "id", "gate_id", "scenario", "outcome", "reason", "output", "stderr", "exit_code", "metrics",
    "timestamp", "host", "metadata",
]  # fmt: skip


def test_a_record_has_the_fields_of_the_format() -> None:
    record = record_of(result_of(CELL, PROMPT), context_of(PLAN, "tiny"), identifier=IDENTIFIER)
    raw = json.loads(msgspec.json.encode(record))
    assert list(raw) == FIELDS
    assert raw["id"] == "0" * 31 + "5"
    assert raw["gate_id"] == "F-A1-001"
    assert raw["outcome"] == "Corroborated"
    assert raw["timestamp"] == "2026-01-02T12:00:00.000000Z"
    assert raw["scenario"]["model"] == {"org": "org", "name": "tiny", "variant": None}
    assert raw["scenario"]["prompt"] == "What is 1+1?"
    assert raw["scenario"]["seed"] == 3
    assert raw["scenario"]["trace_level"] == "none"
    assert raw["metadata"]["scenario"] == f"{CELL.id}#001"
    assert raw["metadata"]["invocation"] == "reference model"


def test_a_check_says_what_its_gate_means() -> None:
    record = record_of(result_of(CELL, CHECK), context_of(PLAN, "tiny"), identifier=IDENTIFIER)
    assert record.scenario.prompt == gate_catalogue()["F-PERF-TPS-001"].meaning
    assert record.scenario.oracle_type == "check"
    assert MetadataKey.SUITE not in record.metadata


def test_what_there_is_not_is_left_out_of_the_metadata() -> None:
    result = _skipped()
    record = record_of(result, context_of(PLAN, "tiny", attempt=2), identifier=IDENTIFIER)
    assert set(record.metadata) == {"run_id", "scenario", "cell", "plan", "attempt", "cause"}
    assert record.metadata["cause"] == "infrastructure:engine-missing"
    assert record.metadata["attempt"] == "2"
    assert record.metrics.tokens_per_second is None
    assert record.metrics.duration_ms == 0


def _skipped() -> ScenarioResult:
    return ScenarioResult(
        cell=CELL,
        scenario=CHECK,
        outcome=Outcome.SKIPPED,
        reason="no engine",
        cause=Cause(kind="infrastructure", word="engine-missing"),
        finished_at=NOON,
    )


def test_a_record_tells_conclusions_what_the_result_did() -> None:
    result = ScenarioResult(
        cell=CELL,
        scenario=PROMPT,
        outcome=Outcome.CRASHED,
        reason="gone",
        kind="engine-error",
        cause=Cause(kind="model", word="crash"),
        metrics=Metrics(tokens_per_second=1.23456),
        finished_at=NOON,
    )
    record = record_of(result, context_of(PLAN, "tiny"), identifier=IDENTIFIER)
    assert cell_result(record) == CellResult(
        scenario=PROMPT.id,
        gate_id=PROMPT.gate_id,
        outcome=Outcome.CRASHED,
        kind="engine-error",
        crashed=True,
        cause="model:crash",
        tokens_per_second=1.235,
    )


def test_an_unknown_kind_of_failure_is_none() -> None:
    (record, *_) = made_records(PLAN)
    strange = msgspec.structs.replace(record, metadata=record.metadata | {"kind": "odd"})
    assert cell_result(strange).kind == ""


def test_moments_are_written_in_utc() -> None:
    moment = datetime(2026, 1, 2, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(moment) == "2026-01-01T23:00:00.000000Z"
    assert datetime.fromisoformat(utc_text(moment)) == moment.astimezone(UTC)


def test_the_host_is_the_one_described() -> None:
    described = HostDescription(
        hostname="box",
        os="Debian",
        kernel="6.1",
        cpu="x, 4 cores",
        memory_mb=100,
        gpu="H",
        python="3",
    )
    host = host_of(described, "1.2.3")
    assert host.os == "Debian; 6.1"
    assert host.cpu == "x, 4 cores, 100 MiB"
    assert (host.hostname, host.gpu, host.apr_version) == ("box", "H", "aprqa-ci/1.2.3")


def test_who_was_passed_over_is_told_without_secrets() -> None:
    over = PassedOver(engine="reference", version="1", reason='kind "moe" at s3cr3t-value')
    engine = EngineRun(
        engine="hf",
        version="2",
        device="cpu",
        invocation="x",
        options_digest="ab",
        passed_over=(over,),
    )
    result = replace(result_of(CELL, PROMPT), engine=engine)
    secret = redaction_of({"API_TOKEN": "s3cr3t-value"})
    context = replace(context_of(PLAN, "tiny"), redaction=secret)
    record = record_of(result, context, identifier=IDENTIFIER)
    (found,) = record.passed_over()
    assert (found.engine, found.version) == ("reference", "1")
    assert found.reason.startswith('kind "moe" at ')
    assert "s3cr3t" not in str(record.metadata)
    assert record.metadata["engine_options"] == "ab"
    foreign = msgspec.structs.replace(record, metadata={"engine_passed_over": '{"a": 1}'})
    assert foreign.passed_over() == ()
