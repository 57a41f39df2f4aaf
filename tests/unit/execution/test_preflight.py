from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.preflight import (
    PreflightProblem,
    PreflightWorld,
    preflight,
    refused_results,
)
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Outcome
from tests.cells import PLAYBOOK, cell_of, playbook_of, prompt_of
from tests.tiny_llama import write_tiny_llama

ROUND_TRIP = "F-REGR-ROUNDTRIP-001"
SIZE = 8 << 20
DEVICE = "0, GPU-0001, 24564, 24000\n"
SAFETENSORS = cell_of(format=ModelFormat.SAFETENSORS)
ON_GPU = cell_of(format=ModelFormat.SAFETENSORS, backend=Backend.GPU)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"\0" * SIZE)
    return tmp_path


def found(
    root: Path,
    *cells: PlannedCell,
    playbook: PlannedPlaybook | None = None,
    driver: str | None = DEVICE,
    processes: str | None = "",
    free_disk: int = 10**12,
    free_memory: int = 10**6,
    environment: dict[str, str] | None = None,
) -> tuple[PreflightProblem, ...]:
    def run(command: Sequence[str]) -> str | None:
        return driver if command[1].startswith("--query-gpu") else processes

    world = PreflightWorld(
        environment=environment or {},
        home=root,
        root=root,
        run_command=run,
        output=root / "out",
        scratch=root,
        free_disk=lambda _: free_disk,
        available_memory_mb=lambda: free_memory,
    )
    return preflight(cells, {PLAYBOOK: playbook or playbook_of()}, world)


def words(problems: Sequence[PreflightProblem]) -> dict[str, tuple[str, ...]]:
    return {problem.word: problem.cells for problem in problems}


def test_a_fit_machine_has_no_problems(root: Path) -> None:
    assert found(root, SAFETENSORS, ON_GPU) == ()


def test_the_driver_is_not_asked_for_cells_of_the_cpu(root: Path) -> None:
    assert found(root, SAFETENSORS, driver=None) == ()


def test_a_model_that_is_not_here_concerns_its_own_cells_alone(root: Path) -> None:
    gguf = [cell_of(modality=modality) for modality in (Modality.RUN, Modality.CHAT)]
    problems = found(root, gguf[0], SAFETENSORS, gguf[1])
    assert words(problems) == {"preflight-model": (gguf[0].id, gguf[1].id)}
    assert "aprqa/tiny (gguf f16)" in problems[0].what


def test_what_can_be_made_needs_its_source_and_the_room_for_it(root: Path) -> None:
    write_tiny_llama(root / "model")
    cell = cell_of(quantization="q8_0")
    assert found(root, cell) == ()
    assert words(found(root, cell, free_disk=10**8)).keys() == {"preflight-disk"}
    problems = found(root, cell, free_disk=10**8)
    assert any("to make gguf q8_0 of SafeTensors" in each.what for each in problems)
    (root / "model" / "config.json").unlink()
    (problem,) = found(root, cell)
    assert problem.word == "preflight-model"
    assert "it cannot be made here of the SafeTensors" in problem.what


def test_a_declared_path_starts_from_the_root(root: Path) -> None:
    elsewhere = changed(playbook_of(), model=changed(playbook_of().model, local_path="not-there"))
    assert words(found(root, SAFETENSORS, playbook=elsewhere)) == {
        "preflight-model": (SAFETENSORS.id,)
    }


def test_a_disk_without_room_is_a_problem(root: Path) -> None:
    problems = found(root, SAFETENSORS, free_disk=10**8)
    assert words(problems) == {"preflight-disk": (SAFETENSORS.id,)}
    assert {str(root), str(root / "out")} == {
        problem.what.partition(" free at ")[2].partition(";")[0] for problem in problems
    }
    assert problems[0].what.startswith("0.1 GB are free")


