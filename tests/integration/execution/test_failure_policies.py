"""The failure policy ends a run in every phase, from the gate's severity, on one worker and two."""

from collections.abc import Callable
from threading import Event
from typing import Any

import msgspec
import pytest

from aprqa_ci.execution.checks import CHECKS, Finding
from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.protocol import Open, Request
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.planning.plan import OracleSpec, PlannedCell
from aprqa_ci.vocabulary import FailurePolicy, Modality, ModelFormat, Outcome
from tests.broken_models import cut
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.running import Onlooker, Results, run

STOPPED = "Skipped policy:stopped"
CHECK = "F-STAB-RECOVERY-001"
PHASES = ("inspect", "load", "prompt", "check")
# The gates of files and loading are P0, those of answers and checks P1.
ENDS = {
    FailurePolicy.STOP_ON_FIRST: PHASES,
    FailurePolicy.FAIL_FAST: PHASES,
    FailurePolicy.STOP_ON_P0: ("inspect", "load"),
    FailurePolicy.COLLECT_ALL: (),
}
CASES = [(policy, phase) for policy in FailurePolicy for phase in PHASES]
WRONG = prompt_of("the end", oracle=OracleSpec(kind="contains", config={"all": ["no answer"]}))
RIGHT = (prompt_of("in"), prompt_of("out"))


@pytest.fixture
def failing(model: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], PlannedCell]:
    """Makes a cell that fails in a phase, and in no other before."""

    def make(phase: str) -> PlannedCell:
        if phase in {"inspect", "load"}:
            cut(model.gguf, 0.9)
        if phase == "check":

            def fail(cell: Any) -> Finding:
                outcome = (
                    Outcome.FALSIFIED
                    if cell.cell.format is ModelFormat.GGUF
                    else Outcome.CORROBORATED
                )
                return Finding(outcome=outcome, reason="as told", figures={})

            monkeypatch.setitem(CHECKS, CHECK, fail)
        return cell_of(
            prompts=(WRONG, *RIGHT) if phase == "prompt" else RIGHT,
            checks=(CHECK, "F-STAB-REPEAT-001"),
            inspect=phase == "inspect",
        )

    return make


def _others() -> list[PlannedCell]:
    return [
        cell_of(modality=modality, format=ModelFormat.SAFETENSORS, prompts=RIGHT, checks=(CHECK,))
        for modality in (Modality.RUN, Modality.CHAT)
    ]


def _assert_ended_in(phase: str, results: Results, cell: PlannedCell) -> None:
    """What follows the failure in its own cell has not been tried."""
    outcomes = results.outcomes(cell)
    match phase:
        case "inspect":
            after = [name for name in outcomes if not name.startswith("G0")]
            assert "Falsified" in {outcomes[name] for name in outcomes if name.startswith("G0")}
        case "load":
            # That it was not loaded is what comes first.
            assert outcomes["G1-LOAD"] == "Falsified"
            assert {outcomes[name] for name in outcomes if name != "G1-LOAD"} == {
                "Skipped model:not-loaded"
            }
            after = []
        case "prompt":
            assert outcomes["001"] == "Falsified"
            after = ["002", "003", CHECK, "F-STAB-REPEAT-001"]
        case _:
            assert outcomes[CHECK] == "Falsified"
            assert outcomes["002"] == "Corroborated"
            after = ["F-STAB-REPEAT-001"]
    assert {name: outcomes[name] for name in after} == dict.fromkeys(after, STOPPED)


@pytest.mark.parametrize(("policy", "phase"), CASES)
def test_one_worker(
    model: Any, failing: Callable[[str], PlannedCell], policy: FailurePolicy, phase: str
) -> None:
    first, (second, third) = failing(phase), _others()
    playbook = playbook_of(failure_policy=policy)
    results = run(plan_of(first, second, third, playbook=playbook), model.root)
    if phase in ENDS[policy]:
        _assert_ended_in(phase, results, first)
        assert set(results.outcomes(second).values()) == {STOPPED}
        assert set(results.outcomes(third).values()) == {STOPPED}
    else:
        assert STOPPED not in results.outcomes(first).values()
        assert set(results.outcomes(second).values()) == {"Corroborated"}
        assert set(results.outcomes(third).values()) == {"Corroborated"}


@pytest.mark.parametrize("phase", PHASES)
def test_two_workers(
    model: Any,
    failing: Callable[[str], PlannedCell],
    before_request: Callable[[Callable[[CellChild, Request, int], None]], list[Request]],
    phase: str,
) -> None:
    first, (second, third) = failing(phase), _others()
    failed = Event()

    def wait(child: CellChild, request: Request, number: int) -> None:
        # The second cell is under way, and gets no further until the first has failed.
        del child, number
        if isinstance(request, Open) and request.model.format is ModelFormat.SAFETENSORS:
            assert failed.wait(30)

    def note(result: ScenarioResult, seen: int) -> None:
        del seen
        if result.outcome is Outcome.FALSIFIED:
            failed.set()

    before_request(wait)
    playbook = playbook_of(failure_policy=FailurePolicy.STOP_ON_FIRST)
    results = run(
        plan_of(first, second, third, playbook=playbook),
        model.root,
        workers=2,
        observer=Onlooker(note),
    )
    _assert_ended_in(phase, results, first)
    outcomes = results.outcomes(second)
    # The scenario that was being run is finished.
    assert outcomes.pop("G1-LOAD") == "Corroborated"
    assert set(outcomes.values()) == {STOPPED}
    assert set(results.outcomes(third).values()) == {STOPPED}


def test_a_playbook_that_has_ended_does_not_end_another(model: Any) -> None:
    cut(model.gguf, 0.9)
    first = cell_of(prompts=RIGHT)
    other = cell_of(prompts=RIGHT, format=ModelFormat.SAFETENSORS, playbook="other")
    strict = playbook_of(failure_policy=FailurePolicy.STOP_ON_FIRST)
    plan = msgspec.structs.replace(
        plan_of(first, other, playbook=strict),
        playbooks=(strict, msgspec.structs.replace(strict, name="other")),
    )
    results = run(plan, model.root)
    assert results.outcomes(first)["G1-LOAD"] == "Falsified"
    assert set(results.outcomes(other).values()) == {"Corroborated"}


def test_a_resumed_run_stays_ended(sound_model: Any) -> None:
    cell = cell_of(prompts=RIGHT)
    load, prompt, *_ = cell.scenarios
    done = {
        load.id: CellResult(scenario=load.id, gate_id=load.gate_id, outcome=Outcome.CORROBORATED),
        prompt.id: CellResult(
            scenario=prompt.id, gate_id=prompt.gate_id, outcome=Outcome.FALSIFIED, kind="wrong"
        ),
    }
    for policy, tried in ((FailurePolicy.STOP_ON_FIRST, False), (FailurePolicy.STOP_ON_P0, True)):
        playbook = playbook_of(failure_policy=policy)
        rest = run(plan_of(cell, playbook=playbook), sound_model.root, done=done)
        assert rest.outcomes()["002"] == ("Corroborated" if tried else STOPPED)
