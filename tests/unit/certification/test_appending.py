from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.appending import require_newest
from aprqa_ci.errors import InconclusiveError
from aprqa_ci.evidence.record import EvidenceRecord
from tests.playbooks import planned, playbook_data
from tests.records import made_records

RECORDS = made_records(planned(playbook_data(), tier="quick"))[:3]
PATH = Path("evidence.json")
BEFORE, THEN, AFTER = (f"2026-0{month}-01T00:00:00.000000Z" for month in (1, 2, 3))


def at(time: str, run_id: str | None = "run-1") -> tuple[EvidenceRecord, ...]:
    metadata = {} if run_id is None else {"run_id": run_id}
    return tuple(
        msgspec.structs.replace(record, timestamp=time, metadata=record.metadata | metadata)
        for record in RECORDS
    )


def test_a_run_that_is_newer_may_be_appended() -> None:
    require_newest(at(THEN), [BEFORE, AFTER], run_id="run-2", path=PATH)
    require_newest(at(THEN), [THEN], run_id="run-2", path=PATH)
    require_newest((), [BEFORE], run_id=None, path=PATH)
    require_newest(at(THEN), [], run_id=None, path=PATH)


@pytest.mark.parametrize("run_id", [None, "run-2"])
def test_a_run_that_is_older_may_not(run_id: str | None) -> None:
    with pytest.raises(InconclusiveError, match=rf"{PATH}: .* {THEN}, .* says {BEFORE}: .*append"):
        require_newest(at(THEN), [BEFORE], run_id=run_id, path=PATH)


def test_its_own_records_are_not_of_an_earlier_run() -> None:
    require_newest(at(THEN, "run-2"), [BEFORE], run_id="run-2", path=PATH)
