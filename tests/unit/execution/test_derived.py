from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.derived import CellResult, DerivedFinding, conclude_cell
from aprqa_ci.execution.thresholds import load_thresholds
from aprqa_ci.planning.baseline import BaselineCell
from aprqa_ci.planning.plan import OracleSpec, PlannedCell, PlannedScenario, PromptCase
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Outcome

CELL = "book:run-cpu-gguf"
C, F, S, T, X = (
    Outcome.CORROBORATED,
    Outcome.FALSIFIED,
    Outcome.SKIPPED,
    Outcome.TIMEOUT,
    Outcome.CRASHED,
)
Kind = Literal["", "garbage", "empty", "wrong", "engine-error"]
BAD_KINDS: tuple[Kind, ...] = ("garbage", "empty")
CHECKS = ("G0-DIGEST-001", "G1-LOAD", "F-PERF-TPS-001")
DERIVED = ("G2-BASIC", "G3-STABLE", "G4-GARBAGE", "F-REGR-BASELINE-001")


def planned(prompts: int = 8, derived: Sequence[str] = DERIVED) -> PlannedCell:
    case = PromptCase(turns=("What is 2+2?",), oracle=OracleSpec(kind="arithmetic"))
    scenarios = [PlannedScenario(id=f"{CELL}#{gate}", gate_id=gate) for gate in CHECKS]
    scenarios += [
        PlannedScenario(id=f"{CELL}#{number:03d}", gate_id="F-A1-001", prompt=case)
        for number in range(prompts)
    ]
    scenarios += [PlannedScenario(id=f"{CELL}#{gate}", gate_id=gate) for gate in derived]
    return PlannedCell(
        id=CELL,
        playbook="book",
        modality=Modality.RUN,
        backend=Backend.CPU,
        format=ModelFormat.GGUF,
        timeout_ms=1000,
        scenarios=tuple(scenarios),
    )


def check(gate: str, outcome: Outcome = C, *, speed: float | None = None) -> CellResult:
    return CellResult(
        scenario=f"{CELL}#{gate}", gate_id=gate, outcome=outcome, tokens_per_second=speed
    )


def prompt(
    number: int, outcome: Outcome = C, kind: Kind = "", *, crashed: bool = False, cause: str = ""
) -> CellResult:
    return CellResult(
        scenario=f"{CELL}#{number:03d}",
        gate_id="F-A1-001",
        outcome=outcome,
        kind=kind,
        crashed=crashed,
        cause=cause,
        tokens_per_second=2.0,
    )


def good(prompts: int = 8) -> list[CellResult]:
    checks = [check("G0-DIGEST-001"), check("G1-LOAD"), check("F-PERF-TPS-001", speed=40.0)]
    return checks + [prompt(number) for number in range(prompts)]


def conclude(
    results: Sequence[CellResult], baseline: BaselineCell | None = None, prompts: int = 8
) -> dict[str, DerivedFinding]:
    found = conclude_cell(planned(prompts), results, baseline, load_thresholds())
    assert [each.scenario for each in found] == [f"{CELL}#{gate}" for gate in DERIVED]
    return {each.gate_id: each for each in found}


def with_prompts(*results: CellResult) -> list[CellResult]:
    """Take the good results, but for the given prompts."""
    changed = {result.scenario: result for result in results}
    return [changed.get(result.scenario, result) for result in good()]


def test_a_good_cell_passes_all_but_the_baseline_it_does_not_have() -> None:
    found = conclude(good())
    assert [found[gate].outcome for gate in DERIVED] == [C, C, C, S]
    assert found["F-REGR-BASELINE-001"].cause == "policy:no-baseline"


def test_only_what_the_plan_names_is_concluded() -> None:
    cell = planned(derived=("G3-STABLE",))
    (finding,) = conclude_cell(cell, good(), None, load_thresholds())
    assert finding.gate_id == "G3-STABLE"


def test_one_engine_error_fails_g2_and_names_the_prompt() -> None:
    found = conclude(with_prompts(prompt(3, F, "engine-error")))
    assert found["G2-BASIC"].outcome is F
    assert f"{CELL}#003" in found["G2-BASIC"].reason
    assert found["G4-GARBAGE"].reason == "0 of 7 answers were empty or garbage"


