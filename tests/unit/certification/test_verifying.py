import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.certification.bundle import (
    ACCEPTED_NAME,
    CERTIFICATE_NAME,
    EVIDENCE_NAME,
    PLAN_NAME,
    Bundle,
    write_bundle,
)
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.verifying import Verification, bundles_below, verify_bundle
from aprqa_ci.errors import InputError
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.plan import Plan
from aprqa_ci.reports.write import write_reports
from aprqa_ci.vocabulary import Outcome
from tests.edits import edited_evidence
from tests.records import made_records

in_one_folder = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def verified(directory: Path, **options: Any) -> Verification:
    return verify_bundle(directory, **options)[0]


def broken(directory: Path, **options: Any) -> dict[Link, str]:
    """The first sentence of each link that does not hold."""
    found: dict[Link, str] = {}
    for each in verified(directory, **options).broken:
        found.setdefault(each.link, each.what)
    return found


def change(path: Path, mend: Callable[[Any], None]) -> None:
    content = json.loads(path.read_bytes())
    mend(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def sealed_again(directory: Path) -> None:
    """Let the certificate name the evidence that is there now."""
    path = directory / CERTIFICATE_NAME
    digest = sha256_file(directory / EVIDENCE_NAME).encode()
    pattern = rb'("evidence_digest": ?)"\w+"'
    path.write_bytes(re.sub(pattern, rb'\1"' + digest + b'"', path.read_bytes()))


def test_what_was_written_holds(certified: Bundle) -> None:
    write_reports(certified.directory, certified.report)
    found, bundle = verify_bundle(certified.directory)
    assert (found.holds, found.broken) == (True, ())
    assert bundle == certified
    assert set(found.held) == {Link.PLAN, Link.RECORDS, Link.EVIDENCE, Link.REPORTS}
    unchecked = {each.link for each in found.unchecked}
    assert unchecked == {Link.MODELS, Link.SHARDS, Link.CERTIFICATE}


@in_one_folder
@given(st.data())
def test_one_changed_record_is_seen(certified: Bundle, data: st.DataObject) -> None:
    path = certified.directory / EVIDENCE_NAME
    whole = path.read_bytes()
    records = json.loads(whole)
    kind, made = data.draw(edited_evidence(records))
    path.write_bytes(json.dumps(made, indent=2).encode() + b"\n")
    try:
        assert (Link.EVIDENCE in broken(certified.directory)) == (made != records), kind
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("mend", "link", "what"),
    [
        (lambda all_: all_[0].update(outcome="Falsified"), Link.CERTIFICATE, "`gateways` is not"),
        (lambda all_: all_.pop(), Link.CERTIFICATE, "is not what plan and evidence give"),
        (lambda all_: all_.append(all_[0]), Link.RECORDS, "several records of one attempt"),
        (lambda all_: all_[0].update(id=all_[1]["id"]), Link.RECORDS, "more than once"),
        (lambda all_: all_[0].update(timestamp="noon"), Link.RECORDS, "records without a time"),
        (lambda all_: all_[-1]["metadata"].update(cell="x"), Link.RECORDS, "was planned"),
        (lambda all_: all_[-1]["scenario"].update(backend="gpu"), Link.RECORDS, "was planned"),
        (lambda all_: all_[-1]["metadata"].update(plan="x"), Link.RECORDS, "not name this plan"),
    ],
)
def test_a_record_that_cannot_be_is_seen_with_the_digest_mended(
    certified: Bundle, mend: Callable[[Any], None], link: Link, what: str
) -> None:
    change(certified.directory / EVIDENCE_NAME, mend)
    sealed_again(certified.directory)
    found = broken(certified.directory)
    assert Link.EVIDENCE not in found
    assert what in " ".join(
        each.what for each in verified(certified.directory).broken if each.link is link
    )


