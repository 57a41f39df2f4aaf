import dataclasses
from typing import TYPE_CHECKING, Literal

import msgspec
import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import SharePolicy, load_policy
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import (
    Backend,
    Category,
    Gateway,
    GatewayState,
    ModelFormat,
    Outcome,
    Status,
)

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CELL = "book:run-cpu-gguf"
OTHER = "book:run-cpu-safetensors"


def test_a_perfect_certifying_run_is_certified(bench: "Bench") -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan), plan)
    assert (score.mqs, score.raw, score.grade) == (1000, 1000, "A")
    assert (score.status, score.certified_tier, score.verdict) == (Status.CERTIFIED, "mvp", "good")
    assert score.gateways_passed
    assert not score.obstacles
    assert not score.findings
    assert not score.flaky
    assert (score.model_id, score.playbook, score.run_id) == ("org/model", "book", "run-1")
    assert (score.policy, score.policy_version) == ("aprqa-1", 1)
    assert score.declared_not_run == ("fuzzing",)
    assert (score.totals.planned, score.totals.corroborated) == (26, 26)
    assert (score.pass_rate.rate, score.pass_rate.high) == (1.0, 1.0)
    assert score.pass_rate.low == pytest.approx(0.8713, abs=1e-4)


def test_category_points_are_the_share_of_what_was_planned(bench: "Bench") -> None:
    plan = bench.plan()
    outcomes = {
        f"{CELL}#001": Outcome.FALSIFIED,
        f"{CELL}#002": Outcome.SKIPPED,
        f"{OTHER}#F-COMP-AGREE-001": Outcome.FALSIFIED,
    }
    score = bench.score(bench.evidence(plan, outcomes), plan)
    # 200 * 4/6 + 150 + 200 + 150/2 + 150 + 150 = 858.33, rounded down.
    assert (score.mqs, score.grade) == (858, "B")
    qual = score.categories[Category.QUAL]
    assert (qual.tally.planned, qual.tally.falsified, qual.tally.skipped) == (6, 1, 1)
    assert [qual.points, qual.maximum] == pytest.approx([133.3333, 200.0], abs=1e-3)
    assert score.categories[Category.COMP].points == 75.0


def test_weights_are_renormalised_over_the_planned_categories(bench: "Bench") -> None:
    plan = bench.plan(checks=("F-PERF-TPS-001",), prompts=("F-A1-001",))
    score = bench.score(bench.evidence(plan, {f"{CELL}#001": Outcome.FALSIFIED}), plan)
    # QUAL 200 and PERF 150 alone: 1000 * (200/350 * 1/2 + 150/350) = 714.28
    assert score.mqs == 714
    assert score.categories[Category.PERF].maximum == pytest.approx(428.571, abs=1e-3)
    assert not score.categories[Category.REGR].counts
    assert score.categories[Category.REGR].maximum == 0.0


def test_a_score_is_never_rounded_up_to_a_limit(bench: "Bench") -> None:
    plan = bench.plan(prompts=("F-A1-001",) * 1001, checks=(), formats=(ModelFormat.GGUF,))
    wrong = {f"{CELL}#{number:03d}": Outcome.FALSIFIED for number in range(1, 202)}
    score = bench.score(bench.evidence(plan, wrong), plan)
    assert score.mqs == 799  # 800 of 1001 are right: 799.2
    assert score.status is Status.BLOCKED


def test_timeouts_cost_their_share_and_ten_points_and_never_go_below_zero(bench: "Bench") -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan, {f"{CELL}#F-PERF-TPS-001": Outcome.TIMEOUT}), plan)
    assert (score.subtotal, score.raw, score.mqs) == (925, 915, 915)
    assert [(each.code, each.points, each.scenario) for each in score.penalties] == [
        ("TIMEOUT", 10, f"{CELL}#F-PERF-TPS-001")
    ]
    many = bench.plan(prompts=("F-A1-001",) * 120, checks=())
    slow = {
        scenario.id: Outcome.TIMEOUT
        for cell in many.cells
        for scenario in cell.scenarios
        if scenario.prompt
    }
    assert bench.score(bench.evidence(many, slow), many).mqs == 0


