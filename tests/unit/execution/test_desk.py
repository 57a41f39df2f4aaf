import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.execution import desk as desk_module
from aprqa_ci.execution.desk import Desk
from aprqa_ci.execution.engines.interface import Answer, Device, EngineAbsentError, Sampling
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.gpu_devices import RunCommand
from aprqa_ci.execution.protocol import (
    MAX_ANSWER_CHARACTERS,
    Answered,
    Ask,
    AskClients,
    CheckHealth,
    ClientsAnswered,
    CompareWeights,
    Health,
    Inspect,
    Inspected,
    MalformedSent,
    Open,
    Opened,
    SendMalformed,
    WeightsCompared,
)
from aprqa_ci.vocabulary import Backend, Modality
from tests.broken_models import edit_safetensors, gguf_of, safetensors_of
from tests.scripted_session import ScriptedEngine, ScriptedSession, answer_of
from tests.tiny_llama import write_tiny_llama


def _ask(text: str = "hi") -> Ask:
    return Ask(turns=(text,), system=None, raw=True, sampling=Sampling(max_tokens=3), number=0)


@pytest.fixture
def session() -> ScriptedSession:
    return ScriptedSession()


@pytest.fixture
def opened(session: ScriptedSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """A desk with the scripted session; the caller closes it."""
    monkeypatch.setattr(desk_module, "engine_named", lambda _: ScriptedEngine(session))
    desk = Desk()
    reply = desk.handle(_open(tmp_path, Modality.RUN))
    assert isinstance(reply, Opened)
    assert (reply.engine, reply.version, reply.context_length) == ("scripted", "unknown", 64)
    assert reply.device == "cpu: cpu (a script)"
    assert reply.invocation == "scripted(x.gguf, cpu)"
    assert reply.memory_mb > 0
    return desk


def _open(directory: Path, modality: Modality) -> Open:
    return Open(
        engine="scripted",
        model=gguf_of(directory / "x.gguf"),
        backend=Backend.CPU,
        modality=modality,
    )


def test_a_session_that_computes_elsewhere_is_no_session(
    session: ScriptedSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(desk_module, "engine_named", lambda _: ScriptedEngine(session))
    request = msgspec.structs.replace(_open(tmp_path, Modality.RUN), backend=Backend.GPU)
    with Desk() as desk, pytest.raises(EngineAbsentError, match="for gpu and computes on cpu"):
        desk.handle(request)
    assert session.closed == 1


def _driver(*computing: str) -> RunCommand:
    """A driver with one device; each call of the processes takes the next list of them."""
    lists = list(computing)

    def run(command: Sequence[str]) -> str | None:
        if "--query-gpu" in command[1]:
            return "0, GPU-a, 900, 900\n"
        return lists.pop(0)

    return run


def _on_gpu(
    monkeypatch: pytest.MonkeyPatch, directory: Path, driver: RunCommand, *, proven: bool = True
) -> Opened:
    session = ScriptedSession()
    session.device = Device(backend=Backend.GPU, name="gpu", proof="it says so", proven=proven)
    monkeypatch.setattr(desk_module, "engine_named", lambda _: ScriptedEngine(session))
    request = msgspec.structs.replace(_open(directory, Modality.RUN), backend=Backend.GPU)
    request.model.weights[0].write_bytes(b"weights")
    with Desk(driver) as desk:
        reply = desk.handle(request)
    assert isinstance(reply, Opened)
    return reply


def test_a_gpu_is_shown_by_its_driver_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = _on_gpu(monkeypatch, tmp_path, _driver("", f"GPU-a, {os.getpid()}, python\n"))
    assert shown.device_proven
    assert shown.device == (
        "gpu: gpu (it says so; the driver lists its process as computing on GPU-a)"
    )
    for driver in (
        _driver("", "GPU-a, 1, another\n"),
        _driver("", ""),
        lambda _: None,
    ):
        claimed = _on_gpu(monkeypatch, tmp_path, driver)
        assert not claimed.device_proven
        assert "the driver shows no use of a GPU by its process" in claimed.device


def test_what_an_engine_cannot_show_the_driver_does_not_show_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = _driver(*[f"GPU-a, {os.getpid()}, python\n"] * 2)
    assert not _on_gpu(monkeypatch, tmp_path, driver, proven=False).device_proven


def test_a_processor_needs_no_driver(opened: Desk, tmp_path: Path) -> None:
    def never(_command: Sequence[str]) -> str | None:
        raise AssertionError

    session = ScriptedSession()
    with opened, Desk(never) as desk, pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk_module, "engine_named", lambda _: ScriptedEngine(session))
        for proven in (True, False):
            session.device = Device(backend=Backend.CPU, name="cpu", proof="", proven=proven)
            reply = desk.handle(_open(tmp_path, Modality.RUN))
            assert isinstance(reply, Opened)
            assert reply.device_proven is proven


def test_an_answer_carries_what_was_measured(opened: Desk) -> None:
    with opened as desk:
        reply = desk.handle(_ask("hi"))
    assert isinstance(reply, Answered)
    assert (reply.text, reply.finish) == ("hi", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (3, 2)
    assert (reply.time_to_first_token_ms, reply.duration_ms) == (1.0, 2.0)
    assert 0 < reply.memory_mb <= reply.memory_peak_mb * 1.5


@pytest.mark.parametrize(("length", "finish"), [(0, "stop"), (1, "length")])
def test_an_endless_answer_is_cut_and_says_so(
    opened: Desk, session: ScriptedSession, length: int, finish: str
) -> None:
    def reply_with(prompt: str) -> Answer:
        del prompt
        return answer_of("x" * (MAX_ANSWER_CHARACTERS + length))

    session._reply = reply_with
    with opened as desk:
        reply = desk.handle(_ask())
    assert isinstance(reply, Answered)
    assert len(reply.text) == MAX_ANSWER_CHARACTERS
    assert reply.finish == finish


def test_leaving_closes_the_session_once(opened: Desk, session: ScriptedSession) -> None:
    with opened:
        assert session.closed == 0
    assert session.closed == 1


def test_a_serving_desk_asks_over_http(
    session: ScriptedSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(desk_module, "engine_named", lambda _: ScriptedEngine(session))
    with serve_session(session) as model, Desk() as desk:
        session._served = model.base_url
        desk.handle(_open(tmp_path, Modality.SERVE))
        assert session.serving == 1
        assert desk.handle(CheckHealth()) == Health(status=200)
        malformed = desk.handle(SendMalformed())
        clients = desk.handle(AskClients(questions=("a", "b"), sampling=Sampling()))
        answered = desk.handle(_ask("raw"))
    assert isinstance(malformed, MalformedSent)
    assert malformed.alive
    assert isinstance(clients, ClientsAnswered)
    assert clients.alone == clients.together == ("user=a", "user=b")
    assert isinstance(answered, Answered)
    assert answered.text == "raw"
    assert (session.serving, session.closed) == (0, 1)


def test_files_are_inspected_and_digested(tiny_llama: Path) -> None:
    with Desk() as desk:
        reply = desk.handle(
            Inspect(model=safetensors_of(tiny_llama), ground_truth=None, expected={"num_layers": 3})
        )
    assert isinstance(reply, Inspected)
    states = {finding.gate_id: finding.state for finding in reply.findings}
    assert states.pop("G0-INTEGRITY-LAYERS") == "falsified"
    assert set(states.values()) == {"corroborated"}
    assert "model.safetensors" in reply.digests


def test_weights_are_compared_and_an_infinite_error_has_no_number(tmp_path: Path) -> None:
    def poison(tensors: dict[str, npt.NDArray[Any]]) -> None:
        tensors["model.norm.weight"][:] = np.nan

    model = write_tiny_llama(tmp_path / "model")
    for name, error, exact in (("sound", 0.0, True), ("broken", None, False)):
        if name == "broken":
            edit_safetensors(model, poison)
        scratch = tmp_path / name
        scratch.mkdir()
        with Desk() as desk:
            reply = desk.handle(
                CompareWeights(model=safetensors_of(model), ground_truth=None, scratch=scratch)
            )
        assert isinstance(reply, WeightsCompared)
        assert (reply.worst_error, reply.exact, reply.tensors) == (error, exact, 20)


@pytest.mark.parametrize("text", ["", "1", "a b"])
def test_memory_is_told_where_the_system_hides_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert desk_module._resident_mb() == desk_module._peak_mb() > 0


def test_requests_that_need_a_session_say_so_when_there_is_none() -> None:
    with Desk() as desk:
        for request in (_ask(), CheckHealth(), SendMalformed()):
            with pytest.raises(AssertionError):
                desk.handle(request)
