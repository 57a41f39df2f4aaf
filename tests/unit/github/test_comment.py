from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.github.comment import (
    MAX_BODY_BYTES,
    CommentMode,
    body_of,
    deliver_comment,
    is_wanted,
)
from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.summary_markdown import SummarisedRun
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id


def run_of(head: Bundle, base: Bundle | None = None) -> SummarisedRun:
    earlier = None if base is None else base.certificate
    return SummarisedRun(report=head.report, comparison=compare(earlier, head.report), playbook="p")


@pytest.fixture
def good(tmp_path: Path) -> Bundle:
    return made_bundle(tmp_path / "good")


@pytest.fixture
def bad(tmp_path: Path) -> Bundle:
    failed = {scenario_id(what): Outcome.FALSIFIED for what in ("001", "G1-LOAD")}
    return made_bundle(tmp_path / "bad", outcomes=failed)


def test_when_there_is_to_be_a_comment(good: Bundle, bad: Bundle) -> None:
    cases = {
        "first": [run_of(good)],
        "same": [run_of(good, good)],
        "fell": [run_of(bad, good)],
        "stays bad": [run_of(bad, bad)],
        "recovered": [run_of(good, bad)],
        "one of two": [run_of(good, good), run_of(bad, good)],
    }
    wanted = {
        mode: {name for name, runs in cases.items() if is_wanted(runs, mode)}
        for mode in CommentMode
    }
    assert wanted == {
        CommentMode.ALWAYS: set(cases),
        CommentMode.CHANGES: {"first", "fell", "recovered", "one of two"},
        CommentMode.FAILURES: {"fell", "stays bad", "one of two"},
        CommentMode.OFF: set(),
    }


def test_the_marker_comes_first_and_the_footer_is_no_content(good: Bundle, bad: Bundle) -> None:
    one = body_of([run_of(good)], key="nightly", footer="run 1")
    two = body_of([run_of(good)], key="nightly", footer="run 2")
    other = body_of([run_of(bad)], key="nightly", footer="run 1")
    first = one.split("\n", maxsplit=1)[0]
    assert first.startswith("<!-- aprqa-ci:report key=nightly content=")
    assert one.endswith("\nrun 1\n")
    assert two.split("\n", maxsplit=1)[0] == first
    assert other.split("\n", maxsplit=1)[0] != first


def test_a_long_comment_fits(tmp_path: Path) -> None:
    failed = {scenario_id(f"{n:03d}"): Outcome.FALSIFIED for n in range(1, 30)}
    bundle = made_bundle(tmp_path / "b", outcomes=failed, prompts=30)
    body = body_of([run_of(bundle)] * 60, key="k", footer="é" * 100)
    assert MAX_BODY_BYTES - 4000 < len(body.encode()) <= MAX_BODY_BYTES
    assert body.endswith("é\n")


def test_a_key_is_a_word(good: Bundle) -> None:
    with pytest.raises(ValueError, match="not fit for a comment"):
        body_of([run_of(good)], key="a --> b", footer="")


def test_a_text_without_a_marker_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="has no marker"):
        deliver_comment(None, 1, "text", wanted=True)  # type: ignore[arg-type] # never asked
