"""Fixtures that many tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny_llama import write_tiny_llama

# A busy machine is no failure of what is tested. Every run draws other examples, so half as many
# a run keep it short and find as much over time.
settings.register_profile("aprqa", deadline=None, max_examples=50)
settings.load_profile("aprqa")


@pytest.fixture(autouse=True)
def environment_stays() -> Iterator[None]:
    """Commands that run models take variables out of the environment of their process."""
    kept = dict(os.environ)
    yield
    if dict(os.environ) != kept:
        os.environ.clear()
        os.environ.update(kept)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random, tiny Llama model; not to be changed."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
