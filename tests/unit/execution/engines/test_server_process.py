import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aprqa_ci.execution.engines import server_process
from aprqa_ci.execution.engines.server_process import (
    MAX_LOG_BYTES,
    ServerEndedError,
    ServerNotReadyError,
    ServerProcess,
    last_words,
    start_server,
)
from tests.processes import alive, until

LONG = 20.0


def started(script: str, *, grace_s: float = 5.0) -> ServerProcess:
    return ServerProcess(["sh", "-c", script], environment=os.environ, grace_s=grace_s)


def test_a_server_is_asked_and_then_killed_with_what_it_started() -> None:
    server = started("trap '' TERM; sleep 60 & echo $!; wait; sleep 60", grace_s=0.3)
    server.await_ready(lambda: server.log.strip().isdecimal(), timeout_s=LONG)
    child = int(server.log)
    assert alive(child)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun >= 0.3
    assert server.returncode == -signal.SIGKILL
    assert until(lambda: not alive(child))
    server.stop()


def test_a_server_that_ends_when_asked_is_not_killed() -> None:
    with started("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done") as server:
        server.await_ready(lambda: "up" in server.log, timeout_s=LONG)
    assert server.returncode == 0


def test_what_left_the_server_and_its_group_ends_with_it() -> None:
    # Its parent is gone and its session is its own: only the mark in its environment is left.
    leave = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"
    with started(f"({sys.executable} -c '{leave}' &); sleep 60") as server:
        server.await_ready(lambda: server.log.strip().isdecimal(), timeout_s=LONG)
        left = int(server.log)
        assert alive(left)
    assert until(lambda: not alive(left))


def test_a_server_that_ends_or_is_late_is_told() -> None:
    with (
        started("echo words; exit 3") as server,
        pytest.raises(ServerEndedError, match="code 3") as ended,
    ):
        server.await_ready(lambda: False, timeout_s=LONG)
    assert ended.value.log == "words\n"
    assert last_words(ended.value.log) == "words"
    with started("sleep 60") as server, pytest.raises(ServerNotReadyError, match=r"0\.2 s"):
        server.await_ready(lambda: False, timeout_s=0.2)
    assert not alive(server.pid)


def test_another_program_that_answers_in_its_place_is_not_the_server() -> None:
    with started("exit 1") as server, pytest.raises(ServerEndedError):
        server.await_ready(lambda: until(lambda: server.returncode is not None), timeout_s=LONG)


def test_the_end_of_its_log_is_kept_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with started(f"head -c {MAX_LOG_BYTES} /dev/zero | tr '\\0' x; echo the end") as server:
        assert until(lambda: server.log.endswith("the end\n"))
        assert len(server.log) == MAX_LOG_BYTES
    assert capfd.readouterr().err.endswith("the end\n")
    # A word that the cut has torn is left out, for it may be the end of a secret.
    assert 1500 < len(last_words(server.log)) <= 2000
    assert last_words(server.log).endswith("the end")
    assert last_words(" \n") == "it wrote nothing"


def test_not_all_of_a_log_without_end_is_passed_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "MAX_PASSED_ON_BYTES", 1000)
    script = "echo begin; sleep 0.1; head -c 5000 /dev/zero | tr '\\0' x; sleep 0.1; echo the end"
    with started(script) as server:
        assert until(lambda: server.log.endswith("the end\n"))
    passed_on = capfd.readouterr().err
    assert passed_on.startswith("begin\n")
    assert "too long" in passed_on
    assert len(passed_on) < 1200


HOLDS_A_SERVER = """
import os, sys, time
from aprqa_ci.execution.engines.server_process import ServerProcess
server = ServerProcess(["sh", "-c", "sleep 60 & echo $$ $!; wait"], environment=os.environ)
server.await_ready(lambda: server.log.endswith(chr(10)), timeout_s=20)
print(server.log, end="", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """A process that leads a group, as a cell's child does, and has started a server."""
    command = [sys.executable, "-c", HOLDS_A_SERVER]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def test_nothing_survives_the_group_of_the_cells_child(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    pids = [int(each) for each in holder.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)
    os.killpg(holder.pid, signal.SIGKILL)
    assert until(lambda: not any(alive(pid) for pid in pids))


def test_a_server_dies_with_a_process_that_nobody_cleans_up_after(
    holder: subprocess.Popen[str],
) -> None:
    assert holder.stdout is not None
    server, child = (int(each) for each in holder.stdout.readline().split())
    holder.kill()
    assert until(lambda: not alive(server))
    os.kill(child, signal.SIGKILL)


def _serving(tmp_path: Path, taken: int) -> tuple[Callable[[int], list[str]], Path]:
    """Return the command of a server whose first starts find the port taken."""
    starts = tmp_path / "starts"
    script = (
        f"echo $1 >> {starts}; if [ $(wc -l < {starts}) -le {taken} ];"
        " then echo 'bind: Address already in use'; exit 1; fi; echo up; sleep 60"
    )
    return lambda port: ["sh", "-c", script, "sh", str(port)], starts


@pytest.mark.parametrize("taken", [0, 2, 3])
def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path, taken: int) -> None:
    command, starts = _serving(tmp_path, taken)

    def start() -> tuple[ServerProcess, str]:
        return start_server(
            command,
            lambda _: lambda: starts.exists() and len(starts.read_text().split()) > taken,
            environment=os.environ,
            timeout_s=LONG,
        )

    if taken == 3:
        with pytest.raises(ServerEndedError):
            start()
    else:
        server, base_url = start()
        with server:
            assert base_url == f"http://127.0.0.1:{starts.read_text().split()[-1]}"
    assert len(starts.read_text().split()) == min(3, taken + 1)


def test_the_port_is_free_and_a_question_that_fails_ends_the_server() -> None:
    seen = []

    def command(port: int) -> list[str]:
        with socket.create_server(("127.0.0.1", port)):
            return ["sh", "-c", "echo $$; sleep 60"]

    def ready(base_url: str) -> Callable[[], bool]:
        seen.append(base_url)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_server(command, ready, environment=os.environ, timeout_s=LONG)
    assert len(seen) == 1


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        ServerProcess(["/no/such/program"], environment=os.environ)
