import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.scoring.explain import explain
from aprqa_ci.scoring.policies import ReferencePolicy, load_policy
from aprqa_ci.scoring.reference_policy import category_of, normalised_score
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Category, GatewayState, Outcome, Status

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

C, F, S, T, X = (
    Outcome.CORROBORATED,
    Outcome.FALSIFIED,
    Outcome.SKIPPED,
    Outcome.TIMEOUT,
    Outcome.CRASHED,
)
# evidence, gateways, raw, normalised, grade: computed with the existing tool itself
GOLDEN: list[tuple[list[tuple[int, str, Outcome]], str, int, float, str]] = [
    ([], "+++++", 1000, 100.0, "A+"),
    ([(50, "F-QUAL-1", C), (5, "F-PERF-1", T)], "+++++", 800, 91.3814, "A-"),
    ([(3, "F-CONV-G-A", C), (1, "F-CONV-G-A", F)], "+++++", 963, 98.5292, "A+"),
    ([(1, "F-CONV-G-A", C), (3, "F-CONV-G-A", F)], "+++++", 888, 95.3856, "A"),
    ([(2, "F-A1-001", C), (1, "F-A1-001", F)], "+++++", 933, 97.2989, "A+"),
    ([(18, "F-A1-001", F)], "+++++", 800, 91.3814, "A-"),
    ([(18, "F-A1-001", S)], "+++++", 1000, 100.0, "A+"),
    ([(1, "G0-PULL-001", F)], "+++++", 800, 91.3814, "A-"),
    ([(1, "G0-PULL-001", C), (1, "G0-VALIDATE-001", F)], "+++++", 900, 95.9041, "A"),
    ([(1, "G0-INTEGRITY-LAYERS", F)], "x++++", 0, 0.0, "F"),
    ([(2, "G4-GARBAGE-001", F), (8, "F-A1-001", C)], "+++++", 960, 98.4077, "A+"),
    ([(3, "G4-GARBAGE-001", F), (7, "F-A1-001", C)], "++++x", 0, 0.0, "F"),
    ([(1, "G4-GARBAGE-001", F), (2, "F-A1-001", C)], "++++x", 0, 0.0, "F"),
    ([(1, "G4-GARBAGE-001", F), (3, "F-A1-001", C)], "+++++", 950, 98.0003, "A+"),
    ([(17, "F-A1-001", C), (1, "G3-STABLE", X)], "+++x+", 0, 0.0, "F"),
    ([(17, "F-A1-001", C), (1, "G3-STABLE", F)], "+++++", 989, 99.5679, "A+"),
    ([(17, "F-A1-001", C), (1, "G2-BASIC", T)], "++x++", 0, 0.0, "F"),
    ([(1, "X-G1-anywhere", F)], "+x+++", 0, 0.0, "F"),
    ([(90, "F-PERF-1", T)], "+++++", 0, 0.0, "F"),
    ([(1, "F-CONV-IDEM-001", F)], "+++++", 850, 93.7016, "A"),
]


def evidence(bench: "Bench", parts: Sequence[tuple[int, str, Outcome]]) -> list[EvidenceRecord]:
    flat = [(gate, outcome) for times, gate, outcome in parts for _ in range(times)]
    return [bench.record(gate, outcome, number=n) for n, (gate, outcome) in enumerate(flat)]


def marks(score: Score) -> str:
    return "".join(
        "+" if each.state is GatewayState.PASSED else "x" for each in score.gateways.values()
    )


@pytest.mark.parametrize(("parts", "gateways", "raw", "normalised", "grade"), GOLDEN)
def test_golden_vectors(
    bench: "Bench",
    *,
    parts: list[tuple[int, str, Outcome]],
    gateways: str,
    raw: int,
    normalised: float,
    grade: str,
) -> None:
    score = bench.score(evidence(bench, parts), None, policy="apr-qa-0")
    assert (marks(score), score.mqs, score.grade) == (gateways, raw, grade)
    assert score.normalised == pytest.approx(normalised, abs=5e-5)


@pytest.mark.parametrize(
    ("gate_id", "category"),
    [
        ("F-CONV-RT-BYTE-001", "REGR"),
        ("F-CONV-IDEM-001", "REGR"),
        ("F-CONV-COM-001", "REGR"),
        ("F-CONV-Gguf-Apr", "COMP"),
        ("F-CONTRACT-I2-001", "COMP"),
        ("G0-PULL-001", "STAB"),
        ("f-perf-9", "PERF"),
        ("G1-PERF", "PERF"),
        ("F-EDGE-1", "EDGE"),
        ("G3-STABLE", "QUAL"),
        ("F-LAYOUT-CONTRACT-001", "QUAL"),
        ("nodash", "QUAL"),
        ("", "QUAL"),
        ("f-conv-rt", "QUAL"),
    ],
)
def test_every_gate_id_has_a_category(gate_id: str, category: str) -> None:
    policy = load_policy("apr-qa-0")
    assert isinstance(policy, ReferencePolicy)
    assert category_of(gate_id, policy) is Category(category)


