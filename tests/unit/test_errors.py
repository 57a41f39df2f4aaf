import re

import pytest

from aprqa_ci import errors
from aprqa_ci.errors import (
    AprqaError,
    DeliveryError,
    InconclusiveError,
    InputError,
    InterruptedRunError,
    ModelFellShortError,
    Problem,
    TerminatedRunError,
)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(what="it is wrong"), "it is wrong"),
        (Problem(what="it is wrong", line=3), "it is wrong"),
        (Problem(what="it is wrong", path="a.yaml"), "a.yaml: it is wrong"),
        (Problem(what="it is wrong", path="a.yaml", line=3), "a.yaml:3: it is wrong"),
        (
            Problem(what="it is wrong", path="a.yaml", line=3, hint="mend it"),
            "a.yaml:3: it is wrong (mend it)",
        ),
    ],
)
def test_a_problem_says_where_what_and_what_to_do(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_input_errors_are_made_of_text_of_one_problem_and_of_many() -> None:
    one, two = Problem(what="first", path="a"), Problem(what="second", path="b")
    assert InputError("plain").problems == (Problem(what="plain"),)
    assert InputError(one).problems == (one,)
    both = InputError(iter([one, two]))
    assert both.problems == (one, two)
    assert str(both) == "a: first\nb: second"


def test_exit_codes_are_the_contract() -> None:
    codes: dict[type[AprqaError], int] = {
        ModelFellShortError: 1,
        InputError: 2,
        InconclusiveError: 3,
        DeliveryError: 4,
        InterruptedRunError: 130,
        TerminatedRunError: 143,
        AprqaError: 3,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert all(issubclass(kind, AprqaError) for kind in codes)
    documented = {
        int(code) for code in re.findall(r"^(\d+) +\S", errors.__doc__ or "", re.MULTILINE)
    }
    assert documented == {0, *codes.values()}