def test_a_failed_gateway_zeroes_the_score_and_says_what_it_would_be(bench: "Bench") -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan, {f"{CELL}#G4-GARBAGE": Outcome.FALSIFIED}), plan)
    assert (score.mqs, score.raw, score.grade) == (0, 1000, "F")
    assert (score.status, score.verdict) == (Status.BLOCKED, "fell_short")
    assert score.obstacles[0].startswith("Gateway G4 failed: G4-GARBAGE Falsified: because")
    assert score.certified_tier == "none"


def test_a_lost_shard_is_inconclusive_and_named(bench: "Bench") -> None:
    plan = bench.plan()
    lost: dict[str, Outcome | None] = {each.id: None for each in plan.cells[1].scenarios}
    score = bench.score(bench.evidence(plan, lost), plan)
    assert (score.status, score.verdict) == (Status.INCONCLUSIVE, "inconclusive")
    assert score.coverage.missing == tuple(each.id for each in plan.cells[1].scenarios)
    assert (score.coverage.planned, score.coverage.recorded) == (26, 13)
    assert "no record of 13 planned scenarios" in score.obstacles[0]
    assert score.cells[OTHER].tally.missing == 13
    assert score.gateways[Gateway.G2].state is GatewayState.NOT_EVALUATED


def test_no_evidence_of_a_plan_is_inconclusive(bench: "Bench") -> None:
    score = bench.score([], bench.plan())
    assert (score.mqs, score.status, score.run_id) == (0, Status.INCONCLUSIVE, None)


def test_a_skip_for_the_machines_sake_is_inconclusive(bench: "Bench") -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    causes = {name: "infrastructure:engine-missing"}
    score = bench.score(bench.evidence(plan, {name: Outcome.SKIPPED}, causes=causes), plan)
    assert score.status is Status.INCONCLUSIVE
    assert "infrastructure:engine-missing" in score.obstacles[0]
    assert score.coverage.skipped == causes


def test_a_gateway_failure_is_a_verdict_even_in_an_incomplete_run(bench: "Bench") -> None:
    plan = bench.plan()
    outcomes = {f"{CELL}#G1-LOAD": Outcome.FALSIFIED, f"{OTHER}#001": None}
    assert bench.score(bench.evidence(plan, outcomes), plan).status is Status.BLOCKED


@pytest.mark.parametrize("cause", ["model:no-chat-template", "policy:stopped", None])
def test_any_other_skip_leaves_it_provisional(bench: "Bench", cause: str | None) -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    causes = {} if cause is None else {name: cause}
    score = bench.score(bench.evidence(plan, {name: Outcome.SKIPPED}, causes=causes), plan)
    assert (score.mqs, score.status) == (966, Status.PROVISIONAL)
    assert name in score.obstacles[0]


def test_below_the_limit_is_blocked(bench: "Bench") -> None:
    plan = bench.plan()
    wrong = {
        scenario.id: Outcome.FALSIFIED
        for cell in plan.cells
        for scenario in cell.scenarios
        if scenario.gate_id == "F-A1-001" or scenario.id == f"{CELL}#F-PERF-TPS-001"
    }
    score = bench.score(bench.evidence(plan, wrong), plan)
    assert (score.mqs, score.grade, score.status) == (725, "C", Status.BLOCKED)
    below, measured = score.obstacles
    assert below == "The score is 725; a certificate needs 800"
    assert measured.endswith(f"1 measurement did not: {CELL}#F-PERF-TPS-001 (because)")


@pytest.mark.parametrize("outcome", [Outcome.FALSIFIED, Outcome.TIMEOUT], ids=str)
def test_a_measurement_that_does_not_hold_is_blocked_whatever_the_score(
    bench: "Bench", outcome: Outcome
) -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan, {f"{CELL}#F-PERF-TPS-001": outcome}), plan)
    assert score.mqs >= 800
    assert score.gateways_passed
    assert (score.status, score.certified_tier) == (Status.BLOCKED, "none")
    assert len(score.obstacles) == 1
    assert "F-PERF-TPS-001" in score.obstacles[0]


def test_a_wrong_answer_among_many_is_no_measurement(bench: "Bench") -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan, {f"{CELL}#001": Outcome.FALSIFIED}), plan)
    assert score.status is Status.CERTIFIED


