"""What is missing or fails on our side is a skip with its cause, never a verdict on the model."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.execution import cell_run, model_library
from aprqa_ci.execution.cell_session import CellSession
from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.child import CellChild, ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.engines.registry import engines
from aprqa_ci.execution.protocol import (
    Ask,
    Broken,
    CompareWeights,
    Inspect,
    NotOffered,
    Open,
    OutOfMemory,
    Request,
)
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.planning.plan import OracleSpec
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Outcome
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.running import Onlooker, Results, run

PROMPTS = (prompt_of("the end"), prompt_of("in and out"))
SOME = ("F-STAB-REPEAT-001",)
FULL = "Skipped infrastructure:"


def _all_skipped(results: Results, word: str) -> bool:
    return set(results.outcomes().values()) == {f"{FULL}{word}"}


def _asked(results: Results) -> set[str]:
    """What became of everything but the reading of files."""
    return {what for name, what in results.outcomes().items() if not name.startswith("G0")}


@pytest.mark.parametrize("modality", Modality)
def test_a_model_that_is_not_here(tmp_path: Path, modality: Modality) -> None:
    cell = cell_of(modality=modality, prompts=PROMPTS, checks=SOME, inspect=True)
    results = run(plan_of(cell), tmp_path)
    assert _all_skipped(results, "model-not-found")
    assert "model" in results.of("G1-LOAD").reason


def test_a_quantization_that_is_not_here(sound_model: Any) -> None:
    cell = cell_of(quantization="q4_k_m", prompts=PROMPTS, inspect=True)
    assert _all_skipped(run(plan_of(cell), sound_model.root), "model-not-found")


def test_a_format_without_engine(model: Any) -> None:
    (model.directory / "tiny.apr").write_bytes(b"APR1")
    cell = cell_of(format=ModelFormat.APR, prompts=PROMPTS, inspect=True)
    results = run(plan_of(cell), model.root)
    assert results.outcomes()["G0-DIGEST-001"] == "Corroborated"
    assert _asked(results) == {f"{FULL}engine-missing"}


def test_an_engine_that_does_not_exist(sound_model: Any) -> None:
    cell = cell_of(prompts=PROMPTS, engine="no-such-engine")
    assert _all_skipped(run(plan_of(cell), sound_model.root), "engine-missing")


@pytest.mark.parametrize("engine", ["reference", "llamacpp"])
def test_a_gpu_cell_without_gpu_is_never_run_on_the_cpu(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if Backend.GPU in engines()[engine].info().backends:
        pytest.skip(f"{engine} can use the GPU of this machine; run it where there is none")
    asked: list[Request] = []
    monkeypatch.setattr(CellChild, "request", lambda _self, request, **_: asked.append(request))
    cell = cell_of(backend=Backend.GPU, prompts=PROMPTS, engine=engine)
    playbook = playbook_of(performance={Backend.GPU: playbook_of().performance[Backend.CPU]})
    results = run(plan_of(cell, playbook=playbook), sound_model.root)
    assert _all_skipped(results, "engine-missing")
    assert "gpu" in results.of("G1-LOAD").reason
    assert asked == []


@pytest.mark.parametrize(("free", "runs"), [(1, False), (0, True), (10**6, True)])
def test_too_little_memory(
    model: Any, monkeypatch: pytest.MonkeyPatch, free: int, runs: bool
) -> None:
    # Padding that no reader minds makes the file need some MiB; 0 free says that nobody knows.
    monkeypatch.setattr(cell_run, "available_memory_mb", lambda: free)
    with model.gguf.open("ab") as stream:
        stream.truncate(16 << 20)
    cell = cell_of(prompts=PROMPTS[:1])
    results = run(plan_of(cell), model.root)
    if runs:
        assert results.outcomes()["001"] == "Corroborated"
    else:
        assert _all_skipped(results, "no-memory")
        assert "1 MiB are free" in results.of("G1-LOAD").reason


def test_what_an_engine_does_not_offer_is_no_failure_and_the_session_goes_on(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Request] = []
    real = CellChild.request

    def request(self: CellChild, asked: Request, *, timeout_s: float) -> Any:
        if isinstance(asked, Open):
            opened.append(asked)
        if isinstance(asked, Ask) and asked.raw:
            return NotOffered(message="no raw text here")
        return real(self, asked, timeout_s=timeout_s)

    monkeypatch.setattr(CellChild, "request", request)
    cell = cell_of(prompts=(prompt_of("2+2=", raw=True), prompt_of("the end")))
    results = run(plan_of(cell), sound_model.root)
    assert results.outcomes()["001"] == f"{FULL}not-offered"
    assert results.of("001").reason == "no raw text here"
    assert results.outcomes()["002"] == "Corroborated"
    assert len(opened) == 1


def _instead(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], reply: Any, *, once: bool = False
) -> None:
    """Let requests of a kind end in ``reply``, an error or a value; once, or each time."""
    real = CellChild.request
    left = [1] if once else [10**6]

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        if isinstance(request, kind) and left[0]:
            left[0] -= 1
            if isinstance(reply, Exception):
                self.kill()
                raise reply
            return reply
        return real(self, request, timeout_s=timeout_s)

    monkeypatch.setattr(CellChild, "request", request)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (OutOfMemory(message="3 GiB"), "no-memory"),
        (Broken(message="KeyError"), "harness-error"),
        (ChildDiedError(-9, "", out_of_memory=True), "no-memory"),
    ],
)
def test_loading_that_fails_on_our_side(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, reply: Any, word: str
) -> None:
    _instead(monkeypatch, Open, reply)
    cell = cell_of(prompts=PROMPTS, checks=SOME)
    assert _all_skipped(run(plan_of(cell), sound_model.root), word)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (OutOfMemory(message="3 GiB"), "no-memory"),
        (Broken(message="KeyError"), "harness-error"),
        (ChildDiedError(-9, "", out_of_memory=True), "no-memory"),
    ],
)
def test_a_question_that_fails_on_our_side_and_the_next_that_does_not(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, reply: Any, word: str
) -> None:
    _instead(monkeypatch, Ask, reply, once=True)
    outcomes = run(plan_of(cell_of(prompts=PROMPTS)), sound_model.root).outcomes()
    assert outcomes.pop("001") == f"{FULL}{word}"
    assert set(outcomes.values()) == {"Corroborated"}


@pytest.mark.parametrize(
    "error", [ChildTimeoutError(1, "slow"), ChildDiedError(-11, "boom")], ids=["hangs", "dies"]
)
def test_a_comparison_of_weights_that_does_not_end(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _instead(monkeypatch, CompareWeights, error)
    cell = cell_of(prompts=PROMPTS, checks=("F-REGR-ROUNDTRIP-001", *SOME))
    results = run(plan_of(cell), sound_model.root)
    outcomes = results.outcomes()
    assert outcomes.pop("F-REGR-ROUNDTRIP-001") == f"{FULL}comparison-failed"
    assert set(outcomes.values()) == {"Corroborated"}
    assert results.of("F-REGR-ROUNDTRIP-001").stderr in {"slow", "boom"}


@pytest.mark.parametrize(
    "reply",
    [ChildTimeoutError(1, "slow"), ChildDiedError(-11, "boom"), Broken(message="KeyError")],
    ids=["hangs", "dies", "breaks"],
)
def test_an_inspection_that_does_not_end(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    _instead(monkeypatch, Inspect, reply)
    results = run(plan_of(cell_of(prompts=PROMPTS, inspect=True)), sound_model.root)
    g0 = {what for name, what in results.outcomes().items() if name.startswith("G0")}
    assert g0 == {f"{FULL}inspection-failed"}
    assert _asked(results) == {"Corroborated"}


@pytest.mark.parametrize(
    "reply",
    [ChildTimeoutError(1, ""), ChildDiedError(-11, ""), OutOfMemory(message="no")],
    ids=["hangs", "dies", "memory"],
)
@pytest.mark.parametrize("kind", [Open, Ask])
def test_a_ground_truth_that_does_not_answer(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, kind: type[Any], reply: Any
) -> None:
    # Only the cell's own engine is llamacpp, so only the ground truth's child is hit.
    real = CellChild.request

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        truth = isinstance(request, Open) and request.engine == "reference"
        if truth:
            truths.append(self)
        if isinstance(request, kind) and self in truths:
            if isinstance(reply, Exception):
                self.kill()
                raise reply
            return reply
        return real(self, request, timeout_s=timeout_s)

    truths: list[CellChild] = []
    monkeypatch.setattr(CellChild, "request", request)
    cell = cell_of(prompts=PROMPTS[:1], checks=("F-COMP-AGREE-001",))
    outcomes = run(plan_of(cell), sound_model.root).outcomes()
    assert outcomes.pop("F-COMP-AGREE-001") == f"{FULL}no-ground-truth"
    assert set(outcomes.values()) == {"Corroborated"}


def test_no_ground_truth_in_plan_or_on_disk(model: Any) -> None:
    model.safetensors.unlink()
    cell = cell_of(prompts=PROMPTS[:1], checks=("F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"))
    for playbook in (playbook_of(), playbook_of(ground_truth=None)):
        outcomes = run(plan_of(cell, playbook=playbook), model.root).outcomes()
        assert outcomes["F-COMP-AGREE-001"] == f"{FULL}no-ground-truth"
        # Without the ground truth, the file goes forth and back by itself.
        assert outcomes["F-REGR-ROUNDTRIP-001"] == outcomes["001"] == "Corroborated"


def test_a_check_of_ours_that_fails_takes_nothing_with_it(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHECKS, SOME[0], lambda cell: cell.no_such_thing)
    results = run(plan_of(cell_of(prompts=PROMPTS, checks=SOME)), sound_model.root)
    outcomes = results.outcomes()
    assert outcomes.pop(SOME[0]) == f"{FULL}harness-error"
    assert set(outcomes.values()) == {"Corroborated"}
    assert "AttributeError" in results.of(SOME[0]).reason
    assert "no_such_thing" in (results.of(SOME[0]).stderr or "")


def test_an_oracle_that_cannot_be_made_takes_nothing_with_it(sound_model: Any) -> None:
    bad = prompt_of("x", oracle=OracleSpec(kind="contains", config={"al": ["typing error"]}))
    results = run(plan_of(cell_of(prompts=(bad, *PROMPTS))), sound_model.root)
    outcomes = results.outcomes()
    assert outcomes.pop("001") == f"{FULL}harness-error"
    assert set(outcomes.values()) == {"Corroborated"}


def test_an_oracle_that_does_not_apply_has_not_checked(sound_model: Any) -> None:
    case = prompt_of("say something", oracle=OracleSpec(kind="arithmetic"), max_tokens=8)
    results = run(plan_of(cell_of(prompts=(case,))), sound_model.root)
    assert results.outcomes()["001"] != "Corroborated"


@pytest.mark.parametrize("inspect", [True, False])
def test_a_machine_that_starts_no_processes(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, inspect: bool
) -> None:
    def refuse(_self: CellChild, **_: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(CellChild, "__init__", refuse)
    cell = cell_of(prompts=PROMPTS, checks=SOME, inspect=inspect)
    assert _all_skipped(run(plan_of(cell), sound_model.root), "machine")


@pytest.mark.parametrize(
    ("where", "error", "word"),
    [
        ("find_model", MemoryError(), "no-memory"),
        ("find_model", KeyError("ours"), "harness-error"),
    ],
)
def test_our_own_code_that_fails_before_anything_is_asked(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, word: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(model_library, where, fail)
    results = run(plan_of(cell_of(prompts=PROMPTS, inspect=True)), sound_model.root)
    assert _all_skipped(results, word)


def test_a_finding_that_the_inspection_does_not_make(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model_library.ModelLibrary.inspection
    monkeypatch.setattr(model_library.ModelLibrary, "inspection", lambda *given: real(*given)[1:])
    cell = cell_of(inspect=True, load=False, derived=())
    outcomes = run(plan_of(cell), sound_model.root).outcomes()
    assert outcomes.pop("G0-DIGEST-001") == f"{FULL}not-inspected"
    assert set(outcomes.values()) == {"Corroborated"}


class _Full:
    """A disk that is full after some results."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.kept: list[ScenarioResult] = []

    def __call__(self, result: ScenarioResult) -> None:
        if len(self.kept) == self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.kept.append(result)


