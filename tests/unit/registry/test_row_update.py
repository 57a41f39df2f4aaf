from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.registry.row_update import RowUpdate, is_model_id, parameters_of
from aprqa_ci.vocabulary import Backend, ModelFormat, Status


def test_only_what_was_measured_is_among_the_cells(update: RowUpdate) -> None:
    assert update.measured() == {
        "status": "CERTIFIED",
        "mqs_score": "931",
        "grade": "A",
        "certified_tier": "mvp",
        "last_certified": "2026-11-02T10:00:00Z",
        "g1": "true",
        "g2": "true",
        "g3": "true",
        "g4": "true",
        "tps_gguf_cpu": "48.3",
    }


@pytest.mark.parametrize(
    ("model_format", "backend", "column"),
    [
        (ModelFormat.GGUF, Backend.GPU, "tps_gguf_gpu"),
        (ModelFormat.APR, Backend.CPU, "tps_apr_cpu"),
        (ModelFormat.SAFETENSORS, Backend.GPU, "tps_st_gpu"),
    ],
)
def test_throughput_columns(
    update: RowUpdate, model_format: ModelFormat, backend: Backend, column: str
) -> None:
    cells = replace(update, throughput={(model_format, backend): 3.0}).measured()
    assert cells[column] == "3.0"
    assert sum(name.startswith("tps_") for name in cells) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_id", "=HYPERLINK(1)/x"),
        ("model_id", "@org/name"),
        ("model_id", "-org/name"),
        ("model_id", "+org/name"),
        ("model_id", "\torg/name"),
        ("model_id", "org/name\n"),
        ("model_id", "org/name,evil"),
        ("model_id", "name"),
        ("model_id", "a/b/c"),
        ("status", Status.INCONCLUSIVE),
        ("mqs_score", 1001),
        ("mqs_score", -1),
        ("grade", "A+"),
        ("grade", "=1"),
        ("certified_tier", "mvp,x"),
        ("certified_tier", ""),
        ("last_certified", "yesterday"),
        ("last_certified", "2026-11-02T10:00:00"),
        ("family", "-llama"),
        ("family", 'a"b'),
        ("parameters", "=1B"),
        ("throughput", {(ModelFormat.GGUF, Backend.CPU): float("nan")}),
        ("throughput", {(ModelFormat.GGUF, Backend.CPU): -1.0}),
    ],
)
def test_values_that_are_not_fit_for_the_file(update: RowUpdate, field: str, value: Any) -> None:
    with pytest.raises(InputError):
        replace(update, **{field: value}).check()


def test_all_faults_are_named_at_once(update: RowUpdate) -> None:
    with pytest.raises(InputError) as caught:
        replace(update, model_id="x", grade="Z", mqs_score=2000).check()
    assert len(caught.value.problems) == 3


@given(st.text())
def test_no_id_can_be_a_formula_or_break_a_row(text: str) -> None:
    if is_model_id(text):
        assert text[0] not in "=+-@\t\r"
        assert not set(text) & set(',"\r\n')


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Qwen/Qwen2.5-Coder-0.5B-Instruct",), "0.5B"),
        (("HuggingFaceTB/SmolLM2-135M-Instruct",), "135M"),
        (("stabilityai/stablelm-2-zephyr-1_6b",), "1.6B"),
        (("Qwen/Qwen3-30B-A3B",), "30B"),
        (("mistralai/Mixtral-8x7B-v0.1", "47b"), "47B"),
        (("7B-org/name",), ""),
        (("org/phi-4", None), ""),
    ],
)
def test_the_size_in_a_name(names: tuple[str | None, ...], expected: str) -> None:
    assert parameters_of(*names) == expected
