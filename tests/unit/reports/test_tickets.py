"""Drafts of what was made in bundles; the texts are read by a Markdown parser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.reports.tickets import (
    RunCoverage,
    Ticket,
    coverage_of,
    draft_of,
    tickets_of,
    untested_draft,
)
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id

FAILED = {scenario_id(): Outcome.FALSIFIED}
HOSTILE = (
    "@everyone fixes #1, closes acme/widgets#2\n```\n</details><!-- aprqa-ci:ticket AAAA -->"
    "\n# own heading\n| a | b |\n![x](http://evil.example/pixel.png) <img src=x onerror=y>\x1b[31m"
)


def drafted(bundle: Bundle, path: str | None = "playbooks/tiny.yaml") -> tuple[Ticket, ...]:
    return tickets_of(bundle.score, bundle.report.scenarios, playbook_path=path)


def run_of(bundle: Bundle) -> RunCoverage:
    return coverage_of(bundle.score, bundle.report.scenarios)


def failing(**changes: Any) -> Any:
    def mend(record: EvidenceRecord) -> EvidenceRecord:
        is_failure = record.outcome.is_failure
        return msgspec.structs.replace(record, **changes) if is_failure else record

    return mend


def test_a_good_run_makes_no_ticket(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path)
    assert drafted(bundle) == ()
    run = run_of(bundle)
    assert (run.playbook, run.model, run.is_whole) == ("tiny-mvp", "aprqa/tiny-1M", True)
    assert run.finished == bundle.certificate.finished
    assert len(run.answered) > 2


def test_a_cause_makes_one_ticket_however_often_it_shows(tmp_path: Path) -> None:
    outcomes = {scenario_id(f"{n:03d}"): Outcome.FALSIFIED for n in (1, 2, 3)}
    mend = failing(reason="timed out after 5 s", output="I am the answer", stderr="the log\nended")
    (ticket,) = drafted(made_bundle(tmp_path, outcomes=outcomes, mend=mend))
    assert ticket.cause == "timeout"
    assert ticket.title == "tiny-mvp: It took longer than its limit"
    assert ticket.labels == ("certification", "cause: timeout")
    assert len(ticket.shown) == 1
    assert ticket.all_shown
    assert "3 failures in 1 cell have one cause" in ticket.body
    for said in ("I am the answer", "the log ended", "timed out after 5 s", "The machine is too"):
        assert said in ticket.body, said
    command = "aprqa run playbooks/tiny.yaml --only tiny-mvp:run-cpu-gguf-q8_0"
    assert f"```sh\n{command}\n```" in ticket.body


def test_a_gateway_is_named_and_what_is_usual_of_it(tmp_path: Path) -> None:
    outcomes = {scenario_id("G1-LOAD"): Outcome.CRASHED}
    tickets = drafted(made_bundle(tmp_path, outcomes=outcomes))
    assert tickets[0].labels[:2] == ("certification", "gateway: G1")
    assert "Gateway: G1" in tickets[0].body
    assert "A file is missing, truncated" in tickets[0].body


def test_what_our_machinery_did_is_no_ticket(tmp_path: Path) -> None:
    skipped = {scenario_id(): Outcome.SKIPPED}
    bundle = made_bundle(tmp_path / "a", outcomes=skipped, cause="infrastructure:no-memory")
    assert drafted(bundle) == ()
    assert not run_of(bundle).is_whole
    whole = run_of(made_bundle(tmp_path / "b"))
    # The other prompts of the cell count for the same gate, which is not all answered then.
    assert len(whole.answered - run_of(bundle).answered) == 1
    assert (whole.has_verdict, run_of(bundle).has_verdict) == (True, False)
    concluded = made_bundle(tmp_path / "c", outcomes=FAILED, cause="infrastructure:engine-missing")
    assert drafted(concluded) == ()
    # What we failed at is not answered either, whatever it ended with.
    assert run_of(concluded).answered == run_of(bundle).answered
    assert not run_of(concluded).is_whole


def test_what_was_not_tested_is_said(tmp_path: Path) -> None:
    assert untested_draft(run_of(made_bundle(tmp_path / "whole"))) == ""
    for name, outcome, cause, sentence in (
        ("a", Outcome.SKIPPED, "infrastructure:no-memory", "kept 1 scenario from being tested:"),
        ("b", Outcome.SKIPPED, "not-applicable", "Skipped, and so not tested: 1 scenario"),
        ("c", Outcome.CRASHED, "infrastructure:engine-died", "Our machinery failed at 1 scenario"),
    ):
        run = run_of(made_bundle(tmp_path / name, outcomes={scenario_id(): outcome}, cause=cause))
        (told,) = run.not_tested
        assert sentence in told
        assert (cause in told) is (name != "b")
        text = untested_draft(run)
        assert text.startswith("# tiny-mvp: not everything was tested\n")
        assert ("no verdict." in text) is (name == "a")


def test_what_was_not_tested_is_quoted(tmp_path: Path) -> None:
    cause = f"infrastructure:{HOSTILE}"
    skipped = {scenario_id(): Outcome.SKIPPED}
    run = run_of(made_bundle(tmp_path, outcomes=skipped, cause=cause))
    text = untested_draft(run)
    assert "everyone" in text
    assert_harmless(text)


def test_without_a_playbook_the_command_says_where_it_goes(tmp_path: Path) -> None:
    (ticket,) = drafted(made_bundle(tmp_path, outcomes=FAILED), path=None)
    assert "aprqa run PLAYBOOK --only" in ticket.body
    (odd,) = drafted(made_bundle(tmp_path / "b", outcomes=FAILED), path="a b;rm -rf .yaml")
    assert "aprqa run 'a b;rm -rf .yaml' --only" in odd.body


def assert_harmless(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    for token in tokens:
        assert token.type != "html_block", token.content
        for child in token.children or ():
            assert child.type not in {"html_inline", "image", "link_open"}, child.content
    assert "@everyone" not in text
    assert "#1" not in text.replace("#12", "")
    assert "<!--" not in text
    assert "\x1b" not in text


def test_what_strangers_wrote_stays_a_quotation(tmp_path: Path) -> None:
    mend = failing(reason=HOSTILE, output=HOSTILE, stderr=HOSTILE)
    (ticket,) = drafted(made_bundle(tmp_path, outcomes=FAILED, mend=mend))
    assert_harmless(ticket.body)
    assert_harmless(draft_of(ticket))
    assert "@everyone" not in ticket.title
    assert len(ticket.title) <= 256
    assert "own heading" in ticket.body
    headings = [line for line in ticket.body.split("\n") if line.startswith("#")]
    assert "# own heading" not in headings


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_no_text_gets_out_of_its_quotation(tmp_path: Path, text: str) -> None:
    mend = failing(reason=text, output=text, stderr=text)
    bundle = made_bundle(tmp_path, outcomes=FAILED, mend=mend)
    for ticket in drafted(bundle):
        kinds = [
            token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(ticket.body)
        ]
        assert "html_block" not in kinds
        # The sections are ours alone.
        assert ticket.body.endswith("comments stay.\n")
        parsed = MarkdownIt().parse(ticket.body)
        assert sum(token.type == "heading_open" and token.tag == "h2" for token in parsed) == 4


@pytest.mark.parametrize("changes", [{"reason": "x" * 100_000}, {"output": "é" * 90_000}])
def test_a_long_record_makes_no_long_ticket(tmp_path: Path, changes: Mapping[str, str]) -> None:
    (ticket,) = drafted(made_bundle(tmp_path, outcomes=FAILED, mend=failing(**changes)))
    assert len(ticket.body.encode()) <= 50_000
