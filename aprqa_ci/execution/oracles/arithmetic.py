"""Is the result right? The expression is found in the prompt and evaluated exactly."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated

import msgspec

from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.stated_result import StatedResult, stated_result
from aprqa_ci.execution.oracles.text import plain_answer, quoted
from aprqa_ci.planning.arithmetic_question import find_expression
from aprqa_ci.wire import WireModel

__all__ = ["ArithmeticConfig", "ArithmeticOracle"]

_FLOAT_NOISE = Fraction(1, 10**9)
"""Relative; 0.30000000000000004 is what a machine means by 0.3."""


class ArithmeticConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the arithmetic oracle."""

    tolerance: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Relative, and only where a decimal fraction is involved: integers are right or wrong."""


@dataclass(frozen=True, kw_only=True)
class ArithmeticOracle:
    """Compares the result that the answer states with the exact value.

    Which number of an answer is its result: see :func:`.stated_result`.
    """

    config: ArithmeticConfig = field(default_factory=ArithmeticConfig)
    name: str = "arithmetic"

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer; not applicable without exactly one expression in the prompt."""
        expression = find_expression(question.prompt)
        if expression is None or expression.value is None:
            return self._found(
                OracleVerdict.NOT_APPLICABLE,
                "the prompt does not ask for the value of one expression",
            )
        plain = plain_answer(answer)
        asked = f"{expression.text.strip()} = {_shown(expression.value)}"
        result = stated_result(question.prompt, expression, plain.text)
        if result is None:
            reason = f"{asked}, but the answer states no result: {quoted(plain.text.strip())}"
            return self._found(OracleVerdict.FALSIFIED, reason + plain.note)
        right = _is_right(expression.value, result, Fraction(self.config.tolerance))
        verdict = OracleVerdict.CORROBORATED if right else OracleVerdict.FALSIFIED
        reason = f"{asked}; the answer says {quoted(result.text)} ({result.because})"
        return self._found(verdict, reason + plain.note)

    def _found(self, verdict: OracleVerdict, reason: str) -> Judgement:
        wrong = verdict is OracleVerdict.FALSIFIED
        return Judgement(
            oracle=self.name, verdict=verdict, reason=reason, kind="wrong" if wrong else ""
        )


def _is_right(expected: Fraction, result: StatedResult, tolerance: Fraction) -> bool:
    difference = abs(result.value - expected)
    if difference == 0:
        return True
    if expected.denominator == 1 and result.value.denominator == 1:
        return False
    if difference <= max(tolerance, _FLOAT_NOISE) * abs(expected):
        return True
    # A value without an end may be given to as many decimals as one likes, two at least.
    if result.decimals < 2 or not _is_endless(expected.denominator):
        return False
    unit = Fraction(1, 10**result.decimals)
    truncated = abs(result.value) < abs(expected)
    return difference < unit if truncated else difference <= unit / 2


def _is_endless(denominator: int) -> bool:
    """Whether a fraction with this denominator has no finite decimal spelling."""
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator != 1


def _shown(value: Fraction) -> str:
    """Write a value as people do: ``0.3``, ``42``, ``1/3``."""
    if value.denominator == 1:
        return str(value.numerator) if value.numerator.bit_length() < 512 else "a long number"
    if _is_endless(value.denominator):
        return f"{value.numerator}/{value.denominator}"
    return f"{float(value):.12g}" if abs(value) < 10**15 else "a long number"
