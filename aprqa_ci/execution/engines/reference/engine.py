"""The reference engine: our own reading of the formats, fit to be the ground truth."""

import os
from typing import Any, cast

import numpy as np

from aprqa_ci import __version__
from aprqa_ci.execution.engines.interface import (
    Capability,
    Device,
    EngineAbsentError,
    EngineInfo,
)
from aprqa_ci.execution.engines.reference.loading import load_model
from aprqa_ci.execution.engines.reference.session import ReferenceSession
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["ReferenceEngine"]


class ReferenceEngine:
    """Runs Llama-family models with numpy alone. Threads are those of numpy's BLAS library."""

    name = "reference"

    def info(self) -> EngineInfo:
        """Say what the engine is; it comes with the package, so it is always here."""
        return EngineInfo(
            name=self.name,
            version=__version__,
            available=True,
            reason="",
            how_to_get="comes with aprqa-ci",
            formats=(ModelFormat.SAFETENSORS, ModelFormat.GGUF),
            backends=(Backend.CPU,),
            independent=True,
            capabilities=tuple(Capability),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Return the call that opens this model, as Python."""
        weights = ", ".join(repr(str(path)) for path in model.weights)
        return (
            f"ReferenceEngine().open(format={model.format}, weights=[{weights}],"
            f" directory={str(model.directory)!r}, backend={backend})"
        )

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        """Load the model.

        Raises:
            ModelLoadError: a file is missing or damaged, or tensors are missing or misshapen.
            UnknownArchitectureError: the model's architecture is not known here.
            EngineAbsentError: the backend is not the cpu, or something else in the model is not
                known here.
            MemoryError: the machine has not enough memory.
        """
        if backend is not Backend.CPU:
            what = f"the reference engine computes on the cpu, not on {backend}"
            raise EngineAbsentError(what)
        return ReferenceSession(load_model(model), _device())


def _device() -> Device:
    settings = cast("dict[str, Any]", np.show_config(mode="dicts"))
    blas = settings.get("Build Dependencies", {}).get("blas", {})
    library = f"{blas.get('name', 'BLAS')} {blas.get('version', '')}".strip()
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return Device(
        backend=Backend.CPU,
        name="cpu",
        proof=f"numpy {np.__version__} with {library}, {threads} threads; it has no other device",
    )
