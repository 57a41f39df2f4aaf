"""The openai engine against servers that a script plays, and programs that are none."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines import openai_session
from aprqa_ci.execution.engines.interface import (
    Capability,
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
    NotOfferedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_engine import OpenAIEngine
from aprqa_ci.execution.model_files import ModelFiles, held_elsewhere
from aprqa_ci.execution.processes import is_alive
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.processes import children_of, until

HELD = held_elsewhere(ModelFormat.GGUF, None)
TALK = [Message(role="user", content="hi")]
ONE = {"data": [{"id": "m", "max_model_len": 64}]}


class Server(ThreadingHTTPServer):
    def __init__(self, replies: dict[str, list[tuple[int, bytes]]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.asked: list[tuple[str, Any, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        self.server.asked.append(
            (self.path, json.loads(data) if data else None, dict(self.headers))
        )
        replies = self.server.replies.get(self.path, [(404, b"")])
        status, body = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(models: object = ONE, **replies: list[tuple[int, bytes]]) -> Iterator[Server]:
    known = {"/v1/models": [(200, json.dumps(models).encode())]}
    paths = {"chat": "/v1/chat/completions", "text": "/v1/completions"}
    server = Server(known | {paths[name]: reply for name, reply in replies.items()})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(text: str, finish: str = "stop") -> tuple[int, bytes]:
    first = {"choices": [{"delta": {"content": text}, "text": text, "finish_reason": finish}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    lines = [f"data: {json.dumps(each)}\n\n" for each in (first, usage)]
    return 200, "".join([*lines, "data: [DONE]\n\n"]).encode()


def engine(environment: dict[str, str] | None = None, **options: Any) -> OpenAIEngine:
    made = OpenAIEngine(environment={"PATH": os.environ["PATH"], **(environment or {})})
    return made.with_options(options)


def test_without_a_server_it_is_not_here() -> None:
    info = OpenAIEngine(environment={}).info()
    assert (info.available, info.version, info.reason) == (False, None, "no server is given")
    with pytest.raises(EngineAbsentError, match="no server is given"):
        OpenAIEngine(environment={}).open(HELD, Backend.CPU)


def test_a_server_elsewhere_shows_neither_files_nor_device() -> None:
    with serving(chat=[said("hello")]) as server:
        found = engine(url=server.url + "/v1/")
        info = found.info()
        assert info.available
        assert not info.needs_files
        assert Capability.DEVICE_PROOF not in info.capabilities
        session = found.open(HELD, Backend.GPU)
        assert (session.device.backend, session.device.proven) == (Backend.GPU, False)
        assert session.context_length == 64
        assert "held by the server" in session.invocation
        pieces: list[str] = []
        answer = session.converse(TALK, Sampling(max_tokens=5), on_text=pieces.append)
        assert (answer.text, answer.completion_tokens, pieces) == ("hello", 2, ["hello"])
        path, body, _ = server.asked[-1]
        assert path == "/v1/chat/completions"
        assert (body["model"], body["messages"][0]["content"]) == ("m", "hi")
        with pytest.raises(NotOfferedError):
            session.complete("raw", Sampling())
        with pytest.raises(NotOfferedError):
            session.render(TALK)
        session.close()
        with pytest.raises(EngineFailedError, match="closed"):
            session.converse(TALK, Sampling())


def test_the_address_may_stand_in_the_environment() -> None:
    with serving() as server:
        found = engine({"APRQA_OPENAI_URL": server.url})
        assert found.info().available
        assert found.open(HELD, Backend.CPU).context_length == 64


@pytest.mark.parametrize(
    ("models", "options", "reason"),
    [
        ({"data": []}, {}, "has 0 models"),
        ({"data": [{"id": "a"}, {"id": "b"}]}, {}, "has 2 models"),
        ({"data": [{"id": "a"}, {"id": "b"}]}, {"model": "c"}, "no model 'c'"),
        ([], {}, "does not answer"),
    ],
)
def test_which_model_is_asked_must_be_plain(
    models: object, options: dict[str, Any], reason: str
) -> None:
    with serving(models) as server, pytest.raises(EngineAbsentError, match=reason):
        engine(url=server.url, **options).open(HELD, Backend.CPU)


def test_one_of_several_models_is_named() -> None:
    two = {"data": [{"id": "a", "meta": {"n_ctx": 9}}, {"id": "b"}]}
    with serving(two) as server:
        assert engine(url=server.url, model="a").open(HELD, Backend.CPU).context_length == 9
        session = engine(url=server.url, model="b", context_length=7).open(HELD, Backend.CPU)
        assert session.context_length == 7
        server.replies["/v1/models"] = [(404, b"")]
        assert "'z'" in engine(url=server.url, model="z").open(HELD, Backend.CPU).invocation
        with pytest.raises(EngineAbsentError, match="does not say which models"):
            engine(url=server.url).open(HELD, Backend.CPU)


def test_a_server_that_is_not_there_is_no_fault_of_the_model() -> None:
    with pytest.raises(EngineAbsentError, match="does not answer"):
        engine(url="http://127.0.0.1:9").open(HELD, Backend.CPU)


def test_a_key_is_sent_where_it_cannot_be_read_by_others() -> None:
    with serving(chat=[said("x")]) as server:
        # On loopback nobody else reads it; elsewhere https is asked for.
        client = OpenAIClient(server.url, 5, api_key="k3y", foreign=True)
        client.models()
        assert server.asked[-1][2]["Authorization"] == "Bearer k3y"
        found = engine({"MY_KEY": "k3y"}, url=server.url, api_key_env="MY_KEY")
        assert found.secrets() == ("MY_KEY",)
        session = found.open(HELD, Backend.CPU)
        session.converse(TALK, Sampling())
        assert server.asked[-1][2]["Authorization"] == "Bearer k3y"
        assert "k3y" not in session.invocation
        assert "k3y" not in repr(session.__dict__)
        with pytest.raises(EngineAbsentError, match="MY_KEY with the server's key is not set"):
            engine(url=server.url, api_key_env="MY_KEY").open(HELD, Backend.CPU)
    with pytest.raises(InputError, match="plain sight"):
        OpenAIClient("http://models.example.org", 5, api_key="k", foreign=True)


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_session, "_WAITS_S", (0.0, 0.0))
    with serving(chat=[(429, b""), (503, b""), said("late")]) as server:
        session = engine(url=server.url).open(HELD, Backend.CPU)
        assert session.converse(TALK, Sampling()).text == "late"
        server.replies["/v1/chat/completions"] = [(429, b"")]
        with pytest.raises(EngineAbsentError, match="429"):
            session.converse(TALK, Sampling())


def test_further_settings_go_with_every_request() -> None:
    with serving(chat=[said("x")]) as server:
        found = engine(url=server.url, sampling=("top_k=0", "max_tokens_x=2"))
        session = found.open(HELD, Backend.CPU)
        session.converse(TALK, Sampling(max_tokens=5))
        body = server.asked[-1][1]
        assert (body["top_k"], body["max_tokens_x"], body["max_tokens"]) == (0, 2, 5)
        with session.serve() as served:
            assert (served.base_url, served.model) == (server.url, "m")
            assert served.settings == {"top_k": 0, "max_tokens_x": 2}


def program(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "server.py"
    path.write_text(text, encoding="utf-8")
    return (sys.executable, str(path), "{port}")


def model_in(tmp_path: Path) -> ModelFiles:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=tmp_path, source="local_path"
    )


@pytest.mark.parametrize(
    ("text", "named", "error", "said"),
    [
        ("raise SystemExit('bad magic')", True, ModelLoadError, "code 1: bad magic"),
        ("raise SystemExit('bad magic')", False, EngineAbsentError, "code 1"),
        ("import sys; sys.exit(2)", True, EngineAbsentError, "code 2"),
        ("import time; time.sleep(60)", True, ModelLoadError, r"not ready within 0\.3 s"),
    ],
)
def test_a_server_that_does_not_come_up(
    tmp_path: Path, text: str, named: bool, error: type[Exception], said: str
) -> None:
    command = (*program(tmp_path, text), *(["{model}"] if named else []))
    found = engine(command=command, start_seconds=0.3 if "sleep" in text else 20)
    before = set(children_of(os.getpid()))
    with pytest.raises(error, match=said):
        found.open(model_in(tmp_path), Backend.CPU)
    assert set(children_of(os.getpid())) <= before


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineAbsentError, match="cannot be started: /no/such/program"):
        engine(command=("/no/such/program", "{port}")).open(model_in(tmp_path), Backend.CPU)


def test_files_that_are_not_there_are_not_handed_over(tmp_path: Path) -> None:
    model = model_in(tmp_path)
    model.weights[0].unlink()
    with pytest.raises(ModelLoadError, match="there is no file"):
        engine(command=("true", "{port}", "{model}")).open(model, Backend.CPU)


ANSWERS = """
import http.server, json, os, subprocess, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/v1/models"
        body = json.dumps({"data": [{"id": os.environ.get("CUDA_VISIBLE_DEVICES", "unset")}]})
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *a): pass
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def test_a_started_server_sees_no_gpu_and_ends_with_all_that_it_started(tmp_path: Path) -> None:
    found = engine(command=program(tmp_path, ANSWERS), start_seconds=20)
    session = found.open(model_in(tmp_path), Backend.CPU)
    assert "model ''" in session.invocation
    assert session.device.proven
    assert "hidden" in session.device.proof
    (server,) = (
        pid
        for pid in children_of(os.getpid())
        if "server.py" in Path(f"/proc/{pid}/cmdline").read_text()
    )
    assert until(lambda: children_of(server))
    started = [server, *children_of(server)]
    session.close()
    session.close()
    assert until(lambda: not any(is_alive(pid) for pid in started))


@pytest.mark.parametrize(("after", "proven"), [(1000, True), (3999, False)])
def test_a_started_server_shows_its_gpu_by_the_memory_it_takes(
    tmp_path: Path, after: int, proven: bool
) -> None:
    """The driver is a fake: what it says of real servers is not shown here."""
    free = [4000, after]

    def driver(command: Any) -> str:
        if "compute-apps" in command[1]:
            return ""
        return f"0, GPU-1, 8000, {free.pop(0)}\n"

    model = model_in(tmp_path)
    model.weights[0].write_bytes(b"GGUF" + bytes(5 << 20))
    made = OpenAIEngine(environment={"PATH": os.environ["PATH"]}, run_command=driver)
    found = made.with_options({"command": program(tmp_path, ANSWERS), "start_seconds": 20})
    session = found.open(model, Backend.GPU)
    try:
        assert session.device.proven is proven
        assert "MiB of GPU memory" in session.device.proof
        assert "model 'unset'" in session.invocation
    finally:
        session.close()
