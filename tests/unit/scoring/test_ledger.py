from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci.planning.plan import plan_digest
from aprqa_ci.scoring.ledger import planned_ledger, record_ledger, unplanned_ledger
from aprqa_ci.vocabulary import Category, Gateway, Outcome

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CELL = "book:run-cpu-gguf"


def test_perfect_evidence_fills_every_scenario_in_plan_order(bench: "Bench") -> None:
    plan = bench.plan()
    ledger = planned_ledger(reversed(bench.evidence(plan)), plan)
    planned = [scenario.id for cell in plan.cells for scenario in cell.scenarios]
    assert [entry.scenario for entry in ledger.scenarios] == planned
    assert all(entry.outcome is Outcome.CORROBORATED and entry.earned for entry in ledger.scenarios)
    assert ledger.findings == ()
    assert [len(ledger.by_gateway(gateway)) for gateway in Gateway] == [2, 2, 2, 2, 2]
    assert [len(ledger.by_category(name)) for name in Category] == [6, 2, 2, 2, 2, 2]


def test_a_scenario_without_a_record_is_missing_and_earns_nothing(bench: "Bench") -> None:
    plan = bench.plan()
    ledger = planned_ledger(bench.evidence(plan, {f"{CELL}#002": None}), plan)
    (missing,) = [entry for entry in ledger.scenarios if entry.outcome is None]
    assert (missing.scenario, missing.outcome_text, missing.earned) == (
        f"{CELL}#002",
        "missing",
        False,
    )
    assert missing.records == ()


@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        (Outcome.CORROBORATED, Outcome.SKIPPED, Outcome.SKIPPED),
        (Outcome.SKIPPED, Outcome.FALSIFIED, Outcome.FALSIFIED),
        (Outcome.FALSIFIED, Outcome.TIMEOUT, Outcome.TIMEOUT),
        (Outcome.TIMEOUT, Outcome.CRASHED, Outcome.CRASHED),
        (Outcome.CORROBORATED, Outcome.CORROBORATED, Outcome.CORROBORATED),
    ],
)
def test_of_duplicates_the_worst_counts_and_they_are_named(
    bench: "Bench", first: Outcome, second: Outcome, counts: Outcome
) -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    again = bench.evidence(plan, {name: second}, start=100)
    records = bench.evidence(plan, {name: first})
    records += [record for record in again if record.metadata["scenario"] == name]
    for order in (records, records[::-1]):
        ledger = planned_ledger(order, plan)
        (entry,) = [each for each in ledger.scenarios if each.scenario == name]
        assert entry.outcome is counts
        assert len(entry.records) == 2
        (finding,) = ledger.findings
        assert (finding.kind, finding.subjects) == ("duplicate", (name,))
        assert name in finding.text


@pytest.mark.parametrize(
    ("attempts", "counts"),
    [
        ({"1": Outcome.SKIPPED, "2": Outcome.CORROBORATED}, Outcome.CORROBORATED),
        ({"1": Outcome.FALSIFIED, "2": Outcome.CORROBORATED}, Outcome.FALSIFIED),
        ({"1": Outcome.CORROBORATED, "2": Outcome.SKIPPED}, Outcome.SKIPPED),
        ({"1": Outcome.SKIPPED, "2": Outcome.SKIPPED}, Outcome.SKIPPED),
        ({"2": Outcome.TIMEOUT, "3": Outcome.SKIPPED, "4": Outcome.FALSIFIED}, Outcome.TIMEOUT),
    ],
)
def test_attempts_are_no_duplicates_and_only_a_skip_is_made_up_for(
    bench: "Bench", attempts: dict[str, Outcome], counts: Outcome
) -> None:
    plan = bench.plan()
    name = f"{CELL}#001"
    records = bench.evidence(plan, {name: None})
    for number, (attempt, outcome) in enumerate(attempts.items(), start=200):
        records.append(
            bench.record(
                "F-A1-001",
                outcome,
                number=number,
                scenario=name,
                plan=plan_digest(plan),
                attempt=attempt,
            )
        )
    ledger = planned_ledger(records, plan)
    (entry,) = [each for each in ledger.scenarios if each.scenario == name]
    assert entry.outcome is counts
    assert ledger.findings == ()


def test_records_that_do_not_fit_are_named_and_fill_nothing(bench: "Bench") -> None:
    plan = bench.plan()
    digest = plan_digest(plan)
    name = f"{CELL}#001"
    records = bench.evidence(plan, {name: None})
    records += [
        bench.record("F-A1-001", number=300, scenario=f"{CELL}#999", plan=digest),
        bench.record("F-A1-001", number=301, plan=digest),
        bench.record("F-EDGE-JSON-001", number=302, scenario=name, plan=digest),
    ]
    ledger = planned_ledger(records, plan)
    found = {finding.kind: finding.subjects for finding in ledger.findings}
    assert found == {
        "unknown-scenario": (f"{301:032x}", f"{CELL}#999"),
        "wrong-gate": (name,),
    }
    assert [entry.scenario for entry in ledger.scenarios if entry.outcome is None] == [name]
    assert len(ledger.records) == len(records)