@pytest.mark.parametrize("tier", ["quick", "smoke", "no such tier"])
def test_a_tier_that_does_not_certify_is_provisional(bench: "Bench", tier: str) -> None:
    plan = bench.plan(tier=tier)
    score = bench.score(bench.evidence(plan), plan)
    assert (score.status, score.verdict) == (Status.PROVISIONAL, "good")
    assert score.obstacles == (f"Tier {tier} does not certify",)
    assert score.certified_tier == "none"


def test_a_narrowed_run_is_provisional(bench: "Bench") -> None:
    plan = bench.plan(narrowed=True)
    score = bench.score(bench.evidence(plan), plan)
    assert (score.status, score.narrowed) == (Status.PROVISIONAL, True)
    assert len(score.obstacles) == 1


def test_without_a_plan_it_is_provisional(bench: "Bench") -> None:
    score = bench.score(bench.evidence(bench.plan()), None, playbook="book")
    assert (score.mqs, score.status, score.playbook) == (1000, Status.PROVISIONAL, "book")
    assert (score.tier, score.plan_digest) == (None, None)
    assert score.obstacles == ("There is no plan, so nothing shows what is missing",)


def test_nothing_at_all_is_blocked(bench: "Bench") -> None:
    score = bench.score([], None)
    assert (score.mqs, score.grade, score.status) == (0, "F", Status.BLOCKED)
    assert score.model_id == "unknown"
    assert (score.pass_rate.rate, score.pass_rate.low, score.pass_rate.high) == (0.0, 0.0, 1.0)


def test_findings_about_the_evidence_bar_a_certificate(bench: "Bench") -> None:
    plan = bench.plan()
    records = bench.evidence(plan)
    again = msgspec.structs.replace(records[2], id="f" * 32)
    score = bench.score([*records, again], plan)
    assert (score.mqs, score.status) == (1000, Status.BLOCKED)
    assert [finding.kind for finding in score.findings] == ["duplicate"]
    assert score.obstacles == (f"Evidence: {score.findings[0].text}",)


def test_all_obstacles_are_named_not_only_the_first(bench: "Bench") -> None:
    plan = bench.plan(tier="quick", narrowed=True)
    outcomes = {
        f"{CELL}#G1-LOAD": Outcome.FALSIFIED,
        f"{CELL}#G2-BASIC": Outcome.SKIPPED,
        f"{CELL}#001": None,
    }
    stray = bench.record("F-A1-001", number=999, run_id="run-1")
    obstacles = bench.score([*bench.evidence(plan, outcomes), stray], plan).obstacles
    starts = ["Gateway G1 failed", "There is no record", "The score is 0", "Gateway G2 was not",
              "Evidence: records that belong", "Evidence: records that do not name",
              "Tier quick", "The run was narrowed", "Skipped, and so not tested"]  # fmt: skip
    pairs = zip(obstacles, starts, strict=True)
    assert [obstacle for obstacle, start in pairs if not obstacle.startswith(start)] == []


