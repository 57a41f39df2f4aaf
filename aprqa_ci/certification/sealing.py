"""The evidence of a shard that was ended before its time: its journal's records, and a manifest."""

from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.certification.steps import Surroundings
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.building import host_of, utc_text
from aprqa_ci.evidence.journal import JOURNAL_NAME, JournalContent, read_journal
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.shard_list import cell_digests
from aprqa_ci.evidence.shards import EVIDENCE_NAME, MANIFEST_NAME, ShardManifest
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.wire import pretty_json

__all__ = ["seal_shard"]


def seal_shard(
    directory: Path,
    plan: Plan,
    shard: str,
    *,
    attempt: int,
    exit_code: int,
    surroundings: Surroundings,
) -> int:
    """Write evidence and manifest of a shard that did not come to its end.

    What was recorded before is evidence; what was not is missing when it is merged, and named. A
    shard that did come to its end is left as it is.

    Args:
        directory: the shard's own directory.
        plan: the plan.
        shard: the shard's id.
        attempt: which attempt it was.
        exit_code: how it ended; not 0.
        surroundings: the outside world.

    Returns:
        How many records the evidence has.

    Raises:
        OSError: the directory cannot be written.
    """
    if (directory / MANIFEST_NAME).exists():
        return 0
    now = utc_text(surroundings.now())
    journal = _journal(directory / JOURNAL_NAME)
    records = journal.records if journal else ()
    digest = write_evidence(directory / EVIDENCE_NAME, records)
    manifest = ShardManifest(
        plan_digest=plan_digest(plan),
        shard=shard,
        attempt=attempt,
        started=journal.head.started if journal else now,
        finished=now,
        host=host_of(surroundings.host(), __version__),
        runner=next((each.runner for each in plan.shards if each.id == shard), None),
        exit=exit_code,
        files={EVIDENCE_NAME: digest},
        model_digests=journal.digests if journal else {},
        records=cell_digests(records),
    )
    write_atomic(directory / MANIFEST_NAME, pretty_json(manifest))
    return len(records)


def _journal(path: Path) -> JournalContent | None:
    if not path.exists():
        return None
    try:
        return read_journal(path)
    except InputError:
        # Damaged: nothing in it is evidence. It stays beside the manifest for whoever looks.
        return None
