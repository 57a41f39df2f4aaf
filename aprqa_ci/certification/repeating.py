"""Running again what failed, without asking again what did not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aprqa_ci.certification.bundle import Bundle, read_bundle
from aprqa_ci.certification.running import RunOptions
from aprqa_ci.certification.standing import Earlier, differences
from aprqa_ci.certification.steps import Surroundings, certify_playbook, end_run
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.execution.host import HostDescription
from aprqa_ci.execution.machine import Observer
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.identifiers import cell_of
from aprqa_ci.planning.plan import Plan
from aprqa_ci.scoring.runs import attempt_of
from aprqa_ci.scoring.score import ScenarioScore

__all__ = ["Repeated", "certify_failed"]


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What became of one playbook."""

    bundle: Bundle
    failed: tuple[str, ...]
    """The scenarios that had failed, were missing, or could not be run for the machine's sake."""
    differences: tuple[str, ...]
    """What is not as it was. With any, the run is a narrowed one, of the cells that had failures,
    and cannot certify; without, it is another attempt at the same run."""


def certify_failed(
    plan: Plan, *, out: Path, surroundings: Surroundings, observer: Observer | None = None
) -> list[Repeated]:
    """Run again what failed in the bundles of a plan's playbooks. All earlier evidence is kept.

    While model, engine, tool and plan are what they were, what went well stands, and the scenarios
    that failed are tried again as another attempt: one that fails and then does not is flaky, and
    the policy says what that counts for. When something was changed, to mend it, nothing stands:
    then the cells that had failures are run whole, to see whether they are mended.

    Args:
        plan: what would be run now.
        out: the directory of bundles.
        surroundings: the outside world.
        observer: watches; absent, nobody does.

    Raises:
        InputError: a playbook has no bundle, or a damaged one, or no cell that failed is left.
        AprqaError: the run was interrupted; the journal holds what was recorded.
    """
    bundles = _bundles(plan, out)
    host = surroundings.host()
    return [
        _again(plan.for_playbook(name), bundle, surroundings, host, observer)
        for name, bundle in bundles.items()
    ]


def _bundles(plan: Plan, out: Path) -> Mapping[str, Bundle]:
    problems: list[Problem] = []
    bundles = {}
    for entry in plan.playbooks:
        directory = out / entry.name
        if not directory.is_dir():
            what = f"{entry.name} has not been run: there is nothing that failed"
            hint = "certify it without --failed"
            problems.append(Problem(what=what, path=directory, hint=hint))
            continue
        try:
            bundles[entry.name] = read_bundle(directory)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return bundles


def _again(
    plan: Plan,
    bundle: Bundle,
    surroundings: Surroundings,
    host: HostDescription,
    observer: Observer | None,
) -> Repeated:
    failed = tuple(each.scenario for each in bundle.score.scenarios if _is_to_repeat(each))
    if not failed:
        return Repeated(bundle=bundle, failed=(), differences=())
    earlier = Earlier.of(bundle)
    found = tuple(differences(earlier, plan, surroundings.measuring_environment(plan, host)))
    cells = {cell_of(each) for each in failed}
    run_id = bundle.certificate.run_id
    if found or run_id is None:
        plan = _narrowed(plan, cells, bundle.directory)
        options, digests = RunOptions(), {}
    else:
        options = RunOptions(
            run_id=run_id,
            attempt=1 + max(map(attempt_of, earlier.records), default=0),
            kept=_kept(earlier, set(failed), cells),
        )
        digests = dict(earlier.model_digests)
    again = certify_playbook(
        plan,
        bundle.directory,
        options=options,
        earlier=bundle.records,
        digests=digests,
        cells=[cell.id for cell in plan.cells if cell.id in cells],
        surroundings=surroundings,
        host=host,
        observer=observer,
    )
    end_run(plan, bundle.directory.parent)
    return Repeated(bundle=again, failed=failed, differences=found)


def _is_to_repeat(entry: ScenarioScore) -> bool:
    gate = gate_catalogue().get(entry.gate_id)
    if gate is not None and gate.made_by == "derived":
        return False
    return entry.outcome is None or entry.outcome.is_failure or entry.is_infrastructure


def _kept(earlier: Earlier, failed: set[str], cells: set[str]) -> tuple[EvidenceRecord, ...]:
    """Return the records that need no other attempt; what was concluded is concluded anew."""
    concluded = {
        scenario.id
        for cell in earlier.plan.cells
        if cell.id in cells
        for scenario in cell.scenarios
        if gate_catalogue()[scenario.gate_id].made_by == "derived"
    }
    return tuple(
        record
        for record in earlier.records
        if record.meta(MetadataKey.SCENARIO) not in failed | concluded
    )


def _narrowed(plan: Plan, cells: set[str], directory: Path) -> Plan:
    left = tuple(cell for cell in plan.cells if cell.id in cells)
    if not left:
        what = "no cell that failed is in the plan any more"
        raise InputError(Problem(what=what, path=directory, hint="certify it without --failed"))
    (entry,) = plan.playbooks
    return msgspec.structs.replace(
        plan, cells=left, playbooks=(msgspec.structs.replace(entry, narrowed=True),)
    )
