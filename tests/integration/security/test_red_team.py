"""Hostile texts through the whole pipeline; what comes out is read as its readers read it."""

import csv
import io
import itertools
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aprqa_ci.cli.output import show_failures, show_score
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.reading import read_evidence, write_evidence
from aprqa_ci.github.annotations import annotations_of
from aprqa_ci.github.check_run import content_of
from aprqa_ci.github.comment import body_of
from aprqa_ci.github.outputs import render_output
from aprqa_ci.github.proposal import Base, Places, Proposal, propose
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.github.ticketed import issue_body, ticketed_of
from aprqa_ci.github.workflow_commands import annotate, stop_commands
from aprqa_ci.markdown import escape_text
from aprqa_ci.plain_text import one_line, visible
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.playbook.load import parse_playbook
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY, apply, read_registry
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START, render_table
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.reports.summary_markdown import SummarisedRun, render_summary
from aprqa_ci.reports.tickets import (
    RunCoverage,
    Ticket,
    coverage_of,
    draft_of,
    tickets_of,
    untested_draft,
)
from aprqa_ci.reports.write import report_contents
from aprqa_ci.vocabulary import SizeCategory, Status
from tests.hostile_texts import OUTCOMES, TEXTS, foreign_score, hostile_bundle, hostile_report
from tests.output_parsers import (
    markdown_blocks,
    markdown_effects,
    runner_commands,
    terminal,
)
from tests.playbooks import playbook_data

LIMIT = 1 << 20
MARKER = "<!-- aprqa-ci:"
MARKS = {"comment": f"{MARKER}report key=default ", "issue": f"{MARKER}ticket "}
"""The comments that are ours, one in each."""
PLAIN = "plain"
# What is cut, or not there, changes which sections fit; nothing else may.
OTHER_SHAPE = {
    name for name, text in TEXTS.items() if len(text) > 1000 or not visible(text).strip()
}

each_text = pytest.mark.parametrize("name", sorted(TEXTS))


def run_of(
    report: RunReport, base: RunReport | None = None, playbook: str = "p.yaml"
) -> SummarisedRun:
    earlier = None if base is None else base.certificate
    return SummarisedRun(
        report=report, comparison=compare(earlier, report, least_noise=0.1), playbook=playbook
    )


def markdown_of(report: RunReport) -> dict[str, str]:
    """Every Markdown that is made of a report."""
    run = run_of(report, hostile_report(PLAIN))
    return {
        "report": report_contents(report)["report.md"].decode(),
        "summary": render_summary([run], limit=LIMIT),
        "comment": body_of([run], key="default", footer="the run"),
        "check run": content_of(run).summary,
        **tickets_markdown(report),
    }


def drafted(report: RunReport) -> tuple[RunCoverage, tuple[Ticket, ...]]:
    """The tickets of a report; the playbook's place is the model's name, which may be the text."""
    path = report.certificate.model.hf_repo
    return (
        coverage_of(report.score, report.scenarios),
        tickets_of(report.score, report.scenarios, playbook_path=path),
    )


def tickets_markdown(report: RunReport) -> dict[str, str]:
    """The Markdown of tickets: issues, drafts of them, and what was not tested."""
    coverage, tickets = drafted(report)
    texts = {"untested": untested_draft(coverage)}
    for number, ticket in enumerate(tickets):
        texts[f"issue {number}"] = issue_body(ticketed_of(ticket, coverage), ticket.body)
        texts[f"draft {number}"] = draft_of(ticket)
    return texts


BENIGN = {names: markdown_of(hostile_report(PLAIN, names=names)) for names in (False, True)}


@each_text
@pytest.mark.parametrize("names", [False, True])
def test_markdown_shows_the_texts_and_does_nothing(name: str, names: bool) -> None:
    for kind, text in markdown_of(hostile_report(TEXTS[name], names=names)).items():
        text.encode()
        effects = markdown_effects(text)
        assert not effects.images, kind
        assert not effects.acts, kind
        assert all(link.startswith("https://huggingface.co/") for link in effects.links), kind
        marks = [mark for of, mark in MARKS.items() if kind.startswith(of)]
        assert len(effects.html) == len(marks), (kind, effects.html)
        assert all(map(str.startswith, effects.html, marks)), kind
        if name not in OTHER_SHAPE:
            assert markdown_blocks(text) == markdown_blocks(BENIGN[names][kind]), kind