def test_the_newest_run_is_scored_and_older_ones_show_flakiness(bench: "Bench") -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    old = bench.evidence(plan, {name: Outcome.FALSIFIED}, run_id="run-1")
    new = bench.evidence(plan, run_id="run-2", start=100)
    score = bench.score([*new, *old], plan)
    assert (score.run_id, score.mqs, score.status) == ("run-2", 1000, Status.CERTIFIED)
    assert [each.scenario for each in score.flaky] == [name]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Outcome.FALSIFIED, Outcome.CORROBORATED),
        (Outcome.CORROBORATED, Outcome.FALSIFIED),
        (Outcome.CRASHED, Outcome.CORROBORATED),
        (Outcome.TIMEOUT, Outcome.CORROBORATED),
    ],
)
def test_the_policy_says_which_attempt_at_a_flaky_scenario_counts(
    bench: "Bench", first: Outcome, second: Outcome
) -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    policy = load_policy()
    assert isinstance(policy, SharePolicy)
    assert policy.flaky == "falsify"
    once = bench.evidence(plan, {name: second})
    again = bench.record(
        "F-A1-001",
        first,
        number=900,
        scenario=name,
        plan=once[0].metadata["plan"],
        run_id="run-1",
        attempt="1",
    )
    once = [
        msgspec.structs.replace(each, metadata=each.metadata | {"attempt": "2"}) for each in once
    ]

    def scored(flaky: Literal["falsify", "report"]) -> Score:
        chosen = msgspec.structs.replace(policy, flaky=flaky)
        return score_evidence([*once, again], plan=plan, playbook=None, policy=chosen)

    worst, newest = scored("falsify"), scored("report")
    assert worst.flaky == newest.flaky
    assert [end.outcome for end in worst.flaky[0].ends] == [first, second]
    outcome = {each.scenario: each.outcome for each in newest.scenarios}[name]
    assert outcome is second
    assert newest == dataclasses.replace(bench.score(once, plan), flaky=newest.flaky)
    assert {each.scenario: each.outcome for each in worst.scenarios}[name] is not (
        Outcome.CORROBORATED
    )
    assert worst.mqs < 1000
    assert (worst.gateways[Gateway.G3].state is GatewayState.FAILED) == (
        Outcome.CRASHED in {first, second}
    )


def test_each_playbook_of_a_plan_is_scored_by_its_own_records(bench: "Bench") -> None:
    plan = bench.plan(playbooks=("book", "other"))
    name = "other:run-cpu-gguf#G1-LOAD"
    records = bench.evidence(plan, {name: Outcome.FALSIFIED})
    assert bench.score(records, plan, playbook="book").status is Status.CERTIFIED
    assert bench.score(records, plan, playbook="other").status is Status.BLOCKED
    alone = plan.for_playbook("book")
    mine = [each for each in records if each.metadata["scenario"].startswith("book:")]
    assert bench.score(mine, alone) == bench.score(records, plan, playbook="book")


@pytest.mark.parametrize("playbook", [None, "bok"])
def test_a_playbook_that_is_not_clear_is_a_user_mistake(
    bench: "Bench", playbook: str | None
) -> None:
    plan = bench.plan(playbooks=("book", "other"))
    with pytest.raises(InputError, match="book"):
        bench.score([], plan, playbook=playbook)


def test_the_model_is_the_one_most_records_speak_of(bench: "Bench") -> None:
    records = [
        bench.record("F-A1-001", number=number, model=model)
        for number, model in enumerate(["conversion/test"] * 3 + ["b/x", "a/x", "c/x"])
    ]
    assert bench.score(records, None).model_id == "a/x"
    assert bench.score(records[:3], None).model_id == "conversion/test"


def test_cells_and_throughput_come_from_the_throughput_measurements(bench: "Bench") -> None:
    plan = bench.plan(checks=("F-PERF-TPS-001",), formats=(ModelFormat.GGUF,))
    records = bench.evidence(plan, {f"{CELL}#002": Outcome.FALSIFIED})
    score = bench.score(records, plan)
    cell = score.cells[CELL]
    assert (cell.quantization, cell.tokens_per_second) == ("q8_0", 40.0)
    assert f"{CELL}#001" in cell.corroborated
    assert f"{CELL}#002" not in cell.corroborated
    (speed,) = score.throughput
    assert (speed.format, speed.backend) == (ModelFormat.GGUF, Backend.CPU)
    assert (speed.tokens_per_second, speed.measurements) == (40.0, 1)


def test_throughput_is_the_median_over_the_cells(bench: "Bench") -> None:
    records = [
        bench.record("F-PERF-TPS-001", number=number, tokens_per_second=speed)
        for number, speed in enumerate([1.0, 50.0, 3.0, None])
    ]
    (speed,) = bench.score(records, None).throughput
    assert (speed.tokens_per_second, speed.measurements) == (3.0, 3)


def test_cells_of_foreign_evidence_are_named_by_what_it_says(bench: "Bench") -> None:
    records = [bench.record("F-A1-001", number=1), bench.record("F-A1-001", number=2)]
    score = bench.score(records, None)
    assert list(score.cells) == ["run-cpu-gguf"]
    assert score.cells["run-cpu-gguf"].tally.corroborated == 2
