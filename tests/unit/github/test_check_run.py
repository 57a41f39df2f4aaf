from dataclasses import replace
from pathlib import Path

import pytest

from aprqa_ci.github.check_run import MAX_SUMMARY_BYTES, content_of
from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.summary_markdown import SummarisedRun
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id

FELL = {scenario_id("G1-LOAD"): Outcome.FALSIFIED}


@pytest.fixture
def fell(tmp_path: Path) -> SummarisedRun:
    report = made_bundle(tmp_path / "b", outcomes=FELL).report
    return SummarisedRun(
        report=report,
        comparison=compare(None, report, least_noise=0.1),
        playbook="playbooks/tiny.yaml",
    )


def test_it_says_what_the_step_says(fell: SummarisedRun) -> None:
    content = content_of(fell)
    assert content.conclusion == "failure"
    assert content.title == "BLOCKED 0 (F)"
    assert len(content.summary.encode()) <= MAX_SUMMARY_BYTES
    first = content.annotations[0]
    assert (first.path, first.line, first.level) == ("playbooks/tiny.yaml", 1, "failure")
    assert "gateway G1 failed" in first.title


@pytest.mark.parametrize("path", ["/srv/tiny.yaml", "../tiny.yaml", ""])
def test_a_playbook_outside_of_the_repository_is_not_annotated(
    fell: SummarisedRun, path: str
) -> None:
    assert content_of(replace(fell, playbook=path)).annotations == ()


def test_its_digest_is_of_all_that_it_says(fell: SummarisedRun) -> None:
    content = content_of(fell)
    others = [
        replace(content, conclusion="neutral"),
        replace(content, title="other"),
        replace(content, summary="other"),
        replace(content, annotations=()),
        replace(content, annotations=(replace(content.annotations[0], message="other"),)),
    ]
    assert len({each.digest for each in [content, *others]}) == len(others) + 1
    assert content_of(fell).digest == content.digest
