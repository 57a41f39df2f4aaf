import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import (
    ACCEPTED_NAME,
    CERTIFICATE_NAME,
    EVIDENCE_NAME,
    PLAN_NAME,
    Bundle,
    baseline_in,
    read_bundle,
    read_plan,
    write_bundle,
)
from aprqa_ci.errors import InputError
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome, Status
from tests.records import made_records

in_one_folder = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every scalar in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))
    else:
        yield path


def edited(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return "x"
        case _:
            return f"{value}x"


def set_at(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_a_bundle_holds_plan_evidence_and_certificate(certified: Bundle) -> None:
    directory = certified.directory
    assert {path.name for path in directory.iterdir()} == {
        PLAN_NAME,
        EVIDENCE_NAME,
        CERTIFICATE_NAME,
        ACCEPTED_NAME,
    }
    assert certified.certificate.status is Status.CERTIFIED
    assert certified.certificate.evidence_digest == sha256_file(directory / EVIDENCE_NAME)
    assert certified.certificate.tool_version == __version__
    accepted = (directory / ACCEPTED_NAME).read_bytes()
    assert accepted == (directory / CERTIFICATE_NAME).read_bytes()


def test_a_bundle_is_read_as_it_was_written(certified: Bundle) -> None:
    again = read_bundle(certified.directory)
    assert again == certified
    assert again.report.certificate == certified.certificate


def test_only_a_certified_bundle_is_what_later_runs_are_compared_with(
    tmp_path: Path, plan: Plan, certified: Bundle
) -> None:
    directory = certified.directory
    accepted = (directory / ACCEPTED_NAME).read_bytes()
    worse = {each.id: Outcome.FALSIFIED for each in plan.cells[0].scenarios}
    bundle = write_bundle(directory, plan, made_records(plan, worse), model_digests={})
    assert bundle.certificate.status is Status.BLOCKED
    assert (directory / ACCEPTED_NAME).read_bytes() == accepted
    baseline = baseline_in(directory)
    assert baseline is not None
    assert set(baseline.cells) == {cell.id for cell in plan.cells}
    assert baseline.model_digests == {"safetensors/model.safetensors": "a" * 64}
    assert baseline_in(tmp_path / "nowhere") is None


@in_one_folder
@given(st.data())
def test_any_changed_byte_of_the_evidence_is_refused(
    certified: Bundle, data: st.DataObject
) -> None:
    path = certified.directory / EVIDENCE_NAME
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    try:
        with pytest.raises(InputError, match="the evidence is not what the certificate was made"):
            read_bundle(certified.directory)
    finally:
        path.write_bytes(whole)


@in_one_folder
@given(st.data())
def test_any_changed_value_of_the_certificate_is_refused(
    certified: Bundle, data: st.DataObject
) -> None:
    path = certified.directory / CERTIFICATE_NAME
    whole = path.read_bytes()
    content = json.loads(whole)
    # Only who has the model's files can check their digests, and only that version its own number.
    unprovable = {("model", "files", "safetensors", "model.safetensors"), ("tool_version",)}
    place = data.draw(st.sampled_from([each for each in places(content) if each not in unprovable]))
    set_at(content, place, edited(at(content, place)))
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        with pytest.raises(InputError):
            read_bundle(certified.directory)
    finally:
        path.write_bytes(whole)


def test_every_number_of_the_certificate_is_computed_again(certified: Bundle) -> None:
    path = certified.directory / CERTIFICATE_NAME
    whole = path.read_bytes()
    content = json.loads(whole)
    numbers = [
        place
        for place in places(content)
        if isinstance(at(content, place), int | float) and not isinstance(at(content, place), bool)
    ]
    assert len(numbers) > 40
    for place in numbers:
        changed = json.loads(whole)
        set_at(changed, place, edited(at(content, place)))
        path.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(InputError, match=r"is not what|is known|gives|policy|Expected"):
            read_bundle(certified.directory)


@in_one_folder
@given(st.data())
def test_any_changed_value_of_the_plan_is_refused(certified: Bundle, data: st.DataObject) -> None:
    path = certified.directory / PLAN_NAME
    whole = path.read_bytes()
    content = json.loads(whole)
    place = data.draw(st.sampled_from(list(places(content))))
    set_at(content, place, edited(at(content, place)))
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        with pytest.raises(InputError):
            read_bundle(certified.directory)
    finally:
        path.write_bytes(whole)


def test_a_removed_failure_is_noticed_even_with_its_digest_mended(
    tmp_path: Path, plan: Plan
) -> None:
    failed = plan.cells[0].scenarios[-5].id
    records = made_records(plan, {failed: Outcome.FALSIFIED})
    bundle = write_bundle(tmp_path / "b", plan, records, model_digests={})
    evidence = bundle.directory / EVIDENCE_NAME
    kept = [each for each in json.loads(evidence.read_bytes()) if each["outcome"] != "Falsified"]
    evidence.write_text(json.dumps(kept), encoding="utf-8")
    certificate = bundle.directory / CERTIFICATE_NAME
    mended = re.sub(
        rb'"evidence_digest": "\w+"',
        f'"evidence_digest": "{sha256_file(evidence)}"'.encode(),
        certificate.read_bytes(),
    )
    certificate.write_bytes(mended)
    with pytest.raises(InputError) as caught:
        read_bundle(bundle.directory)
    assert len(caught.value.problems) >= 1


@pytest.mark.parametrize("name", [PLAN_NAME, EVIDENCE_NAME, CERTIFICATE_NAME])
def test_what_is_missing_is_named(certified: Bundle, name: str) -> None:
    (certified.directory / name).unlink()
    with pytest.raises(InputError, match=re.escape(name)):
        read_bundle(certified.directory)


def test_a_plan_of_another_version_is_refused(certified: Bundle) -> None:
    path = certified.directory / PLAN_NAME
    path.write_bytes(path.read_bytes().replace(b"aprqa-plan/1", b"aprqa-plan/2"))
    with pytest.raises(InputError, match="aprqa-plan/2"):
        read_plan(path)


def test_a_damaged_baseline_is_an_error_and_not_no_baseline(certified: Bundle) -> None:
    (certified.directory / ACCEPTED_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=ACCEPTED_NAME):
        baseline_in(certified.directory)