@each_text
@pytest.mark.parametrize("names", [False, True])
def test_a_ticket_is_titled_labelled_and_found_again(name: str, names: bool) -> None:
    coverage, tickets = drafted(hostile_report(TEXTS[name], names=names))
    assert tickets
    for ticket in tickets:
        # A title is no Markdown; GitHub makes mentions and references of it.
        assert not re.search(r"@\w|#\d", ticket.title)
        assert not terminal(ticket.title)
        assert len(ticket.title.splitlines()) == 1
        assert all(re.fullmatch(r"certification|[a-z]+: [\w-]+", each) for each in ticket.labels)
        assert len(issue_body(ticketed_of(ticket, coverage), ticket.body).encode()) < 65_536


def test_the_reader_of_markdown_finds_what_acts() -> None:
    """The checks above can fail: as they stand, many of the texts act."""
    found = {
        name
        for name, text in TEXTS.items()
        if markdown_effects(text[:5000]) != markdown_effects("x")
    }
    assert {name for name in TEXTS if name.startswith(("md-image", "md-link", "html-s"))} <= found
    assert {"md-mention", "md-issue", "md-autolink", "bidi-override", "md-marker"} <= found


@each_text
def test_workflow_commands_are_ours_alone(name: str) -> None:
    report = hostile_report(TEXTS[name], names=True)
    expected = annotations_of(report, playbook="p.yaml")
    out = io.StringIO()
    annotate(expected, out.write)
    with stop_commands(out.write):
        out.write(TEXTS[name])
        show_score(Console(file=out), report.score)
    annotate(expected[:1], out.write)
    told = runner_commands(out.getvalue())
    assert [command.name for command in told] == [
        *(each.level.value for each in expected),
        "stop-commands",
        expected[0].level.value,
    ]
    assert all(set(each.properties) <= {"title", "file", "line"} for each in told)


def test_the_reader_of_commands_finds_them() -> None:
    found = {name for name, text in TEXTS.items() if runner_commands(text)}
    assert {name for name in TEXTS if name.startswith("workflow-")} - found == {
        "workflow-percent",
        "workflow-separators",
    }


@each_text
def test_an_output_sets_itself_alone(name: str) -> None:
    text = TEXTS[name]
    written = render_output("status", text).encode("utf-8", "replace").decode()
    head, _, rest = written.partition("\n")
    key, _, word = head.partition("<<")
    assert key == "status"
    assert rest.split("\n").index(word) == len(rest.split("\n")) - 2


@each_text
def test_junit_is_xml_with_as_many_cases(name: str) -> None:
    report = hostile_report(TEXTS[name], names=True)
    root = ET.fromstring(report_contents(report)["junit.xml"])  # noqa: S314 - our own
    kinds = {element.tag for element in root.iter()}
    assert kinds <= {
        *("testsuites", "testsuite", "properties", "property", "testcase"),
        *("failure", "error", "skipped", "system-out"),
    }
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(report.scenarios)
    assert sum(len(case) for case in cases) == len(OUTCOMES)
    shown = [text for element in root.iter() for text in (element.text, *element.attrib.values())]
    assert not any(terminal(text) for text in shown if text)


@each_text
def test_the_json_report_is_json_of_visible_text(name: str) -> None:
    raw = json.loads(report_contents(hostile_report(TEXTS[name], names=True))["report.json"])
    reasons = {entry["reason"] for entry in raw["scenarios"]}
    text = one_line(TEXTS[name].encode("utf-8", "replace").decode())
    assert any(text[:50] in reason for reason in reasons)


@each_text
def test_the_console_gets_text_and_our_colours(name: str) -> None:
    scores = (hostile_report(TEXTS[name], names=True).score, foreign_score(TEXTS[name]))
    for score, colours in itertools.product(scores, (False, True)):
        out = io.StringIO()
        console = Console(file=out, force_terminal=colours, width=110)
        show_score(console, score)
        show_failures(console, score)
        assert not terminal(out.getvalue())
        assert len(out.getvalue()) < 40_000


