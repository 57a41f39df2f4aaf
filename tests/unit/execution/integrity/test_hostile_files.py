"""Whatever the bytes are, there is a finding for every gate and no other error."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.integrity.inspection import inspect_model
from aprqa_ci.gates import inspect_gate_ids

_SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_EDITS = st.lists(
    st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4
)


@pytest.mark.parametrize("kind", ["model.safetensors", "config.json", "tokenizer.json", "gguf"])
@_SETTINGS
@given(edits=_EDITS)
def test_damage_anywhere_is_judged(kit: Any, kind: str, edits: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        truth = kit.HfModel().write(directory / "hf")
        gguf = kit.GgufModel().write(directory / "gguf")
        path = gguf.weights[0] if kind == "gguf" else truth.directory / kind
        data = bytearray(path.read_bytes())
        # The head of a weight file is where its structure is.
        reach = min(len(data), 12_000)
        for position, raw in edits:
            at = position % reach
            data[at : at + len(raw)] = raw
        path.write_bytes(bytes(data))
        for model in (truth, gguf):
            seen = inspect_model(model, ground_truth=truth, expected={})
            assert tuple(found.gate_id for found in seen.findings) == inspect_gate_ids(model.format)