def test_records_of_another_plan_or_of_none_are_named(bench: "Bench") -> None:
    plan = bench.plan()
    records = bench.evidence(plan)
    records[3] = msgspec.structs.replace(records[3], metadata=records[3].metadata | {"plan": "q"})
    bare = {key: value for key, value in records[5].metadata.items() if key != "plan"}
    records[5] = msgspec.structs.replace(records[5], metadata=bare)
    (finding,) = planned_ledger(records, plan).findings
    assert finding.kind == "wrong-plan"
    assert finding.subjects == (records[3].id, records[5].id)


def test_repeated_ids_are_named(bench: "Bench") -> None:
    plan = bench.plan()
    doubled = msgspec.structs.replace(plan, cells=(*plan.cells, plan.cells[0]))
    records = bench.evidence(plan)
    records[1] = msgspec.structs.replace(records[1], id=records[0].id)
    kinds = {finding.kind for finding in planned_ledger(records, doubled).findings}
    assert {"repeated-plan-id", "repeated-record-id"} <= kinds


def test_other_models_are_named(bench: "Bench") -> None:
    plan = bench.plan()
    records = bench.evidence(plan)
    model = msgspec.structs.replace(records[0].scenario.model, name="other", variant="8b")
    scenario = msgspec.structs.replace(records[0].scenario, model=model)
    records[0] = msgspec.structs.replace(records[0], scenario=scenario)
    (finding,) = planned_ledger(records, plan).findings
    assert (finding.kind, finding.subjects) == ("other-model", ("org/other-8b",))


def test_an_id_that_was_taken_over_counts_for_our_own_test_alone(bench: "Bench") -> None:
    theirs = bench.record("F-CONTRACT-I2-001", number=1)
    ours = bench.record("F-CONTRACT-I2-001", number=2, scenario=f"{CELL}#F-CONTRACT-I2-001")
    ledger = unplanned_ledger([theirs, ours])
    assert [(entry.scenario, entry.category) for entry in ledger.scenarios] == [
        (theirs.id, None),
        (f"{CELL}#F-CONTRACT-I2-001", Category.COMP),
    ]
    (finding,) = ledger.findings
    assert (finding.kind, finding.subjects) == ("unknown-gate", ("F-CONTRACT-I2-001",))


def test_gates_that_no_catalogue_has_count_nowhere(bench: "Bench") -> None:
    records = [bench.record("F-A1-001", number=1), bench.record("F-OLD-001", number=2)]
    ledger = unplanned_ledger(records)
    (finding,) = ledger.findings
    assert (finding.kind, finding.subjects) == ("unknown-gate", ("F-OLD-001",))
    assert [entry.category for entry in ledger.scenarios] == [Category.QUAL, None]
    plan = bench.plan(prompts=("F-NEW-001",))
    kinds = [finding.kind for finding in planned_ledger(bench.evidence(plan), plan).findings]
    assert kinds == ["unknown-gate"]


def test_without_a_plan_records_of_one_scenario_belong_together(bench: "Bench") -> None:
    records = [
        bench.record("F-A1-001", number=1, scenario="c#001"),
        bench.record("F-A1-001", Outcome.FALSIFIED, number=2, scenario="c#001"),
        bench.record("F-A1-001", number=3),
        bench.record("F-A1-001", number=4),
    ]
    ledger = unplanned_ledger(records)
    assert [(entry.scenario, entry.outcome) for entry in ledger.scenarios] == [
        (records[2].id, Outcome.CORROBORATED),
        (records[3].id, Outcome.CORROBORATED),
        ("c#001", Outcome.FALSIFIED),
    ]
    assert [finding.kind for finding in ledger.findings] == ["duplicate"]
    assert len(record_ledger(records).scenarios) == 4


def test_no_record_at_all_is_a_finding(bench: "Bench") -> None:
    assert [finding.kind for finding in unplanned_ledger([]).findings] == ["no-records"]
    assert planned_ledger([], bench.plan()).findings == ()


def test_hostile_texts_are_cut_to_one_line(bench: "Bench") -> None:
    record = bench.record(
        "F-A1-001",
        Outcome.SKIPPED,
        scenario="x\n" * 500,
        reason="\x1b[31mred\n" * 9000,
        cause="infrastructure:\x07" + "y" * 900,
    )
    (entry,) = unplanned_ledger([record]).scenarios
    assert len(entry.reason) <= 240
    assert len(entry.cause) <= 80
    assert "\n" not in entry.reason
    assert "\x1b" not in entry.reason
    assert entry.is_infrastructure
