import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import PLAN_NAME, Bundle
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Category, Gateway, Outcome
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_records

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa, BundleOf

SHARED = Path(__file__).resolve().parents[3].parent / "shared"


def test_json_has_what_programs_ask_for(aprqa: "Aprqa", certified: Bundle) -> None:
    ended = aprqa("score", certified.directory / "evidence.json", "--json")
    told = json.loads(ended.out)
    assert ended.code == 0
    assert {"model_id", "mqs", "grade", "status", "gateways", "categories"} <= set(told)
    assert (told["model_id"], told["mqs"], told["grade"]) == ("org/tiny", 1000, "A")
    assert told["status"] == "CERTIFIED"
    assert told["gateways"] == dict.fromkeys(map(str, Gateway), "passed")
    assert set(told["categories"]) == set(map(str, Category))
    assert sum(told["categories"].values()) == pytest.approx(1000, abs=0.01)


def test_a_bundle_and_its_evidence_score_the_same(aprqa: "Aprqa", certified: Bundle) -> None:
    whole = aprqa("score", certified.directory, "--json")
    assert whole == aprqa("score", certified.directory / "evidence.json", "--json")
    assert whole == aprqa(
        "score",
        certified.directory / "evidence.json",
        "--plan",
        certified.directory / PLAN_NAME,
        "--json",
    )


def test_the_plan_may_lie_elsewhere(
    aprqa: "Aprqa", certified: Bundle, plan: Plan, tmp_path: Path
) -> None:
    """Evidence beside nothing, and evidence beside the plan of a narrower run."""
    evidence, elsewhere = tmp_path / "evidence.json", tmp_path / "elsewhere.json"
    evidence.write_bytes((certified.directory / "evidence.json").read_bytes())
    elsewhere.write_bytes(pretty_json(plan))
    told = json.loads(aprqa("score", evidence, "--plan", elsewhere, "--json").out)
    assert told["status"] == "CERTIFIED"
    assert json.loads(aprqa("score", evidence, "--json").out)["status"] != "CERTIFIED"
    other = planned(playbook_data(), tier="quick")
    (tmp_path / PLAN_NAME).write_bytes(pretty_json(other))
    assert json.loads(aprqa("score", evidence, "--plan", elsewhere, "--json").out) == told
    assert json.loads(aprqa("score", evidence, "--json").out) != told


def test_the_exit_code_is_the_verdict(aprqa: "Aprqa", bundle_of: "BundleOf", plan: Plan) -> None:
    load = f"{plan.cells[0].id}#G1-LOAD"
    skipped = plan.cells[0].scenarios[-1].id
    cases: list[tuple[dict[str, Outcome], str | None, int, str]] = [
        ({}, None, 0, "CERTIFIED"),
        ({load: Outcome.FALSIFIED}, None, 1, "BLOCKED"),
        ({skipped: Outcome.SKIPPED}, "infrastructure:no-memory", 3, "INCONCLUSIVE"),
        # A failed gateway is a verdict even where something could not be run.
        (
            {load: Outcome.FALSIFIED, skipped: Outcome.SKIPPED},
            "infrastructure:no-memory",
            1,
            "BLOCKED",
        ),
    ]
    for number, (outcomes, cause, code, status) in enumerate(cases):
        bundle = bundle_of(outcomes, cause=cause, name=f"b{number}")
        ended = aprqa("score", bundle.directory)
        assert ended.code == code
        assert f"status {status}" in ended.out


def test_a_tier_that_does_not_certify_is_provisional(aprqa: "Aprqa", bundle_of: "BundleOf") -> None:
    quick = planned(playbook_data(), tier="quick").for_playbook("tiny")
    ended = aprqa("score", bundle_of(of=quick).directory)
    assert ended.code == 0
    assert "status PROVISIONAL" in ended.out
    assert "Tier quick does not certify" in ended.out


def test_without_a_plan_nothing_is_certified(aprqa: "Aprqa", certified: Bundle) -> None:
    (certified.directory / PLAN_NAME).unlink()
    ended = aprqa("score", certified.directory, "--json")
    told = json.loads(ended.out)
    assert told["status"] != "CERTIFIED"
    assert any("There is no plan" in obstacle for obstacle in told["obstacles"])


@pytest.mark.parametrize("failing", [0, 1, 7])
def test_the_explanation_adds_up_to_the_score(
    aprqa: "Aprqa", bundle_of: "BundleOf", plan: Plan, failing: int
) -> None:
    prompts = [each for cell in plan.cells for each in cell.scenarios if each.prompt]
    outcomes = {each.id: Outcome.TIMEOUT for each in prompts[:failing]}
    bundle = bundle_of(outcomes)
    ended = aprqa("score", bundle.directory, "--explain")
    lines = [
        (float(found[1]), found[2])
        for found in re.finditer(r"^  +([+-]?\d+\.\d\d)  (.*)$", ended.out, re.MULTILINE)
    ]
    *steps, (mqs, word) = lines
    assert word == "MQS"
    assert mqs == bundle.score.mqs
    assert sum(points for points, _ in steps) == pytest.approx(mqs, abs=0.01 * len(steps))
    assert sum("penalty" in text for _, text in steps) == failing


def test_several_playbooks_are_scored_each(aprqa: "Aprqa", tmp_path: Path) -> None:
    plan = planned(playbook_data("one"), playbook_data("two"), tier="mvp")
    (tmp_path / "plan.json").write_bytes(pretty_json(plan))
    (tmp_path / "evidence.json").write_bytes(pretty_json(made_records(plan)))
    ended = aprqa("score", ".", "--json")
    assert [each["playbook"] for each in json.loads(ended.out)] == ["one", "two"]


def test_a_policy_that_there_is_not_is_bad_input(aprqa: "Aprqa", certified: Bundle) -> None:
    ended = aprqa("score", certified.directory, "--policy", "aprqa-2")
    assert ended.code == 2
    assert "perhaps 'aprqa-1' is meant" in ended.err


def test_evidence_that_cannot_be_read_is_bad_input(aprqa: "Aprqa", tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text('[{"id": 1}]', encoding="utf-8")
    ended = aprqa("score", ".", "--json")
    assert ended.code == 2
    assert ended.err.startswith("error: evidence.json:1: record 0: ")
    assert ended.out == ""


def test_the_existing_formula_gives_the_existing_scores(aprqa: "Aprqa") -> None:
    corpus = Path(os.environ.get("APRQA_CORPUS", SHARED / "corpus")) / "certifications"
    scores = Path(os.environ.get("APRQA_REFERENCE", SHARED / "reference")) / "reference-scores.json"
    for path, setting in ((corpus, "APRQA_CORPUS"), (scores, "APRQA_REFERENCE")):
        if not path.exists():
            pytest.skip(f"{path} is missing; set {setting} to its folder")
    name = "qwen2.5-coder-0.5b-mvp"
    expected = json.loads(scores.read_bytes())["scores"][name]
    ended = aprqa("score", corpus / name, "--policy", "apr-qa-0", "--json")
    told = json.loads(ended.out)
    assert ended.code in {0, 1}
    assert (told["mqs"], told["grade"]) == (expected["raw_score"], expected["grade"])
    assert any("cannot certify" in obstacle for obstacle in told["obstacles"])
