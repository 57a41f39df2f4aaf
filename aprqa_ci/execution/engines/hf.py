"""The hf engine: SafeTensors files, through torch and transformers, on the processor or CUDA.

Both libraries are heavy, and importing them takes seconds, so :meth:`HfEngine.info` asks only what
is installed; what the device really is, the loaded tensors say.
"""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aprqa_ci.execution.engines.hf_loading import Libraries, import_libraries, load_model
from aprqa_ci.execution.engines.hf_session import HfSession
from aprqa_ci.execution.engines.interface import Capability, EngineAbsentError, EngineInfo
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["HfEngine"]

_HOW_TO_GET: Final = (
    "pip install torch, in the build for your device (its project page has the command), then"
    " pip install 'aprqa-ci[hf]'"
)
_CUDA_CONTROL = Path("/dev/nvidiactl")


def _version(name: str) -> str:
    return importlib.metadata.version(name)


class HfEngine:
    """Runs SafeTensors models with transformers.

    Args:
        version_of: returns the version of an installed distribution, or raises
            ``importlib.metadata.PackageNotFoundError``.
        import_libraries: how the libraries are loaded; it raises ImportError when they are broken.
        cuda_control: the device file that the NVIDIA driver makes.
    """

    name = "hf"

    def __init__(
        self,
        *,
        version_of: Callable[[str], str] = _version,
        import_libraries: Callable[[], Libraries] = import_libraries,
        cuda_control: Path = _CUDA_CONTROL,
    ) -> None:
        self._version_of = version_of
        self._import_libraries = import_libraries
        self._cuda_control = cuda_control

    def info(self) -> EngineInfo:
        """Say whether both libraries are installed, without importing them."""
        versions: dict[str, str] = {}
        missing = []
        for name in ("torch", "transformers"):
            try:
                versions[name] = self._version_of(name)
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
        backends: tuple[Backend, ...] = ()
        if not missing:
            cuda = "+cpu" not in versions["torch"] and self._cuda_control.exists()
            backends = (Backend.CPU, Backend.GPU) if cuda else (Backend.CPU,)
        return EngineInfo(
            name=self.name,
            version=None
            if missing
            else ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
            available=not missing,
            reason=f"not installed: {', '.join(missing)}" if missing else "",
            how_to_get=_HOW_TO_GET
            if missing or Backend.GPU in backends
            else "here for cpu; for gpu, a CUDA build of torch and an NVIDIA driver",
            formats=(ModelFormat.SAFETENSORS,),
            backends=backends,
            capabilities=tuple(Capability),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the call that opens the model; a session says the number type as well."""
        return _invocation(model, backend, "as stored")

    def open(self, model: ModelFiles, backend: Backend) -> HfSession:
        """Load the model.

        Raises:
            ModelLoadError: a file is missing or damaged, or tensors are missing or misshapen.
            UnknownArchitectureError: the installed transformers does not know the model's kind.
            EngineAbsentError: a library or the device is not here.
            MemoryError: the machine or the device has not enough memory.
        """
        try:
            libraries = self._import_libraries()
        except (ImportError, OSError) as error:
            what = f"torch and transformers cannot be imported ({error}): {_HOW_TO_GET}"
            raise EngineAbsentError(what) from error
        loaded = load_model(libraries, model, backend)
        return HfSession(loaded, _invocation(model, backend, loaded.dtype))


def _invocation(model: ModelFiles, backend: Backend, dtype: str) -> str:
    weights = ", ".join(repr(path.name) for path in model.weights)
    device = "cpu" if backend is Backend.CPU else "cuda:0"
    return (
        f"transformers.AutoModelForCausalLM.from_pretrained({str(model.directory)!r},"
        f" weights=[{weights}], dtype={dtype}, trust_remote_code=False).to({device!r})"
    )
