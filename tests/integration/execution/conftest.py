"""A sound tiny model in both formats, and copies of it to break."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from tests.tiny_llama import write_tiny_llama

CONTEXT = 512


@dataclass(frozen=True)
class TinyModel:
    """A model below the root that relative paths of a plan start from."""

    root: Path
    directory: Path

    @property
    def gguf(self) -> Path:
        """The GGUF file."""
        return self.directory / "tiny-f16.gguf"

    @property
    def safetensors(self) -> Path:
        """The SafeTensors file."""
        return self.directory / "model.safetensors"

    def convert(self) -> None:
        """Make the GGUF file of the SafeTensors."""
        convert_safetensors_to_gguf(self.directory, self.gguf, "f16")


@pytest.fixture(scope="session")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """The model; not to be changed."""
    root = tmp_path_factory.mktemp("sound")
    directory = write_tiny_llama(
        root / "model", config={"max_position_embeddings": CONTEXT, "num_hidden_layers": 3}
    )
    model = TinyModel(root, directory)
    model.convert()
    return model


@pytest.fixture
def copy_model(sound_model: TinyModel, tmp_path: Path) -> Callable[[], TinyModel]:
    """Copies the model, to be broken."""

    def copy() -> TinyModel:
        shutil.copytree(sound_model.directory, tmp_path / "model")
        return TinyModel(tmp_path, tmp_path / "model")

    return copy


@pytest.fixture
def model(copy_model: Callable[[], TinyModel]) -> TinyModel:
    """A copy of the model, to be broken."""
    return copy_model()
