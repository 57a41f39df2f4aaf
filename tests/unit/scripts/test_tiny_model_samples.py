"""What the bundled model is trained on."""

import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from aprqa_ci.execution.oracles.interface import OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import oracle_for
from aprqa_ci.planning.suites import draw_prompt
from aprqa_ci.vocabulary import Modality

_SCRIPT = Path(__file__).parents[3] / "scripts" / "tiny_model" / "samples.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_model_samples", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script: Any = _load()


def draw(count: int, seed: int = 1, progress: float = 1.0) -> list[Any]:
    curriculum = script.Curriculum(random.Random(seed))
    return [curriculum.draw(progress) for _ in range(count)]


def test_held_out_pairs_are_never_trained_on() -> None:
    samples = draw(1200)
    sums = [
        (int(left), int(right))
        for sample in samples
        for question, _ in sample.turns
        for left, right in re.findall(r"(\d+) ?[+-] ?(\d+)", question)
    ]
    assert len(sums) > 200
    assert not any(script.is_held_out(left, right) for left, right in sums)


def test_held_out_pairs_exist_in_both_orders_and_spare_the_tables() -> None:
    pairs = [(a, b) for a in range(50) for b in range(50)]
    held = [pair for pair in pairs if script.is_held_out(*pair)]
    assert 0.02 < len(held) / len(pairs) < 0.06
    assert all((b, a) in held for a, b in held)
    assert all(max(pair) > 12 for pair in held)


def test_the_suites_do_ask_for_held_out_sums() -> None:
    asked = [s for s in script.samples_of_suite("arithmetic", 600, seed=42) if s.held_out]
    assert len(asked) >= 5


def test_sums_in_words_are_held_out_as_well() -> None:
    held = next((a, b) for a in range(13, 50) for b in range(50) if script.is_held_out(a, b))
    left, right = held
    assert script.has_held_out([f"What is {left} plus {right}?"])
    assert script.has_held_out([f"Ben has {left} pens and buys {right} more. How many?"])
    assert script.has_held_out(["Hello!", f"print({left} + {right})"])
    assert not script.has_held_out([f"Which number is larger, {left} or {right}?"])


def test_answers_to_sums_are_right() -> None:
    checked = 0
    for sample in draw(600, seed=2):
        for question, answer in sample.turns:
            found = re.fullmatch(r"\s*What is (\d+) ([+*-]) (\d+)\?\s*", question)
            if found:
                left, right = int(found[1]), int(found[3])
                values = {"+": left + right, "-": left - right, "*": left * right}
                assert answer == str(values[found[2]])
                checked += 1
    assert checked > 30


def test_the_same_seed_draws_the_same_samples() -> None:
    assert draw(50, seed=3) == draw(50, seed=3)
    assert draw(50, seed=3) != draw(50, seed=4)


def test_every_entry_of_every_suite_is_trained_on() -> None:
    origins = {sample.origin for sample in draw(1500)}
    entries = {
        f"{suite.name}/{entry.id}"
        for suite in script.training_suites().values()
        for entry in suite.prompts
    }
    assert origins == {*entries, "joined", "echo"}


def test_the_questions_beside_the_suites_have_right_answers() -> None:
    suite = script.training_suites()["everyday"]
    for index in range(20 * len(suite.prompts)):
        drawn = draw_prompt(suite, index, seed=1, modality=Modality.SERVE)
        question = Question(prompt=drawn.case.turns[-1], raw=drawn.case.raw)
        judgement = oracle_for(drawn.case.oracle).judge(question, drawn.reference[-1])
        assert judgement.verdict is OracleVerdict.CORROBORATED, (drawn, judgement.reason)


def test_long_prompts_come_late() -> None:
    def share(progress: float) -> float:
        origins: list[str] = [sample.origin for sample in draw(400, progress=progress)]
        return sum(origin.startswith("stress/") for origin in origins) / len(origins)

    assert share(0.1) < share(0.9) / 3


def test_what_is_answered_right_is_drawn_less() -> None:
    curriculum = script.Curriculum(random.Random(1))
    before = [curriculum.draw().origin for _ in range(800)].count("facts/capital")
    for _ in range(200):
        curriculum.record("facts/capital", right=True)
    after = [curriculum.draw().origin for _ in range(800)].count("facts/capital")
    assert curriculum.errors["facts/capital"] < 0.01
    assert after < before / 2


def test_joined_conversations_keep_each_answer_with_its_question() -> None:
    joined = [sample for sample in draw(500) if sample.origin == "joined"]
    assert len(joined) > 20
    for sample in joined:
        assert 2 <= len(sample.turns) <= 4
        for question, answer in sample.turns:
            if question == "Thank you!":
                assert answer == "You are welcome!"
