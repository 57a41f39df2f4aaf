"""Fixtures that many tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny_llama import write_tiny_llama

# A busy machine is no failure of what is tested.
settings.register_profile("aprqa", deadline=None)
settings.load_profile("aprqa")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random, tiny Llama model; not to be changed."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