@pytest.mark.parametrize("key", ["prompt", "temperature", "max_tokens", "seed", "oracle_type"])
def test_what_was_asked_is_what_was_planned(certified: Bundle, key: str) -> None:
    def ask_another(records: Any) -> None:
        asked = next(each for each in records if each["scenario"]["max_tokens"])["scenario"]
        asked[key] = "x" if isinstance(asked[key], str) else asked[key] + 1

    change(certified.directory / EVIDENCE_NAME, ask_another)
    sealed_again(certified.directory)
    assert "not of what was planned" in broken(certified.directory)[Link.RECORDS]


def test_records_in_another_order_score_the_same_and_are_another_file(certified: Bundle) -> None:
    change(certified.directory / EVIDENCE_NAME, lambda records: records.reverse())
    assert set(broken(certified.directory)) == {Link.EVIDENCE}


def test_all_that_does_not_hold_is_said_in_the_order_of_the_chain(certified: Bundle) -> None:
    write_reports(certified.directory, certified.report)
    (certified.directory / "junit.xml").write_text("<testsuites/>", encoding="utf-8")
    change(certified.directory / CERTIFICATE_NAME, lambda content: content.update(mqs=1, tier="x"))
    found = [each.link for each in verified(certified.directory).broken]
    assert found == sorted(found, key=list(Link).index)
    assert set(found) == {Link.PLAN, Link.CERTIFICATE}
    (certified.directory / CERTIFICATE_NAME).write_bytes(
        (certified.directory / ACCEPTED_NAME).read_bytes()
    )
    assert broken(certified.directory) == {
        Link.REPORTS: "the report is not the one of this certificate"
    }


def test_reports_of_another_version_are_not_compared(certified: Bundle) -> None:
    for name in (CERTIFICATE_NAME, ACCEPTED_NAME):
        change(certified.directory / name, lambda content: content.update(tool_version="0.0.1"))
    (certified.directory / "report.md").write_text("# Certified", encoding="utf-8")
    found = verified(certified.directory)
    assert found.holds
    assert "reports: the reports are of aprqa 0.0.1" in " ".join(map(str, found.unchecked))


def test_evidence_that_cannot_be_scored_does_not_hold(certified: Bundle) -> None:
    (certified.directory / EVIDENCE_NAME).write_bytes(b"\xff[")
    found, bundle = verify_bundle(certified.directory)
    assert bundle is None
    assert [each.link for each in found.broken] == [Link.EVIDENCE, Link.EVIDENCE]
    assert {Link.RECORDS, Link.REPORTS} <= {each.link for each in found.unchecked}


def test_the_accepted_certificate_is_the_one_that_was_accepted(
    certified: Bundle, plan: Plan
) -> None:
    accepted = certified.directory / ACCEPTED_NAME
    change(accepted, lambda content: content.update(mqs=999))
    assert broken(certified.directory) == {
        Link.PLAN: "the accepted certificate is another one, and this one is CERTIFIED"
    }
    worse = {each.id: Outcome.FALSIFIED for each in plan.cells[0].scenarios}
    write_bundle(certified.directory, plan, made_records(plan, worse), model_digests={})
    assert broken(certified.directory) == {}
    change(accepted, lambda content: content.update(status="BLOCKED"))
    assert broken(certified.directory) == {Link.PLAN: "the accepted certificate is BLOCKED"}


@pytest.mark.parametrize("name", [PLAN_NAME, EVIDENCE_NAME, CERTIFICATE_NAME])
def test_what_cannot_be_read_is_another_thing(certified: Bundle, name: str) -> None:
    (certified.directory / name).unlink()
    with pytest.raises(InputError, match=re.escape(name)):
        verify_bundle(certified.directory)


def test_all_unreadable_files_are_named(certified: Bundle) -> None:
    (certified.directory / PLAN_NAME).write_text("{", encoding="utf-8")
    (certified.directory / CERTIFICATE_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        verify_bundle(certified.directory)
    assert len(caught.value.problems) == 2


def test_bundles_are_found(certified: Bundle, tmp_path: Path) -> None:
    assert bundles_below(certified.directory) == (certified.directory,)
    assert bundles_below(tmp_path) == (certified.directory,)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no bundle here"):
        bundles_below(tmp_path / "empty")
