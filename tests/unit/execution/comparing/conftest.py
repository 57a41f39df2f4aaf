"""A tiny model in two formats, and the judging of one gate on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.comparing import FileTestFinding, judge_files
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.planning.comparisons import Comparisons
from tests.broken_models import gguf_of, safetensors_of
from tests.tiny_llama import write_tiny_llama

Judge = Callable[..., FileTestFinding]


@pytest.fixture
def truth(tmp_path: Path) -> ModelFiles:
    """The ground truth."""
    return safetensors_of(write_tiny_llama(tmp_path / "truth", tied=False))


@pytest.fixture
def gguf(tmp_path: Path, truth: ModelFiles) -> ModelFiles:
    """The same model as GGUF."""
    path = tmp_path / "gguf" / "tiny-f16.gguf"
    convert_safetensors_to_gguf(truth.directory, path, "f16")
    return gguf_of(path)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Judges one gate."""

    def judged(
        gate: str, model: ModelFiles, truth: ModelFiles | None = None, **settings: Any
    ) -> FileTestFinding:
        limit = settings.pop("limit", 0.005)
        (found,) = judge_files(
            [gate],
            model,
            truth,
            settings=Comparisons(**settings),
            limit=limit,
            root=tmp_path,
        )
        assert found.gate_id == gate
        return found

    return judged
