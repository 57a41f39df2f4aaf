"""Several oracles as one."""

from collections.abc import Sequence
from dataclasses import dataclass

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, Oracle, OracleVerdict, Question

__all__ = ["CompositeOracle", "GuardedOracle"]


@dataclass(frozen=True, kw_only=True)
class CompositeOracle:
    """All members judge: one that falsifies decides, else one that corroborates is needed."""

    members: Sequence[Oracle]
    name: str = "composite"

    def __post_init__(self) -> None:
        """Refuse a composite that checks nothing.

        Raises:
            InputError: there are no members.
        """
        if not self.members:
            what = "composite needs at least one oracle"
            raise InputError(what)

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer; not applicable when no member applies."""
        parts = tuple(member.judge(question, answer) for member in self.members)
        return _joined(self.name, parts, deciding=parts)


@dataclass(frozen=True, kw_only=True)
class GuardedOracle:
    """An oracle behind others that can only falsify.

    An answer that is neither garbage nor empty has not been shown to be right: only the guarded
    oracle corroborates, and where it does not apply, the whole does not.
    """

    guards: Sequence[Oracle]
    guarded: Oracle

    @property
    def name(self) -> str:
        """The name of the guarded oracle."""
        return self.guarded.name

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer."""
        parts = tuple(member.judge(question, answer) for member in (*self.guards, self.guarded))
        return _joined(self.name, parts, deciding=parts[-1:])


def _joined(name: str, parts: tuple[Judgement, ...], deciding: Sequence[Judgement]) -> Judgement:
    """Put the members' findings together; only the deciding ones can corroborate."""
    falsified = [part for part in parts if part.verdict is OracleVerdict.FALSIFIED]
    corroborated = [part for part in deciding if part.verdict is OracleVerdict.CORROBORATED]
    if falsified:
        verdict, told = OracleVerdict.FALSIFIED, falsified
    elif corroborated:
        verdict, told = OracleVerdict.CORROBORATED, corroborated
    else:
        verdict, told = OracleVerdict.NOT_APPLICABLE, list(deciding)
    reason = "; ".join(f"{part.oracle}: {part.reason}" for part in told)
    if verdict is OracleVerdict.NOT_APPLICABLE:
        reason = f"not checked for correctness ({reason})"
    return Judgement(
        oracle=name,
        verdict=verdict,
        reason=reason,
        kind=falsified[0].kind if falsified else "",
        parts=parts,
    )
