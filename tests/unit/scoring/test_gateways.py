from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci.planning.plan import plan_digest
from aprqa_ci.scoring.gateways import evaluate_gateways
from aprqa_ci.scoring.ledger import planned_ledger, unplanned_ledger
from aprqa_ci.vocabulary import Gateway, GatewayState, Outcome

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CELL = "book:run-cpu-gguf"
GATES = {
    Gateway.G0: "G0-DIGEST-001",
    Gateway.G1: "G1-LOAD",
    Gateway.G2: "G2-BASIC",
    Gateway.G3: "G3-STABLE",
    Gateway.G4: "G4-GARBAGE",
}


def test_all_passed_when_every_cell_shows_each(bench: "Bench") -> None:
    plan = bench.plan()
    gateways = evaluate_gateways(planned_ledger(bench.evidence(plan), plan))
    assert list(gateways) == list(Gateway)
    assert all(entry.state is GatewayState.PASSED for entry in gateways.values())
    assert all(len(entry.records) == 2 for entry in gateways.values())


@pytest.mark.parametrize("gateway", Gateway)
@pytest.mark.parametrize("outcome", [Outcome.FALSIFIED, Outcome.TIMEOUT])
def test_one_failure_in_one_cell_fails_that_gateway_only(
    bench: "Bench", gateway: Gateway, outcome: Outcome
) -> None:
    plan = bench.plan()
    records = bench.evidence(plan, {f"{CELL}#{GATES[gateway]}": outcome})
    gateways = evaluate_gateways(planned_ledger(records, plan))
    failed = [name for name, entry in gateways.items() if entry.state is GatewayState.FAILED]
    assert failed == [gateway]
    (bad,) = [record for record in records if record.outcome is outcome]
    assert gateways[gateway].records == (bad.id,)
    assert gateways[gateway].reasons == (f"{GATES[gateway]} {outcome}: because",)


@pytest.mark.parametrize("gate", ["F-A1-001", "F-PERF-TPS-001", "G1-LOAD", "F-OLD-001"])
def test_a_crash_fails_g3_whatever_its_gate(bench: "Bench", gate: str) -> None:
    gateways = evaluate_gateways(unplanned_ledger([bench.record(gate, Outcome.CRASHED)]))
    assert gateways[Gateway.G3].state is GatewayState.FAILED


@pytest.mark.parametrize("gateway", Gateway)
@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, None])
def test_skipped_or_missing_in_one_cell_is_not_evaluated(
    bench: "Bench", gateway: Gateway, outcome: Outcome | None
) -> None:
    plan = bench.plan()
    name = f"{CELL}#{GATES[gateway]}"
    records = bench.evidence(plan, {name: outcome}, causes={name: "model:not-loaded"})
    gateways = evaluate_gateways(planned_ledger(records, plan))
    open_ones = [
        name for name, entry in gateways.items() if entry.state is GatewayState.NOT_EVALUATED
    ]
    assert open_ones == [gateway]
    (reason,) = gateways[gateway].reasons
    assert name in reason
    assert ("model:not-loaded" in reason) == (outcome is Outcome.SKIPPED)


def test_a_cell_that_plans_nothing_for_a_gateway_leaves_it_open(bench: "Bench") -> None:
    plan = bench.plan()
    bare = msgspec.structs.replace(
        plan.cells[0],
        scenarios=tuple(each for each in plan.cells[0].scenarios if each.gate_id != "G2-BASIC"),
    )
    plan = msgspec.structs.replace(plan, cells=(bare, plan.cells[1]))
    gateways = evaluate_gateways(planned_ledger(bench.evidence(plan), plan))
    assert gateways[Gateway.G2].state is GatewayState.NOT_EVALUATED
    assert CELL in gateways[Gateway.G2].reasons[0]


def test_a_plan_without_cells_passes_nothing(bench: "Bench") -> None:
    plan = msgspec.structs.replace(bench.plan(), cells=())
    gateways = evaluate_gateways(planned_ledger([], plan))
    assert {entry.state for entry in gateways.values()} == {GatewayState.NOT_EVALUATED}


def test_a_failure_that_no_scenario_of_the_plan_owns_still_fails(bench: "Bench") -> None:
    plan = bench.plan()
    stray = bench.record("G1-LOAD", Outcome.FALSIFIED, number=900, plan=plan_digest(plan))
    gateways = evaluate_gateways(planned_ledger([*bench.evidence(plan), stray], plan))
    assert gateways[Gateway.G1].records == (stray.id,)


def test_without_a_plan_one_corroborated_record_is_enough(bench: "Bench") -> None:
    records = [
        bench.record("G1-LOAD", number=1),
        bench.record("G1-LOAD", Outcome.SKIPPED, number=2),
        bench.record("G2-BASIC", Outcome.SKIPPED, number=3),
    ]
    gateways = evaluate_gateways(unplanned_ledger(records))
    assert [entry.state for entry in gateways.values()] == [
        GatewayState.NOT_EVALUATED,
        GatewayState.PASSED,
        GatewayState.NOT_EVALUATED,
        GatewayState.NOT_EVALUATED,
        GatewayState.NOT_EVALUATED,
    ]
    assert gateways[Gateway.G0].reasons == ("no record speaks of G0",)
    assert gateways[Gateway.G2].reasons == ("no record shows G2",)
