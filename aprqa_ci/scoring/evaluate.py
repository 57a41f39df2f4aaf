"""Scoring: from evidence, and the plan it is held against, to one score object."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey, model_id_of
from aprqa_ci.planning.plan import Plan, PlannedPlaybook, digest_for_playbook
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.scoring.gateways import evaluate_gateways
from aprqa_ci.scoring.ledger import Ledger, not_run, planned_ledger, unplanned_ledger
from aprqa_ci.scoring.policies import Policy, ReferencePolicy, SharePolicy, grade_of
from aprqa_ci.scoring.reference_policy import (
    normalised_score,
    reference_gateways,
    reference_ledger,
    reference_points,
)
from aprqa_ci.scoring.runs import flaky_scenarios, newest_attempts, newest_run, run_of
from aprqa_ci.scoring.score import GatewayResult, Score, Tally
from aprqa_ci.scoring.share_policy import Points, share_points
from aprqa_ci.scoring.status import Standing, decide_status
from aprqa_ci.scoring.summaries import cell_summaries, coverage_of, pass_rate_of, throughput_of
from aprqa_ci.vocabulary import Gateway, GatewayState, Status
from aprqa_ci.wire import near_name

__all__ = ["own_records", "score_evidence"]

PLACEHOLDER_MODEL = "conversion/test"
"""What the existing tool writes for the model into records of conversions."""


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    ledger: Ledger
    points: Points
    gateways: Mapping[Gateway, GatewayResult]
    mqs: int
    grade: str
    normalised: float | None
    status: Status
    obstacles: tuple[str, ...]


def score_evidence(
    records: Sequence[EvidenceRecord],
    *,
    plan: Plan | None,
    playbook: str | None,
    policy: Policy,
) -> Score:
    """Score the newest run of a playbook's evidence. Pure, and blind to the order of records.

    Args:
        records: all records of the evidence file; it may hold several runs, and records of other
            playbooks of the plan, which are left alone.
        plan: what was to be tested. Without it nothing shows what is missing, so the result is
            PROVISIONAL at most.
        playbook: the playbook's name in the plan; may be absent when the plan has only one.
        policy: the formula and its numbers.

    Raises:
        InputError: the plan has no such playbook, or several and none is named.
    """
    own_plan = None if plan is None else _own_plan(plan, playbook)
    own = own_records(records, plan=plan, playbook=playbook)
    run = newest_run(own)
    entry = None if own_plan is None else own_plan.playbooks[0]
    judgement = _judge(run, own_plan, policy)
    ledger, points = judgement.ledger, judgement.points
    scored = tuple(each for each in ledger.scenarios if each.in_the_score)
    totals = Tally.of(scored)
    tier = None if entry is None else entry.tier
    return Score(
        model_id=_model_id(run, entry),
        playbook=playbook if entry is None else entry.name,
        policy=policy.id,
        policy_version=policy.version,
        run_id=run_of(run[0]) if run else None,
        plan_digest=digest_for_playbook(own_plan, entry.name) if own_plan and entry else None,
        tier=tier,
        narrowed=entry is not None and entry.narrowed,
        declared_not_run=() if entry is None else entry.declared_not_run,
        mqs=judgement.mqs,
        raw=points.raw,
        subtotal=points.subtotal,
        grade=judgement.grade,
        normalised=judgement.normalised,
        status=judgement.status,
        certified_tier=(tier or "none") if judgement.status is Status.CERTIFIED else "none",
        gateways=judgement.gateways,
        categories=points.categories,
        penalties=points.penalties,
        totals=totals,
        pass_rate=pass_rate_of(totals),
        coverage=coverage_of(ledger.scenarios),
        scenarios=ledger.scenarios,
        cells=cell_summaries(ledger),
        throughput=throughput_of(run),
        unplaced=() if own_plan is None else not_run(ledger, own_plan.unplaced),
        deferred=() if own_plan is None else not_run(ledger, own_plan.deferred),
        flaky=flaky_scenarios(own),
        findings=ledger.findings,
        obstacles=judgement.obstacles,
    )


def own_records(
    records: Sequence[EvidenceRecord], *, plan: Plan | None, playbook: str | None
) -> tuple[EvidenceRecord, ...]:
    """Return the records without those that belong to other playbooks of the plan.

    Raises:
        InputError: the plan has no such playbook, or several and none is named.
    """
    if plan is None:
        return tuple(records)
    name = _own_plan(plan, playbook).playbooks[0].name
    if len(plan.playbooks) == 1 and all(cell.playbook == name for cell in plan.cells):
        return tuple(records)
    ids = {scenario.id: cell.playbook for cell in plan.cells for scenario in cell.scenarios}
    ids |= {gate.scenario: each.name for each in plan.playbooks for gate in each.own_gates}
    return tuple(
        record
        for record in records
        if ids.get(record.meta(MetadataKey.SCENARIO) or "", name) == name
    )


def _own_plan(plan: Plan, playbook: str | None) -> Plan:
    names = [entry.name for entry in plan.playbooks]
    if playbook is None and len(names) != 1:
        what = f"the plan has {len(names)} playbooks; name the one that is meant"
        raise InputError(Problem(what=what, hint=f"they are {', '.join(names)}" if names else ""))
    if playbook is not None and names.count(playbook) != 1:
        what = f"the plan has no playbook {playbook!r}, or has it more than once"
        raise InputError(Problem(what=what, hint=near_name(playbook, names)))
    return plan.for_playbook(playbook or names[0])


def _judge(run: Sequence[EvidenceRecord], plan: Plan | None, policy: Policy) -> _Judgement:
    match policy:
        case SharePolicy():
            return _judge_by_share(run, plan, policy)
        case ReferencePolicy():
            return _judge_by_reference(run, policy)


def _judge_by_share(
    run: Sequence[EvidenceRecord], plan: Plan | None, policy: SharePolicy
) -> _Judgement:
    counting = newest_attempts(run) if policy.flaky == "report" else run
    ledger = unplanned_ledger(counting) if plan is None else planned_ledger(counting, plan)
    gateways = evaluate_gateways(ledger)
    points = share_points(ledger, policy)
    mqs = 0 if _any_failed(gateways) else points.raw
    status, obstacles = decide_status(
        Standing(
            gateways=gateways,
            mqs=mqs,
            certify_at=policy.certify_at,
            scenarios=ledger.scenarios,
            unplaced=() if plan is None else not_run(ledger, plan.unplaced),
            deferred=() if plan is None else not_run(ledger, plan.deferred),
            findings=ledger.findings,
            limits=_limits(plan),
        )
    )
    return _Judgement(
        ledger=ledger,
        points=points,
        gateways=gateways,
        mqs=mqs,
        grade=grade_of(mqs, policy.grades),
        normalised=None,
        status=status,
        obstacles=obstacles,
    )


def _judge_by_reference(run: Sequence[EvidenceRecord], policy: ReferencePolicy) -> _Judgement:
    ledger = reference_ledger(run, policy)
    gateways = reference_gateways(ledger.records, policy)
    points = reference_points(ledger, policy)
    failed = _any_failed(gateways)
    mqs = 0 if failed else points.raw
    normalised = normalised_score(mqs)
    good = mqs >= policy.certify_at and not failed
    credited = [str(entry.category) for entry in points.categories.values() if entry.credited]
    obstacles = [f"Policy {policy.id} is for comparison and cannot certify"]
    if credited:
        obstacles.append(f"Never tested, and credited all the same: {', '.join(credited)}")
    return _Judgement(
        ledger=ledger,
        points=points,
        gateways=gateways,
        mqs=mqs,
        grade="F" if failed else grade_of(normalised, policy.grades),
        normalised=normalised,
        status=Status.PROVISIONAL if good else Status.BLOCKED,
        obstacles=tuple(obstacles),
    )


def _any_failed(gateways: Mapping[Gateway, GatewayResult]) -> bool:
    return any(entry.state is GatewayState.FAILED for entry in gateways.values())


def _limits(plan: Plan | None) -> tuple[str, ...]:
    if plan is None:
        return ("There is no plan, so nothing shows what is missing",)
    playbook = plan.playbooks[0]
    limits = []
    tier = load_tiers().get(playbook.tier)
    if tier is None or not tier.certifying:
        limits.append(f"Tier {playbook.tier} does not certify")
    if playbook.narrowed:
        limits.append("The run was narrowed to a part of the playbook's cells")
    return tuple(limits)


def _model_id(run: Sequence[EvidenceRecord], playbook: PlannedPlaybook | None) -> str:
    if playbook is not None:
        return playbook.model.hf_repo
    names = Counter(model_id_of(record.scenario.model) for record in run)
    if len(names) > 1:
        del names[PLACEHOLDER_MODEL]
    return min(names, key=lambda name: (-names[name], name), default="unknown")