def test_a_cell_that_converts_files_needs_the_room_for_it(root: Path) -> None:
    converts = cell_of(format=ModelFormat.SAFETENSORS, checks=[ROUND_TRIP], modality=Modality.CHAT)
    problems = found(root, SAFETENSORS, converts, free_disk=2 * 10**9)
    assert words(problems) == {"preflight-disk": (converts.id,)}


def test_memory_must_be_free_for_the_engine(root: Path) -> None:
    needed = load_limits().memory_needed_mb("reference", SIZE)
    assert found(root, SAFETENSORS, free_memory=needed) == ()
    (problem,) = found(root, SAFETENSORS, free_memory=needed - 1)
    assert problem.word == "preflight-memory"
    assert f"engine reference needs about {needed} MiB" in problem.what
    # A system that hides its memory is not one without any.
    assert found(root, SAFETENSORS, free_memory=0) == ()


def test_a_missing_engine_is_left_to_the_cell(root: Path) -> None:
    unknown = cell_of(format=ModelFormat.SAFETENSORS, engine="no-such-engine")
    assert found(root, unknown, free_memory=1) == ()


@pytest.mark.parametrize(
    ("settings", "word", "said"),
    [
        ({"driver": None}, "preflight-driver", "does not answer"),
        ({"driver": ""}, "preflight-driver", "shows no device"),
        ({"environment": {"CUDA_VISIBLE_DEVICES": ""}}, "preflight-driver", "shows no device"),
        ({"driver": "0, GPU-0001, 24564, 500\n"}, "preflight-vram", "500 MiB are free"),
        (
            {"processes": "GPU-0001, 4711, python3\n"},
            "preflight-foreign-process",
            "GPU 0 is in use by others: 4711 python3",
        ),
    ],
)
def test_what_is_wrong_with_a_gpu_spares_the_cpu(
    root: Path, settings: dict[str, Any], word: str, said: str
) -> None:
    problems = found(root, SAFETENSORS, ON_GPU, **settings)
    assert words(problems) == {word: (ON_GPU.id,)}
    assert said in problems[0].what


def test_one_device_with_room_is_enough(root: Path) -> None:
    two = "0, GPU-0001, 24564, 10\n1, GPU-0002, 24564, 24000\n"
    assert found(root, ON_GPU, driver=two) == ()


def test_many_foreign_processes_are_not_all_named(root: Path) -> None:
    listed = "".join(f"GPU-0001, {number}, p\n" for number in range(1000, 1050))
    (problem,) = found(root, ON_GPU, processes=listed)
    assert problem.what.endswith("1000 p, 1001 p, 1002 p and more")


def test_all_that_is_wrong_is_said_at_once(root: Path) -> None:
    absent = cell_of(backend=Backend.GPU)
    problems = found(root, absent, driver=None, free_disk=1)
    assert set(words(problems)) == {"preflight-disk", "preflight-model", "preflight-driver"}


def test_the_real_machine_is_looked_at(tmp_path: Path) -> None:
    world = PreflightWorld(
        environment={},
        home=tmp_path,
        root=tmp_path,
        run_command=lambda _: None,
        output=tmp_path / "not" / "yet" / "there",
    )
    assert world.free_disk(world.output) > 0
    assert world.scratch.is_dir()
    assert world.available_memory_mb() >= 0


def test_a_refused_cell_is_skipped_whole_and_never_judged() -> None:
    cell = cell_of(prompts=[prompt_of("a")], checks=["F-PERF-TPS-001"], inspect=True)
    problems = [
        PreflightProblem(word="preflight-disk", what="no disk", cells=(cell.id,)),
        PreflightProblem(word="preflight-model", what="no model", cells=(cell.id,)),
    ]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    results = refused_results(cell, problems, now)
    assert [each.scenario for each in results] == list(cell.scenarios)
    assert {each.outcome for each in results} == {Outcome.SKIPPED}
    assert {str(each.cause) for each in results} == {"infrastructure:preflight-disk"}
    assert {each.reason for each in results} == {"no disk; no model"}
    assert {each.finished_at for each in results} == {now}
