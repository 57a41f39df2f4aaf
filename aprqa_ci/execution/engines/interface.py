"""What an engine is: it opens a session on a model file, and the session answers.

A session loads its model once and answers many scenarios. It always runs inside a cell's own child
process, so an engine may crash, hang or leak without harm to anything but its cell.

Adding an engine is one module with one class of the shape of :class:`Engine`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = [
    "Answer",
    "Device",
    "Engine",
    "EngineAbsentError",
    "EngineFailedError",
    "EngineInfo",
    "Message",
    "ModelLoadError",
    "PromptRefusedError",
    "Sampling",
    "ServedModel",
    "Session",
]


class ModelLoadError(Exception):
    """The engine looked at the model and could not load it: the model's fault (gateway G1)."""


class EngineFailedError(Exception):
    """The engine failed while it answered: gateway G2."""


class PromptRefusedError(Exception):
    """The session declined a prompt in good order, as it must an over-long one."""


class EngineAbsentError(Exception):
    """The engine, its library or the device it needs is not here: never the model's fault."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What an engine is and whether this machine has it."""

    name: str
    version: str | None
    """The version of the library or binary; absent when it is not here."""
    available: bool
    reason: str
    """Why it is not available, or nothing."""
    how_to_get: str
    """What to do to have it here."""
    formats: tuple[ModelFormat, ...]
    backends: tuple[Backend, ...]
    """The backends it can use on this machine."""
    independent: bool = False
    """Whether it is our own reading of the format, and so fit to be the ground truth."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next tokens are chosen."""

    max_tokens: int = 32
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said, with what was measured while it did."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    """Generated tokens, the end token not counted."""
    finish: Literal["stop", "length"]
    time_to_first_token_ms: float | None
    duration_ms: float
    """Wall time of the whole answer."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a session computes, and what proves it."""

    backend: Backend
    name: str
    """The processor or accelerator, for example ``cpu``."""
    proof: str
    """The observation that shows it, for example the engine's own device report."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model behind HTTP on the loopback interface."""

    base_url: str
    """``http://127.0.0.1:PORT``; ``/health``, ``/v1/completions``, ``/v1/chat/completions``."""


class Session(Protocol):
    """A loaded model. Not safe for use by several threads, except what ``serve`` serves."""

    @property
    def device(self) -> Device:
        """Where it computes."""
        ...

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together."""
        ...

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text.

        Args:
            prompt: the text to continue.
            sampling: how the next tokens are chosen.
            on_text: called with each new piece of text as soon as it is final; the pieces joined
                are the answer's text. A piece that may yet become part of a stop text, or half a
                character, is held back. An exception it raises ends the answer and is passed on.

        Raises:
            PromptRefusedError: the prompt does not fit the context.
            EngineFailedError: the engine failed.
        """
        ...

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation with the model's own chat template, ready to be continued.

        Raises:
            EngineFailedError: the model's template cannot be rendered.
        """
        ...

    def serve(self) -> AbstractContextManager[ServedModel]:
        """Serve the model over HTTP until the context is left."""
        ...

    def close(self) -> None:
        """Free what the session holds; safe to call twice."""
        ...


class Engine(Protocol):
    """A way to run models."""

    name: str

    def info(self) -> EngineInfo:
        """Say what the engine is and whether it is here. Cheap: loads no model."""
        ...

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the call, in the engine's own terms, that opens this model."""
        ...

    def open(self, model: ModelFiles, backend: Backend) -> Session:
        """Load the model.

        Raises:
            ModelLoadError: the model's files are missing, damaged or of an unknown kind.
            EngineAbsentError: the library or device is not here.
            MemoryError: the machine has not enough memory.
        """
        ...
