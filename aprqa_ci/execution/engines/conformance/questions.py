"""What the suite asks, and what is known of the bundled model's answers (``conformance.yaml``)."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.execution.engines.interface import Capability
from aprqa_ci.wire import WireModel

__all__ = ["ConformanceQuestions", "KnownQuestion", "OpenQuestion", "PlannedCheck", "questions"]


class KnownQuestion(WireModel, frozen=True, kw_only=True):
    """A question with the bundled model's greedy answer."""

    id: str
    turns: tuple[str, ...]
    system: str | None = None
    raw: bool = False
    max_tokens: int = 32
    text: str
    prompt_tokens: int
    completion_tokens: int


class OpenQuestion(WireModel, frozen=True, kw_only=True):
    """A question that has many answers."""

    turns: tuple[str, ...]
    max_tokens: int
    temperature: float
    seeds: tuple[int, ...]


class PlannedCheck(WireModel, frozen=True, kw_only=True):
    """One check of the suite."""

    id: str
    meaning: str
    needs: tuple[Capability, ...] = ()
    files: bool = False


class ConformanceQuestions(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-conformance-questions/1"]
    answer_seconds: float
    most_overflow_tokens: int
    questions: tuple[KnownQuestion, ...]
    open_question: OpenQuestion
    checks: tuple[PlannedCheck, ...]

    def named(self, name: str) -> KnownQuestion:
        """Return the question with that id."""
        return next(each for each in self.questions if each.id == name)


@cache
def questions() -> ConformanceQuestions:
    """Return the questions of this installation."""
    return load_data("conformance.yaml", ConformanceQuestions)
