"""Reports of the apr tool, in shapes that were recorded; the words are ours."""

import json
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.apr_cli import AprCompleted, AprEnding
from aprqa_ci.execution.engines.apr_reports import (
    AprReportError,
    parse_convert,
    parse_inspect,
    parse_profile,
    parse_pull,
    parse_validate,
)


def done(stdout: str, code: int = 0, stderr: str = "") -> AprCompleted:
    return AprCompleted(
        command=("apr", "validate", "x"),
        returncode=code,
        stdout=stdout,
        stderr=stderr,
        duration_ms=1.0,
    )


PASS = "\x1b[1;32m✓\x1b[0m \x1b[1;32mPASS\x1b[0m"
FAIL = "\x1b[1;31m✗\x1b[0m \x1b[1;31mFAIL\x1b[0m"


def table(*rows: tuple[str, str, str]) -> str:
    lines = [f"│ {name:<20} │ {state} │ {why:<8} │" for name, state, why in rows]
    return "╭───╮\n│ Tensor │ Status │ Failures │\n├───┤\n" + "\n".join(lines) + "\n╰───╯\n"


def test_a_pulled_model_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.touch()
    shown = f"\x1b[1;36m=== APR Pull ===\x1b[0m\n\n\x1b[1m  Path: \x1b[0m{file}\n  Size: 2 GB\n"
    assert parse_pull(done(shown)).path == file
    assert parse_pull(done(json.dumps({"path": str(file)}))).path == file
    with pytest.raises(AprReportError, match="names no path"):
        parse_pull(done("=== APR Pull ===\n"))
    with pytest.raises(AprReportError, match="not there"):
        parse_pull(done("  Path: /nowhere/at/all\n"))
    with pytest.raises(AprReportError, match="Network error") as caught:
        parse_pull(done("", 10, "error: Network error: x"))
    assert caught.value.ending is AprEnding.NOT_OURS


def test_a_valid_file() -> None:
    shown = table(("a.weight", PASS, ""), ("b.weight", PASS, ""))
    found = parse_validate(done(f"{shown}\nVALID: 2 tensors checked, 0 contract violations (X)\n"))
    assert found.passed
    assert found.tensors == 2


def test_an_invalid_file_is_a_report() -> None:
    shown = table(("a.weight", PASS, ""), ("b.weight", FAIL, "3 NaN"))
    summary = "INVALID: 2 tensors checked, 1 contract violations (X)"
    found = parse_validate(done(f"{shown}\n{summary}\n", 5, "error: Validation failed"))
    assert not found.passed
    assert found.failed == {"b.weight": "3 NaN"}


@pytest.mark.parametrize(
    ("stdout", "code", "said"),
    [
        ("", 0, "nothing of how many"),
        ("", 3, "exited with code 3"),
        ("VALID: 0 tensors checked, 0 contract violations", 0, "checked no tensor"),
        ("VALID: 2 tensors checked, 1 contract violations", 0, "contradicts itself"),
        ("VALID: 2 tensors checked, 0 contract violations", 5, "contradicts itself"),
        ("INVALID: 2 tensors checked, 0 contract violations", 0, "contradicts itself"),
        (
            table(("a", PASS, "")) + "VALID: 2 tensors checked, 0 contract violations",
            0,
            "lists 1 tensors",
        ),
    ],
)
def test_no_validation_passes_on_nothing(stdout: str, code: int, said: str) -> None:
    with pytest.raises(AprReportError, match=said):
        parse_validate(done(stdout, code))


def test_an_inspected_file() -> None:
    found = {"format": "APR", "file_size": 9, "total_params": 5, "tensor_count": 2}
    inspected = parse_inspect(done(json.dumps(found | {"architecture": "llama"})))
    assert (inspected.format, inspected.tensor_count, inspected.total_params) == ("APR", 2, 5)
    assert inspected.architecture == "llama"
    names = json.dumps({"format": "APR", "tensor_names": ["a", "b"]}, indent=2)
    assert parse_inspect(done("Inspecting…\n" + names)).tensor_names == ("a", "b")


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "[]",
        "{",
        '{"tensor_count": 2}',
        '{"format": "APR"}',
        '{"format": "APR", "tensor_count": 0}',
        '{"format": "APR", "tensor_names": []}',
        '{"format": "APR", "tensor_names": ["a"], "tensor_count": 2}',
        '{"format": "APR", "tensor_names": [1], "tensor_count": 1}',
    ],
)
def test_no_inspection_passes_on_nothing(stdout: str) -> None:
    with pytest.raises(AprReportError):
        parse_inspect(done(stdout))


def test_a_conversion(tmp_path: Path) -> None:
    target = tmp_path / "model.apr"
    shown = (
        f"Source: /m.safetensors\nTarget: {target}\n\n=== Conversion Summary ===\n"
        "Path: SafeTensors → APR\nDuration: 39187ms\nTensors: 219 -> 218\n\n"
        "\x1b[1;32mConversion successful\x1b[0m\n"
    )
    with pytest.raises(AprReportError, match="not there or empty"):
        parse_convert(done(shown), target)
    target.write_bytes(b"x")
    made = parse_convert(done(shown), target)
    assert (made.source_tensors, made.target_tensors, made.duration_ms) == (219, 218, 39187)
    for wrong, said in (
        (shown.replace("219 -> 218", "219 -> 0"), "moved 219 tensors into 0"),
        (shown.replace("successful", "begun"), "does not say"),
        (shown.replace(str(target), "/other.apr"), "names /other.apr"),
    ):
        with pytest.raises(AprReportError, match=said):
            parse_convert(done(wrong), target)
    with pytest.raises(AprReportError, match="no embedded tokenizer"):
        parse_convert(done(shown, 5, "[PMAT-1] ERROR: no embedded tokenizer"), target)


def test_a_profile() -> None:
    flat = parse_profile(done('{"throughput_tps": 12.5, "latency_p99_ms": 80, "passed": true}'))
    assert (flat.tokens_per_second, flat.p99_ms, flat.p50_ms, flat.passed) == (12.5, 80, None, True)
    nested = parse_profile(done('{"metrics": {"throughput_tok_s": 3, "p50_ms": 7}}'))
    assert (nested.tokens_per_second, nested.p50_ms, nested.passed) == (3, 7, None)
    missed = parse_profile(done('{"throughput_tps": 1, "passed": false}', 5))
    assert missed.passed is False


@pytest.mark.parametrize(
    ("stdout", "code"),
    [
        ("", 0),
        ("{}", 0),
        ('{"throughput_tps": 0}', 0),
        ('{"throughput_tps": NaN}', 0),
        ('{"throughput_tps": true}', 0),
        ('{"throughput_tps": 5}', 8),
        ("", 8),
    ],
)
def test_no_profile_passes_on_nothing(stdout: str, code: int) -> None:
    with pytest.raises(AprReportError):
        parse_profile(done(stdout, code))
