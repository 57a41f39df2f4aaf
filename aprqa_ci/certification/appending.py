"""Appending a run to the evidence of earlier ones.

A clock that goes back must not let an older run count for the new one.

Of several runs in one file the newest is scored, by the times in it (``scoring/runs.py``). Evidence
that was written while a clock was ahead would be scored instead of all that comes after it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from aprqa_ci.certification.bundle import EVIDENCE_NAME
from aprqa_ci.errors import InconclusiveError, Problem
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.scoring.runs import instant, run_of, time_span

__all__ = ["earlier_records", "joined", "require_newest"]


def require_newest(
    earlier: Sequence[EvidenceRecord], times: Iterable[str], *, run_id: str | None, path: Path
) -> None:
    """Hold a run's times against the evidence that it is appended to. Pure.

    Args:
        earlier: the evidence that is there.
        times: of the run, RFC 3339; without any, nothing is held against it.
        run_id: of the run; records of its own are not of an earlier one.
        path: of the evidence, for the message.

    Raises:
        InconclusiveError: another run in the evidence is newer.
    """
    span = time_span(each for each in earlier if run_id is None or run_of(each) != run_id)
    newest = max(times, key=instant, default=None)
    if span is None or newest is None or instant(span[1]) <= instant(newest):
        return
    what = (
        f"evidence of another run is of {span[1]}, and this machine's clock says {newest}: the "
        "older run would be scored"
    )
    hint = "set the clock and start again, or leave --append out"
    raise InconclusiveError(str(Problem(what=what, path=path, hint=hint)))


def earlier_records(directory: Path) -> tuple[EvidenceRecord, ...]:
    """Return the evidence that lies in the directory of a bundle, if any does."""
    path = directory / EVIDENCE_NAME
    return read_evidence(path) if path.exists() else ()


def joined(
    earlier: Sequence[EvidenceRecord], records: Sequence[EvidenceRecord]
) -> tuple[EvidenceRecord, ...]:
    """Join the records of earlier runs with those of this one, each once.

    A run that was ended between writing its evidence and removing its journal has left both.
    """
    own = {record.id for record in records}
    return (*(record for record in earlier if record.id not in own), *records)
