from pathlib import Path

import pytest

from aprqa_ci import __version__
from aprqa_ci.execution.engines.interface import Engine, EngineAbsentError, Sampling
from aprqa_ci.execution.engines.reference import ReferenceEngine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat


@pytest.fixture
def files(tiny_llama: Path) -> ModelFiles:
    return ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=(tiny_llama / "model.safetensors",),
        directory=tiny_llama,
        source="local_path",
    )


def test_it_is_always_here_and_independent() -> None:
    engine: Engine = ReferenceEngine()
    info = engine.info()
    assert (info.name, info.version, info.available, info.independent) == (
        "reference",
        __version__,
        True,
        True,
    )
    assert info.formats == (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    assert info.backends == (Backend.CPU,)


def test_a_session_says_where_it_computes(
    files: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    session = ReferenceEngine().open(files, Backend.CPU)
    assert (session.device.backend, session.device.name) == (Backend.CPU, "cpu")
    assert session.device.proof.startswith("numpy ")
    assert "3 threads" in session.device.proof
    assert session.complete("a", Sampling(max_tokens=2)).completion_tokens == 2


def test_there_is_no_gpu_in_it(files: ModelFiles) -> None:
    with pytest.raises(EngineAbsentError, match="on the cpu, not on gpu"):
        ReferenceEngine().open(files, Backend.GPU)


def test_the_invocation_names_the_files(files: ModelFiles) -> None:
    call = ReferenceEngine().invocation(files, Backend.CPU)
    assert str(files.weights[0]) in call
    assert "backend=cpu" in call
