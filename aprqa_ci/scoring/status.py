"""The status: what the gateways, the score and the completeness of the evidence come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import PlacedOut
from aprqa_ci.scoring.score import Finding, GatewayResult, ScenarioScore, Score
from aprqa_ci.scoring.wording import brief, counted, named
from aprqa_ci.vocabulary import Gateway, GatewayState, Outcome, Severity, Status

__all__ = ["Standing", "decide_status", "not_tested"]

_REASON = 160
_TOLD = 260


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All that the status depends on."""

    gateways: Mapping[Gateway, GatewayResult]
    mqs: int
    certify_at: int
    """The least score of a certificate."""
    scenarios: Sequence[ScenarioScore]
    unplaced: Sequence[PlacedOut]
    """Cells that were not run, for no runner class had room for them."""
    deferred: Sequence[PlacedOut]
    """Cells that were not run, for only a run of the repository's own may reach their machines."""
    findings: Sequence[Finding]
    limits: Sequence[str]
    """Why even a perfect run of this kind cannot certify, a sentence each: no plan, the tier, a
    narrowed run."""


def decide_status(standing: Standing) -> tuple[Status, tuple[str, ...]]:
    """Return the status and all that stands between the result and a certificate.

    The first rule that fits decides; the obstacles name what every rule found:

    1. a gateway failed, or a gate of severity P0 that the playbook defines: BLOCKED
    2. a scenario was skipped for the machine's sake, or is missing: INCONCLUSIVE
    3. the score is below the limit: BLOCKED
    4. a measurement did not hold: BLOCKED
    5. a gateway was not evaluated: BLOCKED
    6. a finding about the evidence itself: BLOCKED
    7. the run could not certify, or scenarios were skipped for other reasons: PROVISIONAL
    8. CERTIFIED
    """
    rules = (
        (Status.BLOCKED, _gateway_obstacles(standing, GatewayState.FAILED)),
        (Status.BLOCKED, _own_gate_obstacles(standing)),
        (
            Status.INCONCLUSIVE,
            _untested(standing.scenarios, standing.unplaced, standing.deferred),
        ),
        (Status.BLOCKED, _score_obstacles(standing)),
        (Status.BLOCKED, _measured_obstacles(standing)),
        (Status.BLOCKED, _gateway_obstacles(standing, GatewayState.NOT_EVALUATED)),
        (Status.BLOCKED, tuple(f"Evidence: {finding.text}" for finding in standing.findings)),
        (Status.PROVISIONAL, (*standing.limits, *_other_skips(standing.scenarios))),
    )
    status = next((verdict for verdict, obstacles in rules if obstacles), Status.CERTIFIED)
    return status, tuple(obstacle for _, obstacles in rules for obstacle in obstacles)


def not_tested(score: Score) -> tuple[str, ...]:
    """Return what a run says nothing of, and why, a sentence each; empty where all was tested."""
    return (
        *_untested(score.scenarios, score.unplaced, score.deferred),
        *_other_skips(score.scenarios),
    )


def _gateway_obstacles(standing: Standing, state: GatewayState) -> tuple[str, ...]:
    words = "failed" if state is GatewayState.FAILED else "was not evaluated"
    obstacles = []
    for entry in standing.gateways.values():
        if entry.state is state:
            others = len(entry.reasons) - 1
            more = f", and {others} more" if others else ""
            obstacles.append(f"Gateway {entry.gateway} {words}: {entry.reasons[0]}{more}")
    return tuple(obstacles)


def _own_gate_obstacles(standing: Standing) -> tuple[str, ...]:
    return tuple(
        f"The playbook's gate {entry.own_gate.id} (P0) failed: {entry.reason}"
        for entry in standing.scenarios
        if entry.own_gate is not None
        and entry.own_gate.severity is Severity.P0
        and entry.outcome is Outcome.FALSIFIED
    )


def _untested(
    scenarios: Sequence[ScenarioScore],
    unplaced: Sequence[PlacedOut],
    deferred: Sequence[PlacedOut],
) -> tuple[str, ...]:
    left_out = {each.cell for each in (*unplaced, *deferred)}
    missing = [
        entry.scenario
        for entry in scenarios
        if entry.outcome is None and entry.cell not in left_out
    ]
    skipped = [entry for entry in scenarios if entry.is_infrastructure]
    obstacles = []
    for start, cells in (
        ("No runner class has room for", unplaced),
        ("Deferred to a run of the repository's own:", deferred),
    ):
        if cells:
            told = named([f"{each.cell} ({brief(each.reason, _REASON)})" for each in cells], _TOLD)
            obstacles.append(f"{start} {counted(len(cells), 'cell')}, not tested: {told}")
    if missing:
        number = counted(len(missing), "planned scenario")
        why = "a shard was lost or the run was interrupted"
        obstacles.append(f"There is no record of {number}, {why}: {named(missing)}")
    if skipped:
        causes = named(sorted({entry.cause for entry in skipped}))
        number = counted(len(skipped), "scenario")
        obstacles.append(f"The machine or the tool kept {number} from being tested: {causes}")
    return tuple(obstacles)


def _score_obstacles(standing: Standing) -> tuple[str, ...]:
    if standing.mqs >= standing.certify_at:
        return ()
    return (f"The score is {standing.mqs}; a certificate needs {standing.certify_at}",)


def _measured_obstacles(standing: Standing) -> tuple[str, ...]:
    """Name the measurements that did not hold.

    A wrong answer is one of many, and a share of them may be wrong. A measurement is about the
    whole cell: weights that are not the original's, a leak, a seed that is ignored. Averaged
    with what else the cell does well, it would cost a few points and change nothing.
    """
    gates = gate_catalogue()
    failed = [
        f"{entry.scenario} ({brief(entry.reason, _REASON)})"
        for entry in standing.scenarios
        if entry.own_gate is None
        and entry.outcome is not None
        and entry.outcome.is_failure
        and (gate := gates.get(entry.gate_id)) is not None
        and gate.must_hold
    ]
    if not failed:
        return ()
    number = counted(len(failed), "measurement")
    return (
        f"A certificate needs every measurement to hold; {number} did not: {named(failed, _TOLD)}",
    )


def _other_skips(scenarios: Sequence[ScenarioScore]) -> tuple[str, ...]:
    skipped = [
        entry.scenario
        for entry in scenarios
        if entry.outcome is Outcome.SKIPPED and not entry.is_infrastructure
    ]
    if not skipped:
        return ()
    return (f"Skipped, and so not tested: {counted(len(skipped), 'scenario')}, {named(skipped)}",)
