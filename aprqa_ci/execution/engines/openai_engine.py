"""The ``openai`` engine: any OpenAI-compatible server, given by address or started by a command.

A server that somebody else runs shows by its answers what it says, and neither which files it
loaded nor where it computes. So a cell on it has its answers judged, and the gates that need the
files (G0) or their loading (G1) are not. A server that is started here with the files shows both.
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from aprqa_ci import __version__
from aprqa_ci.execution.engines.interface import (
    Capability,
    Device,
    EngineAbsentError,
    EngineFailedError,
    EngineInfo,
    ModelLoadError,
    NotOfferedError,
    OptionValue,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_options import (
    OPTION_MEANINGS,
    URL_VARIABLE,
    OpenAIOptions,
    read_openai_options,
)
from aprqa_ci.execution.engines.openai_replies import ModelEntry
from aprqa_ci.execution.engines.openai_session import OpenAISession
from aprqa_ci.execution.engines.server_process import (
    HIDDEN_GPUS,
    ServerEndedError,
    ServerNotReadyError,
    ServerProcess,
    last_words,
    start_server,
)
from aprqa_ci.execution.gpu_devices import RunCommand, run_command, visible_devices
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["OpenAIEngine"]

_ANSWER_SECONDS = 3600.0
"""Longer than any scenario may last: the limit of the cell is the one that counts."""
_PROBE_SECONDS = 10.0
_USAGE_ERROR = 2
_MIB = 1 << 20
_HOW_TO_GET = (
    "give a server's address: --engine-option openai.url=http://127.0.0.1:8000, or the command that"
    " starts one: openai.command (docs/engines.md)"
)


@dataclass(frozen=True, kw_only=True)
class OpenAIEngine:
    """Runs models through OpenAI-compatible servers: vLLM, SGLang, TGI, llama-server, Ollama."""

    options: OpenAIOptions = field(default_factory=OpenAIOptions)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run_command: RunCommand = run_command
    name: str = "openai"

    def with_options(self, options: Mapping[str, OptionValue]) -> Self:
        """See :class:`ConfigurableEngine`."""
        return type(self)(
            options=read_openai_options(options),
            environment=self.environment,
            run_command=self.run_command,
            name=self.name,
        )

    def secrets(self) -> tuple[str, ...]:
        """Return the variable with the server's key, if one is named."""
        return (self.options.api_key_env,) if self.options.api_key_env else ()

    def info(self) -> EngineInfo:
        """Say whether a server is given; none is asked."""
        given = bool(self._url or self.options.command)
        started = bool(self.options.command)
        unshown = set() if started else {Capability.DEVICE_PROOF}
        return EngineInfo(
            name=self.name,
            version=f"client {__version__}" if given else None,
            available=given,
            reason="" if given else "no server is given",
            how_to_get=_HOW_TO_GET,
            formats=tuple(ModelFormat),
            backends=tuple(Backend),
            capabilities=tuple(each for each in Capability if each not in unshown),
            needs_files=self.options.names_files,
            start_seconds=self.options.start_seconds if started else 0.0,
            options=OPTION_MEANINGS,
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the command or the address; a session knows more."""
        del backend
        if self.options.command:
            return shlex.join(self._command(model, port=0))
        return f"GET {self._url}/v1/models"

    def open(self, model: ModelFiles, backend: Backend) -> OpenAISession:
        """Find the server, or start it and wait until it is ready.

        Raises:
            EngineAbsentError: no server is given, it cannot be reached or started, does not let us
                in, or has several models of which none is named.
            ModelLoadError: a server that was started with the model's files ended or did not become
                ready.
        """
        if self.options.command:
            return self._start(model, backend)
        if not self._url:
            what = f"no server is given: {_HOW_TO_GET}"
            raise EngineAbsentError(what)
        try:
            entry = self._entry(self._client(self._url))
        except EngineFailedError as error:
            what = f"the server at {self._url} does not answer: {error}"
            raise EngineAbsentError(what) from error
        shown = f"the server at {self._url} does not show where it computes"
        return self._session(
            self._url,
            entry,
            device=Device(backend=backend, name="not shown", proof=shown, proven=False),
            invocation=f"{self._url}, model {entry.id!r}; held by the server, its files not shown",
            process=None,
        )

    @property
    def _url(self) -> str:
        url = self.options.url or self.environment.get(URL_VARIABLE, "")
        return url.rstrip("/").removesuffix("/v1")

    @property
    def _api_key(self) -> str:
        name = self.options.api_key_env
        if not name:
            return ""
        if name not in self.environment:
            what = f"the environment variable {name} with the server's key is not set"
            raise EngineAbsentError(what)
        return self.environment[name]

    def _start(self, model: ModelFiles, backend: Backend) -> OpenAISession:
        missing = [path for path in model.weights if not path.exists()]
        if missing and self.options.names_files:
            what = f"there is no file {missing[0]}"
            raise ModelLoadError(what)
        hidden = HIDDEN_GPUS if backend is Backend.CPU else {}
        before = self._free_gpu_mb() if backend is Backend.GPU else 0
        process, url = self._started(model, {**self.environment, **hidden})
        with contextlib.ExitStack() as opening:
            opening.callback(process.stop)
            entry = self._entry(self._client(url))
            taken = before - self._free_gpu_mb() if backend is Backend.GPU else 0
            session = self._session(
                url,
                entry,
                device=_device(backend, taken, model.size_bytes),
                invocation=f"{shlex.join(process.command)}, model {entry.id!r}",
                process=process,
            )
            opening.pop_all()
        return session

    def _started(
        self, model: ModelFiles, environment: Mapping[str, str]
    ) -> tuple[ServerProcess, str]:
        """Start the server, and say whose fault it is that it does not become ready."""
        program = self.options.command[0]
        try:
            return start_server(
                lambda port: self._command(model, port=port),
                lambda url: self._readiness(self._client(url)),
                environment=environment,
                timeout_s=self.options.start_seconds,
            )
        except OSError as error:
            what = f"the server cannot be started: {program}: {error.strerror or error}"
            raise EngineAbsentError(what) from error
        except (ServerEndedError, ServerNotReadyError) as error:
            what = f"{error}: {last_words(error.log)}"
            usage = isinstance(error, ServerEndedError) and error.returncode == _USAGE_ERROR
            if usage or not self.options.names_files:
                # Its own complaint about its arguments, or a model that we never handed over.
                raise EngineAbsentError(what) from error
            raise ModelLoadError(what) from error

    def _command(self, model: ModelFiles, *, port: int) -> tuple[str, ...]:
        """Fill in the placeholders; each argument stays one argument."""
        weights = model.weights[0] if len(model.weights) == 1 else model.directory
        if model.format is ModelFormat.SAFETENSORS:
            weights = model.directory
        values = {
            "model": os.fspath(weights),
            "directory": os.fspath(model.directory),
            "port": str(port),
            "threads": self.environment.get("OMP_NUM_THREADS", "1"),
        }
        return tuple(argument.format_map(values) for argument in self.options.command)

    def _client(self, url: str) -> OpenAIClient:
        return OpenAIClient(url, _PROBE_SECONDS, api_key=self._api_key, foreign=True)

    def _readiness(self, client: OpenAIClient) -> Callable[[], bool]:
        paths = [self.options.health] if self.options.health else ["/health", "/v1/models"]

        def ready() -> bool:
            for path in paths:
                try:
                    status = client.post_raw(path, b"", {}, method="GET").status
                except EngineFailedError:
                    return False
                if status != 404:
                    return status == 200
            return False

        return ready

    def _entry(self, client: OpenAIClient) -> ModelEntry:
        """Return the server's model, or the one named among several."""
        try:
            found = client.models()
        except NotOfferedError as error:
            if self.options.model:
                return ModelEntry(id=self.options.model)
            what = f"the server does not say which models it has; name one (openai.model): {error}"
            raise EngineAbsentError(what) from error
        names = [entry.id for entry in found]
        if self.options.model:
            for entry in found:
                if entry.id == self.options.model:
                    return entry
            what = f"the server has no model {self.options.model!r}, but {names}"
            raise EngineAbsentError(what)
        if len(found) != 1:
            what = f"the server has {len(found)} models; name one (openai.model): {names}"
            raise EngineAbsentError(what)
        return found[0]

    def _session(
        self,
        url: str,
        entry: ModelEntry,
        *,
        device: Device,
        invocation: str,
        process: ServerProcess | None,
    ) -> OpenAISession:
        return OpenAISession(
            served=ServedModel(
                base_url=url,
                model=entry.id,
                api_key=self._api_key,
                foreign=True,
                settings=self.options.settings,
            ),
            device=device,
            context_length=self.options.context_length or entry.context_length,
            invocation=invocation,
            timeout_s=_ANSWER_SECONDS,
            process=process,
        )

    def _free_gpu_mb(self) -> int:
        devices = visible_devices(self.run_command, self.environment) or ()
        return sum(device.free_mb for device in devices)


def _device(backend: Backend, taken_mb: int, weights_bytes: int) -> Device:
    """Return where a server that was started here computes."""
    if backend is Backend.CPU:
        return Device(
            backend=backend,
            name="cpu",
            proof="the server was started with every GPU hidden from it (CUDA_VISIBLE_DEVICES='')",
        )
    if taken_mb * _MIB * 2 >= weights_bytes > 0:
        proof = f"loading took {taken_mb} MiB of GPU memory, as nvidia-smi counts it"
        return Device(backend=backend, name="gpu", proof=proof)
    proof = f"loading took {taken_mb} MiB of GPU memory for {weights_bytes} bytes of weights"
    return Device(backend=backend, name="not shown", proof=proof, proven=False)
