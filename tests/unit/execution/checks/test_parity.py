"""The comparison with another runtime, against a double of one that answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from aprqa_ci.execution.checks import CHECKS, Finding
from aprqa_ci.execution.checks.parity import _address, _tag
from aprqa_ci.execution.protocol import Answered
from aprqa_ci.planning.plan import PlannedParity
from aprqa_ci.vocabulary import Outcome
from tests.cells import cell_of, playbook_of, prompt_of

if TYPE_CHECKING:
    from tests.unit.execution.checks.conftest import ScriptedCell

ANSWERS, THROUGHPUT = "F-COMP-OLLAMA-001", "F-OLLAMA-002"


@contextmanager
def server(
    text: str = "four", tokens: int = 10, status: int = 200
) -> Iterator[tuple[str, list[Any]]]:
    """A double: it proves what our side makes of a server's words, and nothing of Ollama."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            reply = {
                "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": tokens},
            }
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            del arguments

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as here:
        thread = threading.Thread(target=here.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{here.server_port}", asked
        finally:
            here.shutdown()
            thread.join()


def cell(
    scripted: "type[ScriptedCell]",
    address: str | None,
    reply: Any = None,
    *,
    ratio: float = 0.8,
    tag: str | None = "tiny:f16",
) -> "ScriptedCell":
    parity = PlannedParity(
        model_tag=tag,
        quantizations=("f16",),
        prompts=(prompt_of("one"), prompt_of("two")),
        min_perf_ratio=ratio,
    )
    playbook = msgspec.structs.replace(playbook_of(), parity=parity)
    environment = {} if address is None else {"OLLAMA_HOST": address}
    more: dict[str, Any] = {} if reply is None else {"reply": lambda *_: reply}
    return scripted(playbook=playbook, cell=cell_of(), environment=environment, **more)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("four", Outcome.CORROBORATED), ("seven", Outcome.FALSIFIED), ("", Outcome.FALSIFIED)],
)
def test_answers_are_compared(scripted: "type[ScriptedCell]", text: str, outcome: Outcome) -> None:
    with server(text) as (address, asked):
        finding = CHECKS[ANSWERS](cell(scripted, address))
    assert finding.outcome is outcome
    assert finding.figures["server"] == [text, text]
    assert [each["messages"][0]["content"] for each in asked] == ["one", "two"]
    assert {each["model"] for each in asked} == {"tiny:f16"}


def test_two_empty_answers_do_not_agree(
    scripted: "type[ScriptedCell]", answered: Callable[..., Answered]
) -> None:
    with server("") as (address, _):
        finding = CHECKS[ANSWERS](cell(scripted, address, answered("")))
    assert finding.outcome is Outcome.FALSIFIED


def test_throughput_is_a_share_of_the_servers(
    scripted: "type[ScriptedCell]", answered: Callable[..., Answered]
) -> None:
    def measure(ours: Answered, tokens: int = 10) -> Finding:
        with server(tokens=tokens) as (address, _):
            subject = cell(scripted, address, ours)
            finding = CHECKS[THROUGHPUT](subject)
        assert len(subject.asked) == 4  # a round that is not measured, and one that is
        assert all(subject.asked_alone)
        return finding

    fast = measure(answered(duration_ms=1e-6))
    assert fast.outcome is Outcome.CORROBORATED
    ratio = fast.figures["ratio"]
    assert isinstance(ratio, float)
    assert ratio > 0.8
    assert measure(answered(duration_ms=1e9)).outcome is Outcome.FALSIFIED
    silent = measure(answered(completion_tokens=0))
    assert silent.outcome is Outcome.FALSIFIED
    none = measure(answered(), tokens=0)
    assert (none.outcome, str(none.cause)) == (Outcome.SKIPPED, "policy:no-parity-server")


@pytest.mark.parametrize("gate", [ANSWERS, THROUGHPUT])
@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "APRQA_PARITY_URL and OLLAMA_HOST are not set"),
        ("http://127.0.0.1:1", "the server did not answer"),
        ("https://example.org", "is not plain HTTP on the loopback interface"),
        ("http://127.0.0.1:port", "is not an address"),
    ],
)
def test_without_a_server_nothing_is_compared(
    scripted: "type[ScriptedCell]", gate: str, address: str | None, said: str
) -> None:
    finding = CHECKS[gate](cell(scripted, address))
    assert (finding.outcome, str(finding.cause)) == (Outcome.SKIPPED, "policy:no-parity-server")
    assert said in finding.reason


def test_a_server_that_fails_says_nothing_of_the_model(scripted: "type[ScriptedCell]") -> None:
    with server(status=500) as (address, _):
        finding = CHECKS[ANSWERS](cell(scripted, address))
    assert finding.outcome is Outcome.SKIPPED


def test_our_own_failure_is_ours(scripted: "type[ScriptedCell]", no_answer: Any) -> None:
    reply, said = no_answer
    with server() as (address, _):
        finding = CHECKS[ANSWERS](cell(scripted, address, reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert said in finding.reason


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, None),
        ({"OLLAMA_HOST": " "}, None),
        ({"OLLAMA_HOST": "127.0.0.1"}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "127.0.0.1:99"}, "http://127.0.0.1:99"),
        ({"OLLAMA_HOST": "http://localhost:99/"}, "http://localhost:99"),
        ({"OLLAMA_HOST": "a", "APRQA_PARITY_URL": "http://b:1"}, "http://b:1"),
    ],
)
def test_where_the_server_is(environment: dict[str, str], address: str | None) -> None:
    assert _address(environment) == address


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (None, "model"),
        ("qwen:7b-instruct-q4_k_m", "qwen:7b-instruct-q8_0"),
        ("Qwen:7b-Q4_K_M", "Qwen:7b-q8_0"),
        ("qwen:7b", "qwen:7b"),
    ],
)
def test_the_tag_names_the_quantization_of_the_cell(tag: str | None, expected: str) -> None:
    assert _tag(tag, "q8_0") == expected
