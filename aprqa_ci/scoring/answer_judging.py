"""Judging recorded answers again, for conditions that ask for an oracle."""

from collections.abc import Mapping
from typing import Any

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Oracle, OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import build_oracle, oracle_for
from aprqa_ci.execution.oracles.response import relevance_of
from aprqa_ci.planning.plan import OracleSpec, PromptCase
from aprqa_ci.playbook.conditions.evaluation import Inapplicable, Missing, Value

__all__ = ["AnswerJudge"]


class AnswerJudge:
    """Judges answers as the run did: the same oracles with the same settings."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self._settings = settings
        self._garbage = self._named("garbage")
        self._response = self._named("response")

    def is_garbage(self, text: str) -> bool:
        """Whether the garbage oracle refuses a text, as it does an empty one."""
        found = self._garbage.judge(Question(prompt=""), text)
        return found.verdict is OracleVerdict.FALSIFIED

    def is_coherent(self, case: PromptCase, text: str) -> bool:
        """Whether an answer is neither garbage nor an echo nor template text."""
        judged = self._response.judge(_question(case), text)
        return judged.verdict is OracleVerdict.CORROBORATED and not self.is_garbage(text)

    def accepts(self, kind: str, case: PromptCase, text: str) -> Value:
        """Say whether the prompt's oracle accepts the answer, if the oracle is of that kind."""
        if case.oracle.kind != kind:
            return Inapplicable()
        try:
            found = oracle_for(case.oracle, self._settings).judge(_question(case), text)
        except InputError as error:
            # A plan that was written by hand may hold settings that no oracle takes.
            return Missing(what=f"the oracle {kind}: {error}")
        if found.verdict is OracleVerdict.NOT_APPLICABLE:
            return Inapplicable()
        return found.verdict is OracleVerdict.CORROBORATED

    def relevance(self, prompt: str, text: str) -> Value:
        """Return the share of the prompt's content words that an answer takes up, 0 to 1."""
        share = relevance_of(prompt, text)
        return Inapplicable() if isinstance(share, str) else share

    def _named(self, kind: str) -> Oracle:
        return build_oracle(OracleSpec(kind=kind, config=dict(self._settings.get(kind, {}))))


def _question(case: PromptCase) -> Question:
    return Question(prompt=case.turns[-1], history=case.turns[:-1], raw=case.raw)
