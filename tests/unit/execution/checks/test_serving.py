from typing import Any

import pytest

from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.protocol import (
    AskClients,
    ClientsAnswered,
    Health,
    MalformedSent,
    Reply,
)
from aprqa_ci.vocabulary import Outcome

HEALTH, CLIENTS, MALFORMED = "F-STAB-HEALTH-001", "F-STAB-CLIENTS-001", "F-STAB-MALFORMED-001"


@pytest.mark.parametrize("gate", [HEALTH, CLIENTS, MALFORMED])
def test_a_server_that_does_not_answer_fails(
    scripted: Any, no_answer: tuple[Reply, str], gate: str
) -> None:
    reply, text = no_answer
    finding = CHECKS[gate](scripted(request=reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


@pytest.mark.parametrize(("status", "holds"), [(200, True), (503, False), (404, False)])
def test_only_200_is_healthy(scripted: Any, status: int, holds: bool) -> None:
    finding = CHECKS[HEALTH](scripted(request=Health(status=status)))
    assert finding.outcome is (Outcome.CORROBORATED if holds else Outcome.FALSIFIED)
    assert finding.figures == {"status": status}


def _clients(together: tuple[str, ...], failures: tuple[str, ...] = ()) -> ClientsAnswered:
    return ClientsAnswered(alone=("a b", "c", "a b", "c"), together=together, failures=failures)


def test_clients_at_once_that_get_the_same_hold(scripted: Any) -> None:
    cell = scripted(request=_clients(("a b", "c", "a b", "c")))
    assert CHECKS[CLIENTS](cell).outcome is Outcome.CORROBORATED
    ((request, answers),) = cell.requests
    assert isinstance(request, AskClients)
    assert len(request.questions) == cell.limits.clients
    assert set(request.questions) == {"the end", "in and out"}
    assert answers == 2 * cell.limits.clients


@pytest.mark.parametrize(
    "reply",
    [
        _clients(("a b", "c", "a b", "other")),
        _clients(("", "", "", "")),
        _clients(("a b", "c", "a b", "c"), failures=("503",)),
        ClientsAnswered(alone=("",) * 4, together=("",) * 4, failures=()),
    ],
    ids=["one-differs", "all-empty", "one-failed", "nobody-got-anything"],
)
def test_clients_that_get_something_else_fail(scripted: Any, reply: Reply) -> None:
    assert CHECKS[CLIENTS](scripted(request=reply)).outcome is Outcome.FALSIFIED


@pytest.mark.parametrize(
    ("statuses", "alive", "holds"),
    [
        ({"not json": 400, "unknown path": 404}, True, True),
        ({"not json": 499}, True, True),
        ({"not json": 400}, False, False),
        ({"not json": 200, "unknown path": 404}, True, False),
        ({"not json": 500}, True, False),
        ({"not json": 0}, True, False),
    ],
)
def test_malformed_requests_get_4xx_and_the_server_lives(
    scripted: Any, statuses: dict[str, int], alive: bool, holds: bool
) -> None:
    finding = CHECKS[MALFORMED](scripted(request=MalformedSent(statuses=statuses, alive=alive)))
    assert finding.outcome is (Outcome.CORROBORATED if holds else Outcome.FALSIFIED)


def test_no_reply_is_named_as_such(scripted: Any) -> None:
    reply = MalformedSent(statuses={"array": 0, "not json": 400}, alive=False)
    reason = CHECKS[MALFORMED](scripted(request=reply)).reason
    assert reason == "not answered with 4xx: array: no reply; alive afterwards: False"
