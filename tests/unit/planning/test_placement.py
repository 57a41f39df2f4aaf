from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aprqa_ci.planning.durations import Timings
from aprqa_ci.planning.placement import Placement, place
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook
from aprqa_ci.planning.runner_classes import RunnerClass
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from tests.cells import cell_of, playbook_of, prompt_of

CPU = RunnerClass(
    name="cpu",
    runs_on="ubuntu-latest",
    backend=Backend.CPU,
    self_hosted=False,
    trusted=True,
    memory_gb=64,
    disk_gb=64,
    cost_per_minute=1.0,
)
GPU = replace(CPU, name="gpu", backend=Backend.GPU, vram_gb=24.0, self_hosted=True)
ON_CPU = cell_of(prompts=[prompt_of(str(number)) for number in range(40)])
ON_GPU = cell_of(backend=Backend.GPU)


def sized(billions: float) -> PlannedPlaybook:
    playbook = playbook_of(ground_truth=None)
    return replace(playbook, model=replace(playbook.model, size_variant=f"{billions}b"))


def placed(
    cells: Sequence[PlannedCell],
    runners: Sequence[RunnerClass],
    *,
    billions: float = 1.0,
    fork: bool = False,
    timings: Timings | None = None,
) -> Placement:
    playbook = sized(billions)
    return place(cells, {playbook.name: playbook}, runners, fork=fork, timings=timings or {})


def where(placement: Placement) -> dict[str, str]:
    return {
        cell.id: runner.name
        for runner, cells in placement.cells.items()
        if runner is not None
        for cell in cells
    }


def test_each_backend_has_its_own_classes() -> None:
    found = placed([ON_GPU, ON_CPU], [CPU, GPU])
    assert where(found) == {ON_CPU.id: "cpu", ON_GPU.id: "gpu"}
    assert [runner and runner.name for runner in found.cells] == ["cpu", "gpu"]


def test_the_cheapest_that_fits_is_taken() -> None:
    dear = replace(CPU, name="a-dear-one", cost_per_minute=2.0)
    small = replace(CPU, name="a-small-one", cost_per_minute=0.1, memory_gb=1.0)
    assert where(placed([ON_CPU], [dear, small, CPU])) == {ON_CPU.id: "cpu"}


def test_cost_is_the_price_of_the_time_it_takes() -> None:
    fast = replace(CPU, name="fast", cost_per_minute=3.0, speed=4.0)
    assert where(placed([ON_CPU], [CPU, fast])) == {ON_CPU.id: "fast"}
    slow_there = {(ON_CPU.id, "fast"): 1e6}
    assert where(placed([ON_CPU], [CPU, fast], timings=slow_there)) == {ON_CPU.id: "cpu"}


def test_of_equally_cheap_classes_the_name_decides() -> None:
    free = [replace(CPU, name=name, cost_per_minute=0.0) for name in ("c", "b", "d")]
    assert where(placed([ON_CPU], free)) == {ON_CPU.id: "b"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"memory_gb": 2.0}, "GB of memory are needed, cpu has 2"),
        ({"disk_gb": 2.0}, "GB of weights, cpu has 2"),
    ],
)
def test_what_fits_nowhere_is_named_with_the_reason(changes: dict[str, float], said: str) -> None:
    found = placed([ON_CPU], [replace(CPU, **changes)])
    assert where(found) == {}
    (out,) = found.unplaced
    assert out.cell == ON_CPU.id
    assert said in out.reason


def test_a_model_beyond_the_gpus_memory_is_unplaced() -> None:
    (out,) = placed([ON_GPU], [replace(GPU, memory_gb=900.0, disk_gb=900.0)], billions=30).unplaced
    assert "GB of GPU memory are needed, gpu has 24" in out.reason


def test_a_backend_that_no_class_has_is_named() -> None:
    (out,) = placed([ON_GPU], [CPU]).unplaced
    assert out.reason == "no runner class has backend gpu"


def test_the_reason_speaks_of_the_largest_class() -> None:
    tiny = replace(CPU, name="tiny", memory_gb=1.0)
    (out,) = placed([ON_CPU], [tiny, replace(CPU, disk_gb=1.0)]).unplaced
    assert "cpu has 1" in out.reason
    assert "tiny" not in out.reason


def test_what_a_cell_is_compared_with_is_part_of_the_reason() -> None:
    playbook = replace(sized(7), ground_truth=playbook_of().ground_truth)
    cell = cell_of(checks=["F-COMP-AGREE-001"], quantization="q4_0")
    small = replace(CPU, memory_gb=900.0, disk_gb=14.0)
    (out,) = place([cell], {playbook.name: playbook}, [small], fork=False, timings={}).unplaced
    assert "GB of weights and 14.1 GB of what they are compared with" in out.reason


@pytest.mark.parametrize(
    "changes", [{"self_hosted": True}, {"trusted": False}, {"self_hosted": True, "trusted": False}]
)
def test_a_forks_cells_are_deferred_where_only_closed_classes_fit(
    changes: dict[str, bool],
) -> None:
    closed = replace(CPU, **changes)
    found = placed([ON_CPU], [closed], fork=True)
    assert where(found) == {}
    assert found.unplaced == ()
    assert "only cpu could take it" in found.deferred[0].reason
    assert where(placed([ON_CPU], [closed])) == {ON_CPU.id: "cpu"}


def test_a_forks_cells_go_to_an_open_class_even_if_it_costs_more() -> None:
    cheap = replace(CPU, name="own", self_hosted=True, cost_per_minute=0.0)
    assert where(placed([ON_CPU], [cheap, CPU], fork=True)) == {ON_CPU.id: "cpu"}
    assert where(placed([ON_CPU], [cheap, CPU])) == {ON_CPU.id: "own"}


def test_a_fork_never_reaches_a_gpu() -> None:
    hosted = replace(GPU, self_hosted=False, trusted=True)
    found = placed([ON_GPU], [hosted, GPU], fork=True)
    assert where(found) == {}
    assert len(found.deferred) == 1


def test_what_fits_nowhere_is_not_deferred_to_nobody() -> None:
    found = placed([ON_GPU, ON_CPU], [CPU], fork=True, billions=500)
    assert found.deferred == ()
    assert len(found.unplaced) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Backend), st.sampled_from(Modality), st.sampled_from(ModelFormat)
        ),
        min_size=1,
        unique=True,
    ),
    st.lists(
        st.sampled_from([CPU, GPU, replace(CPU, name="x", memory_gb=2.0)]), unique=True, min_size=1
    ),
    st.booleans(),
    st.sampled_from([0.5, 7.0, 70.0]),
)
def test_every_cell_is_placed_or_named(
    frames: list[tuple[Backend, Modality, ModelFormat]],
    runners: list[RunnerClass],
    fork: bool,
    billions: float,
) -> None:
    cells = [
        cell_of(backend=backend, modality=modality, format=format_)
        for backend, modality, format_ in frames
    ]
    found = placed(cells, runners, billions=billions, fork=fork)
    out = [each.cell for each in (*found.unplaced, *found.deferred)]
    assert sorted([*where(found), *out]) == sorted(cell.id for cell in cells)
    assert fork or not found.deferred
