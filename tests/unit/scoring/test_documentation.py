"""docs/scoring.md says what the data files and the code say."""

from pathlib import Path
from typing import TYPE_CHECKING

from aprqa_ci.execution.thresholds import load_thresholds
from aprqa_ci.scoring.explain import explain
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.scoring.wilson import wilson_interval
from aprqa_ci.vocabulary import Gateway, Outcome, Status

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "scoring.md").read_text("utf-8")


def table(first_cell: str, *, after: str) -> dict[str, list[str]]:
    """Read the first table below a heading that has such a first column: rows by first cell."""
    _, found, rest = TEXT.partition(f"\n## {after}\n")
    assert found
    lines = rest.splitlines()
    heads = [n - 1 for n, line in enumerate(lines) if line.startswith("|---")]
    start = next(n for n in heads if lines[n].startswith(f"| {first_cell} |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


def test_weights_grades_and_limits_are_those_of_the_policy() -> None:
    policy = load_policy("aprqa-1")
    rows = table("category", after="Policy aprqa-1")
    assert {name: int(cells[0]) for name, cells in rows.items()} == {
        name.value: weight for name, weight in policy.weights.items()
    }
    grades = table("grade", after="Policy aprqa-1")
    assert {name: int(cells[0]) for name, cells in grades.items()} == policy.grades | {"F": 0}
    assert f"takes {policy.timeout_penalty} points more" in TEXT
    assert f"the score is below {policy.certify_at} |" in TEXT


def test_the_reference_policy_is_described_with_its_own_numbers() -> None:
    policy = load_policy("apr-qa-0")
    grades = table("grade", after="Policy apr-qa-0")
    assert {name: int(cells[0]) for name, cells in grades.items()} == policy.grades | {"F": 0}
    assert policy.weights == load_policy("aprqa-1").weights
    assert f"PROVISIONAL from\n{policy.certify_at} points" in TEXT


def test_outcomes_gateways_and_statuses_are_all_there() -> None:
    assert set(table("outcome", after="What a record counts for")) == set(Outcome)
    assert list(table("gateway", after="Gateways")) == list(Gateway)
    told = {cells[0] for cells in table("if", after="Status").values()}
    assert told == set(Status)


def test_thresholds_in_words_are_those_of_the_data() -> None:
    assert load_thresholds().garbage_share == 0.25
    assert "at most a quarter of a cell's answers" in TEXT
    assert "its interval begins at 87.5 %" in TEXT
    assert f"{wilson_interval(27, 27)[0]:.1%}" == "87.5%"


def test_the_example_is_what_the_code_computes(bench: "Bench") -> None:
    plan = bench.plan()
    outcomes = {
        "book:run-cpu-gguf#001": Outcome.FALSIFIED,
        "book:run-cpu-gguf#002": None,
        "book:run-cpu-gguf#F-STAB-REPEAT-001": Outcome.TIMEOUT,
    }
    score = bench.score(bench.evidence(plan, outcomes), plan)
    steps = table("step", after="Policy aprqa-1")
    shown = [float(cells[0].strip("*").replace("\N{MINUS SIGN}", "-")) for cells in steps.values()]
    points = [entry.points for entry in score.categories.values()]
    rounding = [float(line.points) for line in explain(score) if line.kind == "rounding"]
    penalties = [-float(penalty.points) for penalty in score.penalties]
    told = [*points, *rounding, *penalties, score.mqs]
    assert shown == [round(value, 2) for value in told]
    assert (score.grade, score.status) == ("B", Status.INCONCLUSIVE)
