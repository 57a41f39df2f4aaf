from datetime import timedelta
from pathlib import Path

import pytest

from aprqa_ci.certification.diagnostics import DIAGNOSTICS_NAME, Diagnostics, write_diagnostics
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import read_wire
from tests.records import NOON, made_records


@pytest.mark.parametrize("first", [0, 1])
def test_the_earliest_failure_is_told_with_how_to_repeat_it(
    tmp_path: Path, plan: Plan, first: int
) -> None:
    early, late = plan.cells[first], plan.cells[1 - first]
    records = (
        *made_records(plan, {late.scenarios[20].id: Outcome.CRASHED}, cells=(late.id,)),
        *made_records(
            plan,
            {early.scenarios[20].id: Outcome.TIMEOUT},
            cells=(early.id,),
            start=NOON - timedelta(hours=1),
        ),
    )
    path = write_diagnostics(tmp_path, plan, records)
    assert path == tmp_path / DIAGNOSTICS_NAME
    told = read_wire(path, Diagnostics)
    assert told.scenario == early.scenarios[20]
    assert told.record.outcome is Outcome.TIMEOUT
    assert told.invocation == "reference model"
    assert told.command == f"aprqa run tiny.playbook.yaml --tier mvp --only '{early.id}'"


def test_without_a_failure_there_is_nothing_to_tell(tmp_path: Path, plan: Plan) -> None:
    skipped = {plan.cells[0].scenarios[0].id: Outcome.SKIPPED}
    assert write_diagnostics(tmp_path, plan, made_records(plan, skipped)) is None
    assert list(tmp_path.iterdir()) == []
