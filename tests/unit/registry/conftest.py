import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory, Status


@pytest.fixture
def corpus_registry() -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    corpus = Path(os.environ.get("APRQA_CORPUS", default))
    path = corpus / "docs" / "certifications" / "models.csv"
    if not path.exists():
        pytest.skip(f"{path} is missing; set APRQA_CORPUS to the folder of the corpus")
    return path


@pytest.fixture
def update() -> RowUpdate:
    return RowUpdate(
        model_id="org/model-0.5B",
        status=Status.CERTIFIED,
        mqs_score=931,
        grade="A",
        certified_tier="mvp",
        last_certified="2026-11-02T10:00:00Z",
        g1=True,
        g2=True,
        g3=True,
        g4=True,
        throughput={(ModelFormat.GGUF, Backend.CPU): 48.26},
        family="llama",
        parameters="0.5B",
        size_category=SizeCategory.TINY,
    )


@pytest.fixture
def row() -> Callable[..., str]:
    """Make a row: a model that nobody has tested, but for the cells that are named."""

    def make(model_id: str, **cells: str) -> str:
        blank = dict.fromkeys(COLUMNS, "") | {
            "model_id": model_id,
            "family": "qwen",
            "parameters": "7B",
            "size_category": "large",
            "status": "PENDING",
            "mqs_score": "0",
            "grade": "-",
            "certified_tier": "none",
            "last_certified": "2026-01-31T00:00:00+00:00",
            **dict.fromkeys(("g1", "g2", "g3", "g4", "provenance_verified"), "false"),
        }
        return ",".join((blank | cells)[column] for column in COLUMNS)

    return make
