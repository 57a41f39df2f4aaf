import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def corpus() -> Path:
    default = REPOSITORY.parent / "shared" / "corpus"
    path = Path(os.environ.get("APRQA_CORPUS", default)) / "playbooks"
    if not path.is_dir():
        pytest.skip(f"{path} is missing; set APRQA_CORPUS to the folder of the corpus")
    return path


@pytest.fixture
def minimal() -> dict[str, Any]:
    """The least that a playbook has."""
    return {
        "name": "tiny-mvp",
        "version": "1.0.0",
        "model": {"hf_repo": "org/tiny", "size_category": "tiny"},
        "test_matrix": {"modalities": ["run"]},
    }
