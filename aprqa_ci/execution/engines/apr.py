"""The apr engine: SafeTensors, APR and GGUF files, through the ``apr`` command-line tool.

A session holds one ``apr serve``, so the model is loaded once. Where the tool has no usable server
it runs ``apr run`` for each prompt, and says so in the evidence. It also converts files.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.apr_cli import serve_arguments
from aprqa_ci.execution.engines.apr_faults import EndAs, end_as
from aprqa_ci.execution.engines.apr_files import AprFiles
from aprqa_ci.execution.engines.apr_model import describe_model
from aprqa_ci.execution.engines.apr_opening import (
    NoServerError,
    Opening,
    open_for_prompts,
    open_served,
)
from aprqa_ci.execution.engines.apr_process import (
    AprAbsentError,
    AprTool,
    find_apr,
    private_environment,
)
from aprqa_ci.execution.engines.apr_prompts import AprPromptSession
from aprqa_ci.execution.engines.apr_served import AprServedSession
from aprqa_ci.execution.engines.interface import (
    Capability,
    EngineAbsentError,
    EngineInfo,
    OptionValue,
)
from aprqa_ci.execution.examiners import Examination
from aprqa_ci.execution.gpu_devices import GpuDevice, RunCommand, run_command, visible_devices
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Profiled
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import near_name

__all__ = ["AprEngine"]

_HOW_TO_GET: Final = (
    "install the apr tool of aprender (cargo install apr-cli) and put it on the PATH, or name it"
    " with the engine's option `binary`; the Python package `aprender` is something else"
)
_OPTIONS: Final[Mapping[str, str]] = {
    "binary": "the path of the apr tool, or its name on the PATH",
    "server": "whether to load the model once, behind apr serve, instead of for every prompt",
    "ready_seconds": "how long apr serve may take until it is healthy",
}
_READY_S = 600.0


class AprEngine:
    """Runs models with the ``apr`` tool.

    Args:
        environment: the process's environment.
        run_command: asks the GPU's driver.
        crash: what is done when the tool's process crashes; it ends this process the same way.
        binary: the tool; ``apr`` on the PATH unless given.
        use_server: whether to hold the model in ``apr serve``.
        ready_s: how long that may take until it is healthy, in seconds.
    """

    name = "apr"

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = os.environ,
        run_command: RunCommand = run_command,
        crash: EndAs = end_as,
        binary: str | None = None,
        use_server: bool = True,
        ready_s: float = _READY_S,
    ) -> None:
        self._environment = environment
        self._run_command = run_command
        self._crash = crash
        self._binary = binary
        self._use_server = use_server
        self._ready_s = ready_s
        self._tool: AprTool | None = None

    def with_options(self, options: Mapping[str, OptionValue]) -> Self:
        """Return the engine with these options; see ``info().options``.

        Raises:
            InputError: with every option that is unknown or has a wrong value.
        """
        problems = [
            Problem(what=f"engine apr has no option {name!r}", hint=near_name(name, list(_OPTIONS)))
            for name in options
            if name not in _OPTIONS
        ]
        binary = options.get("binary", self._binary)
        server = options.get("server", self._use_server)
        ready = options.get("ready_seconds", self._ready_s)
        if binary is not None and (not isinstance(binary, str) or not binary):
            problems.append(Problem(what="the option binary of engine apr is a path or a name"))
        if not isinstance(server, bool):
            problems.append(Problem(what="the option server of engine apr is true or false"))
        if isinstance(ready, bool) or not isinstance(ready, (int, float)) or not ready > 0:
            problems.append(Problem(what="the option ready_seconds of engine apr is above 0"))
        if problems:
            raise InputError(problems)
        assert not isinstance(ready, (str, tuple))  # noqa: S101 - a number, as checked above
        return type(self)(
            environment=self._environment,
            run_command=self._run_command,
            crash=self._crash,
            binary=None if binary is None else str(binary),
            use_server=bool(server),
            ready_s=float(ready),
        )

    def secrets(self) -> tuple[str, ...]:
        """Return nothing: the tool needs no secret to run what is here."""
        return ()

    def info(self) -> EngineInfo:
        """Start the tool to ask who it is, and the driver which GPUs there are."""
        reason = ""
        tool = None
        try:
            tool = self._found()
        except EngineAbsentError as error:
            reason = str(error)
        backends: tuple[Backend, ...] = ()
        if tool is not None:
            backends = (Backend.CPU, Backend.GPU) if self._devices() else (Backend.CPU,)
        served = tool is not None and self._use_server and "serve" in tool.commands
        return EngineInfo(
            name=self.name,
            version=tool.version if tool else None,
            available=tool is not None,
            reason=reason,
            how_to_get=_HOW_TO_GET
            if tool is None or Backend.GPU in backends
            else "here for cpu; for gpu, an NVIDIA driver and an apr that is built with cuda",
            formats=(ModelFormat.SAFETENSORS, ModelFormat.APR, ModelFormat.GGUF),
            backends=backends,
            # Neither seed nor temperature can be given to apr run, and apr serve does not say
            # whether it heeds them; tokens are counted by some of its servers alone.
            capabilities=(
                Capability.CHAT,
                Capability.STOP,
                *((Capability.RAW, Capability.SERVE) if served else ()),
                *((Capability.DEVICE_PROOF,) if served else ()),
            ),
            options=dict(_OPTIONS),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the command that holds the model; the session says which one it really is."""
        path = model.weights[0]
        no_gpu = backend is Backend.CPU
        return " ".join(("apr", *serve_arguments(path, 0, no_gpu=no_gpu)))

    def open(self, model: ModelFiles, backend: Backend) -> AprServedSession | AprPromptSession:
        """Load the model.

        Raises:
            ModelLoadError: the tool says that it cannot load it, or a file is not there.
            EngineAbsentError: the tool or the device is not here, or either is at fault.
            NotOfferedError: the tool shows no answer in a shape that is known.
            MemoryError: there is not enough memory.
        """
        tool = self._found()
        if backend is Backend.GPU and not self._devices():
            what = "no NVIDIA driver reports a GPU"
            raise EngineAbsentError(what)
        known = describe_model(model)
        with contextlib.ExitStack() as stack:
            environment = stack.enter_context(
                private_environment(self._environment, gpu=backend is Backend.GPU)
            )
            kept = contextlib.ExitStack()
            opening = Opening(
                tool=tool,
                model=known,
                weights_bytes=model.size_bytes,
                backend=backend,
                environment=environment,
                devices=self._devices,
                ready_s=self._ready_s,
                crash=self._crash,
                cleanup=kept.close,
            )
            session = self._session(opening)
            kept.push(stack.pop_all())
            return session

    def convert(self, source: Path, target: Path) -> str:
        """Convert a file between formats; see ``derived_files.ConvertsFiles``.

        Raises:
            EngineAbsentError: the tool is not here or at fault.
            ModelLoadError: it says that it cannot convert the source.
            MemoryError: there is not enough memory.
        """
        return self._files().convert(source, target)

    def examine(self, file: Path) -> Examination:
        """Let the tool look at every tensor of a file; see ``examiners.ExaminesFiles``.

        Raises:
            EngineAbsentError: the tool is not here, or its reports cannot be relied on.
            ModelLoadError: it says that the file is damaged.
            MemoryError: there is not enough memory.
        """
        return self._files().examine(file)

    def profile(self, model: ModelFiles, *, warmup: int, measure: int) -> Profiled:
        """Let the tool measure its own speed; see ``self_profiling.ProfilesModels``.

        Raises:
            EngineAbsentError: the tool is not here, or gives no figures that can be relied on.
            ModelLoadError: it cannot load the model, or a file is not there.
            MemoryError: there is not enough memory.
        """
        path = describe_model(model).path
        return self._files().profile(path, warmup=warmup, measure=measure)

    def pull(self, repo: str, home: Path) -> Path:
        """Let the tool fetch a repository of the hub; see ``fetching.pulling.PullsModels``.

        Raises:
            EngineAbsentError: the tool is not here; it, the network or the repository is at fault.
            ModelLoadError: it says that what it fetched is damaged.
            MemoryError: there is not enough memory.
        """
        return self._files().pull(repo, home)

    def _files(self) -> AprFiles:
        return AprFiles(self._found(), environment=self._environment)

    def _session(self, opening: Opening) -> AprServedSession | AprPromptSession:
        if not self._use_server:
            return open_for_prompts(opening, "the option server is false")
        if "serve" not in opening.tool.commands:
            return open_for_prompts(opening, "this apr has no command serve")
        try:
            return open_served(opening)
        except NoServerError as error:
            return open_for_prompts(opening, str(error))

    def _devices(self) -> tuple[GpuDevice, ...] | None:
        return visible_devices(self._run_command, self._environment)

    def _found(self) -> AprTool:
        if self._tool is None:
            try:
                self._tool = find_apr(self._binary, self._environment)
            except AprAbsentError as error:
                what = f"{error}: {_HOW_TO_GET}"
                raise EngineAbsentError(what) from error
        return self._tool
