import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt

from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.reports.summary_markdown import SummarisedRun, render_summary, reproduction
from aprqa_ci.vocabulary import Outcome

Report = Callable[..., RunReport]

CELL = "tiny:run-cpu-gguf-q8_0"
OTHER = "tiny:run-cpu-safetensors"
FALSE = {"outcome": Outcome.FALSIFIED}
BIG = 10**6
RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table")


def run_of(head: RunReport, base: RunReport | None = None, **more: Any) -> SummarisedRun:
    certificate = None if base is None else base.certificate
    return SummarisedRun(
        report=head, comparison=compare(certificate, head, **more), playbook="books/tiny.yaml"
    )


def headings_of(text: str) -> list[str]:
    return [line.lstrip("# ") for line in text.split("\n") if re.match("#+ ", line)]


def test_a_run_against_its_base(make: Report) -> None:
    base = make({f"{CELL}#001": FALSE, f"{CELL}#002": FALSE})
    head = make(
        {f"{CELL}#002": FALSE, f"{CELL}#003": FALSE, f"{OTHER}#002": None}, deferred=[OTHER]
    )
    text = render_summary([run_of(head, base)], limit=BIG)
    assert headings_of(text) == [
        "Certification",
        "`tiny`",
        "New failures (1)",
        "Still failing (1)",
        "Deferred to a run of the repository's own (1)",
        "Fixed (1)",
        "Gateways",
        "Categories",
        "Throughput",
    ]
    assert f"- **{head.certificate.status.value}** `tiny` · MQS **" in text
    assert f"was {base.certificate.status.value} {base.certificate.mqs}" in text
    command = f"aprqa run books/tiny.yaml --tier mvp --only {CELL}"
    assert f"- `{CELL}#003` – Falsified: 4 is right – reproduce: `{command}`" in text
    assert text.endswith("\n")


def test_flaky_scenarios_are_named_with_their_ends_in_every_length(make: Report) -> None:
    name = f"{CELL}#001"
    wrong = {"outcome": Outcome.FALSIFIED, "reason": "5 is wrong"}
    run = run_of(make({name: wrong}, again={name: {}}))
    whole = render_summary([run], limit=65_536)
    told = "attempt 1 Falsified, attempt 2 Corroborated"
    assert "Flaky: attempts ended in different ways (1)" in whole
    assert told in whole
    shorter = render_summary([run], limit=len(whole.encode()) - 1)
    assert "### Gateways" not in shorter
    assert told in shorter


def test_a_good_run_says_little(make: Report) -> None:
    report = make()
    text = render_summary([run_of(report, report)], limit=BIG)
    assert headings_of(text) == ["Certification", "`tiny`", "Gateways", "Categories", "Throughput"]
    assert "was " not in text
    assert "within noise" in text


def test_what_cannot_be_compared_is_said(make: Report) -> None:
    report = make()
    assert "no earlier certificate to compare with" in render_summary([run_of(report)], limit=BIG)
    text = render_summary([run_of(make(tier="full"), report)], limit=BIG)
    assert "may ask something else" in text
    elsewhere = run_of(report, report)
    moved = replace(elsewhere, comparison=replace(elsewhere.comparison, same_machine=False))
    assert "another machine" in render_summary([moved], limit=BIG)


def test_a_run_without_failures_names_its_obstacles(make: Report) -> None:
    skipped = {"outcome": Outcome.SKIPPED, "cause": "infrastructure:engine-missing"}
    report = make({f"{CELL}#001": skipped})
    text = render_summary([run_of(report, make())], limit=BIG)
    assert "What stands in the way" in text
    assert "No longer tested (1)" in text


def test_unverified_evidence_is_called_so_first(make: Report) -> None:
    text = render_summary([run_of(make())], limit=BIG, unverified=True)
    assert text.split("\n\n")[1].startswith("**Unverified:** a fork's run made this evidence")
    assert "Unverified" not in render_summary([run_of(make())], limit=BIG)


def test_long_lists_are_counted(make: Report) -> None:
    report = make({f"{CELL}#{n:03d}": FALSE for n in range(1, 41)}, prompts=40)
    text = render_summary([run_of(report)], limit=BIG)
    assert "New failures (40)" in text
    assert text.count("reproduce:") == 25
    assert "- … 15 more" in text


def test_the_ladder(make: Report) -> None:
    runs = [run_of(make({f"{CELL}#001": FALSE}), make())] * 3
    full = render_summary(runs, limit=BIG)
    failures = render_summary(runs, limit=len(full.encode()) - 1)
    assert "Gateways" in full
    assert "Gateways" not in failures
    assert failures.count("New failures (1)") == 3
    trimmed = render_summary(runs, limit=len(failures.encode()) - 1)
    assert trimmed.count("New failures (1)") == 2
    assert trimmed.endswith(
        "\nThe rest is too long for this place; the report and the evidence have all of it.\n"
    )


@pytest.mark.parametrize("limit", range(0, 4000, 37))
def test_every_length_fits(make: Report, limit: int) -> None:
    text = render_summary([run_of(make({f"{CELL}#001": FALSE}))], limit=limit)
    assert len(text.encode()) <= limit


HOSTILE = {
    "mention": "@org/team look",
    "closing": "fixes #1, closes GH-2",
    "image": "![x](https://evil.test/p.png) <img src=https://evil.test/p.png>",
    "html": "<script>alert(1)</script><details>",
    "fence": "```\n# heading\n~~~",
    "pipe": "a | b || c",
    "bidi": "abc\u202edef\u2066",
    "ansi": "\x1b[31mred\x1b[0m\x1b]8;;https://evil.test\x07",
    "marker": "<!-- aprqa-ci:report key=certification content=0 --> -->",
    "command": "\n::error::forged\n::set-output name=x::1\n##[error]x",
    "link": "[click](javascript:alert(1)) https://evil.test www.evil.test",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_only_stands_there(make: Report, kind: str) -> None:
    text = HOSTILE[kind]
    change = {"outcome": Outcome.FALSIFIED, "reason": text, "output": text}
    shown = render_summary([run_of(make({f"{CELL}#001": change}), make())], limit=BIG)
    plain = render_summary([run_of(make({f"{CELL}#001": FALSE}), make())], limit=BIG)
    assert headings_of(shown) == headings_of(plain)
    assert shown.count("\n") == plain.count("\n")
    assert not re.search(r"@\w|(?<![\w&])#\d|GH-\d|://|[\x1b\u202e\u2066]|<[a-z!/]", shown)
    assert not any(line.lstrip().startswith(("::", "##[")) for line in shown.split("\n"))
    html = RENDERER.render(shown)
    assert set(re.findall(r"<(\w+)", html)) == set(re.findall(r"<(\w+)", RENDERER.render(plain)))


def test_a_command_is_quoted_for_the_shell(make: Report) -> None:
    report = make({f"{CELL}#001": FALSE})
    run = replace(run_of(report), playbook="my books/$(id).yaml")
    entry = run.comparison.new[0]
    assert reproduction(run, entry) == (f"aprqa run 'my books/$(id).yaml' --tier mvp --only {CELL}")
