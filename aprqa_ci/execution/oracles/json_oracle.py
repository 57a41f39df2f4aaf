"""Is the answer JSON, and does it hold what was asked for?"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.json_text import parse_json
from aprqa_ci.execution.oracles.text import fenced_blocks, plain_answer, quoted
from aprqa_ci.wire import WireModel

__all__ = ["JsonConfig", "JsonOracle"]


class JsonConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the JSON oracle."""

    expect: dict[str, Any] = msgspec.field(default_factory=dict)
    """Keys and values that the answer's object must have; other keys may stand beside them."""


@dataclass(frozen=True, kw_only=True)
class JsonOracle:
    """The answer is a JSON object or array, bare or in one fenced block.

    NaN, infinities and keys that stand there twice are not JSON. Text around bare JSON makes it
    something else than JSON: a program could not read it.
    """

    config: JsonConfig = field(default_factory=JsonConfig)
    name: str = "json"

    def judge(self, question: Question, answer: str) -> Judgement:  # noqa: ARG002 - the interface
        """Judge one answer."""
        plain = plain_answer(answer)
        # {"text": "hi"} may be an envelope or the very answer that was asked for.
        candidates = [plain.text] if answer.strip() == plain.text.strip() else [answer, plain.text]
        fault = ""
        for candidate in candidates:
            fault = self._fault(candidate)
            if not fault:
                break
        return Judgement(
            oracle=self.name,
            verdict=OracleVerdict.FALSIFIED if fault else OracleVerdict.CORROBORATED,
            reason=(fault or "the answer is JSON and holds what was asked for") + plain.note,
            kind="wrong" if fault else "",
        )

    def _fault(self, text: str) -> str:
        """Return what is wrong, or nothing."""
        blocks = [block for block in fenced_blocks(text) if block.language in {"", "json"}]
        source = blocks[0].code if len(blocks) == 1 else text
        try:
            value = parse_json(source.strip())
        except ValueError as error:
            return f"not JSON ({error}): {quoted(text.strip())}"
        if not isinstance(value, dict | list):
            return f"neither an object nor an array: {quoted(text.strip())}"
        if self.config.expect and not isinstance(value, dict):
            return f"an array where an object was asked for: {quoted(text.strip())}"
        return _difference(self.config.expect, value, "") if isinstance(value, dict) else ""


def _difference(expected: object, found: object, where: str) -> str:
    """Return the first place where ``expected`` is not held by ``found``, or nothing."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"{where or 'the answer'} is not an object"
        for key, value in expected.items():
            path = f"{where}.{key}" if where else str(key)
            if key not in found:
                return f"the key {path!r} is missing"
            if difference := _difference(value, found[key], path):
                return difference
        return ""
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return f"{where} is not a list of {len(expected)}"
        pairs = enumerate(zip(expected, found, strict=True))
        differences = (_difference(one, other, f"{where}[{at}]") for at, (one, other) in pairs)
        return next((difference for difference in differences if difference), "")
    # True equals 1 in Python, and is another value in JSON.
    if isinstance(expected, bool) is not isinstance(found, bool) or expected != found:
        return f"{where} is {quoted(str(found))}, expected {quoted(str(expected))}"
    return ""
