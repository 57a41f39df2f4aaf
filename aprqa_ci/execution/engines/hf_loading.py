"""Loading a model with transformers, and telling its faults from the library's limits.

transformers is given a directory of links to the files that were chosen and to nothing else, so
that no pickle, no adapter and no Python file beside them is ever looked at.
"""

import importlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aprqa_ci.execution.engines.chat_template import (
    PLAIN_TEMPLATE,
    ChatTemplate,
    load_chat_template,
)
from aprqa_ci.execution.engines.interface import (
    Device,
    EngineAbsentError,
    ModelLoadError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.weight_files import COMPANION_NAMES, INDEX_NAME
from aprqa_ci.vocabulary import Backend

__all__ = ["AS_CONFIGURED", "HfModel", "Libraries", "import_libraries", "load_model"]

AS_CONFIGURED: Final = "auto"
"""The number type that config.json names: for weights that are not stored as plain floats."""

_TORCH_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
_UNKNOWN_CONTEXT = 4096
"""For a model that does not say how long its context is."""
_MAX_SAID = 2000
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """The imported modules, which have no types."""

    torch: Any
    transformers: Any


@dataclass(frozen=True, kw_only=True)
class HfModel:
    """A model ready to answer."""

    libraries: Libraries
    network: Any
    """The module of torch, on its device."""
    tokenizer: Any
    template: ChatTemplate
    end_ids: tuple[int, ...]
    """The tokens that end an answer."""
    context_length: int
    device: Device
    dtype: str
    """The number type of the parameters, for example ``float16``."""


def import_libraries() -> Libraries:
    """Import torch and transformers, offline and quiet.

    Raises:
        ImportError: one of them is not here or does not fit the other.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # OpenMP's threads otherwise wait for each other by spinning, which makes every answer slow
    # where another process wants the processors too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return Libraries(torch=torch, transformers=transformers)


def load_model(libraries: Libraries, model: ModelFiles, backend: Backend) -> HfModel:
    """Load a model onto the device.

    Raises:
        ModelLoadError: a file is missing or damaged, or tensors are missing or misshapen.
        UnknownArchitectureError: it is of a kind that the installed transformers does not know
            without the repository's own code.
        EngineAbsentError: there is no such device, or the model was not put there.
        MemoryError: the machine or the device has not enough memory.
    """
    torch, transformers = libraries.torch, libraries.transformers
    target = "cpu" if backend is Backend.CPU else "cuda:0"
    if backend is Backend.GPU and not torch.cuda.is_available():
        what = f"torch {torch.__version__} finds no CUDA device"
        raise EngineAbsentError(what)
    stored = _stored(model)
    _require_known(transformers, model)
    with _linked(model, stored) as directory, _faults_told_apart(libraries):
        network, report = transformers.AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=AS_CONFIGURED if stored.dtype == AS_CONFIGURED else getattr(torch, stored.dtype),
            use_safetensors=True,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        _require_complete(report)
        before = torch.cuda.memory_allocated(target) if backend is Backend.GPU else 0
        network = network.to(target).eval()
    ends = _end_ids(network, tokenizer)
    # Nothing of what the model's authors suggest for sampling is to change what Sampling says.
    network.generation_config = transformers.GenerationConfig()
    return HfModel(
        libraries=libraries,
        network=network,
        tokenizer=tokenizer,
        template=load_chat_template(model.directory) or PLAIN_TEMPLATE,
        end_ids=ends,
        context_length=_context_length(network, tokenizer),
        device=_proven_device(torch, network, backend, target, before),
        dtype=str(network.dtype).removeprefix("torch."),
    )


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """What the weight files hold."""

    dtype: str
    """The number type that most of the bytes are stored in, as torch names it."""
    places: Mapping[str, str]
    """Tensor to the name of its file; empty where our reader does not know a type in them."""


def _stored(model: ModelFiles) -> _Stored:
    try:
        with closing(open_safetensors(model.weights)) as weights:
            sizes = Counter[str]()
            for tensor in weights.tensors.values():
                sizes[tensor.dtype] += tensor.nbytes
            places = {name: tensor.file.name for name, tensor in weights.tensors.items()}
    except UnsupportedFormatError:
        return _Stored(dtype=AS_CONFIGURED, places={})
    except (FormatError, OSError) as error:
        raise ModelLoadError(str(error)) from error
    (most, _), *_ = sizes.most_common(1) or [("", 0)]
    return _Stored(dtype=_TORCH_NAMES.get(most, AS_CONFIGURED), places=places)


def _require_known(transformers: Any, model: ModelFiles) -> None:  # noqa: ANN401 - no types
    """Refuse what only code of the model's repository, or another transformers, could run."""
    try:
        config = read_json_object(model.directory / "config.json")
    except FormatError as error:
        raise ModelLoadError(str(error)) from error
    kind = config.get("model_type")
    if not isinstance(kind, str):
        what = "config.json does not name the model's kind (model_type)"
        raise ModelLoadError(what)
    if kind not in transformers.CONFIG_MAPPING:
        what = f"transformers {transformers.__version__} does not know models of kind {kind!r}"
        if "auto_map" in config:
            what += "; code of a model's own repository is never run here"
        raise UnknownArchitectureError(what)


@contextmanager
def _linked(model: ModelFiles, stored: _Stored) -> Iterator[str]:
    """Give a directory of links to the model's files, under the names that transformers looks for.

    The weights are mapped or read by the time the context is left.
    """
    with tempfile.TemporaryDirectory(prefix="aprqa-hf-") as scratch:
        directory = Path(scratch)
        for name in COMPANION_NAMES:
            if (companion := model.directory / name).exists():
                (directory / name).symlink_to(companion.resolve())
        if len(model.weights) == 1:
            (directory / "model.safetensors").symlink_to(model.weights[0].resolve())
        else:
            for path in model.weights:
                (directory / path.name).symlink_to(path.resolve())
            index = directory / INDEX_NAME
            if stored.places:
                # transformers needs a key of the index that the format does not ask for.
                index.write_text(json.dumps({"metadata": {}, "weight_map": dict(stored.places)}))
            elif (own := model.directory / INDEX_NAME).exists():
                index.symlink_to(own.resolve())
        yield scratch


@contextmanager
def _faults_told_apart(libraries: Libraries) -> Iterator[None]:
    """Say whose fault it is that a model cannot be loaded: ours if it is not known, or its own."""
    try:
        yield
    except (ModelLoadError, MemoryError):
        raise
    except ImportError as error:
        # A tokenizer of a kind that needs one more library, for example.
        what = f"loading needs a library that is not here: {_said(error)}"
        raise EngineAbsentError(what) from error
    except Exception as error:
        _raise_if_memory(libraries, error)
        said = _said(error)
        if "Unrecognized configuration class" in said or "trust_remote_code" in said:
            what = f"transformers does not run this model as a language model: {said}"
            raise EngineAbsentError(what) from error
        # Readers of hostile files raise anything.
        what = f"transformers cannot load the model: {said}"
        raise ModelLoadError(what) from error


def _raise_if_memory(libraries: Libraries, error: Exception) -> None:
    if isinstance(error, libraries.torch.OutOfMemoryError) or any(
        sign in str(error) for sign in _NO_MEMORY
    ):
        raise MemoryError(_said(error)) from error


def _said(error: BaseException) -> str:
    return (str(error) or repr(error))[:_MAX_SAID]


def _require_complete(report: Mapping[str, Any]) -> None:
    """Refuse a model that transformers would complete with random numbers, as it quietly does."""
    faults = {
        "tensors are missing": report.get("missing_keys"),
        "tensors have another shape than configured": report.get("mismatched_keys"),
        "tensors cannot be read": report.get("error_msgs"),
    }
    for what, found in faults.items():
        if found:
            names = sorted(str(each[0] if isinstance(each, tuple) else each) for each in found)
            more = len(names) - _MAX_NAMED
            listed = ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
            message = f"{what}: {listed}"
            raise ModelLoadError(message)


def _end_ids(network: Any, tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401 - no types
    """Return the tokens that end an answer, as configuration, generation and tokenizer have it."""
    ends: set[int] = set()
    for source in (network.config, network.generation_config, tokenizer):
        found = getattr(source, "eos_token_id", None)
        ends.update(found if isinstance(found, list) else () if found is None else (found,))
    return tuple(sorted(ends))


def _context_length(network: Any, tokenizer: Any) -> int:  # noqa: ANN401 - no types
    for source, name in (
        (network.config.get_text_config(), "max_position_embeddings"),
        (tokenizer, "model_max_length"),
    ):
        length = getattr(source, name, None)
        # A tokenizer that has no bound says so with a number of thirty digits.
        if isinstance(length, int) and 0 < length < 1 << 40:
            return length
    return _UNKNOWN_CONTEXT


def _proven_device(
    torch: Any,  # noqa: ANN401 - no types
    network: Any,  # noqa: ANN401 - no types
    backend: Backend,
    target: str,
    before: int,
) -> Device:
    """Return the device that the tensors themselves say they are on.

    Raises:
        EngineAbsentError: they are elsewhere, or the device's memory has not taken them in.
    """
    tensors = [*network.parameters(), *network.buffers()]
    places = {str(tensor.device) for tensor in tensors}
    size = sum(tensor.nbytes for tensor in network.parameters())
    count = sum(1 for _ in network.parameters())
    if places != {target}:
        what = f"the model's tensors are on {', '.join(sorted(places)) or 'nothing'}, not {target}"
        raise EngineAbsentError(what)
    shown = f"all {count} parameters ({size} bytes) and {len(tensors) - count} buffers are on"
    if backend is Backend.CPU:
        return Device(
            backend=backend,
            name="cpu",
            proof=f"{shown} {target}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        )
    name = torch.cuda.get_device_name(target)
    taken = torch.cuda.memory_allocated(target) - before
    if taken < size:
        what = (
            f"the parameters say that they are on {target} ({name}), but only {taken} bytes of its"
            f" memory were allocated for {size} bytes"
        )
        raise EngineAbsentError(what)
    return Device(
        backend=backend,
        name=name,
        proof=f"{shown} {target}; torch allocated {taken} bytes of its memory for them",
    )