# The lowest raw score that reaches each grade.
LOWEST = {"A+": 926, "A": 835, "A-": 772, "B+": 713, "B": 641, "B-": 590, "C+": 544, "C": 486,
          "C-": 446, "D+": 409, "D": 363, "D-": 332}  # fmt: skip


def test_grades_begin_where_the_existing_tool_begins_them() -> None:
    grades = load_policy("apr-qa-0").grades
    assert list(grades) == list(LOWEST)
    for grade, raw in LOWEST.items():
        assert normalised_score(raw) >= grades[grade] > normalised_score(raw - 1)


def test_it_names_what_it_credits_and_certifies_nothing(bench: "Bench") -> None:
    plan = bench.plan()
    score = bench.score(bench.evidence(plan), plan, policy="apr-qa-0")
    assert (score.mqs, score.status, score.certified_tier) == (1000, Status.PROVISIONAL, "none")
    assert score.obstacles == ("Policy apr-qa-0 is for comparison and cannot certify",)
    bare = bench.score([bench.record("F-A1-001", Outcome.FALSIFIED)], None, policy="apr-qa-0")
    assert (bare.mqs, bare.status) == (800, Status.PROVISIONAL)
    assert bare.obstacles[1] == (
        "Never tested, and credited all the same: PERF, STAB, COMP, EDGE, REGR"
    )
    low = bench.score(evidence(bench, [(1, "F-CONV-RT-1", F), (3, "F-A1-1", F)]), None,
                      policy="apr-qa-0")  # fmt: skip
    assert (low.mqs, low.status) == (650, Status.BLOCKED)
    assert "passes, tested or not" in bare.gateways[next(iter(bare.gateways))].reasons[0]


def test_records_count_one_by_one_even_of_one_scenario(bench: "Bench") -> None:
    records = [
        bench.record("F-A1-001", outcome, number=number, scenario="c#001")
        for number, outcome in enumerate([C, C, F])
    ]
    score = bench.score(records, None, policy="apr-qa-0")
    assert (score.mqs, score.totals.planned, score.findings) == (933, 3, ())


def test_crashes_are_shown_with_their_penalty(bench: "Bench") -> None:
    score = bench.score(evidence(bench, [(9, "F-A1-001", C), (1, "F-A1-001", X)]), None,
                        policy="apr-qa-0")  # fmt: skip
    assert (score.mqs, score.raw, score.subtotal) == (0, 960, 980)
    assert [each.code for each in score.penalties] == ["CRASH"]


def test_the_corpus_scores_as_with_the_existing_tool(
    bench: "Bench", reference_folder: Path, corpus: Path
) -> None:
    expected: dict[str, dict[str, Any]] = json.loads(
        (reference_folder / "reference-scores.json").read_text("utf-8")
    )["scores"]
    assert len(expected) == 20
    for name, want in expected.items():
        path = corpus / "certifications" / name / "evidence.json"
        records = msgspec.json.decode(path.read_bytes(), type=list[EvidenceRecord])
        score = bench.score(records, None, policy="apr-qa-0")
        assert score.model_id == want["model_id"]
        gateways = {
            gateway.value: entry.state is GatewayState.PASSED
            for gateway, entry in score.gateways.items()
        }
        assert gateways == want["gateways"], name
        assert score.gateways_passed == want["gateways_passed"]
        for category, entry in score.categories.items():
            tally = want["tallies"][category.value]
            assert entry.tally.planned == tally["total"]
            assert entry.tally.corroborated + entry.tally.skipped == tally["pass"]
            assert entry.points == want["categories_before_gateway"][category.value]
        assert (score.raw, score.mqs) == (want["raw_before_gateway"], want["raw_score"])
        assert score.normalised == pytest.approx(want["normalized"], abs=1e-9)
        assert score.grade == want["grade"]
        outcomes = score.totals
        assert want["outcomes"] == {
            "Corroborated": outcomes.corroborated,
            "Falsified": outcomes.falsified,
            "Timeout": outcomes.timeout,
            "Crashed": outcomes.crashed,
            "Skipped": outcomes.skipped,
        }
        assert sum(line.points for line in explain(score)) == score.mqs
