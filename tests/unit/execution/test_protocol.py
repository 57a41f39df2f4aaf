from pathlib import Path

import msgspec
import pytest

from aprqa_ci.execution import protocol
from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

MODEL = ModelFiles(
    format=ModelFormat.GGUF,
    quantization="q8_0",
    weights=(Path("/models/a b.gguf"), Path("ü.gguf")),
    directory=Path("/models"),
    source="local_path",
)
REQUESTS: list[protocol.Request] = [
    protocol.Inspect(model=MODEL, ground_truth=None, expected={"num_layers": 2}),
    protocol.CompareWeights(model=MODEL, ground_truth=MODEL, scratch=Path("/tmp/x")),  # noqa: S108 - only encoded
    protocol.Open(engine="reference", model=MODEL, backend=Backend.CPU, modality=Modality.CHAT),
    protocol.Ask(
        turns=("line\nline", "\u2028"),
        system=None,
        raw=False,
        sampling=Sampling(max_tokens=3, temperature=0.5, seed=7, stop=("x",)),
        number=2,
    ),
    protocol.AskClients(questions=("a",), sampling=Sampling()),
    protocol.SendMalformed(),
    protocol.CheckHealth(),
]
REPLIES: list[protocol.Reply] = [
    protocol.Refused(message="no"),
    protocol.LoadFailed(message="no"),
    protocol.EngineFailed(message="no"),
    protocol.Absent(message="no"),
    protocol.OutOfMemory(message="no"),
    protocol.Broken(message="a\nb"),
    protocol.Health(status=200),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_a_request_is_one_line_and_comes_back_whole(request_: protocol.Request) -> None:
    line = protocol.encode(request_)
    assert b"\n" not in line
    assert protocol.decode_request(line) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=lambda each: type(each).__name__)
def test_a_reply_is_one_line_and_comes_back_whole(reply: protocol.Reply) -> None:
    line = protocol.encode(reply)
    assert b"\n" not in line
    assert protocol.decode_reply(line) == reply


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"is": "unheard-of"}', b'{"is": "health", "status": 200, "x": 1}']
)
def test_what_is_no_reply_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        protocol.decode_reply(line)
