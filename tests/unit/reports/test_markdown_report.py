import html
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.reports.json_report import json_report
from aprqa_ci.reports.junit import render_junit
from aprqa_ci.reports.markdown_failures import worst_first
from aprqa_ci.reports.markdown_report import DEFAULT_LIMIT, LEAST_LIMIT, render_markdown
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.vocabulary import Gateway, Outcome

Report = Callable[..., RunReport]

GGUF = "tiny:run-cpu-gguf-q8_0"
WORDS = {outcome.value for outcome in Outcome if outcome.is_failure}
PLAIN = "tiny:run-cpu-safetensors"
RENDERER = MarkdownIt("commonmark").enable("table")


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.split("\n")]


def headings_of(text: str) -> list[str]:
    tokens = RENDERER.parse(text)
    return [
        following.content for token, following in pairwise(tokens) if token.type == "heading_open"
    ]


def test_a_certified_run(make: Report) -> None:
    text = render_markdown(make())
    assert headings_of(text) == [
        "Certification of `org/tiny-1M`",
        "Gateways",
        "Categories",
        "Coverage",
        "Declared in the playbook, not run (1)",
        "Cells",
        "Performance",
        "What was tested, and where",
        "Check it again",
    ]
    lines = lines_of(text)
    assert "**CERTIFIED** · MQS **1000** of 1000 · grade **A** · tier `mvp`" in lines
    assert any(
        line.startswith("18 of 18 planned scenarios are corroborated: 100.0%") for line in lines
    )
    assert sum(line.startswith("| G") and "| passed |" in line for line in lines) == 5
    assert any(
        line.startswith("| QUAL | ") and line.endswith("| 6 | 6 | 0 | 0 | 0 | 0 | 0 |")
        for line in lines
    )
    assert "| STAB | - | does not count | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "Policy `aprqa-1` version 1; raw score 1000, MQS **1000**" in lines
    assert f"| `{GGUF}` | gguf | `q8_0` | cpu | run | 9/9 | 48.3 |" in lines
    assert f"| `{PLAIN}` | safetensors | - | cpu | run | 9/9 | 48.3 |" in lines
    assert "| gguf | cpu | 48.3 | 1 |" in lines
    assert f"| `{GGUF}#F-PERF-TPS-001` | Corroborated | 48.3 | 12.5 | 250 | 4 is right |" in lines
    assert f"| Evidence SHA-256 | `{'e' * 64}` |" in lines
    assert "| bench | Linux | a cpu | - | aprqa-ci/0.1.0 |" in lines
    assert f"| gguf-q8_0 | model.gguf | `{'f' * 64}` |" in lines
    assert "- `verify.ticket`" in lines
    assert "aprqa score certifications/tiny --explain" in lines
    assert f"sha256sum certifications/tiny/evidence.json # {'e' * 64}" in lines


def test_a_blocked_run_opens_with_what_stands_in_the_way(make: Report) -> None:
    report = make(
        {
            f"{GGUF}#G4-GARBAGE": {"outcome": Outcome.FALSIFIED, "reason": "2 of 3 are garbage"},
            f"{GGUF}#001": {
                "outcome": Outcome.FALSIFIED,
                "reason": "the answer is 5, not 4",
                "output": "It is 5.",
            },
            f"{GGUF}#002": {"outcome": Outcome.TIMEOUT, "reason": "over 1000 ms", "output": ""},
            f"{GGUF}#003": None,
            f"{PLAIN}#001": {
                "outcome": Outcome.SKIPPED,
                "reason": "no memory",
                "cause": "infrastructure:memory",
            },
        }
    )
    text = render_markdown(report, directory="some where")
    titles = headings_of(text)
    assert titles[1] == "What stands in the way"
    assert titles[titles.index("Failures (3)") :][:4] == [
        "Failures (3)",
        f"`{GGUF}#G4-GARBAGE` – Falsified",
        f"`{GGUF}#001` – Falsified",
        f"`{GGUF}#002` – Timeout",
    ]
    lines = lines_of(text)
    assert any(line.startswith("| G4 | **failed** | ") for line in lines)
    assert "- Reason: the answer is 5, not 4" in lines
    assert "- Gate `F-A1-001` (QUAL, P1): The answer given by run on cpu is right." in lines
    assert "```text\nWhat is 2+2?\n```" in text
    assert "```text\nIt is 5.\n```" in text
    assert "The answer is empty." in lines
    assert "- Gate `G4-GARBAGE` (G4, P0): " in text
    assert "| infrastructure:memory | 1 | `tiny:run-cpu-safetensors#001` |" in lines
    assert "Planned, and without a record (1)" in titles
    assert f"- `{GGUF}#003`" in lines
    assert "aprqa score 'some where' --explain" in lines
    assert "1 penalties" not in text
    assert "A penalty took 10 points" in text


