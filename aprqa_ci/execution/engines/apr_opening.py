"""Opening a model with the ``apr`` tool: behind its server, or else in one process per prompt."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NoReturn

import msgspec

from aprqa_ci.execution.engines.apr_cli import (
    AprCompleted,
    AprEnding,
    ending_of,
    quote,
    run_arguments,
    serve_arguments,
)
from aprqa_ci.execution.engines.apr_device import cpu_device, gpu_device
from aprqa_ci.execution.engines.apr_faults import EndAs, raise_ending
from aprqa_ci.execution.engines.apr_model import AprModel
from aprqa_ci.execution.engines.apr_process import AprAbsentError, AprTool, run_apr
from aprqa_ci.execution.engines.apr_prompts import AprPromptSession
from aprqa_ci.execution.engines.apr_served import (
    CHAT_ROUTE,
    AprServedSession,
    AprTalkingSession,
    routes_of,
)
from aprqa_ci.execution.engines.apr_session import HeldModel
from aprqa_ci.execution.engines.interface import (
    Device,
    EngineAbsentError,
    EngineFailedError,
    NotOfferedError,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.server_process import (
    ServerEndedError,
    ServerNotReadyError,
    ServerProcess,
    start_server,
)
from aprqa_ci.execution.gpu_devices import GpuDevice
from aprqa_ci.vocabulary import Backend

__all__ = ["NoServerError", "Opening", "open_for_prompts", "open_served"]

_ANSWER_S: Final = 3600.0
"""Longer than any scenario may last: the parent's limit is the one that counts."""
_HEALTHY = frozenset({"healthy", "ok", "degraded"})

DevicesNow = Callable[[], tuple[GpuDevice, ...] | None]
"""Asks the driver; nothing when none answers."""