@pytest.mark.parametrize(("outcome", "kind"), [(F, "empty"), (T, ""), (X, "")])
def test_when_nothing_answers_with_text_g2_fails(outcome: Outcome, kind: Kind) -> None:
    found = conclude(with_prompts(*(prompt(n, outcome, kind) for n in range(8))))
    assert found["G2-BASIC"].outcome is F
    assert found["G4-GARBAGE"].outcome is (F if kind == "empty" else S)


@pytest.mark.parametrize("kind", ["wrong", "garbage"])
def test_one_answer_with_text_is_enough_for_g2(kind: Kind) -> None:
    others = (prompt(n, T) for n in range(7))
    found = conclude(with_prompts(*others, prompt(7, F, kind)))
    assert found["G2-BASIC"].outcome is C


def test_nothing_passes_when_the_model_did_not_load() -> None:
    results = [check("G0-DIGEST-001"), check("G1-LOAD", F)]
    results += [prompt(n, S, cause="model:not-loaded") for n in range(8)]
    for found in (conclude(results), conclude(results[:2])):
        assert [found[gate].outcome for gate in DERIVED[:3]] == [S, S, S]
        assert {found[gate].cause for gate in DERIVED[:3]} == {"model:not-loaded"}


def test_the_machines_cause_goes_before_the_models() -> None:
    results = [check("G1-LOAD", S)]
    results += [prompt(0, S, cause="model:not-loaded")]
    results += [prompt(n, S, cause="infrastructure:engine-missing") for n in range(1, 8)]
    found = conclude(results)
    assert {found[gate].cause for gate in DERIVED[:3]} == {"infrastructure:engine-missing"}


def test_a_cell_that_was_never_begun_is_skipped_with_a_cause() -> None:
    found = conclude([])
    assert {found[gate].cause for gate in DERIVED[:3]} == {"policy:not-tried"}
    found = conclude([prompt(0, S, cause="policy:stopped"), prompt(1, S)])
    assert {found[gate].cause for gate in DERIVED[:3]} == {"policy:stopped"}


@pytest.mark.parametrize(
    "crash", [prompt(2, X), prompt(2, S, crashed=True), prompt(2, F, crashed=True)]
)
def test_any_crash_fails_g3(crash: CellResult) -> None:
    found = conclude(with_prompts(crash))
    assert found["G3-STABLE"].outcome is F
    assert f"{CELL}#002" in found["G3-STABLE"].reason


def test_a_crash_while_loading_fails_g3() -> None:
    assert conclude([check("G1-LOAD", X)])["G3-STABLE"].outcome is F


def test_reading_the_files_is_not_running_the_model() -> None:
    found = conclude([check("G0-DIGEST-001"), check("G1-LOAD")])
    assert found["G3-STABLE"].outcome is S


@pytest.mark.parametrize(
    ("answered", "bad", "outcome"),
    [(3, 0, C), (3, 1, F), (4, 1, C), (4, 2, F), (8, 2, C), (8, 3, F), (1, 1, F), (10, 2, C)],
)
@pytest.mark.parametrize("kind", BAD_KINDS)
def test_g4_fails_above_a_quarter(answered: int, bad: int, outcome: Outcome, kind: Kind) -> None:
    results = [prompt(n, F, kind) for n in range(bad)]
    results += [prompt(n) for n in range(bad, answered)]
    assert conclude(results, prompts=12)["G4-GARBAGE"].outcome is outcome


@given(bad=st.integers(0, 40), rest=st.integers(0, 40))
def test_g4_compares_exactly(bad: int, rest: int) -> None:
    results = [prompt(n, F, BAD_KINDS[n % 2]) for n in range(bad)]
    results += [prompt(bad + n) for n in range(rest)]
    expected = S if not results else F if 4 * bad > bad + rest else C
    assert conclude(results, prompts=80)["G4-GARBAGE"].outcome is expected


def test_the_share_is_compared_as_the_decimal_it_is_written_as() -> None:
    # 0.07 * 100 is 7.000000000000001 in binary, and 0.29 * 100 is 28.999999999999996.
    thresholds = load_thresholds()
    results = [prompt(n, F, "empty") for n in range(29)] + [prompt(n) for n in range(29, 100)]
    limit = msgspec.structs.replace(thresholds, garbage_share=0.29)
    found = conclude_cell(planned(100), results, None, limit)
    assert next(each for each in found if each.gate_id == "G4-GARBAGE").outcome is C


