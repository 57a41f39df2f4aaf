"""The llama.cpp engine: GGUF files, through the xllamacpp library.

The library's ``Server`` is llama.cpp's own server inside this process: it answers calls, and it is
a real HTTP server on a loopback port of its own. Three of its habits shape this module:

* It adds the model's token for a beginning even when the text already starts with it, so one is
  taken off the text first.
* Its prompt cache changes the last bits of the numbers, and so, now and then, an answer. It is off.
* It says why a model does not load on standard error alone.
"""

import importlib
import importlib.metadata
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aprqa_ci.execution.engines.chat_template import (
    PLAIN_TEMPLATE,
    ChatTemplate,
    chat_template_from_gguf,
    gguf_token,
)
from aprqa_ci.execution.engines.interface import (
    Capability,
    Device,
    EngineAbsentError,
    EngineInfo,
    ModelLoadError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.engines.llamacpp_session import LlamaCppSession
from aprqa_ci.execution.engines.native_log import caught_stderr
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["MAX_CONTEXT", "LlamaCppEngine"]

MAX_CONTEXT: Final = 4096
"""The most tokens of context: the key-value cache of a long-context model's whole training context
would not fit a runner's memory, and no prompt of a suite needs more."""

_MAX_THREADS = 8
"""Beyond this, making tokens waits for memory and not for processors."""
_ALL_LAYERS = 999

_DISTRIBUTION = "xllamacpp"
_HOW_TO_GET = "pip install xllamacpp"
_HOW_TO_GET_GPU = "install a CUDA, ROCm or Vulkan build of xllamacpp (its project page lists them)"
_UNKNOWN_ARCHITECTURE = "unknown model architecture: "
_NO_MEMORY = re.compile(
    r"insufficient memory|(failed|unable) to allocate|out of memory|bad_alloc", re.IGNORECASE
)
_LOG_HEAD = re.compile(r"^[\d.]+ E\s+", re.MULTILINE)

Library = Any
"""The xllamacpp module, which has no types."""


def _import_library() -> Library:
    # OpenMP's threads otherwise wait for each other by spinning. Where another process wants the
    # processors too, that made a 2 ms answer take up to a second; without spinning it takes 2 ms.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return importlib.import_module(_DISTRIBUTION)


class LlamaCppEngine:
    """Runs GGUF models with llama.cpp.

    Args:
        import_library: how the library is loaded; it raises ImportError when it is not here.
        environment: the process's environment, for ``OMP_NUM_THREADS``.
    """

    name = "llamacpp"

    def __init__(
        self,
        *,
        import_library: Callable[[], Library] = _import_library,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._import_library = import_library
        self._threads = _thread_count(environment)

    def info(self) -> EngineInfo:
        """Say whether the library can be imported, and which devices it reports."""
        backends: tuple[Backend, ...] = ()
        version = None
        reason = ""
        try:
            library = self._library()
            version = _version()
            backends = (Backend.CPU, Backend.GPU) if _gpus(library) else (Backend.CPU,)
        except EngineAbsentError as error:
            reason = str(error)
        return EngineInfo(
            name=self.name,
            version=version,
            available=not reason,
            reason=reason,
            how_to_get=_HOW_TO_GET if Backend.GPU in backends or reason else _for_gpu(),
            formats=(ModelFormat.GGUF,),
            backends=backends,
            capabilities=tuple(Capability),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the call that opens the model, with the settings that change answers or speed."""
        layers = _ALL_LAYERS if backend is Backend.GPU else 0
        return (
            f"xllamacpp.Server(model={str(model.weights[0])!r}, n_ctx=min(trained, {MAX_CONTEXT}),"
            f" n_parallel=1, n_threads={self._threads}, n_gpu_layers={layers}, cache_prompt=False)"
        )

    def open(self, model: ModelFiles, backend: Backend) -> "LlamaCppSession":
        """Load the model.

        Raises:
            ModelLoadError: the file is missing, damaged or of an unknown kind.
            EngineAbsentError: the library is not here, or it has no GPU and one is asked for, or
                it has one and left it unused.
            MemoryError: there is not enough memory for the model and its context.
        """
        library = self._library()
        gpus = _gpus(library)
        if backend is Backend.GPU and not gpus:
            what = f"this build of xllamacpp reports no GPU: {_HOW_TO_GET_GPU}"
            raise EngineAbsentError(what)
        path = model.weights[0]
        metadata = _metadata(path)
        trained = metadata.get(f"{metadata.get('general.architecture')}.context_length")
        context = min(trained, MAX_CONTEXT) if isinstance(trained, int) else MAX_CONTEXT

        def start(*, slots: int, template: ChatTemplate) -> Any:  # noqa: ANN401 - the library has no types
            parameters = library.CommonParams()
            parameters.model.path = str(path)
            # The library divides the whole among the slots.
            parameters.n_ctx = context * slots
            parameters.n_parallel = slots
            parameters.chat_template = template.source
            parameters.cpuparams.n_threads = self._threads
            parameters.cpuparams_batch.n_threads = self._threads
            parameters.n_gpu_layers = _ALL_LAYERS if backend is Backend.GPU else 0
            # A build for GPUs would otherwise compute large batches there, quietly.
            parameters.no_op_offload = backend is Backend.CPU
            parameters.no_kv_offload = backend is Backend.CPU
            _set_constants(library, parameters)
            return _load(library, parameters)

        server = start(slots=1, template=PLAIN_TEMPLATE)
        device = _cpu_device(library)
        if backend is Backend.GPU:
            device = _gpu_device(gpus, _gpus(library), model.size_bytes)
        return LlamaCppSession(
            start=start,
            server=server,
            device=device,
            context_length=context,
            template=chat_template_from_gguf(metadata) or PLAIN_TEMPLATE,
            bos=gguf_token(metadata, "tokenizer.ggml.bos_token_id"),
            first_token=_first_token(metadata),
        )

    def _library(self) -> Library:
        try:
            return self._import_library()
        except (ImportError, OSError) as error:
            what = f"the library xllamacpp cannot be imported ({error}): {_HOW_TO_GET}"
            raise EngineAbsentError(what) from error


def _set_constants(library: Library, parameters: Any) -> None:  # noqa: ANN401 - no types
    """Set what is the same for every model: answers that repeat, and no more routes than needed."""
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.model_alias = {"model"}
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.ctx_shift = False
    parameters.kv_unified = False
    parameters.warmup = False
    parameters.fit_params = False
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_props = False
    parameters.endpoint_metrics = True
    # What the model says is the answer: no part of it is set aside as reasoning or a tool call.
    parameters.reasoning_format = library.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    parameters.force_pure_content_parser = True
    # Temperature alone decides, as Sampling says; the library would also cut rare tokens off.
    parameters.sampling.top_k = 0
    parameters.sampling.top_p = 1.0
    parameters.sampling.min_p = 0.0
    # Errors alone.
    parameters.verbosity = 1


def _load(library: Library, parameters: Any) -> Any:  # noqa: ANN401 - the library has no types
    """Load a model and start its server."""
    with caught_stderr() as log:
        server = error = None
        try:
            server = library.Server(parameters)
        except RuntimeError as caught:
            error = caught
    if server is not None:
        # Closed before its queue runs, the library would wait for that queue for ever. The first
        # reply that comes through the queue shows that it runs.
        server.handle_metrics()
        return server
    if _NO_MEMORY.search(log.text):
        what = "there is not enough memory for the model and its context"
        raise MemoryError(what) from error
    # The first line is the cause; the later ones repeat that the model was not loaded.
    cause = _LOG_HEAD.sub("", log.text.strip()).partition("\n")[0] or str(error)
    what = f"llama.cpp cannot load the model: {cause}"
    if _UNKNOWN_ARCHITECTURE in cause:
        raise UnknownArchitectureError(what) from error
    raise ModelLoadError(what) from error


def _metadata(path: Path) -> dict[str, object]:
    try:
        weights = open_gguf(path)
    except (FormatError, OSError) as error:
        raise ModelLoadError(str(error)) from error
    try:
        return dict(weights.metadata)
    finally:
        weights.close()


def _first_token(metadata: Mapping[str, object]) -> int | None:
    """Return the token that stands for an empty prompt."""
    for name in ("bos", "eos"):
        if isinstance(number := metadata.get(f"tokenizer.ggml.{name}_token_id"), int):
            return number
    return None


def _thread_count(environment: Mapping[str, str]) -> int:
    """Return how many threads to compute with: ``OMP_NUM_THREADS``, or the processors here."""
    asked = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    count = int(asked) if asked.isdecimal() else len(os.sched_getaffinity(0))
    return max(1, min(count, _MAX_THREADS))


def _version() -> str | None:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _for_gpu() -> str:
    return f"here for cpu; for gpu, {_HOW_TO_GET_GPU}"


def _gpus(library: Library) -> list[dict[str, Any]]:
    """Return the library's own report of each GPU it can compute on."""
    kinds = library.ggml_backend_dev_type
    gpu_kinds = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return [device for device in library.get_device_info() if device["type"] in gpu_kinds]


def _cpu_device(library: Library) -> Device:
    kind = library.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    found = [device for device in library.get_device_info() if device["type"] == kind]
    name = found[0]["description"] if found else "cpu"
    return Device(
        backend=Backend.CPU,
        name=name,
        proof=f"llama.cpp reports the processor {name!r}; no layer was offered to a GPU",
    )


def _gpu_device(
    before: list[dict[str, Any]], after: list[dict[str, Any]], weights_bytes: int
) -> Device:
    """Return the GPU, or GPUs, if the model has gone into their memory.

    Raises:
        EngineAbsentError: that memory took in less than half of the weights.
    """
    name = " + ".join(device["description"] for device in before)
    taken = sum(device["memory_free"] for device in before)
    taken -= sum(device["memory_free"] for device in after)
    if taken < weights_bytes // 2:
        what = (
            f"llama.cpp reports {name!r}, but loading took only {taken} bytes of GPU memory for"
            f" {weights_bytes} bytes of weights: no GPU was used"
        )
        raise EngineAbsentError(what)
    return Device(
        backend=Backend.GPU,
        name=name,
        proof=f"llama.cpp reports the GPU {name!r}; loading took {taken} bytes of its memory",
    )
