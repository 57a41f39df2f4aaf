"""What must hold of the records of a bundle beyond what they are scored by. Pure.

The evidence's digest shows that nothing was changed since the certificate was made. These checks
show what somebody got wrong who made both.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import Plan, PlannedCell, PlannedScenario, digest_for_playbook
from aprqa_ci.registry.values import instant_of
from aprqa_ci.scoring.runs import run_of
from aprqa_ci.vocabulary import Outcome

__all__ = ["record_faults", "runs_stood_on"]

_MOST_TOLD = 3

_OF_THE_RUN = {
    key.value
    for key in (
        MetadataKey.RUN_ID,
        MetadataKey.SCENARIO,
        MetadataKey.CELL,
        MetadataKey.PLAN,
        MetadataKey.ATTEMPT,
        MetadataKey.STANDS_FROM,
    )
}
"""What carrying a record over into another run changes."""


def record_faults(bundle: Bundle) -> Iterator[str]:
    """Yield what does not hold of the records, a sentence each.

    Args:
        bundle: the bundle; records of other plans, which earlier runs left, are not held against
            its plan.
    """
    records = bundle.records
    yield from (finding.text for finding in bundle.score.findings)
    repeated = [name for name, times in Counter(each.id for each in records).items() if times > 1]
    yield from _told("record ids that stand in the file more than once", repeated)
    timeless = [each.id for each in records if instant_of(each.timestamp) is None]
    yield from _told("records without a time", timeless)
    yield from _told("records that are not of what was planned", _unplanned(records, bundle.plan))
    yield from _told_each(_ill_founded(records))


def runs_stood_on(records: Sequence[EvidenceRecord]) -> dict[str, int]:
    """Return how many records stand on each run that is not in the file."""
    there = {(run_of(record) or "", record.id) for record in records}
    found = Counter(
        run
        for record in records
        if (run_and_id := _origin(record)) is not None
        for run in (run_and_id[0],)
        if run_and_id not in there
    )
    return dict(sorted(found.items()))


def _told(label: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        yield f"{label}: {', '.join(names[:_MOST_TOLD])}{more}"


def _told_each(faults: Iterator[tuple[str, str]]) -> Iterator[str]:
    by_label: dict[str, list[str]] = {}
    for label, name in faults:
        by_label.setdefault(label, []).append(name)
    for label, names in by_label.items():
        yield from _told(label, names)


def _unplanned(records: Sequence[EvidenceRecord], plan: Plan) -> list[str]:
    digest = digest_for_playbook(plan, plan.playbooks[0].name)
    planned = {each.id: (cell, each) for cell in plan.cells for each in cell.scenarios}
    repo = plan.playbooks[0].model.hf_repo
    return [
        record.id
        for record in records
        if record.meta(MetadataKey.PLAN) == digest
        and (found := planned.get(record.meta(MetadataKey.SCENARIO) or "")) is not None
        and not _is_as_planned(record, *found, repo)
    ]


def _is_as_planned(
    record: EvidenceRecord, cell: PlannedCell, scenario: PlannedScenario, repo: str
) -> bool:
    told, case = record.scenario, scenario.prompt
    model = told.model
    same_cell = (
        told.id == scenario.id
        and record.gate_id == scenario.gate_id
        and record.meta(MetadataKey.CELL) == cell.id
        and (told.modality, told.backend, told.format) == (cell.modality, cell.backend, cell.format)
        and (record.meta(MetadataKey.QUANTIZATION) or None) == (cell.quantization or None)
        and f"{model.org}/{model.name}" == repo
        and model.variant is None
    )
    if case is None:
        return same_cell
    asked = (told.prompt, told.temperature, told.max_tokens, told.seed, told.oracle_type)
    return same_cell and asked == (
        "\n".join(case.turns),
        case.temperature,
        case.max_tokens,
        case.seed,
        case.oracle.kind,
    )


def _ill_founded(records: Sequence[EvidenceRecord]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with records that were carried over from an earlier run, and which."""
    by_id: Mapping[str, EvidenceRecord] = {each.id: each for each in records}
    for record in records:
        origin = _origin(record)
        if origin is None:
            continue
        gate = gate_catalogue().get(record.gate_id)
        if record.outcome is not Outcome.CORROBORATED:
            yield "records that were carried over and did not go well", record.id
        if gate is None or gate.made_by == "derived":
            yield "conclusions that were carried over", record.id
        if origin[0] == (run_of(record) or ""):
            yield "records that were carried over from their own run", record.id
        earlier = by_id.get(origin[1])
        if earlier is None:
            continue
        if (run_of(earlier) or "") != origin[0] or _origin(earlier) is not None:
            yield "records that stand on another record than they say", record.id
        elif _content(earlier) != _content(record):
            yield "records that are not what they were carried over from", record.id


def _origin(record: EvidenceRecord) -> tuple[str, str] | None:
    """Return the run and the id that a record was carried over from."""
    told = record.meta(MetadataKey.STANDS_FROM)
    if told is None:
        return None
    run, _, name = told.rpartition("/")
    return run, name


def _content(record: EvidenceRecord) -> EvidenceRecord:
    """Return what carrying a record over must not change."""
    return replace(
        record,
        id="",
        scenario=replace(record.scenario, id=""),
        metadata={key: each for key, each in record.metadata.items() if key not in _OF_THE_RUN},
    )