def test_the_end_of_the_log_and_the_exit_code_are_shown(make: Report) -> None:
    log = "start of the log\n" + "x" * 1000 + "\nmissing tensor"
    report = make({f"{GGUF}#001": {"outcome": Outcome.CRASHED, "exit_code": -11, "stderr": log}})
    text = render_markdown(report)
    assert "missing tensor\n```" in text
    assert "start of the log" not in text
    assert "- Exit code: -11" in text


def test_where_and_how_a_failure_came_about(make: Report) -> None:
    known = {MetadataKey.DEVICE.value: "cpu, 4 threads", MetadataKey.INVOCATION.value: "ask('2+2')"}
    report = make({f"{GGUF}#001": {"outcome": Outcome.FALSIFIED, "metadata": known}})
    text = render_markdown(report)
    assert "- Computed on: cpu, 4 threads" in text
    assert "- Reproduce: `ask('2+2')`" in text


def test_a_gate_that_nobody_knows(make: Report) -> None:
    whole = make({f"{GGUF}#001": {"outcome": Outcome.FALSIFIED, "reason": ""}})
    index = next(i for i, entry in enumerate(whole.scenarios) if entry.is_failure)
    entry = whole.scenarios[index]
    unknown = msgspec.structs.replace(entry.score, gate_id="F-X|1")
    foreign = msgspec.structs.replace(entry, score=unknown, record=None)
    report = replace(whole, scenarios=(foreign,))
    text = render_markdown(report)
    assert "- Gate F-X&#124;1 is in no catalogue." in text
    assert "- Reason: none is recorded" in text
    assert b"gate: F-X|1" in render_junit([report])
    assert json_report(report).scenarios[0].counts_for is None


def test_findings_and_penalties_are_told(make: Report) -> None:
    late = {"outcome": Outcome.TIMEOUT}
    text = render_markdown(
        make(
            {
                f"{GGUF}#001": late,
                f"{GGUF}#002": late | {"gate_id": "F-A2-001"},
                f"{GGUF}#003": late,
            }
        )
    )
    assert "Findings" in headings_of(text)
    assert "2 penalties took 20 points." in text


def test_many_reasons_of_a_gateway_are_cut(make: Report) -> None:
    whole = make()
    gateways = dict(whole.certificate.gateways)
    gateways[Gateway.G0] = msgspec.structs.replace(
        gateways[Gateway.G0], reasons=("one", "two", "three", "four")
    )
    certificate = msgspec.structs.replace(whole.certificate, gateways=gateways)
    lines = lines_of(render_markdown(replace(whole, certificate=certificate)))
    assert "| G0 | passed | one; two; and 2 more |" in lines


def test_without_measurements_there_is_no_section_of_performance(make: Report) -> None:
    whole = make()
    report = replace(
        whole,
        certificate=msgspec.structs.replace(whole.certificate, throughput=()),
        scenarios=tuple(entry for entry in whole.scenarios if "PERF" not in entry.name),
    )
    assert "Performance" not in headings_of(render_markdown(report))


def test_the_worst_failures_come_first(make: Report) -> None:
    wrong = {"outcome": Outcome.FALSIFIED}
    report = make({f"{PLAIN}#001": wrong, f"{GGUF}#G2-BASIC": wrong, f"{PLAIN}#002": wrong})
    assert [entry.name for entry in worst_first(report)] == [
        f"{GGUF}#G2-BASIC",
        f"{PLAIN}#001",
        f"{PLAIN}#002",
    ]


