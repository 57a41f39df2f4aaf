import io

from rich.console import Console

from aprqa_ci.cli.progress import progress
from aprqa_ci.vocabulary import Outcome
from tests.playbooks import planned, playbook_data
from tests.records import result_of

PLAN = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), tier="quick")
FIRST, SECOND = PLAN.cells


def watched(*, terminal: bool) -> str:
    text = io.StringIO()
    out = Console(file=text, width=110, force_terminal=terminal, highlight=False)
    with progress(out) as observer:
        observer.cell_started(FIRST, 3)
        observer.cell_started(SECOND, 1)
        for cell, outcome in (
            (FIRST, Outcome.CORROBORATED),
            (SECOND, Outcome.TIMEOUT),
            (FIRST, Outcome.SKIPPED),
            (FIRST, Outcome.CORROBORATED),
        ):
            observer.scenario_finished(result_of(cell, cell.scenarios[0], outcome))
        observer.cell_finished(SECOND)
        observer.cell_finished(FIRST)
    return text.getvalue()


def test_without_a_terminal_each_cell_is_one_line_when_it_is_done() -> None:
    assert watched(terminal=False).splitlines() == [
        f"{SECOND.id}: 1 timeout",
        f"{FIRST.id}: 2 corroborated  1 skipped",
    ]


def test_on_a_terminal_each_cell_has_its_bar() -> None:
    last = watched(terminal=True).split("\r")[-1]
    assert FIRST.id in last
    assert "3/3" in last
    assert "2 corroborated  1 skipped" in last
    assert "1/1" in last
