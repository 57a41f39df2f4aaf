import pytest

from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.integrity.finding import (
    FindingState,
    NotJudgedError,
    Observation,
    counted,
    find,
    listed,
)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (FormatError("m", "cut off"), FindingState.FALSIFIED, "m: cut off"),
        (UnsupportedFormatError("m", "new"), FindingState.SKIPPED, "not judged: m: new"),
        (NotJudgedError("nothing there"), FindingState.SKIPPED, "not judged: nothing there"),
    ],
)
def test_what_stops_a_judge_says_what_is_found(
    error: Exception, state: FindingState, reason: str
) -> None:
    def judge() -> Observation:
        raise error

    found = find("G0-X", judge)
    assert (found.gate_id, found.state, found.reason) == ("G0-X", state, reason)


def test_other_errors_are_ours_and_go_on() -> None:
    def judge() -> Observation:
        raise MemoryError

    with pytest.raises(MemoryError):
        find("G0-X", judge)


def test_the_first_problems_are_told_and_the_others_counted() -> None:
    problems = tuple(f"problem {number}" for number in range(10))
    found = find("G0-X", lambda: Observation(problems=problems, shown="good", details="a\nb\x1b"))
    assert found.state is FindingState.FALSIFIED
    assert found.reason.startswith("problem 0; problem 1; ")
    assert found.reason.endswith("problem 7; and 2 more")
    assert found.details == "a\nb\N{REPLACEMENT CHARACTER}"


def test_without_a_problem_it_is_said_what_was_shown() -> None:
    found = find("G0-X", lambda: Observation(shown="2 layers"))
    assert (found.state, found.reason) == (FindingState.CORROBORATED, "2 layers")


def test_lists_and_counts_read_well() -> None:
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert (counted(1, "file"), counted(2, "file")) == ("1 file", "2 files")
