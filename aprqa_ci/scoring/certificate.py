"""The certificate: what was tested, how, on what, and what came of it, in one versioned file.

Everything in it is computed from the evidence, the plan and the digests of the files, so whoever
has those can compute it again and compare.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord, MetadataKey, machine_of
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.plan import PlacedOut, Plan, digest_for_playbook
from aprqa_ci.planning.questions import questions_digest
from aprqa_ci.scoring.certificate_parts import (
    CertifiedCategory,
    CertifiedCell,
    CertifiedCoverage,
    CertifiedDerivation,
    CertifiedEnd,
    CertifiedFinding,
    CertifiedFlaky,
    CertifiedGateway,
    CertifiedModel,
    CertifiedPassRate,
    CertifiedPenalty,
    CertifiedPlaybook,
    CertifiedPolicy,
    CertifiedSource,
    CertifiedTally,
    CertifiedThroughput,
)
from aprqa_ci.scoring.certified_gates import CertifiedGate, certified_gates
from aprqa_ci.scoring.evaluate import own_records
from aprqa_ci.scoring.runs import newest_run, time_span
from aprqa_ci.scoring.score import Score, Tally
from aprqa_ci.vocabulary import (
    Category,
    Gateway,
    Status,
)
from aprqa_ci.wire import WireModel, canonical_json, digest_of

__all__ = ["CERTIFICATE_SCHEMA", "Certificate", "baseline_from", "build_certificate"]

CERTIFICATE_SCHEMA = "aprqa-certificate/1"

# Asked of every record.
_MODEL_REPO = MetadataKey.MODEL_REPO.value
_DERIVED_FROM = MetadataKey.DERIVED_FROM.value


class Certificate(WireModel, frozen=True, kw_only=True):
    """The result of one run of one playbook, whatever its status."""

    schema: Literal["aprqa-certificate/1"] = "aprqa-certificate/1"
    model: CertifiedModel
    playbook: CertifiedPlaybook
    tier: str
    narrowed: bool
    """Whether cells were left out; a narrowed run cannot certify."""
    plan_digest: str
    evidence_digest: str
    """SHA-256 of the evidence file's bytes."""
    run_id: str | None
    """The run of the evidence that was scored."""
    tool_version: str
    engines: dict[str, str]
    """The version of each engine that answered; several versions are joined by commas."""
    hosts: tuple[EvidenceHost, ...]
    policy: CertifiedPolicy
    gateways: dict[Gateway, CertifiedGateway]
    categories: dict[Category, CertifiedCategory]
    penalties: tuple[CertifiedPenalty, ...]
    mqs: int
    """The Model Qualification Score, 0 to 1000."""
    raw: int
    """The score before the gateways."""
    grade: str
    status: Status
    certified_tier: str
    """The tier, when CERTIFIED; else ``none``."""
    totals: CertifiedTally
    pass_rate: CertifiedPassRate
    coverage: CertifiedCoverage
    declared_not_run: tuple[str, ...]
    flaky: tuple[str, ...]
    """The ids of the scenarios whose attempts ended in different ways."""
    flaky_ends: tuple[CertifiedFlaky, ...] = ()
    """How the attempts at each of them ended."""
    unplaced: tuple[PlacedOut, ...] = ()
    """Cells that were not run, for no runner class had room for them."""
    deferred: tuple[PlacedOut, ...] = ()
    """Cells that were not run, for only a run of the repository's own may reach their machines."""
    findings: tuple[CertifiedFinding, ...]
    obstacles: tuple[str, ...]
    """What stands between the result and CERTIFIED; empty when it is."""
    cells: dict[str, CertifiedCell]
    throughput: tuple[CertifiedThroughput, ...]
    started: str | None
    """Time of the oldest record of the run; RFC 3339, UTC."""
    finished: str | None
    """Time of the newest record of the run; RFC 3339, UTC."""
    # Absent rather than empty: a certificate without them has the digest that it always had.
    gates: tuple[CertifiedGate, ...] | msgspec.UnsetType = msgspec.UNSET
    """The gates that the playbook defines; absent when there are none."""
    shards_digest: str | msgspec.UnsetType = msgspec.UNSET
    """SHA-256 of the bytes of ``shards.json``; absent when evidence was not merged of shards."""


