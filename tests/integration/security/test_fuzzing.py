"""Every reader of strangers' bytes, fuzzed for a moment; ``scripts/fuzz.py`` does it for longer."""

import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz_targets import TARGETS, seeds_of

SECONDS = 5.0
"""More than any input of this size takes on a busy machine."""


@cache
def seeds(name: str) -> list[bytes]:
    return seeds_of(name)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_seed_ends_as_it_should(name: str) -> None:
    """The seeds are files of ours, and what was a find once: taken or refused, never more."""
    taken = [TARGETS[name].run(seed) for seed in seeds(name)]
    assert any(taken), "nothing would be reached behind the first check"


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_the_bytes_only_our_errors_come_out(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    content = bytearray(data.draw(st.sampled_from(seeds(name))))
    put = st.binary(max_size=6) | st.sampled_from((*target.words, b""))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, min(12, len(content) - at)))
        content[at : at + length] = data.draw(put)
    if data.draw(st.integers(0, 5)) == 0:
        del content[data.draw(st.integers(0, len(content))) :]
    started = time.process_time()
    target.run(bytes(content))
    assert time.process_time() - started < SECONDS
