from fractions import Fraction
from typing import TYPE_CHECKING

from aprqa_ci.scoring.explain import explain
from aprqa_ci.vocabulary import Category, Outcome

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CELL = "book:run-cpu-gguf"
OTHER = "book:run-cpu-safetensors"


def test_every_point_of_a_mixed_run_is_accounted_for(bench: "Bench") -> None:
    plan = bench.plan()
    outcomes = {
        f"{CELL}#001": Outcome.FALSIFIED,
        f"{OTHER}#002": None,
        f"{CELL}#F-STAB-REPEAT-001": Outcome.TIMEOUT,
        f"{OTHER}#G4-GARBAGE": Outcome.FALSIFIED,
    }
    score = bench.score(bench.evidence(plan, outcomes), plan)
    lines = explain(score)
    told = [(line.kind, line.category, line.scenario, line.outcome, line.points) for line in lines]
    third = Fraction(200, 6)
    assert told == [
        ("available", Category.QUAL, None, None, 200),
        ("lost", Category.QUAL, f"{CELL}#001", "Falsified", -third),
        ("lost", Category.QUAL, f"{OTHER}#002", "missing", -third),
        ("available", Category.PERF, None, None, 150),
        ("available", Category.STAB, None, None, 200),
        ("lost", Category.STAB, f"{CELL}#F-STAB-REPEAT-001", "Timeout", -100),
        ("available", Category.COMP, None, None, 150),
        ("available", Category.EDGE, None, None, 150),
        ("available", Category.REGR, None, None, 150),
        ("rounding", None, None, None, Fraction(-1, 3)),
        ("penalty", None, f"{CELL}#F-STAB-REPEAT-001", "TIMEOUT", -10),
        ("gateway", None, None, None, -823),
    ]
    assert lines[1].text == f"{CELL}#001 F-A1-001 Falsified: because"
    assert lines[2].text == f"{OTHER}#002 F-A1-001 missing: no record"
    assert lines[-1].text == "failed G4: the score is 0"
    assert sum(line.points for line in lines) == score.mqs == 0


def test_penalties_beyond_zero_are_given_back(bench: "Bench") -> None:
    plan = bench.plan(prompts=("F-A1-001",) * 3, checks=())
    slow = {
        each.id: Outcome.TIMEOUT for cell in plan.cells for each in cell.scenarios if each.prompt
    }
    lines = explain(bench.score(bench.evidence(plan, slow), plan))
    assert [line.points for line in lines if line.kind == "floor"] == [60]
    assert sum(line.points for line in lines) == 0


def test_credited_categories_say_so(bench: "Bench") -> None:
    score = bench.score([bench.record("F-A1-001")], None, policy="apr-qa-0")
    texts = [line.text for line in explain(score)]
    assert texts[0] == "QUAL: 1 scenario"
    assert texts[1] == "PERF: never tested, credited all the same"
    assert sum(line.points for line in explain(score)) == 1000
