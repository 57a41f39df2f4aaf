"""Evidence in the object form that the existing tool's ``export-evidence`` reads.

That tool writes a bare array and looks for an object: of its own files it exports nothing. This is
the object, with the counts that it reads beside the records.
"""

from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.vocabulary import Outcome

__all__ = ["write_object"]


def write_object(stream: BinaryIO, records: Sequence[EvidenceRecord]) -> None:
    """Write the object, one record a line.

    ``passed``, ``failed`` and ``skipped`` add up to ``total_scenarios``: a skip is no pass.

    Raises:
        OSError: the stream cannot be written.
    """
    outcomes = Counter(record.outcome for record in records)
    counts = {
        "total_scenarios": len(records),
        "passed": outcomes[Outcome.CORROBORATED],
        "failed": sum(number for outcome, number in outcomes.items() if outcome.is_failure),
        "skipped": outcomes[Outcome.SKIPPED],
        "duration_ms": sum(record.metrics.duration_ms for record in records),
    }
    stream.write(b"{\n")
    stream.writelines(b'"%s": %d,\n' % (name.encode(), number) for name, number in counts.items())
    stream.write(b'"evidence": [')
    stream.writelines(
        (b",\n" if place else b"\n") + msgspec.json.encode(record)
        for place, record in enumerate(records)
    )
    stream.write(b"\n]\n}\n")
