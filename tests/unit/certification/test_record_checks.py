from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from msgspec.structs import replace

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.record_checks import record_faults, runs_stood_on
from aprqa_ci.certification.verifying import verify_bundle
from aprqa_ci.evidence.building import carried_over
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome
from tests.records import context_of, made_records

Records = list[EvidenceRecord]


def with_metadata(record: EvidenceRecord, **metadata: str) -> EvidenceRecord:
    return replace(record, metadata=record.metadata | metadata)


@pytest.fixture
def climbed(tmp_path: Path, plan: Plan) -> Callable[..., Bundle]:
    """A bundle of two runs, whose second one carries over a prompt's record of the first.

    ``mend`` changes the earlier record and the one that stands on it; ``alone`` leaves the earlier
    run out.
    """

    def make(mend: Callable[..., tuple[Any, Any]] | None = None, *, alone: bool = False) -> Bundle:
        before = list(made_records(plan, run_id="run-0"))
        now = list(made_records(plan, run_id="run-1"))
        prompt = next(n for n, each in enumerate(now) if each.scenario.max_tokens)
        context = context_of(plan, "tiny", run_id="run-1")
        scenario = now[prompt].scenario.id
        made = carried_over(
            before[prompt], scenario, context, identifier=uuid5(NAMESPACE_URL, "carried")
        )
        pair = (before[prompt], made)
        before[prompt], now[prompt] = mend(*pair) if mend else pair
        # The second run is the newest, whatever it stands on.
        now[-1] = replace(now[-1], timestamp="2026-01-02T13:00:00.000000Z")
        records = tuple(now if alone else [*before, *now])
        return write_bundle(tmp_path / "climbed", plan, records, model_digests={})

    return make


def test_a_record_that_was_carried_over_is_held_against_its_origin(
    climbed: Callable[..., Bundle],
) -> None:
    bundle = climbed()
    assert list(record_faults(bundle)) == []
    assert runs_stood_on(bundle.records) == {}


@pytest.mark.parametrize(
    ("mend", "what"),
    [
        (lambda old, new: (old, replace(new, output="5")), "not what they were carried over from"),
        (lambda old, new: (replace(old, reason="x"), new), "not what they were carried over from"),
        (
            lambda old, new: (old, replace(new, timestamp="2026-01-02T12:59:00.000000Z")),
            "not what they were carried over from",
        ),
        (
            lambda old, new: (old, with_metadata(new, engine_version="9")),
            "not what they were carried over from",
        ),
        (
            lambda old, new: (old, with_metadata(new, stands_from=f"run-7/{old.id}")),
            "stand on another record than they say",
        ),
        (
            lambda old, new: (with_metadata(old, stands_from="run-7/abc"), new),
            "stand on another record than they say",
        ),
        (
            lambda old, new: (old, with_metadata(new, stands_from=f"run-1/{old.id}")),
            "carried over from their own run",
        ),
        (
            lambda old, new: (
                replace(old, outcome=Outcome.FALSIFIED),
                replace(new, outcome=Outcome.FALSIFIED),
            ),
            "were carried over and did not go well",
        ),
    ],
)
def test_a_record_that_cannot_have_been_carried_over_is_seen(
    climbed: Callable[..., Bundle], mend: Callable[..., tuple[Any, Any]], what: str
) -> None:
    assert what in "\n".join(record_faults(climbed(mend)))


def test_a_conclusion_is_never_carried_over(plan: Plan, tmp_path: Path) -> None:
    records = tuple(
        with_metadata(record, stands_from="run-0/abc")
        if record.gate_id == "G3-STABLE" and "safetensors" in record.scenario.id
        else record
        for record in made_records(plan)
    )
    bundle = write_bundle(tmp_path, plan, records, model_digests={})
    assert "conclusions that were carried over" in "\n".join(record_faults(bundle))


def test_a_run_that_is_not_in_the_file_is_named(climbed: Callable[..., Bundle]) -> None:
    bundle = climbed(alone=True)
    assert runs_stood_on(bundle.records) == {"run-0": 1}
    found, _ = verify_bundle(bundle.directory)
    assert found.holds
    assert Link.RECORDS not in found.held
    assert "1 records were carried over from run run-0, which is not" in str(found.unchecked)


def test_records_of_earlier_runs_are_not_held_against_this_plan(tmp_path: Path, plan: Plan) -> None:
    earlier = [
        replace(
            with_metadata(each, plan="0" * 64),
            scenario=replace(each.scenario, prompt="another", seed=7),
        )
        for each in made_records(plan, run_id="run-0")
    ]
    newest = [
        replace(each, timestamp="2026-01-03T12:00:00.000000Z")
        for each in made_records(plan, run_id="run-1")
    ]
    records = (*earlier, *newest)
    bundle = write_bundle(tmp_path, plan, records, model_digests={})
    assert list(record_faults(bundle)) == []
    assert MetadataKey.STANDS_FROM.value == "stands_from"
