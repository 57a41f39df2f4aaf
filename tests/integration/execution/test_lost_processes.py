"""Engines that hang or die: the scenario says so, a fresh session answers the rest."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aprqa_ci.cli.signals import signals_as_errors
from aprqa_ci.errors import InterruptedRunError, TerminatedRunError
from aprqa_ci.execution import machine
from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.protocol import Ask, CheckHealth, Open, Request
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.vocabulary import Modality, ModelFormat, Outcome
from tests.cells import cell_of, plan_of, prompt_of
from tests.processes import alive, children_of, until, workers_of
from tests.running import Onlooker, run

pytestmark = pytest.mark.usefixtures("patient_loading")

Install = Callable[[Callable[[CellChild, Request, int], None]], list[Request]]
SHORT = 1000
PROMPTS = tuple(prompt_of(text) for text in ("the end", "in", "and", "on", "the word", "it"))
TWO = PROMPTS[:2]


def _opens(sent: list[Request]) -> int:
    return sum(isinstance(request, Open) for request in sent)


@pytest.mark.parametrize("modality", Modality)
def test_a_hanging_engine_is_killed_and_a_fresh_one_answers_the_rest(
    sound_model: Any, before_request: Install, modality: Modality
) -> None:
    stopped: list[int] = []

    def stop(child: CellChild, request: Request, number: int) -> None:
        if isinstance(request, Ask) and number == 2:
            stopped.append(child.pid)
            os.kill(child.pid, signal.SIGSTOP)

    sent = before_request(stop)
    cell = cell_of(modality=modality, prompts=PROMPTS[:4], timeout_ms=SHORT)
    results = run(plan_of(cell), sound_model.root)
    assert results.outcomes() == {
        "G1-LOAD": "Corroborated",
        "001": "Corroborated",
        "002": "Timeout",
        "003": "Corroborated",
        "004": "Corroborated",
        "G2-BASIC": "Corroborated",
        "G3-STABLE": "Corroborated",
        "G4-GARBAGE": "Corroborated",
    }
    assert results.of("002").reason == "no reply within 1 s"
    assert results.of("002").engine is not None
    assert _opens(sent) == 2
    assert not alive(stopped[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_an_engine_that_dies_in_the_middle_of_an_answer_has_crashed(
    sound_model: Any, before_request: Install, number: signal.Signals
) -> None:
    timers: list[threading.Timer] = []

    def kill_soon(child: CellChild, request: Request, count: int) -> None:
        if isinstance(request, Ask) and count == 2:
            # Stopped first, so that the signal finds it with a question and without an answer.
            os.kill(child.pid, signal.SIGSTOP)

            def kill() -> None:
                os.kill(child.pid, number)
                os.kill(child.pid, signal.SIGCONT)

            timers.append(threading.Timer(0.1, kill))
            timers[-1].start()

    sent = before_request(kill_soon)
    results = run(plan_of(cell_of(prompts=PROMPTS[:3])), sound_model.root)
    timers[0].join()
    outcomes = results.outcomes()
    assert (outcomes["001"], outcomes["002"], outcomes["003"]) == (
        "Corroborated",
        "Crashed",
        "Corroborated",
    )
    crash = results.of("002")
    assert crash.exit_code == -number
    assert crash.reason == f"the process was ended by {number.name}"
    assert crash.stderr is not None
    assert outcomes["G3-STABLE"] == "Falsified"
    assert "#002" in results.of("G3-STABLE").reason
    assert _opens(sent) == 2


def test_a_server_that_dies_has_crashed(sound_model: Any, before_request: Install) -> None:
    def kill(child: CellChild, request: Request, count: int) -> None:
        if isinstance(request, CheckHealth) and count == 1:
            os.kill(child.pid, signal.SIGKILL)

    before_request(kill)
    checks = ("F-STAB-HEALTH-001", "F-STAB-MALFORMED-001")
    cell = cell_of(modality=Modality.SERVE, prompts=TWO, checks=checks)
    outcomes = run(plan_of(cell), sound_model.root).outcomes()
    assert outcomes.pop("F-STAB-HEALTH-001") == "Crashed"
    assert outcomes.pop("G3-STABLE") == "Falsified"
    assert set(outcomes.values()) == {"Corroborated"}


def test_a_measurement_that_dies_lets_the_other_cells_go_on(
    sound_model: Any, before_request: Install
) -> None:
    killed: list[int] = []

    def kill(child: CellChild, request: Request, count: int) -> None:
        del count
        if isinstance(request, Ask) and request.turns == ("the word",) and not killed:
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    before_request(kill)
    cells = [
        cell_of(modality=modality, prompts=TWO, checks=("F-PERF-TPS-001", "F-PERF-P50-001"))
        for modality in (Modality.RUN, Modality.CHAT)
    ]
    outcomes = list(run(plan_of(*cells), sound_model.root, workers=2).outcomes().values())
    # The other figure is measured anew.
    assert outcomes.count("Crashed") == 1
    assert outcomes.count("Falsified") == 1
    assert outcomes.count("Corroborated") == len(outcomes) - 2


def test_a_cell_that_loses_every_process_is_given_up(
    sound_model: Any, before_request: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = msgspec.structs.replace(load_limits(), process_losses=3)
    monkeypatch.setattr(machine, "load_limits", lambda: limits)
    sent = before_request(
        lambda child, request, _: (
            os.kill(child.pid, signal.SIGKILL) if isinstance(request, Ask) else None
        )
    )
    cell = cell_of(prompts=PROMPTS, checks=("F-STAB-REPEAT-001",))
    results = run(plan_of(cell), sound_model.root)
    outcomes = results.outcomes()
    assert [outcomes[f"00{number}"] for number in range(1, 7)] == [
        *["Crashed"] * 3,
        *["Skipped model:gave-up"] * 3,
    ]
    assert outcomes["F-STAB-REPEAT-001"] == "Skipped model:gave-up"
    assert outcomes["G3-STABLE"] == outcomes["G2-BASIC"] == "Falsified"
    assert outcomes["G4-GARBAGE"] == "Skipped model:gave-up"
    assert _opens(sent) == 3
    assert "3 times" in results.of("006").reason


@pytest.mark.parametrize(
    ("number", "outcome", "word"),
    [(signal.SIGKILL, "Crashed", "load-crash"), (signal.SIGSTOP, "Timeout", "load-timeout")],
)
def test_a_model_whose_loading_kills_or_hangs_the_engine(
    sound_model: Any,
    before_request: Install,
    monkeypatch: pytest.MonkeyPatch,
    *,
    number: signal.Signals,
    outcome: str,
    word: str,
) -> None:
    monkeypatch.setattr("aprqa_ci.execution.limits.Limits.load_seconds", lambda *_: 0.5)
    sent = before_request(lambda child, *_: os.kill(child.pid, number))
    results = run(plan_of(cell_of(prompts=TWO)), sound_model.root)
    outcomes = results.outcomes()
    load = results.of("G1-LOAD")
    assert outcomes["G1-LOAD"] == outcome
    assert load.stderr is not None
    assert load.exit_code == (-9 if outcome == "Crashed" else None)
    assert outcomes["001"] == outcomes["002"] == f"Skipped model:{word}"
    assert outcomes["G3-STABLE"] == (
        "Falsified" if outcome == "Crashed" else "Skipped model:not-loaded"
    )
    assert len(sent) == 1


def test_a_model_that_cannot_be_loaded_again_is_not_tried_for_ever(
    sound_model: Any, before_request: Install
) -> None:
    def kill(child: CellChild, request: Request, count: int) -> None:
        if isinstance(request, Ask) or count > 1:
            os.kill(child.pid, signal.SIGKILL)

    sent = before_request(kill)
    results = run(plan_of(cell_of(prompts=PROMPTS)), sound_model.root)
    outcomes = results.outcomes()
    losses = load_limits().process_losses
    assert losses == 4
    assert [outcomes[f"00{number}"] for number in range(1, 7)] == [
        "Crashed",
        *["Skipped model:load-crash"] * 3,
        *["Skipped model:gave-up"] * 2,
    ]
    assert results.of("002").exit_code == -9
    assert outcomes["G3-STABLE"] == "Falsified"
    assert _opens(sent) == losses


@pytest.mark.parametrize("format_", [ModelFormat.SAFETENSORS, ModelFormat.GGUF])
@pytest.mark.parametrize("modality", [Modality.RUN, Modality.SERVE])
def test_an_ordinary_prompt_that_is_refused_is_an_engine_error(
    sound_model: Any, format_: ModelFormat, modality: Modality
) -> None:
    cell = cell_of(modality=modality, format=format_, prompts=(prompt_of("word " * 2000), *TWO))
    results = run(plan_of(cell), sound_model.root)
    outcomes = results.outcomes()
    assert results.of("001").reason.startswith("the prompt was refused: ")
    assert results.of("001").kind == "engine-error"
    falsified = {name for name, what in outcomes.items() if what == "Falsified"}
    assert falsified == {"001", "G2-BASIC"}


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, InterruptedRunError), (signal.SIGTERM, TerminatedRunError)],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_all_children_and_nothing_is_recorded_afterwards(
    sound_model: Any,
    number: signal.Signals,
    error: type[Exception],
    workers: int,
) -> None:
    kept: list[ScenarioResult] = []

    def interrupt(result: ScenarioResult, seen: int) -> None:
        del result
        if seen == 4:
            # The next answer never comes, so the run is in the middle of one.
            for pid in workers_of(os.getpid()):
                os.kill(pid, signal.SIGSTOP)
            os.kill(os.getpid(), number)

    cells = [
        cell_of(modality=modality, prompts=PROMPTS) for modality in (Modality.RUN, Modality.CHAT)
    ]
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(error), signals_as_errors():
        run(
            plan_of(*cells),
            sound_model.root,
            workers=workers,
            observer=Onlooker(interrupt),
            sink=kept.append,
        )
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert 4 <= len(kept) <= 4 + workers
    assert {result.outcome for result in kept} == {Outcome.CORROBORATED}
    assert until(lambda: not children_of(os.getpid()), 5)
