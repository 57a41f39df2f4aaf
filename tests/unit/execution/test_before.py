"""What of the last accepted certificate can be compared with a cell."""

from typing import Any

import msgspec
import pytest

from aprqa_ci.execution.before import baseline_cell, like_before
from aprqa_ci.execution.engines.interface import Engine, EngineAbsentError
from aprqa_ci.execution.engines.registry import describe, engine_named
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.plan import PlannedPlaybook
from tests.cells import playbook_of

BEFORE = BaselineCell(corroborated=("tiny#1",), tokens_per_second=9.0)


def reference() -> Engine:
    return engine_named("reference")


def playbook(**changes: Any) -> PlannedPlaybook:
    baseline = Baseline(
        certificate_digest="0",
        machines=("a kind", "this kind"),
        cells={"tiny": BEFORE},
        engines={"reference": describe(reference()).version or ""},
        revision=None,
    )
    return playbook_of(baseline=msgspec.structs.replace(baseline, **changes))


def test_a_throughput_is_compared_on_the_same_kind_of_machine() -> None:
    assert baseline_cell(playbook(), "tiny", "this kind") == BEFORE
    elsewhere = baseline_cell(playbook(), "tiny", "another kind")
    assert elsewhere == BaselineCell(corroborated=("tiny#1",))
    assert baseline_cell(playbook(), "other", "this kind") is None
    assert baseline_cell(playbook_of(), "tiny", "this kind") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"machines": ("a kind",)},
        {"engines": {"reference": "0"}},
        {"engines": {"hf": "1"}},
        {"engines": msgspec.UNSET},
        {"revision": "main"},
        {"revision": msgspec.UNSET},
    ],
)
def test_answers_differ_for_no_reason_where_all_is_as_before(changes: dict[str, Any]) -> None:
    assert like_before(playbook(), "this kind", reference)
    assert not like_before(playbook(**changes), "this kind", reference)


def test_without_baseline_or_engine_nothing_is_as_before() -> None:
    def absent() -> Engine:
        what = "none"
        raise EngineAbsentError(what)

    assert not like_before(playbook_of(), "this kind", reference)
    assert not like_before(playbook(), "this kind", absent)
