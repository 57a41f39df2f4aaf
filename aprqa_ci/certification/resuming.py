"""What an interrupted run of several playbooks had finished."""

from pathlib import Path

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, Bundle, read_bundle
from aprqa_ci.evidence.journal import JOURNAL_NAME
from aprqa_ci.planning.plan import Plan

__all__ = ["finished_bundles"]


def finished_bundles(plan: Plan, out: Path) -> dict[str, Bundle]:
    """Return the bundles of the playbooks that an interrupted run had finished, by name.

    Playbooks are run in plan order, so those are the ones before the one that has a journal.

    Args:
        plan: the plan, made again; what was certified meanwhile is a baseline to it now.
        out: the directory of bundles.

    Raises:
        InputError: such a bundle is damaged.
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
    return finished


def _subject(plan: Plan) -> object:
    """Return what the plan of one playbook tests, whatever it is compared with."""
    (entry,) = plan.playbooks
    cells = [(cell.id, cell.engine) for cell in plan.cells]
    return plan.tool_version, entry.digest, entry.tier, cells
