"""Choosing the engine of a cell."""

from dataclasses import dataclass

import pytest

from aprqa_ci.execution.engines.interface import (
    Engine,
    EngineAbsentError,
    EngineInfo,
    Session,
)
from aprqa_ci.execution.engines.registry import engine_for, engines
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

GGUF, SAFETENSORS, APR = ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.APR
CPU, GPU = Backend.CPU, Backend.GPU


@dataclass
class FakeEngine:
    name: str
    formats: tuple[ModelFormat, ...]
    backends: tuple[Backend, ...] = (CPU,)
    reason: str = ""

    def info(self) -> EngineInfo:
        return EngineInfo(
            name=self.name,
            version=None if self.reason else "1",
            available=not self.reason,
            reason=self.reason,
            how_to_get=f"pip install {self.name}",
            formats=self.formats,
            backends=self.backends,
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        raise AssertionError(model, backend)

    def open(self, model: ModelFiles, backend: Backend) -> Session:
        raise AssertionError(model, backend)


def candidates(*found: FakeEngine) -> dict[str, Engine]:
    return {engine.name: engine for engine in found}


REFERENCE = FakeEngine("reference", (GGUF, SAFETENSORS))
LLAMACPP = FakeEngine("llamacpp", (GGUF,))
BOTH = candidates(REFERENCE, LLAMACPP)


@pytest.mark.parametrize(
    ("kind", "asked", "chosen"),
    [
        (GGUF, None, "llamacpp"),
        (GGUF, "reference", "reference"),
        (SAFETENSORS, None, "reference"),
    ],
)
def test_the_preferred_engine_unless_another_is_asked_for(
    kind: ModelFormat, asked: str | None, chosen: str
) -> None:
    assert engine_for(kind, CPU, asked=asked, candidates=BOTH).name == chosen


def test_the_next_engine_stands_in_for_one_that_is_absent() -> None:
    absent = FakeEngine("llamacpp", (GGUF,), reason="no library")
    found = engine_for(GGUF, CPU, asked=None, candidates=candidates(absent, REFERENCE))
    assert found.name == "reference"


def test_an_engine_that_was_asked_for_has_no_stand_in() -> None:
    absent = FakeEngine("llamacpp", (GGUF,), reason="no library")
    with pytest.raises(EngineAbsentError, match=r"no library \(pip install llamacpp\)"):
        engine_for(GGUF, CPU, asked="llamacpp", candidates=candidates(absent, REFERENCE))


def test_a_gpu_cell_gets_an_engine_with_a_gpu_or_none() -> None:
    with pytest.raises(EngineAbsentError, match=r"llamacpp has no gpu.*reference has no gpu"):
        engine_for(GGUF, GPU, asked=None, candidates=BOTH)
    able = FakeEngine("reference", (GGUF,), (CPU, GPU))
    found = engine_for(GGUF, GPU, asked=None, candidates=candidates(LLAMACPP, able))
    assert found.name == "reference"


def test_an_engine_that_cannot_read_the_format_is_refused() -> None:
    with pytest.raises(EngineAbsentError, match="llamacpp does not read safetensors"):
        engine_for(SAFETENSORS, CPU, asked="llamacpp", candidates=BOTH)


def test_an_unknown_engine_is_named_with_the_near_one() -> None:
    with pytest.raises(EngineAbsentError, match="'lamacpp': perhaps 'llamacpp'"):
        engine_for(GGUF, CPU, asked="lamacpp", candidates=BOTH)
    with pytest.raises(EngineAbsentError, match="known are llamacpp, reference"):
        engine_for(GGUF, CPU, asked="zzz", candidates=BOTH)


def test_a_format_without_an_engine_says_what_it_needs() -> None:
    with pytest.raises(EngineAbsentError, match="apr command-line tool"):
        engine_for(APR, CPU, asked=None, candidates=BOTH)
    with pytest.raises(EngineAbsentError, match="none is installed"):
        engine_for(GGUF, CPU, asked=None, candidates={})


def test_the_built_in_engines_answer_to_their_names() -> None:
    found = engines()
    assert set(found) == {"reference", "llamacpp"}
    for name, engine in found.items():
        info = engine.info()
        assert engine.name == info.name == name
        assert info.available
        assert GGUF in info.formats


def test_the_preferred_engine_for_gguf_is_llamacpp_itself() -> None:
    assert engine_for(GGUF, CPU, asked=None).name == "llamacpp"
