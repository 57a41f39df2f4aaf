"""A cell that answers from a script."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from aprqa_ci.execution.checks.open_cell import ComparedFiles, Finding
from aprqa_ci.execution.limits import Limits, load_limits
from aprqa_ci.execution.protocol import (
    Answered,
    AskClients,
    CheckHealth,
    EngineFailed,
    LoadFailed,
    Profiled,
    Refused,
    Reply,
    SendMalformed,
)
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook, PromptCase
from tests.cells import cell_of, playbook_of


def said(text: str = "four", **replaced: Any) -> Answered:
    """Return an answer with ordinary figures."""
    figures: dict[str, Any] = {
        "prompt_tokens": 3,
        "completion_tokens": 10,
        "finish": "stop",
        "time_to_first_token_ms": 5.0,
        "duration_ms": 100.0,
        "memory_mb": 50,
        "memory_peak_mb": 60,
    }
    return Answered(text=text, **{**figures, **replaced})


class ScriptedCell:
    """An open cell whose replies a test gives; keeps what it was asked."""

    def __init__(
        self,
        reply: Callable[[int, PromptCase], Reply] = lambda _number, _case: said(),
        *,
        request: Reply | None = None,
        weights: Reply | None = None,
        truth: tuple[str, ...] | str = (),
        playbook: PlannedPlaybook | None = None,
        cell: PlannedCell | None = None,
        context_length: int = 16,
        environment: Mapping[str, str] | None = None,
        files: ComparedFiles | None = None,
        profile: Profiled | str | None = None,
    ) -> None:
        self._reply = reply
        self._request = request
        self._weights = weights
        self._truth = truth
        self._files = files
        self._profile = profile
        self.answers: Sequence[Answered] = ()
        self._measured: Sequence[Answered] | Finding | None = None
        self.playbook = playbook or playbook_of()
        self.cell = cell or cell_of()
        self.limits: Limits = load_limits()
        self.context_length = context_length
        self.environment: Mapping[str, str] = environment or {}
        self.asked: list[PromptCase] = []
        self.asked_alone: list[bool] = []
        self.requests: list[tuple[object, int]] = []
        self.alone = False

    def ask(self, case: PromptCase) -> Reply:
        self.asked.append(case)
        self.asked_alone.append(self.alone)
        return self._reply(len(self.asked) - 1, case)

    def request(self, request: AskClients | SendMalformed | CheckHealth, *, answers: int) -> Reply:
        self.requests.append((request, answers))
        assert self._request is not None
        return self._request

    def compare_weights(self) -> Reply:
        assert self._weights is not None
        return self._weights

    def ground_truth(self) -> tuple[str, ...] | str:
        return self._truth

    @property
    def files(self) -> ComparedFiles:
        assert self._files is not None
        return self._files

    def profiled(self) -> Profiled | str | None:
        return self._profile

    @contextmanager
    def timed_alone(self) -> Iterator[None]:
        self.alone = True
        yield
        self.alone = False

    def measured(
        self, make: Callable[[], Sequence[Answered] | Finding]
    ) -> Sequence[Answered] | Finding:
        if self._measured is None:
            self._measured = make()
        return self._measured


@pytest.fixture
def scripted() -> type[ScriptedCell]:
    return ScriptedCell


@pytest.fixture
def answered() -> Callable[..., Answered]:
    return said


@pytest.fixture(
    params=[
        (Refused(message="too long"), "was refused: too long"),
        (EngineFailed(message="a kernel failed"), "the engine failed: a kernel failed"),
        (LoadFailed(message="cut short"), "the files cannot be read: cut short"),
    ],
    ids=["refused", "engine-failed", "load-failed"],
)
def no_answer(request: pytest.FixtureRequest) -> tuple[Reply, str]:
    """A reply that is no answer, and what the finding says of it."""
    pair: tuple[Reply, str] = request.param
    return pair
