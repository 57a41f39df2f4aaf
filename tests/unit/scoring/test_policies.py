import msgspec
import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.scoring.policies import (
    DEFAULT_POLICY,
    ReferencePolicy,
    SharePolicy,
    grade_of,
    load_policy,
    policy_names,
)
from aprqa_ci.vocabulary import Category


def test_every_policy_loads_and_is_named_by_its_file() -> None:
    assert policy_names() == ("apr-qa-0", "aprqa-1")
    assert [load_policy(name).id for name in policy_names()] == list(policy_names())


def test_default_policy_has_the_published_numbers() -> None:
    policy = load_policy()
    assert isinstance(policy, SharePolicy)
    assert policy.id == DEFAULT_POLICY
    weights = {name.value: points for name, points in policy.weights.items()}
    assert weights == {"QUAL": 200, "PERF": 150, "STAB": 200, "COMP": 150, "EDGE": 150, "REGR": 150}
    assert (policy.timeout_penalty, policy.certify_at) == (10, 800)


@pytest.mark.parametrize(
    ("score", "grade"),
    [(1000, "A"), (900, "A"), (899, "B"), (800, "B"), (799, "C"), (600, "C"), (599, "D"),
     (400, "D"), (399, "F"), (0, "F")],
)  # fmt: skip
def test_default_grades(score: int, grade: str) -> None:
    policy = load_policy()
    assert grade_of(score, policy.grades) == grade


@pytest.mark.parametrize("name", ["aprqa-2", "../gates", ""])
def test_unknown_policy_names_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match="aprqa-1"):
        load_policy(name)


SHARE = {
    "formula": "planned-share",
    "id": "x",
    "version": 1,
    "weights": dict.fromkeys(Category, 10),
    "timeout_penalty": 10,
    "grades": {"A": 900, "B": 800},
    "certify_at": 800,
    "flaky": "falsify",
}
REFERENCE = {name: value for name, value in SHARE.items() if name != "flaky"} | {
    "formula": "reference",
    "weights": dict(zip(Category, (500, 100, 100, 100, 100, 100), strict=True)),
    "crash_penalty": 20,
    "garbage_divisor": 4,
    "prefixes": {"G0-": "STAB"},
    "otherwise": "QUAL",
}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (SHARE, {"weights": {Category.QUAL: 200}}),
        (SHARE, {"weights": dict.fromkeys(Category, 10) | {Category.EDGE: 0}}),
        (SHARE, {"grades": {"B": 800, "A": 900}}),
        (SHARE, {"grades": {"A": 900, "B": 900}}),
        (SHARE, {"timeout_penalty": -1}),
        (SHARE, {"weight": {}}),
        (SHARE, {"flaky": "ignore"}),
        (REFERENCE, {"weights": dict.fromkeys(Category, 100)}),
        (REFERENCE, {"garbage_divisor": 0}),
        (REFERENCE, {"grades": {"B": 800, "A": 900}}),
    ],
)
def test_numbers_without_meaning_are_refused(
    base: dict[str, object], change: dict[str, object]
) -> None:
    kinds = SharePolicy | ReferencePolicy
    assert msgspec.convert(base, type=kinds)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(base | change, type=kinds)
