"""The next engine has a cell whose architecture the preferred one does not know, and no other.

The next engine here is a scripted server behind ``openai``: it loads and answers whatever it is
given, and notes that it was started. That is the worst to whom a damaged file could be taken.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from aprqa_ci import __version__
from aprqa_ci.evidence.building import cell_result, record_of
from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.engines import registry
from aprqa_ci.execution.engines.engine_options import options_digest
from aprqa_ci.execution.protocol import Absent, Ask, Open, Request
from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.vocabulary import Modality, ModelFormat, Outcome
from tests.broken_models import cut
from tests.cells import PLAYBOOK, cell_of, plan_of, prompt_of
from tests.records import context_of
from tests.running import Results, run

_ID = UUID(int=7)
ANSWERS_ANYTHING = """
import http.server, json, sys
open(sys.argv[1], "a").write("started\\n")
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "any", "max_model_len": 512}]})
        self.say(200 if self.path == "/v1/models" else 404, body)
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        piece = {"index": 0, "finish_reason": "stop"}
        piece["delta" if asked["stream"] else "message"] = {"content": "the end"}
        first = {"choices": [piece]}
        usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
        if not asked["stream"]:
            return self.say(200, json.dumps(first | usage))
        lines = [json.dumps(first), json.dumps({"choices": []} | usage), "[DONE]"]
        self.say(200, "".join(f"data: {each}\\n\\n" for each in lines))
    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), H).serve_forever()
"""
OTHER = {"architectures": ["OlmoForCausalLM"], "model_type": "olmo"}
PROMPTS = (prompt_of("the end"), prompt_of("in and out"))


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The note of the next engine's starts."""
    return tmp_path / "started"


@pytest.fixture
def run_it(
    model: Any, started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Results]:
    """Run a cell on the model, where the scripted server comes after the reference engine."""
    preferred = {ModelFormat.SAFETENSORS: ("reference", "openai")}
    catalogue = msgspec.structs.replace(registry.engine_catalogue(), preferred=preferred)
    monkeypatch.setattr(registry, "engine_catalogue", lambda: catalogue)
    script = tmp_path / "server.py"
    script.write_text(ANSWERS_ANYTHING)
    options = {"command": (sys.executable, str(script), str(started), "{port}", "{model}")}

    def go(cell: PlannedCell, **more: Any) -> Results:
        return run(plan_of(cell), model.root, engine_options={"openai": options}, **more)

    return go


def cell_with(**replaced: Any) -> PlannedCell:
    return cell_of(format=ModelFormat.SAFETENSORS, **{"prompts": PROMPTS, **replaced})


def configure(model: Any, changes: dict[str, Any] = OTHER) -> None:
    path = model.directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("modality", Modality)
def test_the_next_engine_has_the_cell_and_evidence_says_why(
    model: Any, run_it: Callable[..., Results], started: Path, modality: Modality
) -> None:
    configure(model)
    cell = cell_with(modality=modality)
    results = run_it(cell)
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert results.of("G1-LOAD").reason.endswith("context 512 tokens; reference passed over")
    assert started.read_text() == "started\n"
    for name in ("G1-LOAD", "001", "002"):
        result = results.of(name)
        assert result.engine is not None
        assert result.engine.engine == "openai"
        (passed_over,) = result.engine.passed_over
        assert (passed_over.engine, passed_over.version) == ("reference", __version__)
        assert "the architecture 'OlmoForCausalLM' is not known here" in passed_over.reason
        record = record_of(result, context_of(plan_of(cell), PLAYBOOK), identifier=_ID)
        assert record.passed_over()[0].reason == passed_over.reason


