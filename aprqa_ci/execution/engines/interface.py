"""What an engine is: it opens a session on a model file, and the session answers.

A session loads its model once and answers many scenarios. It always runs inside a cell's own child
process, so an engine may crash, hang or leak without harm to anything but its cell.

Adding an engine is one module with one class of the shape of :class:`Engine`, and one entry point.
What only some engines have is a protocol of its own that their classes fit or do not:
:class:`ConfigurableEngine`, :class:`ConversingSession`, :class:`DescribedSession`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, Self, runtime_checkable

from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = [
    "Answer",
    "Capability",
    "ConfigurableEngine",
    "ConversingSession",
    "DescribedSession",
    "Device",
    "Engine",
    "EngineAbsentError",
    "EngineFailedError",
    "EngineInfo",
    "Message",
    "ModelLoadError",
    "NotOfferedError",
    "OptionValue",
    "PromptRefusedError",
    "Sampling",
    "ServedModel",
    "Session",
    "UnknownArchitectureError",
]


class ModelLoadError(Exception):
    """The engine looked at the model and could not load it: the model's fault (gateway G1)."""


class EngineFailedError(Exception):
    """The engine failed while it answered: gateway G2."""


class PromptRefusedError(Exception):
    """The session declined a prompt in good order, as it must an over-long one."""


class NotOfferedError(Exception):
    """The engine has no way to do what is asked, whatever the model: never the model's fault.

    The session goes on. For example, a server without ``/v1/completions`` is asked for raw text.
    """


class EngineAbsentError(Exception):
    """The engine, its library or the device it needs is not here: never the model's fault."""


class UnknownArchitectureError(EngineAbsentError):
    """The engine does not know the architecture that the model's files name; another one may.

    It is for nothing else: what says it is passed over for the next engine, and a file that is
    damaged must not be taken from one engine to the next until one of them loads it.
    """


OptionValue = str | int | float | bool | tuple[str, ...]
"""The value of one option of an engine."""


class Capability(StrEnum):
    """What an engine may promise; the conformance suite holds it to what it does promise."""

    RAW = "raw"
    """It continues raw text (``complete``)."""
    CHAT = "chat"
    """It answers conversations in the model's own template (``render`` or ``converse``)."""
    SERVE = "serve"
    """It serves the model over HTTP."""
    STREAMING = "streaming"
    """It hands out text while it is made."""
    TEMPERATURE = "temperature"
    """Above 0 it draws tokens by chance, at 0 it takes the likeliest."""
    SEED = "seed"
    """The same seed draws the same tokens."""
    STOP = "stop"
    """It ends an answer before a stop text."""
    TOKENS_COUNTED = "tokens-counted"
    """It counts the tokens of prompt and answer itself."""
    DEVICE_PROOF = "device-proof"
    """It shows where it computes."""


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
    capabilities: tuple[Capability, ...] = ()
    """What it promises. What is not promised is not tried, and not passed."""
    needs_files: bool = True
    """Whether it opens the files that it is given. One that does not is asked about a model that
    somebody else holds, and then neither the files nor their loading is shown by its answers."""
    start_seconds: float = 0.0
    """Seconds that it may need to start, beyond what loading the model's bytes takes."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The options it takes, each with its meaning (:class:`ConfigurableEngine`)."""


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
    proven: bool = True
    """Whether it is shown; otherwise ``proof`` says why it cannot be, and gates that need it are
    not judged."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model behind HTTP, on the loopback interface unless the server is somebody else's."""

    base_url: str
    """``http://127.0.0.1:PORT``; ``/health``, ``/v1/completions``, ``/v1/chat/completions``."""
    model: str | None = None
    """What requests call the model; learned from ``/v1/models`` where the session does not say."""
    api_key: str = field(default="", repr=False)
    """Sent with every request; of somebody else's server alone."""
    foreign: bool = False
    """Whether the server is somebody else's."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Further settings of every request, by the names that the server has for them."""


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
            NotOfferedError: the engine cannot continue raw text.
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


@runtime_checkable
class ConversingSession(Protocol):
    """A session that takes conversations as they are: the template is applied where the model is.

    Of such a session ``render`` is never asked. It suits models that somebody else holds; where the
    files are here, one rendering for all engines is what makes their answers comparable.
    """

    def converse(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer the last message.

        Raises:
            PromptRefusedError: the conversation does not fit the context.
            EngineFailedError: the engine failed.
            NotOfferedError: the engine has no conversations.
        """
        ...


@runtime_checkable
class DescribedSession(Protocol):
    """A session whose call is known only once it is open: a found server, a process per prompt."""

    @property
    def invocation(self) -> str:
        """The call, as :meth:`Engine.invocation` would say it."""
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
            ModelLoadError: the model's files are missing or damaged.
            UnknownArchitectureError: they name an architecture that this engine does not know.
            EngineAbsentError: the library or device is not here.
            MemoryError: the machine has not enough memory.
        """
        ...


@runtime_checkable
class ConfigurableEngine(Protocol):
    """An engine that takes options, for example the address of a server.

    They come from the playbook, the runner class, a file or the environment (docs/engines.md).
    """

    def with_options(self, options: Mapping[str, OptionValue]) -> Self:
        """Return the engine with these options; its ``info`` may be another then. Cheap.

        Raises:
            InputError: with every option that is unknown or has a wrong value.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Return the names of environment variables with secrets that its process must see."""
        ...