BASELINE = BaselineCell(
    corroborated=(f"{CELL}#000", f"{CELL}#001", f"{CELL}#G1-LOAD", f"{CELL}#G2-BASIC", "gone#1"),
    tokens_per_second=40.0,
)


def baseline_of(results: Sequence[CellResult], baseline: BaselineCell = BASELINE) -> DerivedFinding:
    return conclude(results, baseline)["F-REGR-BASELINE-001"]


def test_no_worse_than_the_baseline() -> None:
    finding = baseline_of(with_prompts(prompt(2, F, "wrong")))
    assert finding.outcome is C
    assert finding.reason == (
        "all 3 that were right before still are; 40.0 tokens per second, 40.0 before"
    )


@pytest.mark.parametrize("outcome", [F, T, X])
def test_what_was_right_and_is_wrong_now_is_a_regression(outcome: Outcome) -> None:
    finding = baseline_of(with_prompts(prompt(1, outcome)))
    assert finding.outcome is F
    assert f"{CELL}#001" in finding.reason


@pytest.mark.parametrize(("speed", "outcome"), [(20.0, C), (19.9, F), (80.0, C)])
def test_half_the_throughput_is_the_limit(speed: float, outcome: Outcome) -> None:
    results = [each for each in good() if each.gate_id != "F-PERF-TPS-001"]
    assert baseline_of([*results, check("F-PERF-TPS-001", F, speed=speed)]).outcome is outcome


def test_what_was_right_and_was_not_tried_is_not_a_pass() -> None:
    skipped = prompt(1, S, cause="infrastructure:no-memory")
    finding = baseline_of(with_prompts(skipped))
    assert (finding.outcome, finding.cause) == (S, "infrastructure:no-memory")
    left_out = [each for each in good() if each.scenario != f"{CELL}#001"]
    assert baseline_of(left_out).outcome is S


def test_a_throughput_that_is_not_measured_any_more_is_not_a_pass() -> None:
    results = [each for each in good() if each.gate_id != "F-PERF-TPS-001"]
    assert baseline_of([*results, check("F-PERF-TPS-001")]).outcome is S
    before = BaselineCell(corroborated=(f"{CELL}#000",))
    assert baseline_of(results, before).outcome is C


LOSS = "F-REGR-LOSS-001"


def loss_of(
    lost: int,
    won: int,
    *,
    asked: int = 40,
    like_before: bool = False,
    speed: float | None = 40.0,
    before: float | None = 40.0,
    changes: Sequence[CellResult] = (),
) -> DerivedFinding:
    """Of ``asked`` questions the first were right and are not, the last the other way."""
    right = tuple(f"{CELL}#{number:03d}" for number in range(asked - won))
    results = {each.scenario: each for each in good(asked)}
    results |= {each.scenario: each for each in (prompt(n, F, "wrong") for n in range(lost))}
    results[f"{CELL}#F-PERF-TPS-001"] = check("F-PERF-TPS-001", speed=speed)
    results |= {each.scenario: each for each in changes}
    (finding,) = conclude_cell(
        planned(asked, (LOSS,)),
        tuple(results.values()),
        BaselineCell(corroborated=right, tokens_per_second=before),
        load_thresholds(),
        like_before=like_before,
    )
    return finding


@pytest.mark.parametrize(
    ("lost", "won", "outcome"), [(0, 0, C), (1, 0, C), (2, 0, F), (2, 1, C), (3, 1, F), (1, 9, C)]
)
def test_where_only_the_model_can_differ_two_lost_answers_are_a_loss(
    lost: int, won: int, outcome: Outcome
) -> None:
    finding = loss_of(lost, won, like_before=True)
    assert finding.outcome is outcome
    assert f"of 40 questions {lost} were lost and {won} won" in finding.reason
    assert (f"{CELL}#000" in finding.reason) == (outcome is F)


