"""Cells whose model a server holds: what the server cannot show is not judged, and never passes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.engines.registry import engine_named
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from tests.cells import cell_of, plan_of, prompt_of
from tests.llama_server import COMMAND
from tests.running import run

PROMPTS = (prompt_of("the end"), prompt_of("2+2=", raw=True))
NOT_SHOWN = "Skipped infrastructure:not-shown"


@pytest.fixture
def url(sound_model: Any) -> Iterator[str]:
    model = ModelFiles(
        format=ModelFormat.GGUF,
        weights=(sound_model.gguf,),
        directory=sound_model.directory,
        source="local_path",
    )
    session = engine_named("llamacpp").open(model, Backend.CPU)
    with serve_session(session) as served:
        yield served.base_url
    session.close()


@pytest.mark.parametrize("files_here", [True, False])
@pytest.mark.parametrize("modality", [Modality.CHAT, Modality.SERVE])
def test_answers_are_judged_and_files_and_device_are_not(
    sound_model: Any, tmp_path: Path, url: str, modality: Modality, files_here: bool
) -> None:
    """Files that happen to lie here are not those that the server was shown to hold."""
    cell = cell_of(
        modality=modality, prompts=PROMPTS, inspect=True, engine="openai", backend=Backend.GPU
    )
    plan = plan_of(cell)
    root = sound_model.root if files_here else tmp_path / "empty"
    results = run(plan, root, engine_options={"openai": {"url": url}})
    outcomes = results.outcomes()
    judged = {name for name, outcome in outcomes.items() if outcome == "Corroborated"}
    assert {name for name in outcomes if name.startswith("G0")}
    assert all(outcomes[name] == NOT_SHOWN for name in outcomes if name.startswith(("G0", "G1")))
    assert {"001", "002"} <= judged
    loading = results.of("G1-LOAD")
    assert "loaded the files of this model nor that it computes on gpu" in loading.reason
    assert loading.engine is not None
    assert "not shown" in loading.engine.device
    assert url in loading.engine.invocation


def test_a_server_started_with_the_files_shows_them(sound_model: Any) -> None:
    cell = cell_of(modality=Modality.RUN, prompts=PROMPTS, inspect=True, engine="openai")
    options: EngineOptions = {"openai": {"command": COMMAND, "context_length": 64}}
    results = run(plan_of(cell), sound_model.root, engine_options=options)
    assert set(results.outcomes().values()) == {"Corroborated"}
    loading = results.of("G1-LOAD")
    assert loading.engine is not None
    assert "llama_server.py" in loading.engine.invocation
    assert "hidden from it" in loading.engine.device


def test_a_server_that_does_not_say_its_context_is_not_blamed_for_it(
    sound_model: Any, url: str
) -> None:
    cell = cell_of(prompts=PROMPTS, checks=("F-EDGE-OVERFLOW-001",), engine="openai")
    results = run(plan_of(cell), sound_model.root, engine_options={"openai": {"url": url}})
    assert results.outcomes()["F-EDGE-OVERFLOW-001"] == NOT_SHOWN


def test_a_server_that_is_not_there_is_our_affair(sound_model: Any) -> None:
    cell = cell_of(prompts=PROMPTS, engine="openai")
    options = {"openai": {"url": "http://127.0.0.1:9"}}
    results = run(plan_of(cell), sound_model.root, engine_options=options)
    assert set(results.outcomes().values()) == {"Skipped infrastructure:engine-missing"}
