"""An engine that measures its own speed, by its shape."""

from typing import Protocol, runtime_checkable

from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Profiled

__all__ = ["ProfilesModels"]


@runtime_checkable
class ProfilesModels(Protocol):
    """An engine that measures its own speed on the processor."""

    def profile(self, model: ModelFiles, *, warmup: int, measure: int) -> Profiled:
        """Measure, in processes of the engine's own.

        Args:
            model: the model.
            warmup: runs that are not counted.
            measure: runs that are.

        Raises:
            EngineAbsentError: the engine is not here, or gives no figures that can be relied on.
            ModelLoadError: it cannot load the model.
            MemoryError: there is not enough memory.
        """
        ...
