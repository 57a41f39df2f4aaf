"""Whose fault it is when the apr tool does not answer, where it computes, and odd replies."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.engines.apr_answers import AprAnswer, AprAnswerError
from aprqa_ci.execution.engines.apr_cli import AprCompleted, AprEnding
from aprqa_ci.execution.engines.apr_device import cpu_device, gpu_device
from aprqa_ci.execution.engines.apr_faults import raise_ending, raise_no_answer, require_own
from aprqa_ci.execution.engines.apr_model import AprModel, describe_model
from aprqa_ci.execution.engines.apr_process import AprTimeoutError
from aprqa_ci.execution.engines.apr_prompts import AprPromptSession
from aprqa_ci.execution.engines.apr_served import AprTalkingSession
from aprqa_ci.execution.engines.apr_session import HeldModel
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import HttpReply, OpenAIClient
from aprqa_ci.execution.gpu_devices import GpuDevice
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

ASKED = [Message(role="user", content="x")]


def crashed(returncode: int) -> None:
    raise RecursionError(returncode)


@pytest.mark.parametrize(
    ("ending", "loading", "kind"),
    [
        (AprEnding.LOAD_FAILED, True, ModelLoadError),
        (AprEnding.LOAD_FAILED, False, EngineFailedError),
        (AprEnding.INFERENCE_FAILED, True, ModelLoadError),
        (AprEnding.INFERENCE_FAILED, False, EngineFailedError),
        (AprEnding.NOT_OURS, False, EngineAbsentError),
        (AprEnding.NO_MEMORY, False, MemoryError),
        (AprEnding.CRASHED, False, RecursionError),
    ],
)
def test_what_an_end_means(ending: AprEnding, loading: bool, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        raise_ending(ending, 1, "what", loading=loading, crash=crashed)  # type: ignore[arg-type] # it raises
    raise_ending(AprEnding.DONE, 0, "", loading=loading, crash=crashed)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    ("kind", "loading", "error"),
    [
        ("error", True, ModelLoadError),
        ("error", False, EngineFailedError),
        ("not-loaded", True, EngineAbsentError),
        ("figures-only", False, NotOfferedError),
        ("unknown", True, NotOfferedError),
    ],
)
def test_what_no_answer_means(kind: str, loading: bool, error: type[Exception]) -> None:
    with pytest.raises(error, match="why"):
        raise_no_answer(AprAnswerError(kind, "why"), loading=loading)


def test_an_answer_off_the_gpu_is_refused_there_alone() -> None:
    answer = AprAnswer(text="x", fell_back=True)
    require_own(answer, "/m", on_gpu=False)
    with pytest.raises(EngineAbsentError, match="left the GPU"):
        require_own(answer, "/m", on_gpu=True)


def gpu(*processes: str, free: int = 500) -> GpuDevice:
    return GpuDevice(index="0", uuid="GPU-a", total_mb=900, free_mb=free, processes=processes)


def test_the_driver_is_believed_before_the_tool() -> None:
    with pytest.raises(EngineAbsentError, match="computes on GPU-a"):
        cpu_device(12, [gpu("12 apr")])
    # 12 is no part of 123.
    assert "lists no GPU" in cpu_device(12, [gpu("123 other")]).proof
    assert "no NVIDIA driver answers" in cpu_device(12, None).proof
    assert "end with their answers" in cpu_device(None, None).proof


def test_a_gpu_is_shown_by_the_process_or_the_memory() -> None:
    listed = gpu_device(12, [gpu()], [gpu("12 apr")], 1 << 20)
    assert listed.proven
    assert "lists process 12" in listed.proof
    assert gpu_device(12, [gpu()], [gpu(free=400)], 200 << 20).proven
    assert not gpu_device(12, [gpu()], [gpu(free=401)], 200 << 20).proven
    assert not gpu_device(12, [], [], 1).proven


def test_files_that_our_readers_do_not_know_are_the_tools_affair(tmp_path: Path) -> None:
    for name, kind in (("a.gguf", ModelFormat.GGUF), ("a.apr", ModelFormat.APR)):
        (tmp_path / name).write_bytes(b"anything")
        known = describe_model(
            ModelFiles(
                format=kind, weights=(tmp_path / name,), directory=tmp_path, source="local_path"
            )
        )
        assert (known.template, known.count_tokens, known.context_length) == (None, None, 4096)


def held(count: Callable[[str], int] | None = len) -> HeldModel:
    model = AprModel(path=Path("/m"), template=None, context_length=50, count_tokens=count)
    return HeldModel(model=model, device=cpu_device(None, None), invocation="")


def completed(stdout: str) -> AprCompleted:
    return AprCompleted(
        command=("apr", "run"), returncode=0, stdout=stdout, stderr="", duration_ms=1.0
    )


def test_tokens_that_nobody_counted_are_no_figure() -> None:
    said = "Output:\nabc\n\nCompleted in 1.0s\n"
    answer = AprPromptSession(held(), lambda *_: completed(said)).converse(ASKED, Sampling())
    assert answer.completion_tokens == 3
    uncounted = AprPromptSession(held(None), lambda *_: completed(said))
    with pytest.raises(NotOfferedError, match="did not count"):
        uncounted.converse(ASKED, Sampling())
    empty = AprPromptSession(held(None), lambda *_: completed('{"text": ""}'))
    pieces: list[str] = []
    assert empty.converse(ASKED, Sampling(), on_text=pieces.append).completion_tokens == 0
    assert pieces == []


def test_a_process_without_end_is_a_failure() -> None:
    def hang(*_: object) -> AprCompleted:
        what = "it did not end"
        raise AprTimeoutError(what)

    with pytest.raises(EngineFailedError, match="did not end"):
        AprPromptSession(held(), hang).converse(ASKED, Sampling())


class Server:
    """A server that runs."""

    def require_running(self, **_: object) -> None:
        """It does."""

    def stop(self) -> None:
        """Nothing to stop."""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"choices": []}, NotOfferedError),
        (200, {"choices": [{"message": {"content": 7}}]}, NotOfferedError),
        (200, {"error": "broken"}, EngineFailedError),
        (200, [], NotOfferedError),
        (500, {"error": "broken"}, EngineFailedError),
        (413, {}, PromptRefusedError),
        (400, {"error": {"code": "context_length_exceeded"}}, PromptRefusedError),
    ],
)
def test_odd_replies(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, kind: type[Exception]
) -> None:
    reply = HttpReply(status=status, body=json.dumps(body).encode())
    monkeypatch.setattr(OpenAIClient, "post_raw", lambda *_, **__: reply)
    session = AprTalkingSession(
        held(),
        Server(),  # type: ignore[arg-type] # as much of one as is asked
        "http://127.0.0.1:1",
        frozenset({"/v1/chat/completions"}),
    )
    with pytest.raises(kind):
        session.converse(ASKED, Sampling())


def test_only_length_is_believed_of_a_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"message": {"content": "abc"}, "finish_reason": "length"}
    found = {"choices": [said], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    reply = HttpReply(status=200, body=json.dumps(found).encode())
    monkeypatch.setattr(OpenAIClient, "post_raw", lambda *_, **__: reply)
    session = AprTalkingSession(
        held(),
        Server(),  # type: ignore[arg-type] # as above
        "http://127.0.0.1:1",
        frozenset({"/v1/chat/completions"}),
    )
    started = time.perf_counter()
    answer = session.converse(ASKED, Sampling())
    assert (answer.text, answer.finish, answer.prompt_tokens) == ("abc", "length", 9)
    assert answer.duration_ms <= (time.perf_counter() - started) * 1000
    with pytest.raises(NotOfferedError, match="none of"):
        session.complete("x", Sampling())
    without = AprTalkingSession(held(), Server(), "http://127.0.0.1:1", frozenset())  # type: ignore[arg-type] # as above
    with pytest.raises(NotOfferedError, match="has no /v1/chat"):
        without.converse(ASKED, Sampling())
