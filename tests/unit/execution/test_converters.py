"""Finding the converter of APR files, with a stand-in for the tool."""

from pathlib import Path

import pytest

from aprqa_ci.execution import apr_engine
from aprqa_ci.execution.converters import apr_converter
from aprqa_ci.execution.desk import Desk
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.examiners import ExaminesFiles, apr_examiner
from aprqa_ci.execution.protocol import ProfileModel
from tests.apr_standin import write_standin
from tests.broken_models import gguf_of
from tests.scripted_session import ScriptedEngine, ScriptedSession


def test_it_is_the_engine_with_what_it_is_told(tmp_path: Path) -> None:
    engine, tool = apr_converter({"binary": str(write_standin(tmp_path))})()
    assert tool == "apr/0.4.99"
    assert engine.__class__.__name__ == "AprEngine"
    with pytest.raises(EngineAbsentError, match="by the engine apr: there is no program '/nope'"):
        apr_converter({"binary": "/nope"})()


def test_the_examiner_is_the_same_engine(tmp_path: Path) -> None:
    engine, tool = apr_examiner({"binary": str(write_standin(tmp_path))})()
    assert (tool, isinstance(engine, ExaminesFiles)) == ("apr/0.4.99", True)
    with pytest.raises(EngineAbsentError, match="at by the engine apr: there is no program '/no'"):
        apr_examiner({"binary": "/no"})()


def test_an_engine_of_that_name_need_not_convert(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedEngine(ScriptedSession())
    monkeypatch.setattr(apr_engine, "engine_named", lambda _: scripted)
    with pytest.raises(EngineAbsentError, match="by the engine apr: it does not convert"):
        apr_converter()()
    with pytest.raises(EngineAbsentError, match="by the engine apr: it does not look into files"):
        apr_examiner()()
    request = ProfileModel(
        engine="apr", options={}, model=gguf_of(Path("x.gguf")), warmup=1, measure=1
    )
    with Desk() as desk, pytest.raises(EngineAbsentError, match="no profile: it offers none"):
        desk.handle(request)
