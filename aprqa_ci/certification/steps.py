"""The steps of a certification as functions: plan, run a shard, merge, report, register, certify.

The command line is a thin layer over these, and so may any other program be. What comes from the
outside world comes in through :class:`Surroundings`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.certification.appending import earlier_records, joined, require_newest
from aprqa_ci.certification.bundle import (
    EVIDENCE_NAME,
    Bundle,
    baseline_in,
    write_bundle,
)
from aprqa_ci.certification.diagnostics import write_diagnostics
from aprqa_ci.certification.merging import merge_each, merge_shards
from aprqa_ci.certification.resuming import end_run, finished_bundles
from aprqa_ci.certification.running import RunOptions, RunOutput, run_into
from aprqa_ci.certification.silence import Silence
from aprqa_ci.certification.standing import Earlier, standing_records
from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.certification.timings import read_timings
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.building import utc_text
from aprqa_ci.evidence.journal import JOURNAL_NAME
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.evidence.shard_list import cell_digests
from aprqa_ci.evidence.shards import (
    MANIFEST_NAME,
    ShardManifest,
)
from aprqa_ci.execution.engines.registry import engine_names
from aprqa_ci.execution.fetching.manifest import MODELS_NAME, Models
from aprqa_ci.execution.host import HostDescription
from aprqa_ci.execution.machine import Observer
from aprqa_ci.execution.preflight import preflight
from aprqa_ci.files import sha256_bytes, write_atomic
from aprqa_ci.planning.baseline import Baseline
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.plan import Plan, PlannedShard, plan_digest
from aprqa_ci.playbook.load import load_playbooks
from aprqa_ci.playbook.lock import read_lock, require_locked
from aprqa_ci.reports.write import write_reports
from aprqa_ci.scoring.runs import newest_run
from aprqa_ci.vocabulary import FailurePolicy
from aprqa_ci.wire import near_name, pretty_json

__all__ = [
    "Surroundings",
    "certify_plan",
    "certify_playbook",
    "end_run",
    "make_plan",
    "merge_each",
    "merge_shards",
    "run_shard",
    "shard_named",
]


def make_plan(
    playbooks: Sequence[Path | str],
    *,
    options: PlanOptions,
    surroundings: Surroundings,
    certifications: Path | None = None,
) -> Plan:
    """Load playbooks and expand them into a plan.

    Args:
        playbooks: files, directories or globs.
        options: tier, selection, engine, number of shards.
        surroundings: the outside world.
        certifications: where earlier certificates lie, to compare with, and what cells took.

    Raises:
        InputError: with every problem of every playbook, an unknown engine, or playbooks that are
            not as they were locked.
    """
    _require_engine(options.engine)
    loaded = load_playbooks(playbooks)
    if options.locked:
        require_locked(loaded, read_lock(surroundings.root), root=surroundings.root)
    baselines: dict[str, Baseline] = {}
    timings: dict[tuple[str, str], float] = {}
    if certifications is not None:
        for name in (each.playbook.name for each in loaded):
            timings.update(read_timings(certifications / name))
            baseline = baseline_in(certifications / name)
            if baseline is not None:
                baselines[name] = baseline
    return expand(
        loaded,
        options=options,
        tool_version=__version__,
        root=surroundings.root,
        baselines=baselines,
        timings=timings,
    )


def certify_plan(
    plan: Plan,
    *,
    out: Path,
    resume: bool = False,
    append: bool = False,
    previous: Mapping[str, Earlier] | None = None,
    settled: bool = True,
    surroundings: Surroundings,
    observer: Observer | None = None,
) -> list[Bundle]:
    """Run every playbook of a plan on this machine and write its bundle and reports.

    Args:
        plan: the plan.
        out: the directory of bundles, ``certifications``.
        resume: go on with an interrupted run; the playbooks that it had finished stay as they are.
        append: keep the records of earlier runs; the newest run is the one that is scored.
        previous: an earlier run by playbook name; what still stands of it is not run again.
        settled: whether the run is over when this returns. A caller that has yet to deliver what
            came of it says no and calls :func:`end_run` then: killed before, the run is resumed
            without running anything again.
        surroundings: the outside world.
        observer: watches; absent, nobody does.

    Raises:
        InputError: the evidence to append to, or the journal to resume, is unreadable.
        InconclusiveError: the clock is behind the evidence to append to.
        AprqaError: the run was interrupted; journals hold what was recorded.
    """
    finished = finished_bundles(plan, out) if resume else {}
    host = surroundings.host()
    bundles = []
    for entry in plan.playbooks:
        if entry.name in finished:
            bundle = finished[entry.name]
            _write_reports(bundle, newest_run(bundle.records))
            bundles.append(bundle)
            continue
        own = plan.for_playbook(entry.name)
        standing: Mapping[str, EvidenceRecord] = {}
        if previous is not None and entry.name in previous:
            standing = standing_records(
                previous[entry.name], own, surroundings.measuring_environment(own, host)
            )
        bundles.append(
            certify_playbook(
                own,
                out / entry.name,
                options=RunOptions(resume=resume, standing=standing),
                earlier=earlier_records(out / entry.name) if append else (),
                digests=previous[entry.name].model_digests if standing and previous else {},
                surroundings=surroundings,
                host=host,
                observer=observer,
            )
        )
    if settled:
        end_run(plan, out)
    return bundles


def certify_playbook(
    plan: Plan,
    directory: Path,
    *,
    options: RunOptions,
    earlier: Sequence[EvidenceRecord] = (),
    digests: Mapping[str, Mapping[str, str]],
    cells: Sequence[str] | None = None,
    surroundings: Surroundings,
    host: HostDescription,
    observer: Observer | None = None,
) -> Bundle:
    """Run one playbook on this machine and write its bundle and reports.

    The journal stays beside the bundle, for the caller to remove when the run is over.

    Args:
        plan: of the one playbook.
        directory: of its bundle.
        options: how it is run.
        earlier: records that stay in the evidence.
        digests: SHA-256 by file name, by variant, of files that are known and not read again.
        cells: those to be run; all unless given.
        surroundings: the outside world.
        host: this machine.
        observer: watches; absent, nobody does.

    Raises:
        InputError: the journal to resume is unreadable.
        InconclusiveError: the clock is behind the evidence to append to.
        AprqaError: the run was interrupted; the journal holds what was recorded.
    """
    (entry,) = plan.playbooks
    now = utc_text(surroundings.now())
    require_newest(earlier, [now], run_id=options.run_id, path=directory / EVIDENCE_NAME)
    output = run_into(
        directory,
        plan,
        [cell.id for cell in plan.cells] if cells is None else cells,
        options=options,
        environment=surroundings.run_environment(plan),
        host=host,
        observer=observer or Silence(),
    )
    require_newest(
        earlier,
        [record.timestamp for record in output.records],
        run_id=output.run_id,
        path=directory / EVIDENCE_NAME,
    )
    bundle = write_bundle(
        directory,
        plan,
        joined(earlier, output.records),
        model_digests={**digests, **output.digests.get(entry.name, {})},
    )
    _write_reports(bundle, output.records)
    return bundle


def _write_reports(bundle: Bundle, run: Sequence[EvidenceRecord]) -> None:
    (entry,) = bundle.plan.playbooks
    write_reports(bundle.directory, bundle.report)
    if entry.failure_policy is FailurePolicy.FAIL_FAST:
        write_diagnostics(bundle.directory, bundle.plan, run)


def run_shard(
    plan: Plan,
    shard_id: str,
    *,
    out: Path,
    attempt: int = 1,
    run_id: str | None = None,
    resume: bool = False,
    models: Models | None = None,
    surroundings: Surroundings,
    observer: Observer | None = None,
) -> RunOutput:
    """Run one shard of a plan; its evidence and manifest are left in ``out``.

    The machine is checked first: cells that it is not fit for are skipped, the others are run.

    Args:
        plan: the plan.
        shard_id: one of its shards.
        out: the shard's own directory.
        attempt: counts repetitions of the shard.
        run_id: common to all shards of the run; the plan's digest if absent.
        resume: go on with an interrupted run.
        models: what was fetched for it; kept with the evidence.
        surroundings: the outside world.
        observer: watches; absent, nobody does.

    Raises:
        InputError: the plan has no such shard.
        AprqaError: the run was interrupted; the journal holds what was recorded.
    """
    shard = shard_named(plan, shard_id)
    wanted = set(shard.cells)
    problems = preflight(
        [cell for cell in plan.cells if cell.id in wanted],
        {playbook.name: playbook for playbook in plan.playbooks},
        surroundings.preflight_world(out, models),
    )
    output = run_into(
        out,
        plan,
        shard.cells,
        options=RunOptions(
            resume=resume,
            attempt=attempt,
            run_id=run_id or f"plan-{plan_digest(plan)[:16]}",
            preflight=problems,
        ),
        environment=surroundings.run_environment(plan),
        host=surroundings.host(),
        observer=observer or Silence(),
    )
    files = {EVIDENCE_NAME: write_evidence(out / EVIDENCE_NAME, output.records)}
    if models is not None:
        data = pretty_json(models)
        write_atomic(out / MODELS_NAME, data)
        files[MODELS_NAME] = sha256_bytes(data)
    manifest = ShardManifest(
        plan_digest=plan_digest(plan),
        shard=shard_id,
        attempt=attempt,
        started=output.started,
        finished=utc_text(surroundings.now()),
        host=output.host,
        runner=shard.runner,
        exit=0,
        files=files,
        model_digests=output.digests,
        records=cell_digests(output.records),
    )
    write_atomic(out / MANIFEST_NAME, pretty_json(manifest))
    (out / JOURNAL_NAME).unlink()
    return output


def _require_engine(name: str | None) -> None:
    if name is None:
        return
    known = list(engine_names())
    if name not in known:
        what = f"there is no engine {name!r}; known: {', '.join(known)}"
        raise InputError(Problem(what=what, hint=near_name(name, known)))


def shard_named(plan: Plan, shard_id: str) -> PlannedShard:
    """Return the shard of that name.

    Raises:
        InputError: the plan has no such shard.
    """
    for shard in plan.shards:
        if shard.id == shard_id:
            return shard
    what = f"the plan has no shard {shard_id!r}; it has {', '.join(s.id for s in plan.shards)}"
    raise InputError(Problem(what=what))
