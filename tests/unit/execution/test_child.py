import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aprqa_ci.execution.child import CellChild, ChildDiedError, Children, ChildTimeoutError
from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.protocol import Absent, Ask, Broken, CheckHealth, Health, Open
from aprqa_ci.vocabulary import Backend, Modality
from tests.broken_models import safetensors_of
from tests.processes import alive, until, workers_of

LONG, SHORT = 20.0, 0.3
ENVIRONMENT = {"PATH": os.environ["PATH"]}
# Does what its first argument says with each line that it reads.
STAND_IN = """
import json, os, signal, subprocess, sys, time
mode, reply = sys.argv[1], int(sys.argv[2])
def say(what):
    os.write(reply, json.dumps(what).encode() + b"\\n")
if mode == "deaf":
    time.sleep(300)
for number, line in enumerate(sys.stdin.buffer):
    if mode == "reply":
        say({"is": "health", "status": 200 + number})
    elif mode == "slowly":
        for part in (b'{"is": "health",', b' "status": 200}\\n{"is": "health", "status": 201}\\n'):
            os.write(reply, part)
            time.sleep(0.05)
        time.sleep(300)
    elif mode == "hang" and number == 0:
        grandchild = subprocess.Popen(["sleep", "300"], pass_fds=[reply])
        print("grandchild", grandchild.pid, file=sys.stderr, flush=True)
        say({"is": "health", "status": 200})
    elif mode == "hang":
        time.sleep(300)
    elif mode == "leave a grandchild":
        subprocess.Popen(["sleep", "300"])
        say({"is": "health", "status": 200})
    elif mode == "exit":
        print("last words", file=sys.stderr, flush=True)
        sys.exit(7)
    elif mode == "segfault":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif mode == "half a line":
        os.write(reply, b'{"is": "hea')
        sys.exit(0)
    elif mode == "half a line and hang":
        os.write(reply, b'{"is": "hea')
        time.sleep(300)
    elif mode == "garbage":
        print("last words", file=sys.stderr, flush=True)
        os.write(reply, b"\\xff{]\\n")
        time.sleep(300)
    elif mode == "noise":
        sys.stderr.write("x" * (1 << 20) + "the end")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "environment":
        say({"is": "broken", "message": json.dumps(dict(os.environ))})
    elif mode == "flood":
        while True:
            os.write(reply, b"x" * 65536)
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Callable[..., CellChild]]:
    """Starts the stand-in in a mode; whatever is left is killed."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    children: list[CellChild] = []

    def start(
        mode: str, *, among: Children | None = None, environment: dict[str, str] = ENVIRONMENT
    ) -> CellChild:
        child = CellChild(
            environment=environment,
            threads=3,
            children=among or Children(),
            command=(sys.executable, "-I", "-S", str(script), mode),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.close()


def _ask(text: str) -> Ask:
    return Ask(turns=(text,), system=None, raw=False, sampling=Sampling(), number=0)


def test_requests_are_answered_one_by_one(stand_in: Callable[..., CellChild]) -> None:
    with stand_in("reply") as child:
        for number in range(3):
            assert child.request(CheckHealth(), timeout_s=LONG) == Health(status=200 + number)
        assert alive(child.pid)
    assert not alive(child.pid)


def test_a_reply_may_come_in_pieces_and_with_the_next(
    stand_in: Callable[..., CellChild],
) -> None:
    with stand_in("slowly") as child:
        assert child.request(CheckHealth(), timeout_s=LONG) == Health(status=200)
        assert child.request(CheckHealth(), timeout_s=LONG) == Health(status=201)
        child.kill()


def test_the_child_leads_a_group_of_its_own(stand_in: Callable[..., CellChild]) -> None:
    with stand_in("reply") as child:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        assert os.getsid(child.pid) == child.pid


def test_a_child_that_hangs_dies_with_all_that_it_started(
    stand_in: Callable[..., CellChild],
) -> None:
    child = stand_in("hang")
    child.request(CheckHealth(), timeout_s=LONG)
    started = time.monotonic()
    with pytest.raises(ChildTimeoutError, match=r"no reply within 0.3 s") as caught:
        child.request(CheckHealth(), timeout_s=SHORT)
    assert time.monotonic() - started < LONG
    found = re.search(r"grandchild (\d+)", caught.value.stderr)
    assert found is not None
    assert not alive(child.pid)
    assert until(lambda: not alive(int(found[1])))


@pytest.mark.parametrize("mode", ["half a line and hang", "deaf"])
def test_no_whole_reply_in_time_is_a_timeout(stand_in: Callable[..., CellChild], mode: str) -> None:
    child = stand_in(mode)
    with pytest.raises(ChildTimeoutError):
        child.request(CheckHealth(), timeout_s=SHORT)
    assert not alive(child.pid)


def test_a_child_that_does_not_read_a_long_prompt_is_a_timeout(
    stand_in: Callable[..., CellChild],
) -> None:
    # Longer than any pipe holds.
    child = stand_in("deaf")
    with pytest.raises(ChildTimeoutError):
        child.request(_ask("word " * 500_000), timeout_s=SHORT)
    assert not alive(child.pid)


def test_a_long_prompt_arrives(stand_in: Callable[..., CellChild]) -> None:
    with stand_in("reply") as child:
        assert child.request(_ask("word " * 500_000), timeout_s=LONG) == Health(status=200)


@pytest.mark.parametrize(
    ("mode", "code", "text"),
    [
        ("exit", 7, "the process exited with code 7"),
        ("segfault", -signal.SIGSEGV, "the process was ended by SIGSEGV"),
        ("half a line", 0, "the process exited with code 0"),
        ("noise", -signal.SIGKILL, "the process was ended by SIGKILL"),
        ("garbage", -signal.SIGKILL, "the process wrote an unreadable reply and was ended"),
    ],
)
def test_a_child_that_dies_says_how_and_what_it_wrote(
    stand_in: Callable[..., CellChild], mode: str, code: int, text: str
) -> None:
    child = stand_in(mode)
    with pytest.raises(ChildDiedError) as caught:
        child.request(CheckHealth(), timeout_s=LONG)
    assert caught.value.returncode == code
    assert str(caught.value) == caught.value.describe() == text
    assert not caught.value.out_of_memory
    assert not alive(child.pid)
    if mode in {"exit", "segfault", "garbage"}:
        assert "last words" in caught.value.stderr


def test_a_number_that_is_no_signal_is_said_as_it_is() -> None:
    assert str(ChildDiedError(-99, "")) == "the process was ended by signal 99"


def test_only_the_end_of_stderr_is_kept(stand_in: Callable[..., CellChild]) -> None:
    child = stand_in("noise")
    with pytest.raises(ChildDiedError) as caught:
        child.request(CheckHealth(), timeout_s=LONG)
    assert len(caught.value.stderr) <= 16 << 10
    assert caught.value.stderr.endswith("xthe end")


def test_a_flood_without_a_line_end_is_cut_off(
    stand_in: Callable[..., CellChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aprqa_ci.execution.child._MAX_REPLY", 1 << 20)
    monkeypatch.setattr("aprqa_ci.execution.child._CLOSE_SECONDS", 0.05)
    child = stand_in("flood")
    with pytest.raises(ChildDiedError):
        child.request(CheckHealth(), timeout_s=LONG)
    assert not alive(child.pid)


def test_a_dead_child_stays_dead(stand_in: Callable[..., CellChild]) -> None:
    child = stand_in("exit")
    for _ in range(2):
        with pytest.raises(ChildDiedError) as caught:
            child.request(CheckHealth(), timeout_s=LONG)
        assert caught.value.returncode == 7
    child.close()
    child.close()
    assert child.stderr() == ""


@pytest.mark.parametrize(("before", "after", "machine"), [(3, 4, True), (3, 3, False)])
def test_a_kill_for_want_of_memory_is_told_from_others(
    stand_in: Callable[..., CellChild],
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    after: int,
    machine: bool,
) -> None:
    counts = iter([before, after])
    monkeypatch.setattr("aprqa_ci.execution.child.oom_kills", lambda: next(counts))
    with pytest.raises(ChildDiedError) as caught:
        stand_in("noise").request(CheckHealth(), timeout_s=LONG)
    assert caught.value.out_of_memory is machine
    assert ("want of memory" in str(caught.value)) is machine


def test_a_crash_while_the_kernel_kills_others_is_a_crash(
    stand_in: Callable[..., CellChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("aprqa_ci.execution.child.oom_kills", lambda: next(counts))
    with pytest.raises(ChildDiedError) as caught:
        stand_in("segfault").request(CheckHealth(), timeout_s=LONG)
    assert not caught.value.out_of_memory


def test_secrets_are_not_handed_on_and_threads_and_offline_are_set(
    stand_in: Callable[..., CellChild],
) -> None:
    secret = dict.fromkeys(
        (
            "GITHUB_TOKEN",
            "hf_token",
            "MY_SECRET_THING",
            "DB_PASSWORD",
            "PGPASSWD",
            "AWS_ACCESS_KEY_ID",
            "SSH_PRIVATE_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "OPENAI_API_KEY",
            "SERVICE_APIKEY",
        ),
        "s3cret",
    )
    kept = {"PATH": ENVIRONMENT["PATH"], "LANG": "C", "HF_HOME": "/x", "OMP_NUM_THREADS": "64"}
    with stand_in("environment", environment={**kept, **secret}) as child:
        reply = child.request(CheckHealth(), timeout_s=LONG)
    assert isinstance(reply, Broken)
    seen = json.loads(reply.message)
    assert "s3cret" not in seen.values()
    assert seen["HF_HOME"] == "/x"
    assert seen["OMP_NUM_THREADS"] == seen["OPENBLAS_NUM_THREADS"] == "3"
    assert seen["HF_HUB_OFFLINE"] == "1"


def test_an_error_in_the_block_kills_the_child(stand_in: Callable[..., CellChild]) -> None:
    child = stand_in("deaf")
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), child:
        _ = 1 / 0
    assert not alive(child.pid)
    assert time.monotonic() - started < 4


def test_closing_ends_a_grandchild_that_outlives_the_child(
    stand_in: Callable[..., CellChild],
) -> None:
    child = stand_in("leave a grandchild")
    child.request(CheckHealth(), timeout_s=LONG)
    group = child.pid
    child.close()

    def gone() -> bool:
        return not any(
            alive(int(entry.name)) and _group(int(entry.name)) == group
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit()
        )

    assert until(gone)


def test_all_children_are_killed_those_that_come_later_too(
    stand_in: Callable[..., CellChild],
) -> None:
    children = Children()
    first = [stand_in("deaf", among=children) for _ in range(2)]
    children.kill_all()
    assert not any(alive(child.pid) for child in first)
    later = stand_in("deaf", among=children)
    assert not alive(later.pid)
    with pytest.raises(ChildDiedError):
        later.request(CheckHealth(), timeout_s=LONG)


def test_an_ended_child_is_forgotten(stand_in: Callable[..., CellChild]) -> None:
    children = Children()
    with stand_in("reply", among=children):
        assert len(children._alive) == 1
    assert not children._alive


def test_a_command_that_is_not_there_is_an_os_error() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="nothing-like-this"):
        CellChild(
            environment=ENVIRONMENT,
            threads=1,
            children=Children(),
            command=("/nothing-like-this",),
        )
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_descriptor_is_left_open(stand_in: Callable[..., CellChild]) -> None:
    with stand_in("reply") as child:
        child.request(CheckHealth(), timeout_s=LONG)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for mode in ("reply", "exit"):
        child = stand_in(mode)
        with contextlib.suppress(ChildDiedError):
            child.request(CheckHealth(), timeout_s=LONG)
        child.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux kills the orphan")
@pytest.mark.parametrize("stopped", [False, True])
def test_the_child_dies_when_its_parent_is_killed(tmp_path: Path, stopped: bool) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from aprqa_ci.execution.child import CellChild, Children
            from aprqa_ci.execution.protocol import CheckHealth
            child = CellChild(environment=dict(os.environ), threads=1, children=Children())
            # No session is open, so the reply is an error; but the child lives.
            child.request(CheckHealth(), timeout_s=30)
            print(child.pid, flush=True)
            time.sleep(300)
            """
        ),
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env=dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[3])},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert workers_of(parent.pid) == [child]
        if stopped:
            # A stopped child cannot notice that its pipe has closed.
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    assert until(lambda: not alive(child), 5)


def test_the_real_child_answers_and_survives_bad_requests(tiny_llama: Path) -> None:
    with CellChild(environment=dict(os.environ), threads=1, children=Children()) as child:
        broken = child.request(CheckHealth(), timeout_s=LONG)
        assert isinstance(broken, Broken)
        assert "AssertionError" in broken.message
        unknown = Open(
            engine="unheard-of",
            model=safetensors_of(tiny_llama),
            backend=Backend.CPU,
            modality=Modality.RUN,
        )
        absent = child.request(unknown, timeout_s=LONG)
        assert isinstance(absent, Absent)
        assert "unheard-of" in absent.message
        os.kill(child.pid, signal.SIGINT)
        assert isinstance(child.request(CheckHealth(), timeout_s=LONG), Broken)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
