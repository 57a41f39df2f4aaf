"""What the failures of a run say at its playbook: one annotation a gateway or gate, not a scenario.

A model that cannot be loaded fails every scenario there is, and GitHub shows ten annotations of one
level. So what fails together is told together: how many, and the first one's reason.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from aprqa_ci.github.workflow_commands import Annotation, Level
from aprqa_ci.plain_text import one_line, shorten
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.scoring.score import GatewayResult, ScenarioScore, Score, Tally
from aprqa_ci.vocabulary import GatewayState

__all__ = ["annotations_of"]

_LINE = 1
"""A failure is of the playbook as a whole; its first line stands for it."""
_MAX_NAME = 100
_MAX_REASON = 500


def annotations_of(report: RunReport, *, playbook: str) -> tuple[Annotation, ...]:
    """Return what is to be annotated, worst first. Pure.

    Errors are failed gateways, and gates that were falsified, crashed or timed out. Warnings are
    gates that our machinery or the machine kept from being tested, or of which there is no record.

    Args:
        report: the run.
        playbook: the playbook's file, relative to the root of the repository.
    """
    name = report.certificate.playbook.name
    told = [*_gateways(report.score), *_gates(report.score), *_untested(report.score)]
    return tuple(
        Annotation(
            level=level, title=f"{name}: {title}", message=message, file=playbook, line=_LINE
        )
        for level, title, message in told
    )


def _gateways(score: Score) -> Iterator[tuple[Level, str, str]]:
    for gateway, result in score.gateways.items():
        if result.state is GatewayState.FAILED:
            entries = [each for each in _failures(score) if each.gateway is gateway]
            yield Level.ERROR, f"gateway {gateway} failed", _gateway_message(result, entries)


def _gateway_message(result: GatewayResult, entries: Sequence[ScenarioScore]) -> str:
    if entries:
        return _message(entries)
    return shorten(one_line("; ".join(result.reasons)), _MAX_REASON)


def _gates(score: Score) -> Iterator[tuple[Level, str, str]]:
    """Tell failing gates, but not those whose gateway is told already."""
    told = {
        gateway for gateway, each in score.gateways.items() if each.state is GatewayState.FAILED
    }
    entries = [each for each in _failures(score) if each.gateway not in told]
    for gate, own in _by_gate(entries).items():
        yield Level.ERROR, f"{gate} failed", _message(own)


def _untested(score: Score) -> Iterator[tuple[Level, str, str]]:
    entries = [each for each in score.scenarios if each.outcome is None or each.is_infrastructure]
    for gate, own in _by_gate(entries).items():
        yield Level.WARNING, f"{gate} was not tested", _message(own)


def _failures(score: Score) -> list[ScenarioScore]:
    return [
        each for each in score.scenarios if each.outcome is not None and each.outcome.is_failure
    ]


def _by_gate(entries: Sequence[ScenarioScore]) -> dict[str, list[ScenarioScore]]:
    found: defaultdict[str, list[ScenarioScore]] = defaultdict(list)
    for entry in entries:
        found[shorten(one_line(entry.gate_id), _MAX_NAME)].append(entry)
    return found


def _message(entries: Sequence[ScenarioScore]) -> str:
    tally, first = Tally.of(entries), entries[0]
    counts = {
        "Falsified": tally.falsified,
        "Crashed": tally.crashed,
        "Timeout": tally.timeout,
        "Skipped": tally.skipped,
        "missing": tally.missing,
    }
    many = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    reason = shorten(one_line(first.reason), _MAX_REASON) or "no reason is recorded"
    where = shorten(one_line(first.scenario), _MAX_REASON)
    return f"{many}; {'first' if len(entries) > 1 else 'it is'} {where}: {reason}"
