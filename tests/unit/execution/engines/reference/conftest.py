"""Opens model files with the reference engine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.reference import ReferenceEngine, ReferenceSession
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

Open = Callable[[Path], ReferenceSession]


def model_files(path: Path) -> ModelFiles:
    """Describe a GGUF file, or a directory with safetensors."""
    if path.is_dir():
        return ModelFiles(
            format=ModelFormat.SAFETENSORS,
            weights=tuple(sorted(path.glob("*.safetensors"))),
            directory=path,
            source="local_path",
        )
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="local_path"
    )


@pytest.fixture
def open_model() -> Open:
    """Opens a session on a path."""
    return lambda path: ReferenceEngine().open(model_files(path), Backend.CPU)