@each_text
def test_a_bundle_of_it_is_read_again_and_proposed(name: str, tmp_path: Path) -> None:
    bundle = hostile_bundle(tmp_path / "bundle", TEXTS[name], certified=True)
    records = read_evidence(bundle.directory / "evidence.json")
    assert records == bundle.records
    write_evidence(tmp_path / "again.json", records)
    readme = f"# x\n\n{TABLE_START}\n{TABLE_END}\n".encode()
    found = propose(
        bundle,
        Base(registry=EMPTY_REGISTRY, readme=readme, certificate=None),
        places=Places(),
        publishing=load_publishing(),
        verified=True,
        footer="the run",
    )
    assert isinstance(found, Proposal)
    assert "\n" not in found.title
    for text in (found.body, found.message, found.title):
        assert not [act for act in markdown_effects(text).acts if act[0] != "issue"]
        assert not markdown_effects(text).images
    html = markdown_effects(found.body).html
    assert [each[: len(MARKER)] for each in html] == [MARKER]
    table = found.files["docs/certifications/models.csv"]
    assert table is not None
    rows = list(csv.reader(io.StringIO(table.decode(), newline="")))
    assert [len(row) for row in rows] == [len(rows[0])] * 2
    assert not any(cell[:1] in "=+-@\t\r" for row in rows for cell in row if cell)
    written = found.files["README.md"]
    assert written is not None
    assert not markdown_effects(written.decode()).acts


@each_text
def test_a_name_is_refused_or_harmless(name: str) -> None:
    """Names, descriptions and model ids come from the playbook; most texts are no names."""
    text = TEXTS[name]
    for change in (
        {"name": text},
        {"description": text},
        {"model": {"hf_repo": text}},
        {"model": {"hf_repo": f"org/{text}"}},
        {"model": {"local_path": text}},
        {"test_matrix": {"prompts": [text]}},
    ):
        data = playbook_data()
        for key, value in change.items():
            data[key] = data[key] | value if isinstance(value, dict) else value
        raw = json.dumps(data).encode()
        try:
            loaded = parse_playbook(raw, path=Path("/x/tiny.playbook.yaml"))
            options = PlanOptions(tier="quick")
            plan = expand(
                [loaded], options=options, tool_version="0", root=Path("/x"), baselines={}
            )
        except InputError as error:
            assert not terminal(visible(str(error)))  # noqa: PT017 - either end is right
            continue
        (entry,) = plan.playbooks
        assert not terminal(entry.name + entry.model.hf_repo)
        assert not set(entry.name) & set("/\\ \n|<>`=,\"'")
        assert entry.model.hf_repo.count("/") == 1
        assert ".." not in entry.model.hf_repo.split("/")


SOUND_ROW = RowUpdate(
    model_id="org/name",
    status=Status.CERTIFIED,
    mqs_score=900,
    grade="A",
    certified_tier="mvp",
    last_certified="2026-11-02T10:00:00Z",
    g1=True,
    g2=True,
    g3=True,
    g4=True,
    size_category=SizeCategory.TINY,
)


@each_text
def test_a_registry_takes_no_such_row(name: str) -> None:
    text = TEXTS[name]
    changes: list[dict[str, Any]] = [
        {"model_id": text},
        {"family": text or "\n"},
        {"parameters": text or "\n"},
    ]
    for change in changes:
        update = replace(SOUND_ROW, **change)
        with pytest.raises(InputError):
            apply(read_registry(EMPTY_REGISTRY, source="models.csv"), update)


@each_text
def test_a_strangers_registry_shows_as_text(name: str) -> None:
    """A models.csv that another tool wrote may hold anything; our table of it does nothing."""
    out = io.StringIO(newline="")
    columns = EMPTY_REGISTRY.decode().strip().split(",")
    csv.writer(out).writerow(columns)
    csv.writer(out).writerow(
        [TEXTS[name].encode("utf-8", "replace").decode() or "x"] * len(columns)
    )
    try:
        registry = read_registry(out.getvalue().encode(), source="models.csv")
    except InputError:
        return
    effects = markdown_effects(render_table(registry))
    assert not effects.html
    assert not effects.images
    assert not effects.acts
    assert not effects.links


def test_an_escaped_text_is_short_however_long_it_was() -> None:
    assert all(len(escape_text(text, 100)) < 2000 for text in TEXTS.values())