@pytest.mark.parametrize("room", [0, 1, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_results_that_cannot_be_recorded_end_the_run_and_blame_nobody(
    sound_model: Any, room: int, workers: int
) -> None:
    full = _Full(room)
    cells = [
        cell_of(modality=modality, prompts=PROMPTS) for modality in (Modality.RUN, Modality.CHAT)
    ]
    with pytest.raises(OSError, match="No space left"):
        run(plan_of(*cells), sound_model.root, workers=workers, sink=full)
    assert len(full.kept) == room
    assert {result.outcome for result in full.kept} <= {Outcome.CORROBORATED}


def test_an_observer_that_fails_ends_the_run_and_no_result_comes_twice(
    sound_model: Any,
) -> None:
    kept: list[ScenarioResult] = []

    def fail(result: ScenarioResult, seen: int) -> None:
        del result
        if seen == 2:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(
            plan_of(cell_of(prompts=PROMPTS)),
            sound_model.root,
            observer=Onlooker(fail),
            sink=kept.append,
        )
    assert len({result.scenario.id for result in kept}) == len(kept) == 2


def test_digests_that_cannot_be_recorded_are_no_fault_of_the_model(sound_model: Any) -> None:
    def fail(playbook: str, variant: str, digests: Mapping[str, str]) -> None:
        raise OSError(errno.ENOSPC, playbook + variant + str(digests))

    cell = cell_of(prompts=PROMPTS, inspect=True)
    results = run(plan_of(cell), sound_model.root, digests=fail)
    assert _all_skipped(results, "machine")


def test_relative_paths_start_from_the_root(sound_model: Any) -> None:
    playbook = playbook_of()
    absolute = msgspec.structs.replace(
        playbook,
        model=msgspec.structs.replace(playbook.model, local_path=str(sound_model.directory)),
    )
    nowhere = msgspec.structs.replace(
        playbook, model=msgspec.structs.replace(playbook.model, local_path=None)
    )
    cell = cell_of(load=False, inspect=True, derived=())
    assert set(run(plan_of(cell, playbook=absolute), sound_model.root).outcomes().values()) == {
        "Corroborated"
    }
    assert _all_skipped(run(plan_of(cell, playbook=nowhere), sound_model.root), "model-not-found")


def test_a_session_is_closed_whatever_happens(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    real = CellSession.close

    def close(self: CellSession) -> None:
        closed.append(1)
        real(self)

    monkeypatch.setattr(CellSession, "close", close)
    run(plan_of(cell_of(prompts=PROMPTS[:1])), sound_model.root)
    assert closed
