"""What an interrupted run of several playbooks had finished."""

from pathlib import Path

from aprqa_ci.certification.bundle import (
    CERTIFICATE_NAME,
    Bundle,
    check_files,
    read_bundle,
    read_files,
)
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import JOURNAL_NAME, read_journal
from aprqa_ci.planning.plan import Plan

__all__ = ["end_run", "finished_bundles"]


def finished_bundles(plan: Plan, out: Path) -> dict[str, Bundle]:
    """Return the bundles of the playbooks that an interrupted run had finished, by name.

    Playbooks are run in plan order. A journal stays beside the bundle that was made of it until all
    of the run is delivered, and then the journals go in the same order. So a playbook is finished
    when its bundle holds all of its journal, or when it comes before the first that has a journal.

    Args:
        plan: the plan, made again; what was certified meanwhile is a baseline to it now.
        out: the directory of bundles.

    Raises:
        InputError: the bundle of a playbook whose journal is gone already is damaged.
    """
    names = [entry.name for entry in plan.playbooks]
    interrupted = [name for name in names if (out / name / JOURNAL_NAME).exists()]
    if not interrupted:
        return {}
    finished = {}
    for name in names[: names.index(interrupted[0])]:
        if (out / name / CERTIFICATE_NAME).exists():
            bundle = read_bundle(out / name)
            if _subject(bundle.plan) == _subject(plan.for_playbook(name)):
                finished[name] = bundle
    for name in interrupted:
        made = _made_of_journal(out / name)
        if made is not None and _subject(made.plan) == _subject(plan.for_playbook(name)):
            finished[name] = made
    return finished


def end_run(plan: Plan, out: Path) -> None:
    """Remove the journals of a run of which everything is delivered; it can't be resumed then.

    Raises:
        OSError: one cannot be removed.
    """
    for entry in plan.playbooks:
        (out / entry.name / JOURNAL_NAME).unlink(missing_ok=True)


def _made_of_journal(directory: Path) -> Bundle | None:
    """Return the bundle if it was made of the journal that lies beside it."""
    try:
        journal = read_journal(directory / JOURNAL_NAME)
        bundle, broken = check_files(read_files(directory))
    except InputError:
        # Written in part, or of an earlier run: the journal is what counts.
        return None
    if broken or bundle is None or bundle.certificate.run_id != journal.head.run_id:
        return None
    known = {record.id for record in bundle.records}
    return bundle if all(record.id in known for record in journal.records) else None


def _subject(plan: Plan) -> object:
    """Return what the plan of one playbook tests, whatever it is compared with."""
    (entry,) = plan.playbooks
    cells = [(cell.id, cell.engine) for cell in plan.cells]
    return plan.tool_version, entry.digest, entry.tier, cells