# One-sided sign test: 0.5^6 = 0.016, 0.5^7 = 0.008; 9 of 10: 11/1024 = 0.011; 10 of 11: 0.006.
@pytest.mark.parametrize(
    ("lost", "won", "outcome"),
    [(0, 0, C), (6, 0, C), (7, 0, F), (9, 1, C), (10, 1, F), (15, 15, C), (15, 3, F)],
)
def test_elsewhere_a_loss_is_one_when_chance_does_not_explain_it(
    lost: int, won: int, outcome: Outcome
) -> None:
    assert loss_of(lost, won).outcome is outcome


def test_very_many_changes_can_be_compared() -> None:
    finding = loss_of(1500, 0, asked=2000)
    assert finding.outcome is F
    assert "0 likely by chance" in finding.reason


@pytest.mark.parametrize(
    ("speed", "before", "outcome"),
    [(8.0, 40.0, C), (7.9, 40.0, F), (80.0, 40.0, C), (1.0, None, C), (None, None, C)],
)
def test_a_fifth_of_the_throughput_is_a_collapse(
    speed: float | None, before: float | None, outcome: Outcome
) -> None:
    assert loss_of(0, 0, speed=speed, before=before).outcome is outcome


def test_a_loss_that_was_not_looked_for_is_not_ruled_out() -> None:
    assert loss_of(0, 0, speed=None).outcome is S
    skipped = prompt(3, S, cause="infrastructure:no-memory")
    finding = loss_of(0, 0, changes=[skipped])
    assert (finding.outcome, finding.cause) == (S, "infrastructure:no-memory")
    # What was wrong before was not won by not being tried.
    assert "0 were lost and 0 won" in loss_of(0, 1, changes=[prompt(39, S)]).reason
    (finding,) = conclude_cell(planned(8, (LOSS,)), good(), None, load_thresholds())
    assert (finding.outcome, finding.cause) == (S, "policy:no-baseline")


def test_a_baseline_with_nothing_in_common_shows_nothing() -> None:
    finding = baseline_of(good(), BaselineCell(corroborated=("gone#1", f"{CELL}#G2-BASIC")))
    assert (finding.outcome, finding.cause) == (S, "policy:no-baseline")


def test_an_unknown_gate_shows_nothing() -> None:
    cell = planned()
    odd = PlannedScenario(id=f"{CELL}#odd", gate_id="F-ODD-001")
    cell = type(cell)(**{
        name: getattr(cell, name) for name in cell.__struct_fields__
    } | {"scenarios": (odd, *cell.scenarios)})  # fmt: skip
    results = [CellResult(scenario=odd.id, gate_id=odd.gate_id, outcome=C)]
    found = conclude_cell(cell, results, None, load_thresholds())
    assert {each.outcome for each in found} == {S}


@pytest.mark.parametrize(
    "results", [[prompt(0), prompt(0)], [replace(prompt(0), scenario="elsewhere#000")]]
)
def test_results_of_other_cells_are_refused(results: list[CellResult]) -> None:
    with pytest.raises(ValueError, match="not those of"):
        conclude(results)


outcomes = st.lists(
    st.tuples(st.sampled_from(Outcome), st.sampled_from(["", "garbage", "empty", "wrong"])),
    min_size=8,
    max_size=8,
)


@given(outcomes=outcomes, index=st.integers(0, 7), order=st.permutations(range(11)))
def test_skipping_or_reordering_never_helps_g2_and_g3(
    outcomes: list[tuple[Outcome, Kind]], index: int, order: list[int]
) -> None:
    prompts = [prompt(n, *ended) for n, ended in enumerate(outcomes)]
    results = good()[:3] + prompts
    found = conclude(results)
    assert conclude([results[n] for n in order]).keys() == found.keys()
    for gate in DERIVED:
        assert conclude([results[n] for n in order])[gate].outcome is found[gate].outcome
    if prompts[index].outcome is C:
        after = conclude([*results[: 3 + index], *results[4 + index :]])
        for gate in ("G2-BASIC", "G3-STABLE"):
            assert after[gate].outcome is not C or found[gate].outcome is C


def test_a_child_that_dies_when_it_is_asked_to_end_is_not_stable() -> None:
    results = [check("G1-LOAD"), *(prompt(number) for number in range(8))]
    found = {
        each.gate_id: each
        for each in conclude_cell(planned(), results, None, load_thresholds(), died_closing=True)
    }
    assert found["G3-STABLE"].outcome is F
    assert "asked to end" in found["G3-STABLE"].reason
    assert found["G2-BASIC"].outcome is C
