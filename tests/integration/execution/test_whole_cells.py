"""Sound models on the real engines: everything planned is run, once, and holds."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from aprqa_ci import __version__
from aprqa_ci.execution.checks import CHECKS, performance
from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.protocol import Answered, Inspect, Open, Request
from aprqa_ci.execution.quiet import Quiet
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.plan import OracleSpec
from aprqa_ci.vocabulary import Modality, ModelFormat, Outcome
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.running import Onlooker, run

SERVE_CHECKS = ("F-STAB-HEALTH-001", "F-STAB-CLIENTS-001", "F-STAB-MALFORMED-001")
CHECKS_OF_ALL = tuple(
    gate for gate in CHECKS if gate not in SERVE_CHECKS and gate_catalogue()[gate].section is None
)
PROMPTS = (
    prompt_of("the end"),
    prompt_of("in", "and", "out", system="be brief"),
    prompt_of("the raw", raw=True),
)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that a child gets, in order."""
    sent: list[Request] = []
    real = CellChild.request

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        sent.append(request)
        return real(self, request, timeout_s=timeout_s)

    monkeypatch.setattr(CellChild, "request", request)
    return sent


@pytest.mark.parametrize("format_", [ModelFormat.SAFETENSORS, ModelFormat.GGUF])
@pytest.mark.parametrize("modality", Modality)
def test_a_sound_model_holds_everywhere(
    sound_model: Any, requests: list[Request], modality: Modality, format_: ModelFormat
) -> None:
    checks = CHECKS_OF_ALL + (SERVE_CHECKS if modality is Modality.SERVE else ())
    cell = cell_of(modality=modality, format=format_, prompts=PROMPTS, checks=checks, inspect=True)
    onlooker = Onlooker()
    digests: dict[str, dict[str, str]] = {}
    results = run(
        plan_of(cell),
        sound_model.root,
        observer=onlooker,
        digests=lambda playbook, variant, found: digests.update(
            {f"{playbook} {variant}": dict(found)}
        ),
    )
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert [result.scenario.id for result in results.in_order] == [
        scenario.id for scenario in cell.scenarios
    ]
    assert onlooker.events == [
        f"started {cell.id} {len(cell.scenarios)}",
        f"finished {cell.id}",
    ]
    # One load of the cell, and one of the ground truth that it is compared with.
    opened = [each for each in requests if isinstance(each, Open)]
    assert [each.modality for each in opened] == [modality, Modality.RUN]
    answer = results.of("001")
    assert answer.output
    assert answer.exit_code == 0
    assert answer.finish in {"stop", "length"}
    assert answer.oracles.endswith("contains=Corroborated")
    assert answer.engine is not None
    assert answer.engine.engine == ("llamacpp" if format_ is ModelFormat.GGUF else "reference")
    assert answer.engine.device.startswith("cpu: ")
    assert answer.engine.version
    assert answer.engine.invocation
    metrics = results.of("F-PERF-TPS-001").metrics
    assert metrics.tokens_per_second is not None
    assert metrics.tokens_per_second > 0
    assert metrics.time_to_first_token_ms is not None
    assert metrics.total_tokens is not None
    assert metrics.memory_peak_mb is not None
    figures = json.loads(results.of("F-COMP-AGREE-001").output)
    assert figures["agreement"] == [1.0, 1.0]
    assert "loaded in" in results.of("G1-LOAD").reason
    ((variant, files),) = digests.items()
    assert variant == f"tiny-mvp {format_}" + ("-f16" if format_ is ModelFormat.GGUF else "")
    assert all(len(digest) == 64 for digest in files.values())


