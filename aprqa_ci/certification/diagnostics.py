"""The report of failure policy ``fail_fast``: the first failure, and how to repeat it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord, MetadataKey
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.plan import Plan, PlannedScenario
from aprqa_ci.wire import WireModel, pretty_json

__all__ = ["DIAGNOSTICS_NAME", "Diagnostics", "write_diagnostics"]

DIAGNOSTICS_NAME = "fail-fast-report.json"


class Diagnostics(WireModel, frozen=True, kw_only=True):
    """What was asked, what came, and how to repeat it."""

    schema: Literal["aprqa-fail-fast/1"] = "aprqa-fail-fast/1"
    playbook: str
    record: EvidenceRecord
    """The first failure, with the stderr of its process."""
    scenario: PlannedScenario
    invocation: str
    """The call that opens the model on the same engine."""
    command: str
    """The command that runs the cell again."""
    host: EvidenceHost


def write_diagnostics(
    directory: Path, plan: Plan, records: Sequence[EvidenceRecord]
) -> Path | None:
    """Write the report of the earliest failure; nothing when there was none.

    Raises:
        OSError: the directory cannot be written.
    """
    failures = [record for record in records if record.outcome.is_failure]
    if not failures:
        return None
    first = min(failures, key=lambda record: record.timestamp)
    wanted = first.metadata[MetadataKey.SCENARIO]
    scenario = next(each for cell in plan.cells for each in cell.scenarios if each.id == wanted)
    playbook = plan.playbooks[0]
    cell = first.metadata[MetadataKey.CELL]
    path = directory / DIAGNOSTICS_NAME
    report = Diagnostics(
        playbook=playbook.name,
        record=first,
        scenario=scenario,
        invocation=first.meta(MetadataKey.INVOCATION) or "",
        command=f"aprqa run {playbook.path} --tier {playbook.tier} --only '{cell}'",
        host=first.host,
    )
    write_atomic(path, pretty_json(report))
    return path
