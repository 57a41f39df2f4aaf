from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aprqa_ci.reports.comparison import SpeedChange, compare
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

Report = Callable[..., RunReport]

CELL = "tiny:run-cpu-gguf-q8_0"
OTHER = "tiny:run-cpu-safetensors"
FALSE = {"outcome": Outcome.FALSIFIED}
SKIPPED = {"outcome": Outcome.SKIPPED, "cause": "infrastructure:engine-missing"}


def names(entries: Any) -> list[str]:
    return [entry.score.scenario for entry in entries]


def replaced(certificate: Certificate, **changes: Any) -> Certificate:
    return msgspec.structs.replace(certificate, **changes)


def test_new_still_fixed_and_lost(make: Report) -> None:
    base = make({f"{CELL}#001": FALSE, f"{CELL}#002": FALSE}).certificate
    head = make({f"{CELL}#002": FALSE, f"{CELL}#003": FALSE, f"{OTHER}#001": None})
    found = compare(base, head)
    assert names(found.new) == [f"{CELL}#003"]
    assert names(found.still) == [f"{CELL}#002"]
    assert found.fixed == (f"{CELL}#001",)
    assert found.lost == (f"{OTHER}#001",)
    assert found.is_change
    assert found.same_questions
    assert found.same_machine


def test_without_a_base_every_failure_is_new(make: Report) -> None:
    found = compare(None, make({f"{CELL}#001": FALSE}))
    assert names(found.new) == [f"{CELL}#001"]
    assert (found.still, found.fixed, found.lost, found.speeds) == ((), (), (), ())
    assert found.is_change
    assert not found.same_questions


def test_what_is_as_it_was_is_no_change(make: Report) -> None:
    report = make({f"{CELL}#001": FALSE})
    found = compare(report.certificate, report)
    assert names(found.still) == [f"{CELL}#001"]
    assert not found.is_change


@pytest.mark.parametrize("was", [SKIPPED, None])
def test_what_was_not_tested_before_was_not_failing(
    make: Report, was: dict[str, Any] | None
) -> None:
    found = compare(make({f"{CELL}#001": was}).certificate, make())
    assert found.fixed == ()
    found = compare(make({f"{CELL}#001": was}).certificate, make({f"{CELL}#001": FALSE}))
    assert names(found.new) == [f"{CELL}#001"]


def test_a_skip_is_no_success(make: Report) -> None:
    found = compare(make({f"{CELL}#001": FALSE}).certificate, make({f"{CELL}#001": SKIPPED}))
    assert found.fixed == ()
    found = compare(make().certificate, make({f"{CELL}#001": SKIPPED}))
    assert found.lost == (f"{CELL}#001",)


def test_deferred_cells_are_not_lost(make: Report) -> None:
    ids = [entry.score.scenario for entry in make().scenarios if entry.score.cell == CELL]
    head = make(dict.fromkeys([*ids, f"{OTHER}#001"]), deferred=[CELL, "another:cell"])
    found = compare(make().certificate, head)
    assert found.deferred == (CELL,)
    assert found.lost == (f"{OTHER}#001",)


@pytest.mark.parametrize("changes", [{"tier": "full"}, {"tool_version": "9"}])
def test_other_questions_are_noticed(make: Report, changes: dict[str, str]) -> None:
    report = make()
    assert not compare(replaced(report.certificate, **changes), report).same_questions


def test_speeds(make: Report) -> None:
    head = make()
    cells = {
        CELL: msgspec.structs.replace(head.certificate.cells[CELL], tokens_per_second=24.13),
        OTHER: msgspec.structs.replace(head.certificate.cells[OTHER], tokens_per_second=None),
    }
    slower = tuple(
        msgspec.structs.replace(each, tokens_per_second=24.13)
        for each in head.certificate.throughput
        if each.format is ModelFormat.GGUF
    )
    base = replaced(head.certificate, throughput=slower, cells=cells)
    (speed,) = compare(base, head, least_noise=0.05).speeds
    assert (speed.format, speed.backend) == (ModelFormat.GGUF, Backend.CPU)
    assert speed.change == pytest.approx(1.0)
    assert speed.noise == 0.05
    assert not speed.is_noise
    assert compare(base, head, least_noise=1.0).speeds[0].is_noise


def test_noise_is_half_the_spread_over_the_cells(make: Report) -> None:
    head = make()
    cells = {
        f"{CELL}{n}": msgspec.structs.replace(cell, tokens_per_second=speed)
        for n, (cell, speed) in enumerate([(head.certificate.cells[CELL], 10.0)] * 2)
    }
    score_cells = {f"{CELL}{n}": _with_speed(head, speed) for n, speed in enumerate((10.0, 12.0))}
    changed = _with_cells(head, score_cells)
    speeds = compare(replaced(head.certificate, cells=cells), changed).speeds
    # 1.0 and 1.2 of what was: half of 0.2 around 1.1.
    assert {each.format: each.noise for each in speeds} == {
        ModelFormat.GGUF: pytest.approx(0.1 / 1.1),
        ModelFormat.SAFETENSORS: 0.0,
    }


def _with_speed(report: RunReport, speed: float) -> Any:
    from dataclasses import replace

    return replace(report.score.cells[CELL], tokens_per_second=speed)


def _with_cells(report: RunReport, cells: Any) -> RunReport:
    from dataclasses import replace

    return replace(report, score=replace(report.score, cells=cells))


def test_other_machines_are_noticed(make: Report) -> None:
    report = make()
    hosts = tuple(msgspec.structs.replace(h, cpu="another") for h in report.certificate.hosts)
    assert not compare(replaced(report.certificate, hosts=hosts), report).same_machine


def test_a_speed_says_how_it_changed() -> None:
    speed = SpeedChange(format=ModelFormat.GGUF, backend=Backend.CPU, before=50, now=40, noise=0.19)
    assert speed.change == pytest.approx(-0.2)
    assert not speed.is_noise
