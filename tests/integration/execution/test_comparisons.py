"""Comparisons between files on the real engines: sound files hold, broken ones are named."""

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from aprqa_ci.execution.child import CellChild, ChildTimeoutError
from aprqa_ci.execution.file_comparisons import ComparedWith, FileComparisons
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.lost_session import LostSessionError
from aprqa_ci.execution.model_files import held_elsewhere
from aprqa_ci.execution.protocol import JudgeFiles, Request
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.plan import GroundTruth
from aprqa_ci.vocabulary import ModelFormat
from tests.broken_models import edit_gguf
from tests.cells import cell_of, plan_of, playbook_of
from tests.running import run

OF_SECTIONS = tuple(
    gate.id
    for gate in gate_catalogue().values()
    if (gate.section or "").startswith(("contract_tests.", "differential_tests."))
)
BY_ITSELF = (
    "F-GOLDEN-RULE-001",
    "F-CONTRACT-I3-001",
    "F-CONTRACT-I5-001",
    "F-APR-FORMAT-001",
    "F-ROSETTA-INF-001",
    "F-ROSETTA-FP-001",
    "F-ROSETTA-STATS-006",
)
PLAYBOOK = replace(playbook_of(), comparisons=Comparisons(prompt="the end", max_tokens=4))


def files_below(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_sound_gguf_agrees_with_its_ground_truth(sound_model: Any) -> None:
    before = files_below(sound_model.directory)
    digests: dict[str, dict[str, str]] = {}
    results = run(
        plan_of(cell_of(checks=OF_SECTIONS, derived=()), playbook=PLAYBOOK),
        sound_model.root,
        digests=lambda _, variant, found: digests.update({variant: dict(found)}),
    )
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert files_below(sound_model.directory) == before
    # The certificate says what was derived, and from what.
    derived = digests["derived safetensors-f32 of gguf-f16"]
    assert {"model.safetensors", "config.json", "from/aprqa-tiny-f16.gguf"} <= derived.keys()
    assert list((sound_model.root / ".cache" / "aprqa" / "derived").glob("*/*/model.safetensors"))
    assert '"tensors":38' in results.of("F-CONTRACT-I2-001").output


def test_the_ground_truth_is_compared_with_what_is_converted_from_it(sound_model: Any) -> None:
    cell = cell_of(format=ModelFormat.SAFETENSORS, checks=BY_ITSELF, derived=())
    digests: dict[str, dict[str, str]] = {}
    results = run(
        plan_of(cell, playbook=PLAYBOOK),
        sound_model.root,
        digests=lambda _, variant, found: digests.update({variant: dict(found)}),
    )
    assert set(results.outcomes().values()) == {"Corroborated"}
    assert list(digests) == ["derived gguf-f16 of safetensors"]


def test_a_tensor_that_was_exchanged_fails_the_gates_that_it_concerns(model: Any) -> None:
    def turn(tensors: dict[str, npt.NDArray[Any]]) -> None:
        tensors["blk.1.attn_output.weight"][:] = tensors["blk.1.attn_output.weight"].T.copy()
        tensors["blk.0.attn_norm.weight"][:] = np.float32(0)

    shutil.rmtree(model.root / ".cache", ignore_errors=True)
    edit_gguf(model.gguf, turn)
    results = run(plan_of(cell_of(checks=OF_SECTIONS, derived=()), playbook=PLAYBOOK), model.root)
    failed = {gate for gate, outcome in results.outcomes().items() if outcome == "Falsified"}
    assert {
        "F-CONTRACT-I4-001",
        "F-ROSETTA-DIFF-001",
        "F-ROSETTA-INF-002",
        "F-ROSETTA-FP-002",
        "F-ROSETTA-STATS-001",
        "F-ROSETTA-STATS-005",
        "F-ROSETTA-STATS-006",
    } <= failed
    assert not failed & {"F-CONTRACT-I2-001", "F-ROSETTA-DIFF-002", "F-APR-FORMAT-003"}
    assert "model.layers.1.self_attn.o_proj.weight" in results.of("F-ROSETTA-DIFF-001").reason


def test_without_its_ground_truth_nothing_is_passed(model: Any) -> None:
    model.safetensors.unlink()
    checks = ("F-CONTRACT-I2-001", "F-ROSETTA-INF-001", "F-CONTRACT-I3-001")
    results = run(plan_of(cell_of(checks=checks), playbook=PLAYBOOK), model.root)
    outcomes = results.outcomes()
    assert outcomes["F-CONTRACT-I2-001"] == "Skipped infrastructure:not-judged"
    assert outcomes["F-ROSETTA-INF-001"] == "Skipped infrastructure:no-counterpart"
    assert outcomes["F-CONTRACT-I3-001"] == "Corroborated"


def test_a_model_that_cannot_be_converted_is_no_verdict(model: Any) -> None:
    (model.directory / "tokenizer.json").write_text("{", encoding="utf-8")
    playbook = replace(
        PLAYBOOK, ground_truth=GroundTruth(format=ModelFormat.GGUF, quantization="f16")
    )
    cell = cell_of(format=ModelFormat.SAFETENSORS, checks=("F-GOLDEN-RULE-001",), load=False)
    results = run(plan_of(cell, playbook=playbook), model.root)
    assert results.outcomes()["F-GOLDEN-RULE-001"] == "Skipped infrastructure:not-converted"


def test_a_comparison_that_hangs_is_tried_once(
    sound_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Request] = []
    real = CellChild.request

    def request(self: CellChild, request: Request, *, timeout_s: float) -> Any:
        if isinstance(request, JudgeFiles):
            tried.append(request)
            raise ChildTimeoutError(timeout_s, "nothing was said")
        return real(self, request, timeout_s=timeout_s)

    monkeypatch.setattr(CellChild, "request", request)
    checks = ("F-CONTRACT-I2-001", "F-CONTRACT-I3-001", "F-CONTRACT-I4-001")
    results = run(plan_of(cell_of(checks=checks), playbook=PLAYBOOK), sound_model.root)
    assert len(tried) == 1
    for gate in checks:
        assert results.outcomes()[gate] == "Skipped infrastructure:comparison-failed"


def test_apr_files_need_their_converter(model: Any) -> None:
    # Stands for an APR file: nothing here reads or converts one.
    shutil.copyfile(model.gguf, model.directory / "model.apr")
    cell = cell_of(format=ModelFormat.APR, checks=("F-CONTRACT-I2-001",))
    results = run(plan_of(cell, playbook=PLAYBOOK), model.root)
    assert results.outcomes()["F-CONTRACT-I2-001"] == "Skipped infrastructure:engine-missing"


def test_files_that_a_server_does_not_show_are_not_judged() -> None:
    limits = load_limits()
    compared = ComparedWith(
        truth=None, settings=Comparisons(), weight_error=0.1, root=Path(), cache=Path()
    )

    def never() -> Any:
        pytest.fail("there is nothing to start a process for")

    files = FileComparisons(
        held_elsewhere(ModelFormat.GGUF, "q8_0"),
        ("F-CONTRACT-I3-001",),
        compared,
        limits=limits,
        spawn=never,
        asking=nullcontext,
        answers=lambda *_: (),
        note=lambda *_: None,
    )
    for ask in (lambda: files.judged("F-CONTRACT-I3-001"), files.converted):
        with pytest.raises(LostSessionError) as lost:
            ask()
        assert str(lost.value.cause) == "infrastructure:not-shown"
