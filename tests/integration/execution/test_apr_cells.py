"""Cells of APR files with a stand-in for the tool: made, run, and compared with their source.

``apr_standin.py`` says what that does not prove.
"""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.identifiers import sources_in
from aprqa_ci.vocabulary import ModelFormat
from tests.apr_standin import write_standin
from tests.apr_standin_files import read, write
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.running import Results, run

APR = ModelFormat.APR
PLAYBOOK = replace(
    playbook_of(probe_prompts=(prompt_of("What is 2 + 3?"), prompt_of("What is 4 + 4?"))),
    comparisons=Comparisons(prompt="What is 2 + 3?", max_tokens=4),
)
ROUND_TRIP = "F-REGR-ROUNDTRIP-001"
OF_FILES = (
    "F-APR-FORMAT-003",
    "F-CONTRACT-I2-001",
    "F-CONTRACT-I4-001",
    "F-ROSETTA-DIFF-001",
    "F-ROSETTA-DIFF-002",
    "F-ROSETTA-INF-002",
    "F-ROSETTA-FP-002",
)
OF_ANSWERS = ("F-COMP-AGREE-001", "F-GOLDEN-RULE-001", "F-ROSETTA-INF-001")


def with_tool(directory: Path, **behaviour: object) -> EngineOptions:
    return {"apr": {"binary": str(write_standin(directory, **behaviour))}}


def test_an_apr_file_that_nobody_has_is_made_and_compared(sound_model: Any, tmp_path: Path) -> None:
    digests: dict[str, dict[str, str]] = {}
    before = {path.name for path in sound_model.directory.iterdir()}
    cell = cell_of(
        format=APR,
        prompts=[prompt_of("the end")],
        checks=(*OF_FILES, *OF_ANSWERS, ROUND_TRIP),
        inspect=True,
    )
    results = run(
        plan_of(cell, playbook=PLAYBOOK),
        sound_model.root,
        digests=lambda _, variant, found: digests.update({variant: dict(found)}),
        engine_options=with_tool(tmp_path),
    )
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert {path.name for path in sound_model.directory.iterdir()} == before
    told = digests["derived apr of safetensors"]
    assert told["model.apr"] == digests["apr"]["model.apr"]
    assert sources_in(told)["model.safetensors"]
    assert digests["derived safetensors of apr"].keys() >= {"model.safetensors", "from/model.apr"}
    source = results.of("001").source
    assert source is not None
    assert source.derived is not None
    assert source.derived.tool == "apr/0.4.99"
    assert '"tensors":38' in results.of(ROUND_TRIP).output


def quick(root: Path, options: EngineOptions, *checks: str) -> Results:
    cell = cell_of(format=APR, checks=checks, derived=(), load=False)
    return run(plan_of(cell, playbook=PLAYBOOK), root, engine_options=options)


def test_a_wrong_conversion_is_found(model: Any, tmp_path: Path) -> None:
    results = quick(model.root, with_tool(tmp_path, convert="zeros"), *OF_FILES, ROUND_TRIP)
    outcomes = results.outcomes()
    assert "apr/0.4.99 read the header" in results.of("F-APR-FORMAT-003").reason
    for gate in ("F-CONTRACT-I4-001", "F-ROSETTA-INF-002", "F-ROSETTA-FP-002", ROUND_TRIP):
        assert outcomes[gate] == "Falsified", gate
    assert outcomes["F-CONTRACT-I2-001"] == "Corroborated"
    assert "model.norm.weight" in results.of(ROUND_TRIP).reason


def test_what_is_no_conversion_passes_nothing(model: Any, tmp_path: Path) -> None:
    results = quick(model.root, with_tool(tmp_path, convert="copy"), ROUND_TRIP, *OF_FILES)
    assert set(results.outcomes().values()) == {"Skipped infrastructure:model-not-found"}
    assert "making apr of" in results.of(ROUND_TRIP).reason


def test_an_apr_file_that_is_there_is_not_made(model: Any, tmp_path: Path) -> None:
    write(model.directory / "model.apr", read(model.safetensors))
    tool = with_tool(tmp_path, convert="unreadable")
    results = quick(model.root, tool, "F-APR-FORMAT-003", "F-CONTRACT-I2-001", ROUND_TRIP)
    # What cannot be converted back is compared with nothing.
    assert results.outcomes() == {
        "F-APR-FORMAT-003": "Corroborated",
        "F-CONTRACT-I2-001": "Skipped infrastructure:engine-missing",
        ROUND_TRIP: "Skipped infrastructure:engine-missing",
    }
    assert "made a file that cannot be read" in results.of(ROUND_TRIP).reason
    assert results.of(ROUND_TRIP).source is None


def test_a_damaged_apr_file_is_falsified_by_what_its_tool_says(model: Any, tmp_path: Path) -> None:
    tensors = read(model.safetensors)
    del tensors["model.norm.weight"]
    broken, (entry, data) = next(each for each in tensors.items() if "norm" in each[0])
    tensors[broken] = (entry, b"\x00\x7e" * (len(data) // 2))
    write(model.directory / "model.apr", tensors)
    cell = cell_of(format=APR, inspect=True, load=False, derived=())
    plan = plan_of(cell, playbook=PLAYBOOK)
    results = run(plan, model.root, engine_options=with_tool(tmp_path))
    assert results.outcomes() == {
        "G0-DIGEST-001": "Corroborated",
        "G0-INTEGRITY-FINITE": "Falsified",
        "G0-TENSOR-001": "Falsified",
    }
    assert f"{broken}: " in results.of("G0-INTEGRITY-FINITE").reason
    assert "missing 1 tensor: model.norm.weight" in results.of("G0-TENSOR-001").reason
    silent = run(plan, model.root, engine_options=with_tool(tmp_path, validate="silent"))
    assert silent.outcomes()["G0-INTEGRITY-FINITE"] == "Skipped infrastructure:not-judged"


def test_what_the_tool_measures_of_itself_is_held_to_the_limits(model: Any, tmp_path: Path) -> None:
    write(model.directory / "model.apr", read(model.safetensors))
    gates = ("F-PERF-TPS-001", "F-PERF-P50-001")
    cell = cell_of(format=APR, checks=gates, derived=(), load=False)
    plan = plan_of(cell, playbook=replace(PLAYBOOK, profiled=True))
    slow = {"throughput_tps": 0.001, "latency_p50_ms": 0.5}
    results = run(plan, model.root, engine_options=with_tool(tmp_path, profile=slow))
    assert results.outcomes() == {gates[0]: "Falsified", gates[1]: "Corroborated"}
    assert "apr/0.4.99 says 0.0 tok/s of itself" in results.of(gates[0]).reason
