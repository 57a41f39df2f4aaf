from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.reports.run_report import RunReport, run_report
from aprqa_ci.scoring.certificate_parts import CertifiedPlaybook
from aprqa_ci.vocabulary import Outcome, Status

Report = Callable[..., RunReport]


def test_every_scenario_has_its_record(make: Report) -> None:
    report = make({"tiny:run-cpu-gguf-q8_0#002": None})
    assert len(report.scenarios) == 18
    for entry in report.scenarios:
        if entry.name == "tiny:run-cpu-gguf-q8_0#002":
            assert (entry.record, entry.score.outcome) == (None, None)
        else:
            assert entry.record is not None
            assert entry.record.scenario.id == entry.name
        assert entry.gate is not None
        assert not entry.is_failure


def test_the_record_that_decided_is_the_one_that_is_shown(make: Report) -> None:
    whole = make()
    entry = whole.scenarios[-1]
    assert entry.record is not None
    bad = msgspec.structs.replace(
        entry.record, id="f" * 32, outcome=Outcome.FALSIFIED, output="5", reason="5 is wrong"
    )
    score = replace(
        whole.score,
        scenarios=(
            msgspec.structs.replace(
                entry.score, outcome=Outcome.FALSIFIED, records=(bad.id, entry.record.id)
            ),
        ),
    )
    shown = run_report(whole.certificate, score, [bad, entry.record]).scenarios[0]
    assert shown.record == bad
    assert shown.is_failure


def test_names_are_made_unique(make: Report) -> None:
    whole = make()
    first = msgspec.structs.replace(whole.score.scenarios[0], scenario="a\nb", gate_id="G1")
    second = msgspec.structs.replace(first, gate_id="G2")
    score = replace(whole.score, scenarios=(first, second, second))
    names = [entry.name for entry in run_report(whole.certificate, score, []).scenarios]
    assert names == ["a b G1", "a b G2", "a b G2 (2)"]


def test_a_certificate_that_says_something_else_is_refused(make: Report) -> None:
    whole = make()
    claimed = msgspec.structs.replace(
        whole.certificate,
        mqs=whole.certificate.mqs + 1,
        status=Status.BLOCKED,
        playbook=CertifiedPlaybook(name="other", digest="", version=""),
    )
    with pytest.raises(InputError) as caught:
        run_report(claimed, whole.score, [])
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "the certificate's MQS is 1001, the evidence gives 1000" in text
    assert "'BLOCKED', the evidence gives 'CERTIFIED'" in text
    assert "'other', the evidence gives 'tiny'" in text