@pytest.mark.parametrize("limit", [LEAST_LIMIT, 12_000, DEFAULT_LIMIT])
def test_failures_give_way_from_the_last_on(make: Report, limit: int) -> None:
    changes: dict[str, Any] = {
        f"{cell}#{number:03d}": {
            "outcome": Outcome.FALSIFIED,
            "output": f"answer {number} " + "@a" * 4000,
            "prompt": "|" * 4000,
            "reason": "<" * 4000,
        }
        for cell in (PLAIN, GGUF)
        for number in range(1, 41)
    }
    report = make(changes, prompts=40)
    text = render_markdown(report, limit=limit)
    assert len(text) <= limit
    shown = [title for title in headings_of(text) if title.endswith("Falsified")]
    assert shown == [f"`{PLAIN}#{n:03d}` – Falsified" for n in range(1, 41)][: len(shown)]
    assert 0 < len(shown) < 80
    assert f"… {80 - len(shown)} more; `junit.xml` and `evidence.json` have all of them." in text
    assert ("Too long for this place" in text) == (limit == LEAST_LIMIT)
    assert "Certification of" in text


def test_without_failures_nothing_is_given_up_for_them(make: Report) -> None:
    text = render_markdown(make())
    assert render_markdown(make(), limit=max(LEAST_LIMIT, len(text) + 10)) == text


def test_a_limit_that_is_too_small_is_refused(make: Report) -> None:
    with pytest.raises(ValueError, match="at least"):
        render_markdown(make(), limit=LEAST_LIMIT - 1)


def test_long_lists_are_cut_and_say_so(make: Report) -> None:
    text = render_markdown(make({f"{GGUF}#{n:03d}": None for n in range(1, 31)}, prompts=30))
    assert "Planned, and without a record (30)" in headings_of(text)
    assert "… 18 more; `report.json` has all of them." in text


hostile = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.sampled_from(
        [
            "```\n# Certified\n\n**CERTIFIED** MQS 1000",
            "| a |\n|---|\n| b |",
            "<!-- aprqa:report --> @org/team fixes #1",
            "<img src=https://evil.example/p.png>",
            "![p](https://evil.example/p.png)",
            "~~~\n</details>",
            "\x1b[2J\x1b]8;;https://evil.example\x07x\x1b]8;;\x07",
        ]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reason=hostile, output=hostile, stderr=hostile, prompt=hostile, cause=hostile)
def test_nothing_in_the_evidence_changes_the_report(make: Report, **texts: str) -> None:
    cause = texts.pop("cause")
    text = render_markdown(
        make(
            {
                f"{GGUF}#001": {**texts, "outcome": Outcome.FALSIFIED},
                f"{GGUF}#F-PERF-TPS-001": {**texts, "outcome": Outcome.FALSIFIED},
                f"{GGUF}#002": {"outcome": Outcome.SKIPPED, "cause": cause},
            }
        )
    )
    text.encode()
    titles = [title for title in headings_of(text) if not title.startswith("What stands")]
    assert titles == [
        "Certification of `org/tiny-1M`",
        "Gateways",
        "Categories",
        "Coverage",
        "Skipped, by cause",
        "Declared in the playbook, not run (1)",
        "Cells",
        "Failures (2)",
        f"`{GGUF}#F-PERF-TPS-001` – Falsified",
        f"`{GGUF}#001` – Falsified",
        "Performance",
        "What was tested, and where",
        "Check it again",
    ]
    rendered = RENDERER.render(text)
    assert not set(re.findall(r"<([a-z0-9]+)", rendered)) & {"img", "a", "details", "script"}
    assert rendered.count("<table>") == 9
    for unwanted in ("<!--", "@org", "#1", "https://", "\x1b"):
        assert unwanted not in html.unescape(text)


def test_real_evidence_stays_in_its_quotes(corpus_reports: list[RunReport]) -> None:
    for report in corpus_reports:
        text = render_markdown(report)
        assert len(text) <= DEFAULT_LIMIT
        failures = worst_first(report)
        shown = [title for title in headings_of(text) if title.split("–")[-1].strip() in WORDS]
        assert len(shown) <= len(failures)
        assert bool(shown) == bool(failures)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
