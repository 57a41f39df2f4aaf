"""Gates that a playbook defines: when they hold, and what they can and cannot do to a score."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from aprqa_ci.certification.bundle import with_own_gates
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.falsification import category_of_gate
from aprqa_ci.planning.plan import GroundTruth, OracleSpec, Plan, PlannedGate, PromptCase
from aprqa_ci.playbook.conditions.catalogue import fact_catalogue
from aprqa_ci.scoring.certificate import build_certificate
from aprqa_ci.scoring.recorded_facts import CELL_FACTS, RUN_FACTS, SCENARIO_FACTS
from aprqa_ci.scoring.score import ScenarioScore, Score
from aprqa_ci.vocabulary import (
    Backend,
    Gateway,
    GatewayState,
    Modality,
    ModelFormat,
    Outcome,
    Severity,
    Status,
)
from aprqa_ci.wire import pretty_json

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

Change = Callable[[EvidenceRecord], EvidenceRecord]
CHECKS = (
    "F-STAB-REPEAT-001",
    "F-STAB-MEMORY-001",
    "F-STAB-HEALTH-001",
    "F-STAB-CLIENTS-001",
    "F-PERF-TPS-001",
    "F-PERF-TTFT-001",
    "F-PERF-P50-001",
    "F-PERF-P99-001",
    "F-COMP-AGREE-001",
    "F-REGR-ROUNDTRIP-001",
)
FIGURES: dict[str, dict[str, Any]] = {
    "F-STAB-MEMORY-001": {"resident_mb": [100, 102]},
    "F-STAB-HEALTH-001": {"status": 200},
    "F-STAB-CLIENTS-001": {"together": ["a", "b", "", "c"]},
    "F-PERF-P50-001": {"p50": 120.0},
    "F-PERF-P99-001": {"p99": 250.0},
    "F-COMP-AGREE-001": {"answers": ["one two", "three"], "ground_truth": ["one two", "three"]},
}


def gate(condition: str, *, name: str = "F-X-001", severity: str = "P1") -> PlannedGate:
    return PlannedGate(
        id=name,
        scenario=f"book#{name}",
        gate_id=f"playbook:{name}",
        category=category_of_gate(name),
        severity=Severity(severity),
        description="what it asks",
        condition=condition,
    )


def with_gates(plan: Plan, *gates: PlannedGate, **changes: Any) -> Plan:
    book = msgspec.structs.replace(plan.playbooks[0], gates=gates, **changes)
    return msgspec.structs.replace(plan, playbooks=(book,))


def facts(record: EvidenceRecord) -> EvidenceRecord:
    """Give the record what such a record holds in a real run."""
    replace = msgspec.structs.replace
    if record.gate_id in FIGURES:
        return replace(record, output=json.dumps(FIGURES[record.gate_id]))
    metrics = replace(record.metrics, time_to_first_token_ms=80.0, total_tokens=2)
    prompt = record.gate_id.startswith(("F-A", "F-EDGE"))
    return replace(record, metrics=metrics, exit_code=0 if prompt else None)


def verdict(
    bench: "Bench",
    condition: str,
    change: Change = lambda record: record,
    *,
    drop: Sequence[str] = (),
    outcomes: dict[str, Outcome] | None = None,
    plan: Plan | None = None,
) -> ScenarioScore:
    plan = with_gates(plan or bench.plan(checks=CHECKS), gate(condition))
    records = [
        change(facts(record))
        for record in bench.evidence(plan, outcomes)
        if record.meta(MetadataKey.SCENARIO) not in drop
    ]
    score = bench.score(records, plan)
    (found,) = [entry for entry in score.scenarios if entry.own_gate is not None]
    return found


def test_every_fact_that_is_offered_is_read_from_somewhere() -> None:
    offered = {name: entry for name, entry in fact_catalogue().items() if entry.offered}
    readers = {"scenario": SCENARIO_FACTS, "cell": CELL_FACTS, "run": RUN_FACTS}
    for name, entry in offered.items():
        assert name in readers[entry.of], name
    assert sum(map(len, readers.values())) == len(offered)


@pytest.mark.parametrize(
    "condition",
    [
        "loaded",
        "!load_error",
        "stable",
        "reproducible",
        "run(seed=42) == run(seed=42)",
        "has_output",
        "valid_output",
        "correct",
        "!error && !crash && !timeout && !panic",
        "output == '4' && stdout == output && stderr.len() == 0",
        "prompt.contains('2+2')",
        "exit_code == 0",
        "!is_garbage(output)",
        "is_coherent(output)",
        "arithmetic_oracle(prompt, output)",
        "arithmetic_passes",
        "output_tokens <= max_tokens",
        "duration_ms == 5",
        "modality == 'run' && backend == 'cpu'",
        "format == 'gguf' => quantization == 'q8_0'",
        "format == 'safetensors' => quantization == 'none'",
        "tps == 40 && current_tps == 40",
        "ttft == 80",
        "p50_ms == 120 && p99_ms == 250",
        "memory_growth_rate == 0.02",
        "health_check == 200",
        "concurrent_success_rate == 0.75",
        "cpu_tps == 40",
        "all_formats_pass && all_quants_pass",
    ],
)
def test_conditions_that_hold(bench: "Bench", condition: str) -> None:
    found = verdict(bench, condition)
    assert (found.outcome, found.cause) == (Outcome.CORROBORATED, ""), found.reason


BAD = "book:run-cpu-gguf#002"


@pytest.mark.parametrize(
    ("condition", "field", "value"),
    [
        ("output.len() > 0", "output", ""),
        ("!is_garbage(output)", "output", "   "),
        ("!is_garbage(output)", "output", "ha " * 200),
        ("valid_output", "output", ""),
        ("is_coherent(output)", "output", ""),
        ("arithmetic_oracle(prompt, output)", "output", "5"),
        ("arithmetic_passes", "output", "5"),
        ("exit_code == 0", "exit_code", 8),
        ("!panic", "exit_code", 101),
        ("!panic", "stderr", "thread 'main' panicked at x"),
        ("!stderr.contains('boom')", "stderr", "boom"),
        ("!crash", "outcome", Outcome.CRASHED),
        ("!timeout", "outcome", Outcome.TIMEOUT),
        ("!error", "outcome", Outcome.TIMEOUT),
        ("correct", "outcome", Outcome.FALSIFIED),
    ],
)
def test_one_prompt_that_does_not_hold_falsifies(
    bench: "Bench", condition: str, field: str, value: object
) -> None:
    def spoil(record: EvidenceRecord) -> EvidenceRecord:
        if record.meta(MetadataKey.SCENARIO) != BAD:
            return record
        return msgspec.structs.replace(record, **{field: value})

    found = verdict(bench, condition, spoil)
    assert found.outcome is Outcome.FALSIFIED
    assert found.reason == f"does not hold in 1 of 8: {BAD}"


@pytest.mark.parametrize(
    ("condition", "outcomes"),
    [
        ("loaded", {"book:run-cpu-gguf#G1-LOAD": Outcome.FALSIFIED}),
        ("stable", {"book:run-cpu-gguf#G3-STABLE": Outcome.FALSIFIED}),
        ("reproducible", {"book:run-cpu-gguf#F-STAB-REPEAT-001": Outcome.FALSIFIED}),
        ("all_formats_pass", {"book:run-cpu-safetensors#G4-GARBAGE": Outcome.FALSIFIED}),
        ("all_quants_pass", {"book:run-cpu-gguf#G2-BASIC": Outcome.FALSIFIED}),
        ("tps > 41 || load_error", {}),
    ],
)
def test_one_cell_that_does_not_hold_falsifies(
    bench: "Bench", condition: str, outcomes: dict[str, Outcome]
) -> None:
    assert verdict(bench, condition, outcomes=outcomes).outcome is Outcome.FALSIFIED


def test_over_nothing_nothing_is_shown(bench: "Bench") -> None:
    found = verdict(bench, "backend == 'gpu' => tps > 0")
    assert (found.outcome, found.cause) == (Outcome.SKIPPED, "policy:not-judged")
    assert "applies to nothing" in found.reason
    found = verdict(bench, "syntax_check(output)")
    assert found.outcome is Outcome.SKIPPED
    # Answers too short for it have no relevance, good or bad.
    assert verdict(bench, "relevance_score >= 0").outcome is Outcome.SKIPPED


def test_all_quantizations_of_none_is_not_known(bench: "Bench") -> None:
    plan = bench.plan(checks=CHECKS, formats=(ModelFormat.SAFETENSORS,))
    found = verdict(bench, "all_quants_pass", plan=plan)
    assert found.outcome is Outcome.SKIPPED


def test_code_is_judged_where_code_was_asked_for(bench: "Bench") -> None:
    plan = bench.plan(checks=CHECKS)
    cells = tuple(
        msgspec.structs.replace(
            cell,
            scenarios=tuple(
                msgspec.structs.replace(
                    each,
                    prompt=PromptCase(
                        turns=("Write a Python function f(a).",),
                        oracle=OracleSpec(kind="code_syntax", config={"language": "python"}),
                    ),
                )
                if each.id.endswith("#003")
                else each
                for each in cell.scenarios
            ),
        )
        for cell in plan.cells
    )
    plan = msgspec.structs.replace(plan, cells=cells)

    def say(text: str) -> Change:
        return lambda record: (
            msgspec.structs.replace(record, output=text)
            if record.metadata["scenario"].endswith("#003")
            else record
        )

    good = "def f(a):\n    return a\n"
    assert verdict(bench, "code_passes", say(good), plan=plan).outcome is Outcome.CORROBORATED
    found = verdict(bench, "syntax_check(output)", say("def f(a:\n  return"), plan=plan)
    assert found.outcome is Outcome.FALSIFIED
    assert "2 of 2" in found.reason


def test_what_was_not_tried_never_holds(bench: "Bench") -> None:
    for condition in ("output.len() > 0", "!crash", "exit_code == 0"):
        assert verdict(bench, condition, drop=[BAD]).outcome is Outcome.SKIPPED
        skipped = verdict(bench, condition, outcomes={BAD: Outcome.SKIPPED})
        assert (skipped.outcome, skipped.cause) == (Outcome.SKIPPED, "policy:not-judged")
        assert "1 case could not be judged" in skipped.reason
    load = "book:run-cpu-gguf#G1-LOAD"
    assert verdict(bench, "loaded", outcomes={load: Outcome.SKIPPED}).outcome is Outcome.SKIPPED
    assert verdict(bench, "all_formats_pass", drop=[load]).outcome is Outcome.SKIPPED


def test_an_answer_that_no_oracle_judges_is_an_answer(bench: "Bench") -> None:
    def unjudged(record: EvidenceRecord) -> EvidenceRecord:
        if record.meta(MetadataKey.SCENARIO) != BAD:
            return record
        told = record.metadata | {"cause": "policy:no-oracle-applies"}
        return msgspec.structs.replace(record, outcome=Outcome.SKIPPED, metadata=told)

    assert verdict(bench, "output.len() > 0", unjudged).outcome is Outcome.CORROBORATED
    assert verdict(bench, "correct", unjudged).outcome is Outcome.SKIPPED


@pytest.mark.parametrize("output", ["", "[]", "no json", "{}", '{"resident_mb": ["a", 1]}'])
def test_figures_that_are_not_there_hold_nothing(bench: "Bench", output: str) -> None:
    def spoil(record: EvidenceRecord) -> EvidenceRecord:
        return msgspec.structs.replace(record, output=output)

    for condition in ("memory_growth_rate < 1", "health_check == 200", "p99_ms < 1e9"):
        assert verdict(bench, condition, spoil).outcome is Outcome.SKIPPED
    found = verdict(bench, "concurrent_success_rate > 0", spoil)
    assert found.outcome is Outcome.SKIPPED


def serve_and_gpu(plan: Plan) -> Plan:
    cells = []
    for cell in plan.cells:
        name = cell.id.replace("run-cpu", "serve-gpu")
        scenarios = tuple(
            msgspec.structs.replace(each, id=each.id.replace("run-cpu", "serve-gpu"))
            for each in cell.scenarios
        )
        cells += [
            cell,
            msgspec.structs.replace(
                cell,
                id=name,
                modality=Modality.SERVE,
                backend=Backend.GPU,
                scenarios=scenarios,
            ),
        ]
    return msgspec.structs.replace(plan, cells=tuple(cells))


def test_facts_of_several_backends_and_of_servers(bench: "Bench") -> None:
    plan = serve_and_gpu(bench.plan(checks=CHECKS))
    truth = GroundTruth(format=ModelFormat.SAFETENSORS)
    plan = with_gates(plan, ground_truth=truth)

    def faster(record: EvidenceRecord) -> EvidenceRecord:
        if "serve-gpu" not in record.metadata["scenario"]:
            return record
        metrics = msgspec.structs.replace(record.metrics, tokens_per_second=100.0)
        return msgspec.structs.replace(record, metrics=metrics)

    assert (
        verdict(bench, "gpu_tps / cpu_tps == 2.5", faster, plan=plan).outcome
        is Outcome.CORROBORATED
    )
    assert verdict(bench, "completions_valid_json", plan=plan).outcome is Outcome.CORROBORATED
    down = {"book:serve-gpu-gguf#G2-BASIC": Outcome.FALSIFIED}
    found = verdict(bench, "completions_valid_json", outcomes=down, plan=plan)
    assert (found.outcome, found.reason) == (
        Outcome.FALSIFIED,
        "does not hold in 1 of 2: book:serve-gpu-gguf",
    )
    for condition in ("cpu_output ≈ gpu_output", "safetensors_output ≈ gguf_output"):
        assert verdict(bench, condition, plan=plan).outcome is Outcome.CORROBORATED, condition

    def other_words(record: EvidenceRecord) -> EvidenceRecord:
        if record.metadata["scenario"] != "book:serve-gpu-gguf#F-COMP-AGREE-001":
            return record
        said = {"answers": ["ten eleven", "twelve"], "ground_truth": ["one two", "three"]}
        return msgspec.structs.replace(record, output=json.dumps(said))

    for condition in ("cpu_output ≈ gpu_output", "safetensors_output ≈ gguf_output"):
        assert verdict(bench, condition, other_words, plan=plan).outcome is Outcome.FALSIFIED


def test_answers_with_nothing_beside_them_are_not_compared(bench: "Bench") -> None:
    found = verdict(bench, "cpu_output ≈ gpu_output")
    assert (found.outcome, found.cause) == (Outcome.SKIPPED, "policy:not-judged")

    def silent(record: EvidenceRecord) -> EvidenceRecord:
        if record.gate_id != "F-COMP-AGREE-001":
            return record
        said = {"answers": ["", ""], "ground_truth": ["", ""]}
        return msgspec.structs.replace(record, output=json.dumps(said))

    plan = serve_and_gpu(bench.plan(checks=CHECKS))
    # Two empty answers agree on nothing.
    found = verdict(bench, "cpu_output ≈ gpu_output", silent, plan=plan)
    assert found.outcome is Outcome.FALSIFIED


def test_answers_to_different_numbers_of_prompts_do_not_agree(bench: "Bench") -> None:
    def fewer(record: EvidenceRecord) -> EvidenceRecord:
        if record.metadata["scenario"] != "book:serve-gpu-gguf#F-COMP-AGREE-001":
            return record
        said = {"answers": ["one two"], "ground_truth": ["one two", 3]}
        return msgspec.structs.replace(record, output=json.dumps(said))

    plan = serve_and_gpu(bench.plan(checks=CHECKS))
    found = verdict(bench, "cpu_output ≈ gpu_output", fewer, plan=plan)
    assert found.outcome is Outcome.FALSIFIED
    # The same answers under two names are no two answers.
    found = verdict(bench, "safetensors_output ≈ gguf_output", plan=bench.plan(checks=()))
    assert found.outcome is Outcome.SKIPPED


def test_throughput_is_compared_with_the_accepted_one(bench: "Bench") -> None:
    plan = bench.plan(checks=CHECKS, formats=(ModelFormat.GGUF,))
    condition = "current_tps / baseline_tps > 0.9"
    assert verdict(bench, condition, plan=plan).outcome is Outcome.SKIPPED
    for before, outcome in (
        (42.0, Outcome.CORROBORATED),
        (80.0, Outcome.FALSIFIED),
        (None, Outcome.SKIPPED),
        (0.0, Outcome.SKIPPED),
    ):
        cell = BaselineCell(corroborated=(), tokens_per_second=before)
        baseline = Baseline(certificate_digest="c", cells={"book:run-cpu-gguf": cell})
        book = msgspec.structs.replace(plan.playbooks[0], baseline=baseline)
        with_baseline = msgspec.structs.replace(plan, playbooks=(book,))
        assert verdict(bench, condition, plan=with_baseline).outcome is outcome


def test_unicode_is_what_its_prompts_show(bench: "Bench") -> None:
    plan = bench.plan(checks=CHECKS, prompts=("F-A1-001", "F-EDGE-UNICODE-001"))
    name = "book:run-cpu-gguf#002"
    for outcomes, outcome in (
        ({}, Outcome.CORROBORATED),
        ({name: Outcome.FALSIFIED}, Outcome.FALSIFIED),
        ({name: Outcome.SKIPPED}, Outcome.SKIPPED),
    ):
        found = verdict(bench, "unicode_output_valid", outcomes=outcomes, plan=plan)
        assert found.outcome is outcome
    # Of no such prompt at all, that is not known.
    assert verdict(bench, "unicode_output_valid").outcome is Outcome.SKIPPED


def test_settings_that_no_oracle_takes_judge_nothing(bench: "Bench") -> None:
    plan = bench.plan(checks=CHECKS)
    wrong = OracleSpec(kind="arithmetic", config={"nonsense": 1})
    cells = tuple(
        msgspec.structs.replace(
            cell,
            scenarios=tuple(
                msgspec.structs.replace(
                    each, prompt=msgspec.structs.replace(each.prompt, oracle=wrong)
                )
                if each.prompt is not None
                else each
                for each in cell.scenarios
            ),
        )
        for cell in plan.cells
    )
    found = verdict(bench, "arithmetic_passes", plan=msgspec.structs.replace(plan, cells=cells))
    assert (found.outcome, found.cause) == (Outcome.SKIPPED, "policy:not-judged")


# What a gate does to the score.


def scored(bench: "Bench", plan: Plan, outcomes: dict[str, Outcome] | None = None) -> Score:
    return bench.score([facts(record) for record in bench.evidence(plan, outcomes)], plan)


def test_gates_that_hold_earn_nothing(bench: "Bench") -> None:
    wrong = {BAD: Outcome.FALSIFIED}
    plain = scored(bench, bench.plan(checks=CHECKS), wrong)
    many = [gate("output.len() > 0", name=f"F-QUAL-{number}") for number in range(50)]
    padded = scored(bench, with_gates(bench.plan(checks=CHECKS), *many), wrong)
    assert padded.mqs == plain.mqs < 1000
    assert padded.pass_rate == plain.pass_rate
    assert padded.categories == plain.categories
    assert len(padded.scenarios) == len(plain.scenarios) + 50


def test_a_gate_that_fails_costs_points(bench: "Bench") -> None:
    plain = scored(bench, bench.plan(checks=CHECKS))
    failing = scored(bench, with_gates(bench.plan(checks=CHECKS), gate("tps > 50")))
    assert plain.mqs == 1000
    assert failing.mqs < plain.mqs
    assert failing.totals.falsified == 1


def test_a_p0_gate_that_fails_blocks(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("tps > 50", severity="P0"))
    score = scored(bench, plan)
    assert score.status is Status.BLOCKED
    assert "The playbook's gate F-X-001 (P0) failed: does not hold in 2 of 2" in score.obstacles[0]
    assert all(entry.state is GatewayState.PASSED for entry in score.gateways.values())


def test_a_gate_that_is_not_judged_keeps_a_run_from_being_certified(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("syntax_check(output)"))
    score = scored(bench, plan)
    assert score.status is Status.PROVISIONAL
    assert score.coverage.skipped == {"book#F-X-001": "policy:not-judged"}


def test_a_gate_called_like_a_gateway_passes_nothing(bench: "Bench") -> None:
    name = "book:run-cpu-gguf#G1-LOAD"
    own = gate("output.len() > 0", name="G1-LOAD", severity="P0")
    plan = with_gates(bench.plan(checks=CHECKS), own)
    failed = scored(bench, plan, {name: Outcome.FALSIFIED})
    assert failed.gateways[Gateway.G1].state is GatewayState.FAILED
    assert failed.mqs == 0
    # And a plan that lacks the real one is not helped by it.
    cells = tuple(
        msgspec.structs.replace(
            cell, scenarios=tuple(each for each in cell.scenarios if each.gate_id != "G1-LOAD")
        )
        for cell in plan.cells
    )
    bare = scored(bench, msgspec.structs.replace(plan, cells=cells))
    assert bare.gateways[Gateway.G1].state is GatewayState.NOT_EVALUATED


def test_a_gateway_that_is_off_is_never_passed(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), switched_off=(Gateway.G4,))
    score = scored(bench, plan)
    assert score.gateways[Gateway.G4].state is GatewayState.NOT_EVALUATED
    assert score.status is Status.BLOCKED
    assert score.obstacles == (
        "Gateway G4 was not evaluated: the playbook switches it off, so no run of it can pass it",
    )
    failed = scored(bench, plan, {"book:run-cpu-gguf#G4-GARBAGE": Outcome.FALSIFIED})
    assert failed.gateways[Gateway.G4].state is GatewayState.FAILED
    assert failed.mqs == 0


# Evidence and certificate.


def bundle_records(bench: "Bench", plan: Plan) -> tuple[EvidenceRecord, ...]:
    return with_own_gates(tuple(facts(record) for record in bench.evidence(plan)), plan)


def test_the_verdict_stands_in_the_evidence(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("loaded"), gate("tps > 50", name="F-P"))
    records = bundle_records(bench, plan)
    own = records[-2:]
    assert [record.gate_id for record in own] == ["playbook:F-X-001", "playbook:F-P"]
    assert [record.outcome for record in own] == [Outcome.CORROBORATED, Outcome.FALSIFIED]
    assert own[0].scenario.prompt == "loaded"
    assert own[0].meta(MetadataKey.SCENARIO) == "book#F-X-001"
    # Written again, they are the same; and the score is that of the facts alone.
    assert with_own_gates(records, plan) == records
    score = bench.score(records, plan)
    assert score.findings == ()
    assert score.mqs == bench.score(records[:-2], plan).mqs
    assert [entry.records for entry in score.scenarios[-2:]] == [(own[0].id,), (own[1].id,)]


def test_records_of_an_earlier_run_stay(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("loaded"))
    first = bundle_records(bench, plan)
    second = tuple(map(facts, bench.evidence(plan, run_id="run-2", start=1000)))
    both = with_own_gates((*first, *second), plan)
    assert both[: len(first)] == first
    assert len(both) == 2 * len(first)
    assert len({record.id for record in both}) == len(both)


def test_a_verdict_that_the_facts_do_not_bear_out_is_a_finding(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("tps > 50"))
    *rest, own = bundle_records(bench, plan)
    forged = msgspec.structs.replace(own, outcome=Outcome.CORROBORATED)
    score = bench.score([*rest, forged], plan)
    assert [finding.kind for finding in score.findings] == ["unfounded-verdict"]
    assert score.findings[0].subjects == ("book#F-X-001",)
    assert score.scenarios[-1].outcome is Outcome.FALSIFIED
    assert score.status is Status.BLOCKED


def test_without_a_plan_a_gate_of_a_playbook_counts_nowhere(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("tps > 50"))
    records = bundle_records(bench, plan)
    score = bench.score(records, None)
    assert score.findings == ()
    assert score.mqs == bench.score(records[:-1], None).mqs


def test_the_certificate_names_each_gate(bench: "Bench") -> None:
    plan = with_gates(bench.plan(checks=CHECKS), gate("loaded"), gate("tps > 50", name="F-P"))
    records = bundle_records(bench, plan)

    def certificate(plan: Plan) -> bytes:
        made = build_certificate(
            bench.score(records, plan),
            plan,
            "book",
            records,
            evidence_digest="e",
            model_digests={},
            tool_version="0",
        )
        return pretty_json(made)

    told = json.loads(certificate(plan))
    assert [(each["id"], each["outcome"]) for each in told["gates"]] == [
        ("F-X-001", "Corroborated"),
        ("F-P", "Falsified"),
    ]
    assert told["gates"][1]["condition"] == "tps > 50"
    # A certificate of a playbook without gates of its own is written as it always was.
    assert b'"gates"' not in certificate(bench.plan(checks=CHECKS))


def test_a_condition_that_nobody_checked_is_not_judged(bench: "Bench") -> None:
    found = verdict(bench, "tps >")
    assert (found.outcome, found.cause) == (Outcome.SKIPPED, "policy:not-judged")
    assert found.reason.startswith("the condition cannot be read: ")
