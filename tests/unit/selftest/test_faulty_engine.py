"""The engine that can be told to fail, on the bundled model, and its broken servers over HTTP."""

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.execution.engines.interface import (
    EngineFailedError,
    EngineInfo,
    Message,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.selftest.faulty_engine import (
    ENGINE_NAME,
    FAULT_VARIABLE,
    Fault,
    FaultyEngine,
    FaultySession,
    install_engine,
)
from aprqa_ci.vocabulary import Backend
from tests.broken_models import safetensors_of

MODEL = safetensors_of(bundled_model())
QUESTION = (Message(role="user", content="What is 2 + 2?"),)
SHORT = Sampling(max_tokens=8)
SEND_NONSENSE = """
from aprqa_ci.execution.engines.openai_client import OpenAIClient
with session.serve() as found:
    OpenAIClient(found.base_url, timeout_s=20).post_raw("/v1/completions", b"{", {})
"""
Open = Callable[..., FaultySession]


@pytest.fixture
def open_with(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the bundled model with a fault."""

    def opened(
        name: str | None = None, /, *, backend: Backend = Backend.CPU, **parameters: object
    ) -> FaultySession:
        monkeypatch.delenv(FAULT_VARIABLE, raising=False)
        if name is not None:
            fault = Fault(name=name, parameters=parameters)
            monkeypatch.setenv(FAULT_VARIABLE, msgspec.json.encode(fault).decode())
        return FaultyEngine().open(MODEL, backend)

    return opened


@contextmanager
def served(session: FaultySession) -> Iterator[OpenAIClient]:
    with session.serve() as found:
        yield OpenAIClient(found.base_url, timeout_s=20)
    session.close()


def said(session: FaultySession) -> str:
    return session.complete(session.render(QUESTION), SHORT).text


def test_without_a_fault_it_is_the_sound_engine(open_with: Open) -> None:
    session = open_with()
    assert said(session) == "4"
    assert session.context_length == 512
    assert session.device.backend is Backend.CPU
    with served(session) as client:
        assert client.chat(QUESTION, SHORT).text == "4"
        assert client.health() == 200
    call = FaultyEngine().invocation(MODEL, Backend.CPU)
    assert call.startswith("ReferenceEngine()")


def test_a_fault_acts_and_is_said(open_with: Open) -> None:
    session = open_with("repeat", times=2)
    assert said(session) == "4 4"
    assert FaultyEngine().invocation(MODEL, Backend.CPU).endswith("with fault repeat")
    with served(session) as client:
        assert client.chat(QUESTION, SHORT).text == "4 4"


def test_a_library_that_fails_fails_when_it_loads(open_with: Open) -> None:
    with pytest.raises(OSError, match="gone"):
        open_with("error-at-load", message="gone")


def test_devices_are_told_as_the_fault_has_it(open_with: Open) -> None:
    told = {
        name: open_with(name, backend=Backend.GPU).device
        for name in ("cpu-for-gpu", "unproven-gpu", "cpu-called-gpu")
    }
    assert [device.backend for device in told.values()] == [Backend.CPU, Backend.GPU, Backend.GPU]
    assert [device.proven for device in told.values()] == [True, False, True]


@pytest.mark.parametrize(
    ("fault", "parameters", "stream"),
    [
        ("server-status", {"status": 500}, False),
        ("server-json", {"drop": 1}, False),
        ("server-events", {"old": "data: ", "new": "date: "}, True),
        ("server-events", {"old": "data: [DONE]\n\n", "new": ""}, True),
        ("server-cut", {"share": 0.6}, False),
        ("server-usage", {"name": '"used"'}, True),
        ("server-absent", {}, False),
    ],
)
def test_broken_replies_are_failures_of_the_engine(
    open_with: Open, fault: str, parameters: dict[str, object], stream: bool
) -> None:
    with served(open_with(fault, **parameters)) as client, pytest.raises(EngineFailedError):
        client.chat(QUESTION, SHORT, stream=stream)


def test_what_the_fault_is_not_of_stays_sound(open_with: Open) -> None:
    with served(open_with("server-status", status=500)) as client:
        assert client.health() == 200
    with served(open_with("server-events", old="data: ", new="date: ")) as client:
        assert client.chat(QUESTION, SHORT).text == "4"
    with served(open_with("server-json", drop=1)) as client:
        assert client.chat(QUESTION, SHORT, stream=True).text == "4"
    with served(open_with("server-cut", share=0.5)) as client:
        assert client.health() == 200


def test_states_are_told_wrongly(open_with: Open) -> None:
    json = {"Content-Type": "application/json"}
    with served(open_with("server-errors-as", status=200)) as client:
        assert client.post_raw("/v1/chat/completions", b"{", json).status == 200
        assert client.chat(QUESTION, SHORT).text == "4"
    with served(open_with("server-health", status=503)) as client:
        assert client.health() == 503
        assert client.post_raw("/v1/chat/completions", b"{", json).status == 400


def test_clients_get_the_answer_of_another(open_with: Open) -> None:
    sums = [(Message(role="user", content=f"What is {n} + 1?"),) for n in (2, 4, 6)]
    with served(open_with("server-mixes-clients", ms=2000)) as client:
        with ThreadPoolExecutor(max_workers=3) as pool:
            texts = list(pool.map(lambda each: client.chat(each, SHORT).text, sums))
        assert len(set(texts)) == 1
        assert client.chat(sums[0], SHORT).text == "3"


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ("crash-at-load", ""),
        ("crash-at-exit", "session.close()"),
        ("server-dies-of-bad-input", SEND_NONSENSE),
    ],
)
def test_what_dies_dies_of_a_signal(fault: str, act: str) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "from tests.unit.selftest.test_faulty_engine import MODEL, FaultyEngine, Backend\n"
        f"session = FaultyEngine().open(MODEL, Backend.CPU)\n{act}\n"
    )
    text = msgspec.json.encode(Fault(name=fault)).decode()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), FAULT_VARIABLE: text}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ended.returncode == -signal.SIGABRT


def test_it_is_found_where_it_is_installed_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named() -> list[str]:
        return [each.name for each in importlib.metadata.entry_points(group="aprqa.engines")]

    assert ENGINE_NAME not in named()
    install_engine(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert ENGINE_NAME in named()
    (entry,) = importlib.metadata.entry_points(group="aprqa.engines", name=ENGINE_NAME)
    engine = entry.load()()
    assert isinstance(engine.info(), EngineInfo)
    assert engine.name == ENGINE_NAME
