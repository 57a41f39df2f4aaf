"""Running cells into a directory: journal first, evidence when all is done."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from aprqa_ci import __version__
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.building import (
    RecordContext,
    carried_over,
    cell_result,
    host_of,
    record_of,
    utc_text,
)
from aprqa_ci.evidence.journal import (
    JOURNAL_NAME,
    Journal,
    JournalContent,
    JournalHead,
    ModelDigests,
    is_blank,
    read_journal,
)
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord, MetadataKey, machine_of
from aprqa_ci.execution.host import HostDescription
from aprqa_ci.execution.machine import Observer, RunEnvironment
from aprqa_ci.execution.preflight import PreflightProblem, refused_results
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.execution.run import run_cells
from aprqa_ci.planning.plan import Plan, digest_for_playbook, plan_digest
from aprqa_ci.redaction import redaction_of

__all__ = ["RunOptions", "RunOutput", "run_into"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How cells are run."""

    resume: bool = False
    """Go on with the journal that is in the directory."""
    attempt: int = 1
    run_id: str | None = None
    """What every record of the run carries; made up if absent. All shards of one run must have the
    same, or only one of them would be scored."""
    preflight: tuple[PreflightProblem, ...] = ()
    """What keeps cells from being run on this machine."""
    standing: Mapping[str, EvidenceRecord] = field(default_factory=dict)
    """Records of an earlier run that stand, by the scenario that each is of now. They are carried
    over into this run, and those scenarios are not run."""
    kept: tuple[EvidenceRecord, ...] = ()
    """Records of earlier attempts at the same run whose scenarios are not run again."""


@dataclass(frozen=True, kw_only=True)
class RunOutput:
    """What a run recorded."""

    run_id: str
    records: tuple[EvidenceRecord, ...]
    """In plan order."""
    digests: ModelDigests
    host: EvidenceHost
    started: str
    """RFC 3339, UTC."""
    resumed: int
    """How many of the records an earlier, interrupted run had made."""
    preflight: tuple[PreflightProblem, ...] = ()
    """What kept cells from being run on this machine."""


def run_into(
    directory: Path,
    plan: Plan,
    cells: Sequence[str],
    *,
    options: RunOptions,
    environment: RunEnvironment,
    host: HostDescription,
    observer: Observer,
) -> RunOutput:
    """Run the named cells; each record is in the directory's journal as soon as it is known.

    The journal stays; the caller removes it once its records are safe elsewhere.

    Raises:
        InputError: the journal to resume is of another plan, or damaged.
        AprqaError: the run was interrupted; the journal holds what was recorded.
    """
    path = directory / JOURNAL_NAME
    digest = plan_digest(plan)
    earlier = _earlier(path, digest) if options.resume else None
    if earlier is None:
        _set_aside(path, environment.now())
    head = earlier.head if earlier else _new_head(options.run_id, digest, environment.now())
    evidence_host = host_of(host, __version__)
    redaction = redaction_of(environment.environment)
    if environment.redaction is not None:
        redaction |= environment.redaction
    contexts = {
        playbook.name: RecordContext(
            run_id=head.run_id,
            plan_digest=digest_for_playbook(plan, playbook.name),
            hf_repo=playbook.model.hf_repo,
            host=evidence_host,
            attempt=options.attempt,
            redaction=redaction,
        )
        for playbook in plan.playbooks
    }
    records = list(earlier.records) if earlier else []
    digests: ModelDigests = dict(earlier.digests) if earlier else {}
    with Journal(path, head, resume=earlier is not None) as journal:

        def sink(result: ScenarioResult) -> None:
            context = contexts[result.cell.playbook]
            record = record_of(result, context, identifier=uuid4())
            journal.append(record)
            records.append(record)

        def note_digests(playbook: str, variant: str, found: Mapping[str, str]) -> None:
            journal.digests(playbook, variant, found)
            digests.setdefault(playbook, {})[variant] = dict(found)

        if earlier is None:
            for scenario, record in options.standing.items():
                context = contexts[_playbook_of(scenario)]
                over = carried_over(record, scenario, context, identifier=uuid4())
                journal.append(over)
                records.append(over)
        done = {
            record.metadata[MetadataKey.SCENARIO]: cell_result(record)
            for record in (*options.kept, *records)
        }
        fit = _refuse(
            plan,
            cells,
            options.preflight,
            done=done,
            now=environment.now(),
            sink=sink,
            observer=observer,
        )
        run_cells(
            plan,
            fit,
            environment=replace(environment, machine=machine_of(evidence_host)),
            sink=sink,
            observer=observer,
            done=done,
            digests=note_digests,
        )
    return RunOutput(
        run_id=head.run_id,
        records=_in_plan_order(records, plan),
        digests=digests,
        host=evidence_host,
        started=head.started,
        resumed=len(earlier.records) if earlier else 0,
        preflight=options.preflight,
    )


def _playbook_of(scenario: str) -> str:
    return scenario.partition(":")[0]


def _refuse(
    plan: Plan,
    cells: Sequence[str],
    problems: Sequence[PreflightProblem],
    *,
    done: Collection[str],
    now: datetime,
    sink: Callable[[ScenarioResult], None],
    observer: Observer,
) -> list[str]:
    """Record the cells that this machine is not fit for as skipped; return the others."""
    wanted = set(cells)
    refused = {name for problem in problems for name in problem.cells} & wanted
    for cell in plan.cells:
        if cell.id not in refused:
            continue
        own = [problem for problem in problems if cell.id in problem.cells]
        results = [each for each in refused_results(cell, own, now) if each.scenario.id not in done]
        if not results:
            continue
        observer.cell_started(cell, len(results))
        for result in results:
            sink(result)
            observer.scenario_finished(result)
        observer.cell_finished(cell)
    return [name for name in cells if name not in refused]


def _set_aside(path: Path, now: datetime) -> None:
    """Move the journal of an interrupted run away; what was recorded is never overwritten."""
    if not path.exists():
        return
    if is_blank(path):
        path.unlink()
    else:
        path.rename(path.with_name(f"interrupted-{now:%Y%m%dT%H%M%S}-{os.getpid()}.{path.name}"))


def _earlier(path: Path, digest: str) -> JournalContent | None:
    if not path.exists() or is_blank(path):
        return None
    content = read_journal(path)
    if content.head.plan_digest != digest:
        what = "the interrupted run was of another plan: the playbook, the tier or the tool changed"
        raise InputError(Problem(what=what, path=path, hint="start again without --resume"))
    return content


def _new_head(run_id: str | None, digest: str, now: datetime) -> JournalHead:
    run_id = run_id or f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
    return JournalHead(run_id=run_id, plan_digest=digest, started=utc_text(now))


def _in_plan_order(records: Sequence[EvidenceRecord], plan: Plan) -> tuple[EvidenceRecord, ...]:
    order = {
        scenario.id: index
        for index, scenario in enumerate(
            scenario for cell in plan.cells for scenario in cell.scenarios
        )
    }
    return tuple(sorted(records, key=lambda record: order[record.metadata[MetadataKey.SCENARIO]]))