class NoServerError(Exception):
    """The tool has no server that can be used for this model."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """All that is known when a model is opened."""

    tool: AprTool
    model: AprModel
    weights_bytes: int
    backend: Backend
    environment: Mapping[str, str]
    """The whole environment of the tool."""
    devices: DevicesNow
    ready_s: float
    """How long the server may take until it is healthy."""
    crash: EndAs
    cleanup: Callable[[], None]
    """Called when the session is closed; not when opening fails."""

    @property
    def no_gpu(self) -> bool:
        """Whether the tool is to compute on the processor."""
        return self.backend is Backend.CPU


def open_for_prompts(opening: Opening, lack: str) -> AprPromptSession:
    """Answer one first prompt, which shows that the model can be loaded.

    Args:
        opening: what is opened.
        lack: why there is no server.

    Raises:
        ModelLoadError: the tool says that it cannot load the model.
        EngineAbsentError: the tool or the machine is at fault.
        NotOfferedError: it shows no answer in a shape that is known.
        MemoryError: there is not enough memory.
    """

    def arguments(prompt: str, max_tokens: int) -> tuple[str, ...]:
        # With --benchmark the tool shows figures instead of the text.
        return run_arguments(
            opening.model.path,
            prompt,
            max_tokens=max_tokens,
            no_gpu=opening.no_gpu,
            benchmark=False,
        )

    def run(prompt: str, max_tokens: int) -> AprCompleted:
        try:
            return run_apr(
                opening.tool.path,
                arguments(prompt, max_tokens),
                environment=opening.environment,
                timeout_s=_ANSWER_S,
            )
        except AprAbsentError as error:
            raise EngineAbsentError(str(error)) from error

    shown = " ".join((str(opening.tool.path), *arguments("PROMPT", 0)))
    device = cpu_device(None, None)
    if not opening.no_gpu:
        device = Device(
            backend=opening.backend,
            name="unknown",
            proof="a process that ends with its answer holds no device that could be looked at",
            proven=False,
        )
    held = HeldModel(
        model=opening.model,
        device=device,
        invocation=(
            f"{shown.replace('--max-tokens 0', '--max-tokens N')}"
            f" (one process per prompt, for {lack}; no seed, no temperature)"
        ),
        crash=opening.crash,
        cleanup=opening.cleanup,
    )
    session = AprPromptSession(held, run)
    session.ask("Hello", 1, loading=True)
    return session


def open_served(opening: Opening) -> AprServedSession:
    """Start the tool's server on the model.

    Raises:
        NoServerError: it does not become healthy, has no route that answers, or this version of the
            tool cannot serve.
        ModelLoadError: it says that it cannot load the model.
        EngineAbsentError: the tool cannot be started, or computes elsewhere than it was told.
        MemoryError: there is not enough memory.
    """
    before = opening.devices()
    server, base_url = _started(opening)
    with contextlib.ExitStack() as starting:
        starting.callback(server.stop)
        try:
            client = OpenAIClient(base_url, timeout_s=60.0)
            routes, model = routes_of(client), client.only_model()
        except EngineFailedError as error:
            what = f"apr serve does not answer: {error}"
            raise NoServerError(what) from error
        except NotOfferedError as error:
            what = f"apr serve was given one model: {error}"
            raise NoServerError(what) from error
        if not routes:
            what = "apr serve is healthy and has no route that answers"
            raise NoServerError(what)
        after = opening.devices()
        if opening.no_gpu:
            device = cpu_device(server.pid, after)
        else:
            device = gpu_device(server.pid, before or (), after or (), opening.weights_bytes)
        shown = " ".join(
            (
                str(opening.tool.path),
                *serve_arguments(opening.model.path, 0, no_gpu=opening.no_gpu),
            )
        ).replace("--port 0", "--port FREE")
        # Text rendered here needs a template that can be read and a route that takes it.
        talking = CHAT_ROUTE in routes and (opening.model.template is None or len(routes) == 1)
        way = "the server renders conversations" if talking else "conversations rendered here"
        held = HeldModel(
            model=opening.model,
            device=device,
            invocation=(
                f"{shown} (one server for all prompts; routes {', '.join(sorted(routes))}; {way})"
            ),
            crash=opening.crash,
            cleanup=opening.cleanup,
        )
        starting.pop_all()
    kind = AprTalkingSession if talking else AprServedSession
    return kind(held, server, base_url, routes, model)


def _started(opening: Opening) -> tuple[ServerProcess, str]:
    """Start the server and wait until it is healthy."""

    def command(port: int) -> tuple[str, ...]:
        arguments = serve_arguments(opening.model.path, port, no_gpu=opening.no_gpu)
        return (str(opening.tool.path), *arguments)

    try:
        return start_server(
            command, _healthy, environment=opening.environment, timeout_s=opening.ready_s
        )
    except OSError as error:
        what = f"{opening.tool.path} cannot be started: {error}"
        raise EngineAbsentError(what) from error
    except ServerEndedError as error:
        _raise_unserved(opening, error)
    except ServerNotReadyError as error:
        what = f"{error}: {quote(error.log) or 'silent'}"
        raise NoServerError(what) from error


def _raise_unserved(opening: Opening, error: ServerEndedError) -> NoReturn:
    """Raise what it means that the server ended before it was healthy."""
    what = f"{error}: {quote(error.log) or 'silent'}"
    ending = ending_of(error.returncode, error.log)
    if ending not in {AprEnding.DONE, AprEnding.NOT_OURS}:
        raise_ending(ending, error.returncode, what, loading=True, crash=opening.crash)
    raise NoServerError(what) from error


def _healthy(base_url: str) -> Callable[[], bool]:
    client = OpenAIClient(base_url, timeout_s=5.0)

    def healthy() -> bool:
        try:
            reply = client.post_raw("/health", b"", {}, method="GET")
        except EngineFailedError:
            return False
        if reply.status != HTTPStatus.OK:
            return False
        try:
            found = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return reply.body.strip().lower() in {b"ok", b"healthy"}
        # Whole words: "unhealthy" has the other one in it.
        return isinstance(found, dict) and found.get("status") in _HEALTHY

    return healthy
