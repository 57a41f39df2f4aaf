import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus() -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    path = Path(os.environ.get("APRQA_CORPUS", default)) / "playbooks"
    if not path.is_dir():
        pytest.skip(f"{path} is missing; set APRQA_CORPUS to the folder of the corpus")
    return path