def build_certificate(
    score: Score,
    plan: Plan,
    playbook: str,
    records: Sequence[EvidenceRecord],
    *,
    evidence_digest: str,
    model_digests: Mapping[str, Mapping[str, str]],
    tool_version: str,
    shards_digest: str | None = None,
) -> Certificate:
    """Write a score down as a certificate. Pure.

    Args:
        score: the score of ``records`` under ``plan``.
        plan: the plan that the score was held against.
        playbook: the playbook's name in the plan.
        records: the records that were scored, earlier runs included.
        evidence_digest: SHA-256 of the evidence file's bytes.
        model_digests: SHA-256 by file name, by format with its quantization.
        tool_version: the version of this tool.
        shards_digest: SHA-256 of the list of shards, of evidence that was merged.

    Raises:
        InputError: the plan has no such playbook, or the score is of another plan.
    """
    run = newest_run(own_records(records, plan=plan, playbook=playbook))
    entry = plan.playbook_named(playbook)
    digest = digest_for_playbook(plan, playbook)
    if score.plan_digest != digest:
        what = f"the score is not of playbook {playbook} under this plan ({digest[:12]})"
        raise InputError(what)
    span = time_span(run)
    questions = {cell.id: questions_digest(cell) for cell in plan.cells_of(playbook)}
    return Certificate(
        model=CertifiedModel(
            hf_repo=entry.model.hf_repo,
            revision=entry.model.revision,
            family=entry.model.family,
            size_category=entry.model.size_category,
            files={name: dict(sorted(files.items())) for name, files in model_digests.items()},
            sources=_sources(run),
            derived=_derivations(run) or msgspec.UNSET,
        ),
        playbook=CertifiedPlaybook(name=entry.name, digest=entry.digest, version=entry.version),
        tier=entry.tier,
        narrowed=entry.narrowed,
        plan_digest=digest,
        evidence_digest=evidence_digest,
        run_id=score.run_id,
        tool_version=tool_version,
        engines=_engines(run),
        hosts=_hosts(run),
        policy=CertifiedPolicy(id=score.policy, version=score.policy_version),
        gateways={
            name: CertifiedGateway(
                state=gateway.state, reasons=gateway.reasons, records=gateway.records
            )
            for name, gateway in score.gateways.items()
        },
        categories={
            name: CertifiedCategory(
                tally=_tally(category.tally),
                weight=category.weight,
                points=category.points,
                maximum=category.maximum,
            )
            for name, category in score.categories.items()
        },
        penalties=tuple(
            CertifiedPenalty(code=each.code, points=each.points, scenario=each.scenario)
            for each in score.penalties
        ),
        mqs=score.mqs,
        raw=score.raw,
        grade=score.grade,
        status=score.status,
        certified_tier=score.certified_tier,
        totals=_tally(score.totals),
        pass_rate=CertifiedPassRate(
            corroborated=score.pass_rate.corroborated,
            planned=score.pass_rate.planned,
            rate=score.pass_rate.rate,
            low=score.pass_rate.low,
            high=score.pass_rate.high,
        ),
        coverage=CertifiedCoverage(
            planned=score.coverage.planned,
            recorded=score.coverage.recorded,
            missing=score.coverage.missing,
            skipped=dict(score.coverage.skipped),
        ),
        declared_not_run=score.declared_not_run,
        flaky=tuple(each.scenario for each in score.flaky),
        flaky_ends=tuple(
            CertifiedFlaky(
                scenario=each.scenario,
                ends=tuple(
                    CertifiedEnd(
                        run_id=end.run_id,
                        attempt=end.attempt,
                        outcome=end.outcome,
                        reason=end.reason,
                        record=end.record,
                    )
                    for end in each.ends
                ),
            )
            for each in score.flaky
        ),
        unplaced=score.unplaced,
        deferred=score.deferred,
        findings=tuple(
            CertifiedFinding(kind=each.kind, text=each.text, subjects=each.subjects)
            for each in score.findings
        ),
        obstacles=score.obstacles,
        cells={
            name: CertifiedCell(
                tally=_tally(cell.tally),
                corroborated=cell.corroborated,
                failed=cell.failed,
                tokens_per_second=cell.tokens_per_second,
                questions=questions.get(name, msgspec.UNSET),
            )
            for name, cell in score.cells.items()
        },
        throughput=tuple(
            CertifiedThroughput(
                format=each.format,
                backend=each.backend,
                tokens_per_second=each.tokens_per_second,
                measurements=each.measurements,
            )
            for each in score.throughput
        ),
        started=span and span[0],
        finished=span and span[1],
        gates=certified_gates(score) or msgspec.UNSET,
        shards_digest=shards_digest or msgspec.UNSET,
    )


