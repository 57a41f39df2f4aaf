import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.response import ResponseConfig, ResponseOracle
from aprqa_ci.execution.oracles.settings import response_settings

WORDS = [
    *("river", "stone", "happy", "garden", "window", "yellow", "market", "dinner"),
    *("silver", "forest", "planet"),
]
ASKED = "Explain the difference between a stack and a queue."


def judge(answer: str, prompt: str = ASKED, **config: object) -> Judgement:
    oracle = ResponseOracle(config=ResponseConfig(**config))  # type: ignore[arg-type]  # settings by name
    return oracle.judge(Question(prompt=prompt, history=("Earlier <eos> message.",)), answer)


@given(st.lists(st.sampled_from(WORDS), min_size=3, max_size=8, unique=True), st.integers(1, 4))
def test_an_echo_is_no_answer_unless_it_was_asked_for(prompt: list[str], times: int) -> None:
    text = " ".join(prompt)
    assert judge(" ".join([text.upper() + "!"] * times), text).verdict is OracleVerdict.FALSIFIED
    assert judge(text, "Repeat: " + text).verdict is OracleVerdict.CORROBORATED
    assert judge(text + " sunshine", text).verdict is OracleVerdict.CORROBORATED


@given(st.sampled_from(response_settings().control_tokens), st.text(alphabet="ab ", max_size=5))
def test_control_tokens_do_not_belong_in_an_answer(token: str, text: str) -> None:
    expected = OracleVerdict.CORROBORATED if token == "<eos>" else OracleVerdict.FALSIFIED
    assert judge(f"{text}{token}{text}").verdict is expected
    assert judge(token, f"What is {token} used for?").verdict is OracleVerdict.CORROBORATED


@given(st.text(), st.text())
def test_never_fails(answer: str, prompt: str) -> None:
    assert judge(answer, prompt, min_relevance=0.5, forbid=("x",), min_chars=2).reason


@pytest.mark.parametrize(
    ("answer", "kind"), [("", "empty"), (" \n\x1b[0m", "empty"), (ASKED, "wrong")]
)
def test_kinds(answer: str, kind: str) -> None:
    assert judge(answer).kind == kind


@pytest.mark.parametrize(
    ("answer", "prompt", "says"),
    [
        ("4", ASKED, "fewer than 8 words: relevance not measured"),
        ("```python\n" + "x = 1\n" * 8 + "```", ASKED, "about code: relevance not measured"),
        ("x = 1\n" * 8, "def f(banana):", "about code: relevance not measured"),
        ("a b c d e f g h", "What is it?", "no content words: relevance not measured"),
        ("A stack and a queue are not alike at all.", ASKED, "taking up 0.67"),
    ],
)
def test_relevance_says_what_it_did(answer: str, prompt: str, says: str) -> None:
    judged = judge(answer, prompt, min_relevance=0.5)
    assert judged.verdict is OracleVerdict.CORROBORATED
    assert says in judged.reason


def test_irrelevant_answers_are_falsified_only_on_request() -> None:
    answer = "My favourite food is pizza with a lot of cheese on it."
    assert judge(answer).verdict is OracleVerdict.CORROBORATED
    assert "0.00 of the prompt" in judge(answer, min_relevance=0.25).reason
    assert judge(answer, min_relevance=0.25).kind == "wrong"


def test_settings_take_effect() -> None:
    assert "at least 3" in judge("ab", min_chars=3).reason
    assert "forbidden" in judge("As an AI I cannot", forbid=("as an ai",)).reason
    with pytest.raises(InputError, match="empty text"):
        ResponseConfig(forbid=("",))