def test_without_a_next_engine_all_that_was_passed_over_is_named(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferred = {ModelFormat.SAFETENSORS: ("reference", "openai")}
    catalogue = msgspec.structs.replace(registry.engine_catalogue(), preferred=preferred)
    monkeypatch.setattr(registry, "engine_catalogue", lambda: catalogue)
    configure(model)
    results = run(plan_of(cell_with()), model.root)
    assert set(results.outcomes().values()) == {"Skipped infrastructure:engine-missing"}
    for name in ("G1-LOAD", "001"):
        reason = results.of(name).reason
        assert "reference was passed over: " in reason
        assert "'OlmoForCausalLM'" in reason
        assert "openai is not available: no server is given" in reason


def test_an_engine_that_was_asked_for_is_not_passed_over(
    model: Any, run_it: Callable[..., Results], started: Path
) -> None:
    configure(model)
    results = run_it(cell_with(engine="reference"))
    assert set(results.outcomes().values()) == {"Skipped infrastructure:engine-missing"}
    assert not started.exists()


def _cut_weights(model: Any) -> None:
    cut(model.safetensors, 0.5)


def _write(name: str, data: bytes) -> Callable[[Any], None]:
    return lambda model: (model.directory / name).write_bytes(data) and None


def _replace(name: str, old: bytes, new: bytes) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        path = model.directory / name
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    return change


def _remove(name: str) -> Callable[[Any], None]:
    return lambda model: (model.directory / name).unlink()


@pytest.mark.parametrize(
    ("damage", "outcome"),
    [
        (_cut_weights, "Falsified"),
        (_write("model.safetensors", b"<html>not found</html>"), "Falsified"),
        (_replace("model.safetensors", b"q_proj", b"x_proj"), "Falsified"),
        (_write("config.json", b"{"), "Falsified"),
        (_write("tokenizer.json", b"{}"), "Falsified"),
        (_replace("config.json", b'"hidden_size"', b'"hidden_sise"'), "Falsified"),
        (_replace("config.json", b'"architectures"', b'"brchitectures"'), "Falsified"),
        # May be damage, may be more than the engine knows: not judged, and taken to nobody else.
        (_replace("config.json", b"LlamaForCausalLM", b"LlamaForCausalLN"), "Skipped"),
        (_replace("model.safetensors", b'"F16"', b'"F17"'), "Skipped"),
        (_replace("tokenizer.json", b'"BPE"', b'"BPF"'), "Skipped"),
        (_replace("config.json", b'"silu"', b'"sulu"'), "Skipped"),
    ],
)
def test_a_file_that_may_be_damaged_is_taken_to_no_other_engine(
    model: Any,
    run_it: Callable[..., Results],
    started: Path,
    damage: Callable[[Any], None],
    outcome: str,
) -> None:
    damage(model)
    results = run_it(cell_with(prompts=PROMPTS[:1]))
    assert results.of("G1-LOAD").outcome == outcome
    assert results.of("001").outcome is Outcome.SKIPPED
    assert not started.exists()


def test_the_next_engine_judges_the_damage_of_what_it_is_given(
    model: Any, run_it: Callable[..., Results], started: Path
) -> None:
    configure(model)
    model.safetensors.unlink()
    results = run_it(cell_with())
    assert {each.outcome for each in results.all.values()} == {Outcome.SKIPPED}
    assert not started.exists()


def test_a_resumed_run_passes_over_as_well(
    model: Any, run_it: Callable[..., Results], started: Path
) -> None:
    configure(model)
    cell = cell_with()
    first = run_it(cell)
    kept = {
        name: cell_result(record_of(result, context_of(plan_of(cell), PLAYBOOK), identifier=_ID))
        for name, result in first.all.items()
        if name.endswith(("#G1-LOAD", "#001"))
    }
    rest = run_it(cell, done=kept)
    assert rest.of("002").outcome is Outcome.CORROBORATED
    engine = rest.of("002").engine
    assert engine is not None
    assert engine.engine == "openai"
    assert started.read_text() == "started\n" * 2


def test_an_engine_that_has_answered_is_not_passed_over(
    model: Any,
    run_it: Callable[..., Results],
    started: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del model
    opened: list[Request] = []
    real = CellChild.request

    def request(self: CellChild, asked: Request, *, timeout_s: float) -> Any:
        if isinstance(asked, Open):
            opened.append(asked)
            if len(opened) > 1 and asked.engine == "reference":
                return Absent(message="now it does not know it", architecture=True)
        if isinstance(asked, Ask):
            return Absent(message="lost")
        return real(self, asked, timeout_s=timeout_s)

    monkeypatch.setattr(CellChild, "request", request)
    results = run_it(cell_with())
    assert results.of("G1-LOAD").outcome is Outcome.CORROBORATED
    assert str(results.of("002").cause) == "infrastructure:engine-missing"
    assert not started.exists()


def test_what_an_engine_was_told_is_in_the_evidence_as_a_digest(
    model: Any, run_it: Callable[..., Results]
) -> None:
    results = run_it(cell_with(prompts=PROMPTS[:1]))
    engine = results.of("001").engine
    assert engine is not None
    assert (engine.engine, engine.options_digest, engine.passed_over) == ("reference", "", ())
    configure(model)
    engine = run_it(cell_with(prompts=PROMPTS[:1])).of("001").engine
    assert engine is not None
    assert engine.options_digest not in {"", options_digest({"command": ()})}
