"""The command lines of the apr tool and what the ends of its commands say."""

import signal
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.apr_cli import (
    AprCompleted,
    AprEnding,
    chat_arguments,
    convert_arguments,
    ending_of,
    inspect_arguments,
    profile_arguments,
    pull_arguments,
    quote,
    run_arguments,
    serve_arguments,
    validate_arguments,
)

MODEL = Path("/m/a b.gguf")


def test_command_lines_are_those_of_the_existing_tool() -> None:
    asked = run_arguments(MODEL, "2 + 2; $(x)", max_tokens=32, no_gpu=True)
    assert asked == (
        *("run", "/m/a b.gguf", "-p", "2 + 2; $(x)", "--max-tokens", "32"),
        *("--no-gpu", "--benchmark", "--json"),
    )
    asked = run_arguments(MODEL, "x", max_tokens=1, no_gpu=False, benchmark=False)
    assert asked == ("run", "/m/a b.gguf", "-p", "x", "--max-tokens", "1", "--json")
    assert chat_arguments(MODEL, no_gpu=True) == ("chat", "/m/a b.gguf", "--no-gpu", "--json")
    assert chat_arguments(MODEL, no_gpu=False) == ("chat", "/m/a b.gguf", "--json")
    assert serve_arguments(MODEL, 9, no_gpu=True) == (
        *("serve", "/m/a b.gguf", "--port", "9", "--no-gpu"),
    )
    assert pull_arguments("org/name") == ("pull", "--json", "org/name")
    assert validate_arguments(MODEL) == ("validate", "--strict", "--json", "/m/a b.gguf")
    assert inspect_arguments(MODEL) == ("rosetta", "inspect", "--json", "/m/a b.gguf")
    assert convert_arguments(MODEL, Path("/t.apr")) == (
        *("rosetta", "convert", "/m/a b.gguf", "/t.apr"),
    )
    assert profile_arguments(MODEL, warmup=3, measure=10) == (
        *("profile", "/m/a b.gguf", "--ci", "--warmup", "3", "--measure", "10", "--json"),
    )
    asked = profile_arguments(MODEL, warmup=1, measure=2, assert_throughput=2.5, assert_p99_ms=400)
    assert asked[-4:] == ("--assert-throughput", "2.5", "--assert-p99", "400")


@pytest.mark.parametrize(
    ("code", "stderr", "ending"),
    [
        (0, "out of memory", AprEnding.DONE),
        (3, "error: File not found: x", AprEnding.LOAD_FAILED),
        (4, "error: Invalid APR format: x", AprEnding.LOAD_FAILED),
        (8, "error: Inference failed: x", AprEnding.INFERENCE_FAILED),
        (8, "error: Inference failed: CUDA_ERROR_OUT_OF_MEMORY", AprEnding.NO_MEMORY),
        (2, "error: unrecognized subcommand", AprEnding.NOT_OURS),
        (9, "error: Feature not enabled: inference", AprEnding.NOT_OURS),
        (10, "error: Network error: x", AprEnding.NOT_OURS),
        (77, "", AprEnding.NOT_OURS),
        (101, "thread 'main' panicked at x", AprEnding.CRASHED),
        (-11, "", AprEnding.CRASHED),
        (-6, "memory allocation of 8192 bytes failed", AprEnding.NO_MEMORY),
        (139, "", AprEnding.CRASHED),
    ],
)
def test_what_an_end_says(code: int, stderr: str, ending: AprEnding) -> None:
    assert ending_of(code, stderr) is ending


def test_an_end_is_described_with_its_errors_quoted() -> None:
    def described(code: int, stdout: str = "", stderr: str = "") -> str:
        return AprCompleted(
            command=("/bin/apr", "run", "x"),
            returncode=code,
            stdout=stdout,
            stderr=stderr,
            duration_ms=1.0,
        ).describe()

    noise = "[APR-LOAD] a tensor\n" * 500
    said = described(8, stderr=f"{noise}\x1b[31merror: Inference failed: no tensor\x1b[0m\nmore\n")
    assert said == "apr run exited with code 8: error: Inference failed: no tensor\nmore"
    assert described(-signal.SIGSEGV) == "apr run was ended by SIGSEGV: silent"
    assert described(-99) == "apr run was ended by signal 99: silent"
    assert described(1, stdout="only this") == "apr run exited with code 1: only this"
    assert len(described(8, stderr="error: " + "x" * 10_000)) < 2200


def test_a_quotation_without_an_error_is_the_end() -> None:
    assert quote("a" * 5000 + "the end").endswith("the end")
    assert len(quote("a" * 5000)) == 2000
