"""Asking an engine for its own figures; the processes are stand-ins."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Self

import pytest
from msgspec.structs import replace

from aprqa_ci.execution.child import ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_files import held_elsewhere
from aprqa_ci.execution.own_profile import profiler
from aprqa_ci.execution.protocol import Absent, Profiled, ProfileModel, Reply
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.cells import cell_of, playbook_of

APR = ModelFormat.APR
PLAYBOOK = replace(playbook_of(), profiled=True)
FIGURES = Profiled(tool="apr/1", invocation="apr profile x", tokens_per_second=5.0)


class Child:
    """Stands for a child process that gives one reply, or none."""

    def __init__(self, reply: Reply | Exception) -> None:
        self._reply = reply
        self.asked: list[ProfileModel] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def request(self, request: ProfileModel, *, timeout_s: float) -> Reply:
        self.asked.append(request)
        assert timeout_s >= 20 * (PLAYBOOK.warmup + PLAYBOOK.measure)
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply


def asked(child: Child, *, playbook: Any = PLAYBOOK, engine: str = "apr", **cell: Any) -> Any:
    machine: Any = SimpleNamespace(
        limits=load_limits(),
        environment=SimpleNamespace(engine_options={"apr": {"binary": "x"}}),
        quiet=SimpleNamespace(timed=nullcontext),
        spawn=lambda: child,
    )
    planned = cell_of(**({"format": APR} | cell))
    return profiler(machine, playbook, planned, engine, held_elsewhere(APR, None))


def test_it_is_asked_once_with_what_it_is_told() -> None:
    child = Child(FIGURES)
    profile = asked(child)
    assert (profile(), profile()) == (FIGURES, FIGURES)
    (request,) = child.asked
    assert (request.options, request.warmup, request.measure) == (
        {"binary": "x"},
        PLAYBOOK.warmup,
        PLAYBOOK.measure,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "llamacpp"},
        {"playbook": playbook_of()},
        {"playbook": replace(PLAYBOOK, formats_profiled=(ModelFormat.GGUF,))},
        {"backend": Backend.GPU},
    ],
)
def test_where_nobody_asks_there_is_nothing(changes: dict[str, Any]) -> None:
    child = Child(FIGURES)
    assert asked(child, **changes)() is None
    assert child.asked == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Absent(message="gives no throughput above zero"), "gives no throughput above zero"),
        (ChildTimeoutError(3, ""), "no reply within 3 s"),
        (ChildDiedError(-11, ""), "SIGSEGV"),
    ],
)
def test_what_goes_wrong_is_a_reason_and_no_figure(reply: Reply | Exception, said: str) -> None:
    found = asked(Child(reply))()
    assert isinstance(found, str)
    assert found.startswith("the profile of apr: ")
    assert said in found
