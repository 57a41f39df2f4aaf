import pytest

from aprqa_ci.planning.durations import cell_seconds, expected_seconds, setup_seconds
from aprqa_ci.planning.model_size import weights_gb
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from tests.cells import cell_of, playbook_of, prompt_of

SMALL = SizeCategory.SMALL
CELL = cell_of(prompts=[prompt_of("a"), prompt_of("b")])


def seconds(**changes: object) -> float:
    asked: dict[str, object] = {"runner": "cpu", "speed": 1.0, "timings": {}, **changes}
    return cell_seconds(CELL, SMALL, **asked)  # type: ignore[arg-type] # as given


@pytest.mark.parametrize("backend", Backend)
@pytest.mark.parametrize("format_", ModelFormat)
def test_a_larger_model_takes_more_and_none_takes_nothing(
    backend: Backend, format_: ModelFormat
) -> None:
    cell = cell_of(backend=backend, format=format_)
    times = [expected_seconds(cell, size) for size in SizeCategory]
    assert times == sorted(set(times))
    assert times[0] > 0


def test_more_to_ask_takes_more() -> None:
    more = cell_of(prompts=[prompt_of(str(number)) for number in range(9)])
    checked = cell_of(prompts=[prompt_of("a"), prompt_of("b")], checks=["F-PERF-TPS-001"])
    assert expected_seconds(more, SMALL) > expected_seconds(CELL, SMALL)
    assert expected_seconds(checked, SMALL) > expected_seconds(CELL, SMALL)


def test_full_precision_takes_more_than_gguf() -> None:
    precise = cell_of(format=ModelFormat.SAFETENSORS, prompts=[prompt_of("a"), prompt_of("b")])
    assert expected_seconds(precise, SMALL) > expected_seconds(CELL, SMALL)


def test_a_faster_class_takes_less() -> None:
    assert seconds(speed=2.0) == pytest.approx(seconds() / 2)


def test_what_was_measured_on_the_class_counts_as_it_is() -> None:
    timings = {(CELL.id, "cpu"): 1234.0, (CELL.id, "other"): 1.0}
    assert seconds(timings=timings, speed=8.0) == 1234.0
    assert seconds(timings=timings, runner="third") == seconds()


def test_nothing_is_expected_to_take_no_time() -> None:
    assert seconds(timings={(CELL.id, "cpu"): 0.0}) == 1.0
    assert seconds(speed=1000.0) == 1.0


def test_setting_up_goes_by_the_size_of_the_files() -> None:
    model = playbook_of().model
    small = setup_seconds(model, ModelFormat.GGUF, "q4_0")
    large = setup_seconds(model, ModelFormat.SAFETENSORS, None)
    ratio = weights_gb(model, ModelFormat.SAFETENSORS, None) / weights_gb(
        model, ModelFormat.GGUF, "q4_0"
    )
    assert small > 0
    assert large / small == pytest.approx(ratio)
