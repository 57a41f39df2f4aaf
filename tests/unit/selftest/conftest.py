import shutil
from pathlib import Path

import pytest

from aprqa_ci.data_files import bundled_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(bundled_model(), tmp_path / "model"))
