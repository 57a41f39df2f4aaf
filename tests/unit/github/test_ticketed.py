import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.github.ticketed import (
    Ticketed,
    issue_body,
    ticketed_by,
    ticketed_of,
    without_marker,
)
from aprqa_ci.reports.tickets import RunCoverage, Ticket

answers = pytest.importorskip("aprqa_ci.github.answers")

TICKET = Ticket(
    cause="timeout", title="t", body="text\n", labels=("a",), shown=("0" * 12,), all_shown=True
)
RUN = RunCoverage(
    playbook="tiny-mvp",
    model="acme/tiny",
    finished="2026-01-02T00:00:00Z",
    answered=frozenset(),
    is_whole=True,
    has_verdict=True,
    not_tested=(),
)
ONE = ticketed_of(TICKET, RUN)


def read(body: str | None, *, author: str | None = "bot", pull: bool = False) -> Ticketed | None:
    told: dict[str, Any] = {
        "number": 1,
        "html_url": "u",
        "state": "open",
        "title": "t",
        "body": body,
        "user": {"login": author} if author else None,
    }
    issue = msgspec.convert(told | ({"pull_request": {}} if pull else {}), type=answers.Issue)
    return ticketed_by(issue, author="bot")


def test_what_is_written_is_read() -> None:
    body = issue_body(ONE, "text\n")
    assert read(body) == ONE
    assert read(body.replace("\n", "\r\n")) == ONE
    assert without_marker(body) == "text\n"
    assert without_marker("text\n") == "text\n"


def test_the_content_is_title_labels_and_text() -> None:
    for change in ({"title": "u"}, {"body": "other\n"}, {"labels": ("b",)}):
        values = {name: getattr(TICKET, name) for name in TICKET.__dataclass_fields__}
        other = Ticket(**(values | change))
        assert ticketed_of(other, RUN).content != ONE.content


def test_what_is_not_ours_beyond_doubt_is_not_ours() -> None:
    body = issue_body(ONE, "text")
    assert read(body, author="human") is None
    assert read(body, author=None) is None
    assert read(body, pull=True) is None
    assert read(None) is None
    assert read("quoted:\n" + body) is None
    assert read("<!-- aprqa-ci:ticket AAA -->\n") is None
    forged = base64.b32encode(b"{}").decode()
    assert read(f"<!-- aprqa-ci:ticket {forged} -->\n") is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_name_ends_the_marker(playbook: str, cause: str) -> None:
    odd = msgspec.structs.replace(ONE, playbook=playbook, cause=cause)
    text = issue_body(odd, "")
    assert text.count("-->") == text.count("<!--") == text.count("\n") == 1
    assert read(text) == odd
