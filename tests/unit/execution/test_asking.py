import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from aprqa_ci.execution.asking import Question, ServeAsker, SessionAsker, asker_for
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.vocabulary import Modality
from tests.scripted_session import ScriptedSession, answer_of

SAMPLING = Sampling(max_tokens=5, temperature=0.5, seed=9)


@contextmanager
def served(session: ScriptedSession) -> Iterator[ServeAsker]:
    with serve_session(session) as model:
        yield ServeAsker(OpenAIClient(model.base_url, timeout_s=20))


def _count(prompt: str) -> Answer:
    return answer_of(f"<{prompt.count('=')}>")


@pytest.mark.parametrize("modality", [Modality.RUN, Modality.CHAT])
def test_run_and_chat_ask_the_session_itself(modality: Modality) -> None:
    session = ScriptedSession()
    with ExitStack() as stack:
        asker = asker_for(session, modality, stack)
        assert isinstance(asker, SessionAsker)
        assert session.serving == 0
        asker.ask(Question(turns=("hello",), sampling=SAMPLING))
    assert session.prompts == ["user=hello"]
    assert session.samplings == [SAMPLING]


class Talker(ScriptedSession):
    """Takes conversations as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, ...]] = []

    def converse(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        del sampling, on_text
        self.heard.append(tuple(f"{each.role}={each.content}" for each in messages))
        return answer_of(f"answer {len(self.heard)}")

    def render(self, messages: Sequence[Message]) -> str:
        raise AssertionError(messages)


def test_a_session_that_takes_conversations_gets_them_as_they_are() -> None:
    session = Talker()
    question = Question(turns=("one", "two"), system="be kind", sampling=SAMPLING)
    assert SessionAsker(session).ask(question).text == "answer 2"
    assert session.heard == [
        ("system=be kind", "user=one"),
        ("system=be kind", "user=one", "assistant=answer 1", "user=two"),
    ]
    SessionAsker(session).ask(Question(turns=("2+2=",), raw=True, sampling=SAMPLING))
    assert session.prompts == ["2+2="]


def test_serve_asks_a_server_that_lives_as_long_as_the_stack() -> None:
    session = ScriptedSession(served="http://127.0.0.1:9")
    with ExitStack() as stack:
        assert isinstance(asker_for(session, Modality.SERVE, stack), ServeAsker)
        assert session.serving == 1
    assert session.serving == 0


def test_a_raw_question_is_sent_as_it_stands() -> None:
    session = ScriptedSession()
    SessionAsker(session).ask(Question(turns=("2+2=",), raw=True, sampling=SAMPLING))
    assert session.prompts == ["2+2="]
    with served(session) as asker:
        for number in (0, 1):
            said = asker.ask(Question(turns=("2+2=",), raw=True, sampling=SAMPLING, number=number))
            assert said.text == "2+2="
    assert session.prompts == ["2+2="] * 3


def test_a_conversation_is_answered_turn_by_turn() -> None:
    question = Question(turns=("a", "b", "c"), system="be brief", sampling=SAMPLING)
    expected = [
        "system=be brief|user=a",
        "system=be brief|user=a|assistant=<2>|user=b",
        "system=be brief|user=a|assistant=<2>|user=b|assistant=<4>|user=c",
    ]
    session = ScriptedSession(_count)
    assert SessionAsker(session).ask(question).text == "<6>"
    assert session.prompts == expected
    assert session.samplings == [SAMPLING] * 3
    session = ScriptedSession(_count)
    with served(session) as asker:
        assert asker.ask(question).text == "<6>"
    assert session.prompts == expected
    assert session.samplings == [SAMPLING] * 3


def test_serve_streams_every_second_answer() -> None:
    with served(ScriptedSession()) as asker:
        whole, streamed = (
            asker.ask(Question(turns=("a",), sampling=SAMPLING, number=number)) for number in (0, 1)
        )
    assert whole.time_to_first_token_ms is None
    assert streamed.time_to_first_token_ms is not None
    assert streamed.text == whole.text == "user=a"


def test_a_turn_that_fails_fails_the_question() -> None:
    def reply(prompt: str) -> Answer:
        if "user=b" in prompt:
            raise PromptRefusedError("too long")  # noqa: EM101 - a test's own error
        return answer_of("x")

    question = Question(turns=("a", "b", "c"), sampling=SAMPLING)
    with pytest.raises(PromptRefusedError):
        SessionAsker(ScriptedSession(reply)).ask(question)
    session = ScriptedSession(reply)
    with served(session) as asker, pytest.raises(PromptRefusedError):
        asker.ask(question)
    assert len(session.prompts) == 2


def test_clients_ask_alone_and_then_together() -> None:
    session = ScriptedSession()
    with served(session) as asker:
        answers = asker.ask_together(("a", "b", "a"), SAMPLING)
    assert answers.alone == answers.together == ("user=a", "user=b", "user=a")
    assert answers.failures == ()
    assert len(session.prompts) == 6


def test_a_client_that_fails_together_is_counted_and_the_others_go_on() -> None:
    seen: list[str] = []

    def reply(prompt: str) -> Answer:
        seen.append(prompt)
        if len(seen) > 2 and "=b" in prompt:
            raise EngineFailedError("overloaded")  # noqa: EM101 - a test's own error
        return answer_of("fine")

    with served(ScriptedSession(reply)) as asker:
        answers = asker.ask_together(("a", "b"), SAMPLING)
    assert answers.alone == ("fine", "fine")
    assert answers.together == ("fine", "")
    assert len(answers.failures) == 1
    assert "overloaded" in answers.failures[0]


def test_a_client_that_fails_alone_fails_the_question() -> None:
    def reply(prompt: str) -> Answer:
        raise EngineFailedError(prompt)

    with served(ScriptedSession(reply)) as asker, pytest.raises(EngineFailedError):
        asker.ask_together(("a",), SAMPLING)


def test_malformed_requests_are_refused_and_the_server_lives() -> None:
    session = ScriptedSession()
    with served(session) as asker:
        statuses, alive = asker.send_malformed()
    assert len(statuses) == 7
    assert all(400 <= status < 500 for status in statuses.values())
    assert alive
    assert session.prompts == []
    assert threading.active_count() < 20


def test_a_server_that_is_gone_answers_nothing() -> None:
    with served(ScriptedSession()) as asker:
        pass
    statuses, alive = asker.send_malformed()
    assert set(statuses.values()) == {0}
    assert not alive
