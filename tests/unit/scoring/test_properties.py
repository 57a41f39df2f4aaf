"""What must hold for any evidence: nothing untested or worse ever helps."""

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.scoring.explain import explain
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import GatewayState, Outcome, Status

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

RANK = {
    Status.BLOCKED: 0,
    Status.INCONCLUSIVE: 0,
    Status.PROVISIONAL: 1,
    Status.CERTIFIED: 2,
}
CAUSES = ("infrastructure:no-memory", "model:not-loaded", "policy:stopped", None)
POLICIES = ("aprqa-1", "apr-qa-0")
SCENARIOS = 26
WORSE = [outcome for outcome in Outcome if outcome is not Outcome.CORROBORATED]

# One failed gateway leaves no points, so most examples are of runs with few scenarios that were not
# right: else nearly all compare nothing with nothing, and a wrong rule would not show.
ends = st.sampled_from([*Outcome, None])
differing = st.dictionaries(st.integers(0, SCENARIOS - 1), ends, max_size=3)
endings = st.one_of(
    differing.map(lambda differ: [differ.get(n, Outcome.CORROBORATED) for n in range(SCENARIOS)]),
    st.lists(ends, min_size=SCENARIOS, max_size=SCENARIOS),
)
causes = st.lists(st.sampled_from(CAUSES), min_size=SCENARIOS, max_size=SCENARIOS)
instants = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
few = settings(max_examples=80, deadline=None)


def evidence(
    bench: "Bench",
    plan: Plan,
    outcomes: list[Outcome | None],
    told: list[str | None],
) -> list[EvidenceRecord]:
    names = [scenario.id for cell in plan.cells for scenario in cell.scenarios]
    assert len(names) == SCENARIOS
    return bench.evidence(
        plan,
        dict(zip(names, outcomes, strict=True)),
        causes={
            name: cause
            for name, cause, outcome in zip(names, told, outcomes, strict=True)
            if cause and outcome is Outcome.SKIPPED
        },
    )


def not_better(after: Score, before: Score) -> None:
    assert after.mqs <= before.mqs
    assert RANK[after.status] <= RANK[before.status]


def changed(
    records: list[EvidenceRecord], index: int, outcome: Outcome, cause: str | None
) -> list[EvidenceRecord]:
    metadata = records[index].metadata | ({"cause": cause} if cause else {})
    other = msgspec.structs.replace(records[index], outcome=outcome, metadata=metadata)
    return [*records[:index], other, *records[index + 1 :]]


@few
@given(outcomes=endings, told=causes, data=st.data(), planned=st.booleans())
def test_turning_a_pass_into_anything_else_never_helps(
    bench: "Bench",
    outcomes: list[Outcome | None],
    told: list[str | None],
    data: st.DataObject,
    planned: bool,
) -> None:
    plan = bench.plan()
    records = evidence(bench, plan, outcomes, told)
    passes = [n for n, each in enumerate(records) if each.outcome is Outcome.CORROBORATED]
    if not passes:
        return
    index = data.draw(st.sampled_from(passes))
    worse = data.draw(st.sampled_from(WORSE))
    after = changed(records, index, worse, data.draw(st.sampled_from(CAUSES)))
    held = plan if planned else None
    not_better(bench.score(after, held), bench.score(records, held))


@few
@given(outcomes=endings, told=causes, data=st.data())
def test_dropping_a_record_never_helps(
    bench: "Bench", outcomes: list[Outcome | None], told: list[str | None], data: st.DataObject
) -> None:
    plan = bench.plan()
    records = evidence(bench, plan, outcomes, told)
    if not records:
        return
    index = data.draw(st.integers(0, len(records) - 1))
    before = bench.score(records, plan)
    after = bench.score(records[:index] + records[index + 1 :], plan)
    assert RANK[after.status] <= RANK[before.status]
    assert after.status in {Status.BLOCKED, Status.INCONCLUSIVE}
    # A failure that nobody reports cannot fail a gateway, but it leaves no verdict either.
    if not records[index].outcome.is_failure:
        assert after.mqs <= before.mqs


