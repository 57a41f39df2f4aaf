"""Fixtures that many tests share."""

from pathlib import Path

import pytest

from tests.tiny_llama import write_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random, tiny Llama model; not to be changed."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
