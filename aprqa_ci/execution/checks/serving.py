"""Serving over HTTP: health, several clients at once, malformed requests."""

from statistics import fmean

from aprqa_ci.execution.checks.comparison import similarity
from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.protocol import (
    AskClients,
    CheckHealth,
    ClientsAnswered,
    Health,
    MalformedSent,
    SendMalformed,
)
from aprqa_ci.vocabulary import Outcome

__all__ = ["clients", "health", "malformed"]


def health(cell: OpenCell) -> Finding:
    """The server says that it is well."""
    reply = cell.request(CheckHealth(), answers=1)
    if not isinstance(reply, Health):
        return unanswered(reply)
    return Finding(
        outcome=Outcome.CORROBORATED if reply.status == 200 else Outcome.FALSIFIED,
        reason=f"the health request was answered with {reply.status}",
        figures={"status": reply.status},
    )


def clients(cell: OpenCell) -> Finding:
    """Several clients at once get what one alone gets."""
    cases = cell.playbook.probe_prompts
    questions = tuple(case.turns[-1] for case in cases * cell.limits.clients)
    questions = questions[: cell.limits.clients]
    sampling = Sampling(max_tokens=max(case.max_tokens for case in cases))
    reply = cell.request(
        AskClients(questions=questions, sampling=sampling), answers=2 * len(questions)
    )
    if not isinstance(reply, ClientsAnswered):
        return unanswered(reply)
    # Batched with others, an engine may round in another order: the answers must be as close as
    # those of the best quantization, not equal bit by bit.
    limit = cell.limits.classes["high"].agreement
    ratios = [similarity(*pair) for pair in zip(reply.together, reply.alone, strict=True)]
    holds = not reply.failures and fmean(ratios) >= limit
    return Finding(
        outcome=Outcome.CORROBORATED if holds else Outcome.FALSIFIED,
        reason=f"{len(questions)} clients at once: {len(reply.failures)} failed, the answers agree "
        f"to {fmean(ratios):.3f} with those of one client alone",
        figures={
            "alone": list(reply.alone),
            "together": list(reply.together),
            "failures": list(reply.failures),
        },
    )


def malformed(cell: OpenCell) -> Finding:
    """Malformed requests get a 4xx status, and the server lives on."""
    reply = cell.request(SendMalformed(), answers=4)
    if not isinstance(reply, MalformedSent):
        return unanswered(reply)
    wrong = {name: code for name, code in reply.statuses.items() if not 400 <= code < 500}
    holds = reply.alive and not wrong
    said = ", ".join(f"{name}: {code or 'no reply'}" for name, code in wrong.items())
    return Finding(
        outcome=Outcome.CORROBORATED if holds else Outcome.FALSIFIED,
        reason=f"{len(reply.statuses)} malformed requests were answered with 4xx"
        if holds
        else f"not answered with 4xx: {said or 'none'}; alive afterwards: {reply.alive}",
        figures={"statuses": dict(reply.statuses), "alive": reply.alive},
    )