@few
@given(
    outcomes=endings,
    told=causes,
    data=st.data(),
    cause=st.sampled_from(CAUSES),
    attempt=st.sampled_from([None, "1", "2"]),
    planned=st.booleans(),
)
def test_adding_a_skipped_record_never_helps(
    bench: "Bench",
    *,
    outcomes: list[Outcome | None],
    told: list[str | None],
    data: st.DataObject,
    cause: str | None,
    attempt: str | None,
    planned: bool,
) -> None:
    plan = bench.plan()
    records = evidence(bench, plan, outcomes, told)
    names = [scenario for cell in plan.cells for scenario in cell.scenarios]
    target = data.draw(st.sampled_from(names))
    skip = bench.record(
        target.gate_id,
        Outcome.SKIPPED,
        number=500,
        scenario=data.draw(st.sampled_from([target.id, "unheard of", None])),
        plan=plan_digest(plan),
        run_id=data.draw(st.sampled_from(["run-1", "run-2"])),
        cause=cause,
        attempt=attempt,
    )
    held = plan if planned else None
    before, after = bench.score(records, held), bench.score([*records, skip], held)
    assert after.mqs <= before.mqs
    if before.status is not Status.CERTIFIED:
        assert after.status is not Status.CERTIFIED
    if target.id not in before.coverage.missing:
        not_better(after, before)


@few
@given(outcomes=endings, told=causes, seed=st.randoms(use_true_random=False))
@pytest.mark.parametrize("policy", POLICIES)
def test_the_order_of_the_records_changes_nothing(
    bench: "Bench",
    policy: str,
    outcomes: list[Outcome | None],
    told: list[str | None],
    seed: "object",
) -> None:
    plan = bench.plan()
    records = evidence(bench, plan, outcomes, told)
    records += [msgspec.structs.replace(each, outcome=Outcome.FALSIFIED) for each in records[::7]]
    shuffled = records.copy()
    seed.shuffle(shuffled)  # type: ignore[attr-defined] # a random.Random, typed too widely
    for held in (plan, None):
        assert bench.score(shuffled, held, policy=policy) == bench.score(
            records, held, policy=policy
        )


@few
@given(outcomes=endings, told=causes)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_explanation_adds_up_and_names_every_loss(
    bench: "Bench", policy: str, outcomes: list[Outcome | None], told: list[str | None]
) -> None:
    plan = bench.plan()
    score = bench.score(evidence(bench, plan, outcomes, told), plan, policy=policy)
    lines = explain(score)
    assert sum((line.points for line in lines), start=Fraction(0)) == score.mqs
    lost = [line.scenario for line in lines if line.kind == "lost"]
    assert sorted(map(str, lost)) == sorted(
        each.scenario for each in score.scenarios if each.category and not each.earned
    )
    assert all(line.points < 0 for line in lines if line.kind in {"lost", "penalty", "gateway"})
    assert sum(line.points for line in lines if line.kind == "available") == 1000
    for line in lines:
        if line.kind == "rounding":
            assert abs(line.points) < 1 if policy == "aprqa-1" else abs(line.points) <= 3
            assert policy != "aprqa-1" or line.points < 0


@few
@given(outcomes=endings, told=causes)
def test_what_is_certified_has_earned_it(
    bench: "Bench", outcomes: list[Outcome | None], told: list[str | None]
) -> None:
    plan = bench.plan()
    score = bench.score(evidence(bench, plan, outcomes, told), plan)
    assert 0 <= score.mqs <= score.raw <= 1000
    failed = any(each.state is GatewayState.FAILED for each in score.gateways.values())
    assert not failed or (score.mqs, score.status) == (0, Status.BLOCKED)
    earned = (
        score.mqs >= 800
        and score.gateways_passed
        and None not in outcomes
        and Outcome.SKIPPED not in outcomes
        and all(
            each.earned or not gate_catalogue()[each.gate_id].must_hold for each in score.scenarios
        )
    )
    assert (score.status is Status.CERTIFIED) == earned
    assert (score.obstacles == ()) == earned
    assert score.totals.planned == SCENARIOS


@few
@given(outcomes=endings, told=causes, data=st.data())
def test_clocks_that_jump_change_no_verdict(
    bench: "Bench", outcomes: list[Outcome | None], told: list[str | None], data: st.DataObject
) -> None:
    plan = bench.plan()
    records = evidence(bench, plan, outcomes, told)
    times = data.draw(st.lists(instants, min_size=len(records), max_size=len(records)))
    jumped = [
        msgspec.structs.replace(record, timestamp=time)
        for record, time in zip(records, times, strict=True)
    ]
    before, after = bench.score(records, plan), bench.score(jumped, plan)
    assert (after.mqs, after.status) == (before.mqs, before.status)
    states = [{name: each.state for name, each in one.gateways.items()} for one in (before, after)]
    assert states[0] == states[1]
    ends = [{(each.scenario, each.outcome) for each in one.scenarios} for one in (before, after)]
    assert ends[0] == ends[1]
