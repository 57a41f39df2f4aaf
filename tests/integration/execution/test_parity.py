"""A playbook's comparison with a real server of the same file, and with one of another model."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aprqa_ci.certification.steps import Surroundings, certify_plan, make_plan
from aprqa_ci.execution.engines.llamacpp import LlamaCppEngine
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

MODEL = Path(__file__).resolve().parents[3] / "aprqa_ci" / "data" / "models" / "aprqa-tiny"


@pytest.fixture
def address() -> Iterator[str]:
    """llama.cpp with the bundled model, behind our server in this process."""
    (weights,) = MODEL.rglob("*[qQ]8_0*.gguf")
    files = ModelFiles(
        format=ModelFormat.GGUF, weights=(weights,), directory=weights.parent, source="local_path"
    )
    session = LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"}).open(files, Backend.CPU)
    with serve_session(session) as served:
        yield served.base_url


def outcomes(folder: Path, environment: dict[str, str]) -> dict[str, tuple[Outcome, str]]:
    data = {
        "name": "parity",
        "version": "1.0.0",
        "model": {
            "hf_repo": "aprqa/aprqa-tiny",
            "local_path": str(MODEL),
            "formats": ["gguf"],
            "quantizations": ["q8_0"],
            "size_category": "tiny",
        },
        "test_matrix": {"modalities": ["chat"], "backends": ["cpu"], "scenario_count": 1},
        "ollama_parity": {
            "quantizations": ["q8_0"],
            "prompts": ["What is 2 + 2?", "What is the capital of France?"],
            "min_perf_ratio": 0.01,
        },
    }
    path = folder / "parity.playbook.yaml"
    path.write_text(json.dumps(data))
    surroundings = Surroundings(environment=environment, home=folder, root=folder)
    plan = make_plan([path], options=PlanOptions(tier="quick"), surroundings=surroundings)
    (bundle,) = certify_plan(plan, out=folder / "out", surroundings=surroundings)
    return {
        record.gate_id: (record.outcome, record.output)
        for record in bundle.records
        if "OLLAMA" in record.gate_id
    }


def test_the_same_file_behind_a_server_answers_the_same(tmp_path: Path, address: str) -> None:
    found = outcomes(tmp_path, {"APRQA_PARITY_URL": address})
    assert {gate: outcome for gate, (outcome, _) in found.items()} == {
        "F-COMP-OLLAMA-001": Outcome.CORROBORATED,
        "F-OLLAMA-002": Outcome.CORROBORATED,
    }
    figures = json.loads(found["F-COMP-OLLAMA-001"][1])
    assert figures["answers"] == figures["server"]
    assert all(figures["answers"])
    assert json.loads(found["F-OLLAMA-002"][1])["ratio"] > 0.01


def test_without_a_server_the_comparison_is_skipped(tmp_path: Path) -> None:
    found = outcomes(tmp_path, {})
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}
    assert len(found) == 2
