"""An engine that can be told to fail: a sound engine behind it answers, until the fault acts.

It is found as any engine of another package is, through an entry point, and opened in the cell's
own child process: the pipeline that runs it is the one that runs every engine. Which fault it has
stands in the environment of the child; without one it is sound.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from aprqa_ci import __version__
from aprqa_ci.execution.engines.interface import (
    Answer,
    Capability,
    Device,
    Engine,
    EngineInfo,
    Message,
    Sampling,
    ServedModel,
    Session,
)
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.engines.registry import engine_for
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.selftest.faults import ANSWER_FAULTS, END_FAULTS, LOAD_FAULTS, Asked, Memory, OnText
from aprqa_ci.selftest.faulty_server import SERVER_FAULTS, broken_server, unreachable_server
from aprqa_ci.selftest.gpu_stand_in import compute_on_stand_in
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import WireModel

__all__ = [
    "ENGINE_NAME",
    "FAULT_VARIABLE",
    "OTHER_FAULTS",
    "Fault",
    "FaultyEngine",
    "install_engine",
]

ENGINE_NAME: Final = "selftest"
FAULT_VARIABLE: Final = "APRQA_SELFTEST_FAULT"
"""The environment variable that holds the fault, as JSON."""
_NO_GPU = {"cpu-for-gpu", "cpu-called-gpu", "unproven-gpu"}
OTHER_FAULTS: Final = frozenset({*_NO_GPU, "server-absent"})
"""Faults that are neither of an answer nor of a reply: where it computes, and where it serves."""


class Fault(WireModel, frozen=True, kw_only=True):
    """What is wrong with the engine."""

    name: str
    parameters: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies an empty default


class FaultyEngine:
    """The engine that can be told to fail."""

    name = ENGINE_NAME

    def info(self) -> EngineInfo:
        """Promise everything, the gpu as well: who lies does so here first."""
        return EngineInfo(
            name=self.name,
            version=__version__,
            available=True,
            reason="",
            how_to_get="comes with aprqa-ci, for its self-test alone",
            formats=(ModelFormat.SAFETENSORS, ModelFormat.GGUF),
            backends=(Backend.CPU, Backend.GPU),
            capabilities=tuple(Capability),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the call of the sound engine, and the fault."""
        del backend
        fault = _fault()
        call = _sound_engine(model).invocation(model, Backend.CPU)
        return call if fault is None else f"{call} with fault {fault.name}"

    def open(self, model: ModelFiles, backend: Backend) -> "FaultySession":
        """Load the model with the sound engine, on the cpu."""
        fault = _fault()
        if fault is not None and fault.name in LOAD_FAULTS:
            LOAD_FAULTS[fault.name](**fault.parameters)
        if backend is Backend.GPU and (fault is None or fault.name not in _NO_GPU):
            compute_on_stand_in()
        return FaultySession(_sound_engine(model).open(model, Backend.CPU), fault, backend)


class FaultySession:
    """A sound session with a fault, or with none."""

    def __init__(self, session: Session, fault: Fault | None, backend: Backend) -> None:
        self._session = session
        self._fault = fault
        self._backend = backend
        self._memory = Memory()

    @property
    def device(self) -> Device:
        """Where it computes, as far as it is honest."""
        device = self._session.device
        match self._name:
            case "cpu-for-gpu":
                return device
            case "unproven-gpu":
                return Device(backend=Backend.GPU, name="gpu", proof="", proven=False)
            case _ if self._backend is Backend.GPU:
                return Device(backend=Backend.GPU, name="gpu", proof="it says so")
            case _:
                return device

    @property
    def context_length(self) -> int:
        """That of the sound session."""
        return self._session.context_length

    def complete(self, prompt: str, sampling: Sampling, *, on_text: OnText = None) -> Answer:
        """Answer as the fault has it."""
        self._memory.asked += 1
        asked = Asked(
            prompt=prompt,
            sampling=sampling,
            on_text=on_text,
            session=self._session,
            memory=self._memory,
        )
        answer = ANSWER_FAULTS.get(self._name)
        return asked.answer() if answer is None else answer(asked, **self._parameters)

    def render(self, messages: Sequence[Message]) -> str:
        """Render with the model's template."""
        return self._session.render(messages)

    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        """Serve, broken if that is the fault."""
        if self._name == "server-absent":
            with unreachable_server() as nowhere:
                yield nowhere
            return
        fault = SERVER_FAULTS.get(self._name)
        with serve_session(self) as served:
            if fault is None:
                yield served
                return
            with broken_server(served, partial(fault, **self._parameters)) as broken:
                yield broken

    def close(self) -> None:
        """End as the fault has it."""
        self._session.close()
        end: Callable[..., None] | None = END_FAULTS.get(self._name)
        if end is not None:
            end(**self._parameters)

    @property
    def _name(self) -> str:
        return "" if self._fault is None else self._fault.name

    @property
    def _parameters(self) -> dict[str, Any]:
        return {} if self._fault is None else self._fault.parameters


def install_engine(directory: Path) -> None:
    """Make the engine known to processes that have ``directory`` in their search path."""
    metadata = directory / "aprqa_selftest-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: aprqa-selftest\nVersion: 1\n", encoding="utf-8")
    entry = f"[aprqa.engines]\n{ENGINE_NAME} = {__name__}:{FaultyEngine.__name__}\n"
    (metadata / "entry_points.txt").write_text(entry, encoding="utf-8")


def _fault() -> Fault | None:
    text = os.environ.get(FAULT_VARIABLE)
    return None if not text else msgspec.json.decode(text, type=Fault)


def _sound_engine(model: ModelFiles) -> Engine:
    return engine_for(model.format, Backend.CPU, asked=None)
