"""The tiny model as GGUF, and opened with llama.cpp."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.interface import Session
from aprqa_ci.execution.engines.llamacpp import LlamaCppEngine
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat


@pytest.fixture(scope="session")
def tiny_gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """The tiny model in one GGUF file; not to be changed."""
    path = tmp_path_factory.mktemp("tiny-gguf") / "tiny-f32.gguf"
    convert_safetensors_to_gguf(tiny_llama, path, "f32")
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="local_path"
    )


@pytest.fixture(scope="session")
def llamacpp(tiny_gguf: ModelFiles) -> Iterator[Session]:
    """The tiny model, loaded by llama.cpp."""
    session = LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"}).open(tiny_gguf, Backend.CPU)
    yield session
    session.close()
