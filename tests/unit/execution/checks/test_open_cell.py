from aprqa_ci.execution.checks.open_cell import unanswered
from aprqa_ci.execution.protocol import Health, Reply
from aprqa_ci.vocabulary import Outcome


def test_a_reply_that_is_no_answer_speaks_against_the_model(no_answer: tuple[Reply, str]) -> None:
    reply, text = no_answer
    finding = unanswered(reply)
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason
    assert finding.cause is None


def test_an_unexpected_reply_is_named() -> None:
    assert unanswered(Health(status=200)).reason == "unexpected reply: Health"