def test_a_file_is_inspected_once_for_all_modalities(
    sound_model: Any, requests: list[Request]
) -> None:
    cells = [
        cell_of(modality=modality, format=format_, inspect=True, load=False, derived=())
        for modality in Modality
        for format_ in (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    ]
    results = run(plan_of(*cells), sound_model.root, workers=2)
    inspected = [each.model.format for each in requests if isinstance(each, Inspect)]
    assert sorted(inspected) == [ModelFormat.GGUF, ModelFormat.SAFETENSORS]
    assert set(results.outcomes().values()) == {"Corroborated"}
    # The ground truth is not compared with itself.
    truths = {
        each.model.format: each.ground_truth for each in requests if isinstance(each, Inspect)
    }
    assert truths[ModelFormat.SAFETENSORS] is None
    assert truths[ModelFormat.GGUF] is not None


def test_the_ground_truth_is_asked_once_for_all_cells(
    sound_model: Any, requests: list[Request]
) -> None:
    cells = [
        cell_of(modality=modality, load=False, checks=["F-COMP-AGREE-001"], derived=())
        for modality in (Modality.RUN, Modality.CHAT)
    ]
    results = run(plan_of(*cells), sound_model.root, workers=2)
    assert set(results.outcomes().values()) == {"Corroborated"}
    engines = sorted(each.engine for each in requests if isinstance(each, Open))
    assert engines == ["llamacpp", "llamacpp", "reference"]


def test_two_workers_come_to_the_same_outcomes_as_one(sound_model: Any) -> None:
    never = OracleSpec(kind="contains", config={"all": ["no answer has this"]})
    cells = [
        cell_of(
            modality=modality,
            format=format_,
            prompts=(*PROMPTS, prompt_of("x", oracle=never)),
            checks=("F-STAB-REPEAT-001", "F-EDGE-OVERFLOW-001"),
            inspect=True,
        )
        for modality in (Modality.RUN, Modality.SERVE)
        for format_ in (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    ]
    plan = plan_of(*cells)
    alone = run(plan, sound_model.root)
    onlooker = Onlooker()
    together = run(plan, sound_model.root, workers=2, observer=onlooker)
    assert alone.outcomes() == together.outcomes()
    assert {key: result.output for key, result in alone.all.items() if "#0" in key} == {
        key: result.output for key, result in together.all.items() if "#0" in key
    }
    assert list(alone.outcomes().values()).count("Falsified") == len(cells)
    # Two were under way at once.
    assert [event.split()[0] for event in onlooker.events[:2]] == ["started", "started"]


def test_speed_is_measured_while_nobody_else_computes(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every request counts, be it a question, a load, an inspection or the ground truth's.
    inside: dict[str, int] = {"all": 0, "timed": 0}
    overlaps: list[tuple[Request, int]] = []
    measured: list[int] = []
    real = CellChild.request
    timed = Quiet.timed

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        inside["all"] += 1
        try:
            if inside["timed"]:
                measured.append(inside["all"])
            reply = real(self, request, timeout_s=timeout_s)
            if inside["timed"] and inside["all"] > 1:
                overlaps.append((request, inside["all"]))
            return reply
        finally:
            inside["all"] -= 1

    @contextmanager
    def noted(quiet: Quiet) -> Iterator[None]:
        with timed(quiet):
            inside["timed"] += 1
            yield
            inside["timed"] -= 1

    monkeypatch.setattr(CellChild, "request", request)
    monkeypatch.setattr(Quiet, "timed", noted)
    cells = [
        cell_of(
            modality=modality,
            format=format_,
            prompts=PROMPTS[:1],
            checks=("F-PERF-TPS-001", "F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"),
            inspect=True,
        )
        for modality in (Modality.RUN, Modality.CHAT)
        for format_ in (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    ]
    playbook = playbook_of(measured_prompt=prompt_of("the word", max_tokens=40), measure=3)
    results = run(plan_of(*cells, playbook=playbook), sound_model.root, workers=4)
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert measured == [1] * 4 * len(cells)
    assert overlaps == []


def test_nothing_computes_without_asking_for_leave(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []
    without: list[str] = []
    real = CellChild.request

    def noted(name: str) -> Callable[[Quiet], AbstractContextManager[None]]:
        entered: Callable[[Quiet], AbstractContextManager[None]] = getattr(Quiet, name)

        @contextmanager
        def enter(quiet: Quiet) -> Iterator[None]:
            # Held twice, it would wait for a measurement that waits for it.
            assert not held
            with entered(quiet):
                held.append(name)
                yield
                held.pop()

        return enter

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        if not held:
            without.append(type(request).__name__)
        return real(self, request, timeout_s=timeout_s)

    for name in ("asking", "timed"):
        monkeypatch.setattr(Quiet, name, noted(name))
    monkeypatch.setattr(CellChild, "request", request)
    cell = cell_of(
        modality=Modality.SERVE,
        prompts=PROMPTS,
        checks=(*CHECKS_OF_ALL, *SERVE_CHECKS),
        inspect=True,
    )
    results = run(plan_of(cell), sound_model.root)
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert without == []


def test_only_the_named_cells_are_run(sound_model: Any, requests: list[Request]) -> None:
    cells = [cell_of(modality=modality, prompts=PROMPTS[:1]) for modality in Modality]
    onlooker = Onlooker()
    run(plan_of(*cells), sound_model.root, cells=cells[1:2], observer=onlooker)
    assert {event.split()[1] for event in onlooker.events} == {cells[1].id}
    assert sum(isinstance(each, Open) for each in requests) == 1


def test_what_an_earlier_run_did_is_not_done_again(
    sound_model: Any, requests: list[Request]
) -> None:
    cell = cell_of(prompts=PROMPTS, inspect=True)
    plan = plan_of(cell)
    first = run(plan, sound_model.root)
    kept = dict(list(_done(first.in_order).items())[:-4])
    requests.clear()
    rest = run(plan, sound_model.root, done=kept)
    assert list(rest.outcomes()) == ["003", "G2-BASIC", "G3-STABLE", "G4-GARBAGE"]
    assert set(rest.outcomes().values()) == {"Corroborated"}
    assert [type(each).__name__ for each in requests] == ["Open", "Ask"]
    assert "3 of 3 prompts answered" in rest.of("G2-BASIC").reason


def test_a_cell_that_is_done_is_not_started(sound_model: Any, requests: list[Request]) -> None:
    cell = cell_of(prompts=PROMPTS[:1])
    plan = plan_of(cell)
    done = _done(run(plan, sound_model.root).in_order)
    requests.clear()
    onlooker = Onlooker()
    run(plan, sound_model.root, done=done, observer=onlooker)
    assert (onlooker.events, requests) == ([], [])


def test_a_model_that_did_not_load_before_is_not_loaded_again(
    sound_model: Any, requests: list[Request]
) -> None:
    cell = cell_of(prompts=PROMPTS[:2])
    load = cell.scenarios[0]
    done = {load.id: CellResult(scenario=load.id, gate_id=load.gate_id, outcome=Outcome.FALSIFIED)}
    rest = run(plan_of(cell), sound_model.root, done=done)
    assert set(rest.outcomes().values()) == {"Skipped model:not-loaded"}
    assert requests == []


def test_a_baseline_is_compared_with(sound_model: Any) -> None:
    cell = cell_of(prompts=PROMPTS[:1], derived=("F-REGR-BASELINE-001",))
    right = BaselineCell(corroborated=(f"{cell.id}#001",))
    playbook = playbook_of(baseline=Baseline(certificate_digest="0", cells={cell.id: right}))
    results = run(plan_of(cell, playbook=playbook), sound_model.root)
    assert results.outcomes()["F-REGR-BASELINE-001"] == "Corroborated"


@pytest.mark.parametrize(
    ("machine", "outcome"), [("this kind", "Falsified"), ("another kind", "Corroborated")]
)
def test_throughput_is_compared_on_the_same_kind_of_machine_alone(
    sound_model: Any, machine: str, outcome: str
) -> None:
    cell = cell_of(
        prompts=PROMPTS[:1], checks=("F-PERF-TPS-001",), derived=("F-REGR-BASELINE-001",)
    )
    fast = BaselineCell(corroborated=(f"{cell.id}#001",), tokens_per_second=1e9)
    baseline = Baseline(certificate_digest="0", machines=("this kind",), cells={cell.id: fast})
    results = run(
        plan_of(cell, playbook=playbook_of(baseline=baseline)), sound_model.root, machine=machine
    )
    assert results.outcomes()["F-REGR-BASELINE-001"] == outcome


@pytest.mark.parametrize("change", ["", "revision", "engine", "machine"])
def test_two_lost_answers_are_a_loss_where_nothing_but_the_model_can_differ(
    sound_model: Any, change: str
) -> None:
    never = tuple(
        prompt_of(text, oracle=OracleSpec(kind="contains", config={"all": ["no answer has this"]}))
        for text in ("the end", "the beginning")
    )
    cell = cell_of(prompts=never, format=ModelFormat.SAFETENSORS, derived=("F-REGR-LOSS-001",))
    right = BaselineCell(
        corroborated=tuple(each.id for each in cell.scenarios if each.prompt is not None)
    )
    baseline = Baseline(
        certificate_digest="0",
        machines=("another kind" if change == "machine" else "this kind",),
        cells={cell.id: right},
        engines={"reference": "0" if change == "engine" else __version__},
        revision="main" if change == "revision" else None,
    )
    results = run(
        plan_of(cell, playbook=playbook_of(baseline=baseline)),
        sound_model.root,
        machine="this kind",
    )
    outcome = "Corroborated" if change else "Falsified"
    assert results.outcomes()["F-REGR-LOSS-001"] == outcome
    assert "2 were lost and 0 won" in results.of("F-REGR-LOSS-001").reason


def test_every_answer_of_a_cell_is_looked_at_for_stalls(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def look(answers: Sequence[Answered], measured: Sequence[Answered], *_: object) -> Any:
        seen.append((len(answers), len(measured)))
        return ()

    monkeypatch.setattr(performance, "stalls", look)
    cell, playbook = cell_of(prompts=PROMPTS, checks=("F-PERF-P99-001",)), playbook_of()
    run(plan_of(cell), sound_model.root)
    asked = len(PROMPTS) + playbook.warmup + playbook.measure
    assert seen == [(asked, playbook.measure)]


def _done(results: list[ScenarioResult]) -> dict[str, CellResult]:
    return {
        result.scenario.id: CellResult(
            scenario=result.scenario.id,
            gate_id=result.scenario.gate_id,
            outcome=result.outcome,
            kind=result.kind,
        )
        for result in results
    }