def baseline_from(certificate: Certificate) -> Baseline:
    """Return what the next run of the playbook compares itself with.

    Which certificate is the accepted one is the caller's choice; nothing is refused here.
    """
    return Baseline(
        certificate_digest=digest_of(certificate),
        model_digests={
            f"{variant}/{name}": digest
            for variant, files in certificate.model.files.items()
            for name, digest in files.items()
        },
        machines=tuple(sorted({machine_of(host) for host in certificate.hosts})),
        cells={
            name: BaselineCell(
                corroborated=cell.corroborated,
                tokens_per_second=cell.tokens_per_second,
                questions=cell.questions,
            )
            for name, cell in certificate.cells.items()
        },
        engines=certificate.engines,
        revision=certificate.model.revision,
    )


def _tally(tally: Tally) -> CertifiedTally:
    return CertifiedTally(
        planned=tally.planned,
        corroborated=tally.corroborated,
        falsified=tally.falsified,
        skipped=tally.skipped,
        timeout=tally.timeout,
        crashed=tally.crashed,
        missing=tally.missing,
    )


def _engines(run: Sequence[EvidenceRecord]) -> dict[str, str]:
    name, version = MetadataKey.ENGINE.value, MetadataKey.ENGINE_VERSION.value
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for engine, told in {(each.metadata.get(name), each.metadata.get(version)) for each in run}:
        if engine is not None:
            versions[engine].add(told or "unknown")
    return {engine: ", ".join(sorted(found)) for engine, found in sorted(versions.items())}


def _sources(run: Sequence[EvidenceRecord]) -> dict[str, CertifiedSource]:
    """Return where each variant came from; one that came from two places is named for the last."""
    found = {}
    for record in run:
        repo = record.metadata.get(_MODEL_REPO)
        if repo is None or record.metadata.get(_DERIVED_FROM) is not None:
            continue
        commit = record.meta(MetadataKey.MODEL_COMMIT)
        if commit is not None:
            found[_variant(record)] = CertifiedSource(repo=repo, commit=commit)
    return dict(sorted(found.items()))


def _derivations(run: Sequence[EvidenceRecord]) -> dict[str, CertifiedDerivation]:
    found = {}
    for record in run:
        source = record.metadata.get(_DERIVED_FROM)
        if source is not None:
            found[_variant(record)] = CertifiedDerivation(
                source=source,
                source_digest=record.meta(MetadataKey.DERIVED_DIGEST) or "",
                tool=record.meta(MetadataKey.DERIVED_BY) or "",
                repo=record.meta(MetadataKey.MODEL_REPO),
                commit=record.meta(MetadataKey.MODEL_COMMIT),
            )
    return dict(sorted(found.items()))


def _variant(record: EvidenceRecord) -> str:
    return variant_name(record.scenario.format, record.meta(MetadataKey.QUANTIZATION))


def _hosts(run: Sequence[EvidenceRecord]) -> tuple[EvidenceHost, ...]:
    hosts = {canonical_json(host): host for host in {record.host for record in run}}
    return tuple(hosts[key] for key in sorted(hosts))
