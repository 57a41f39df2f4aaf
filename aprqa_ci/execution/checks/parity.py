"""Another runtime of the same model on this machine: the same answers, and not much slower.

It is Ollama, or any server with OpenAI's API, that somebody has started: nothing is started,
fetched or changed here. Without one there is nothing to compare with: the checks are skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median

from aprqa_ci.errors import InputError
from aprqa_ci.execution.checks.comparison import agreement_class, similarity
from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.protocol import Answered
from aprqa_ci.execution.result import Cause
from aprqa_ci.planning.plan import PlannedParity, PromptCase
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Outcome

__all__ = ["ADDRESS_VARIABLES", "answers", "throughput"]

ADDRESS_VARIABLES = ("APRQA_PARITY_URL", "OLLAMA_HOST")
"""Where the server's address is looked for, the first one that is set."""
_DEFAULT_PORT = 11434


@dataclass(frozen=True, kw_only=True)
class _Pair:
    ours: Answered
    theirs: Answer


def answers(cell: OpenCell) -> Finding:
    """The answers are those of the other runtime, as far as the quantization allows."""
    pairs = _pairs(cell)
    if isinstance(pairs, Finding):
        return pairs
    ratios = [similarity(pair.ours.text, pair.theirs.text) for pair in pairs]
    limit = cell.limits.classes[agreement_class(cell.cell.quantization)].agreement
    share = fmean(ratios)
    return Finding(
        outcome=Outcome.CORROBORATED if share >= limit else Outcome.FALSIFIED,
        reason=f"agreement {share:.3f} with the server over {len(ratios)} answers; the limit for "
        f"{cell.cell.quantization} is {limit:g}",
        figures={
            "agreement": ratios,
            "answers": [pair.ours.text for pair in pairs],
            "server": [pair.theirs.text for pair in pairs],
        },
    )


def throughput(cell: OpenCell) -> Finding:
    """The throughput is at least a share of the other runtime's."""
    with cell.timed_alone():
        # The first round makes both load what they load late; the second is measured.
        pairs = _pairs(cell)
        if not isinstance(pairs, Finding):
            pairs = _pairs(cell)
    if isinstance(pairs, Finding):
        return pairs
    figures = {
        "ours_ms": [pair.ours.duration_ms for pair in pairs],
        "server_ms": [pair.theirs.duration_ms for pair in pairs],
        "our_tokens": [pair.ours.completion_tokens for pair in pairs],
        "server_tokens": [pair.theirs.completion_tokens for pair in pairs],
    }
    if not all(pair.theirs.completion_tokens and pair.theirs.duration_ms for pair in pairs):
        return _skipped("the server generated no token in some answers", figures)
    if not all(pair.ours.completion_tokens and pair.ours.duration_ms for pair in pairs):
        reason = "no token was generated in some answers"
        return Finding(outcome=Outcome.FALSIFIED, reason=reason, figures=figures)
    ours = median(pair.ours.completion_tokens / pair.ours.duration_ms for pair in pairs)
    theirs = median(pair.theirs.completion_tokens / pair.theirs.duration_ms for pair in pairs)
    least = _parity(cell).min_perf_ratio
    ratio = ours / theirs
    return Finding(
        outcome=Outcome.CORROBORATED if ratio >= least else Outcome.FALSIFIED,
        reason=f"{ours * 1000:.1f} tok/s, the server {theirs * 1000:.1f} tok/s; the ratio is "
        f"{ratio:.2f}, at least {least:g} is asked for",
        figures={**figures, "ratio": ratio, "min_perf_ratio": least},
    )


def _pairs(cell: OpenCell) -> list[_Pair] | Finding:
    parity = _parity(cell)
    address = _address(cell.environment)
    if address is None:
        return _skipped(f"no server to compare with: {' and '.join(ADDRESS_VARIABLES)} are not set")
    seconds = cell.cell.timeout_ms / 1000
    try:
        client = OpenAIClient(
            address, timeout_s=seconds, model=_tag(parity.model_tag, cell.cell.quantization)
        )
    except InputError as error:
        return _skipped(f"no server to compare with: {error}")
    pairs = []
    for case in parity.prompts:
        reply = cell.ask(case)
        if not isinstance(reply, Answered):
            return unanswered(reply)
        try:
            said = client.chat([Message(role="user", content=case.turns[-1])], _sampling(case))
        except (EngineFailedError, PromptRefusedError) as error:
            # The other runtime's failure says nothing about this model.
            return _skipped(f"the server did not answer: {error}")
        pairs.append(_Pair(ours=reply, theirs=said))
    return pairs


def _parity(cell: OpenCell) -> PlannedParity:
    parity = cell.playbook.parity
    # The plan has the check in no cell unless it has this.
    assert isinstance(parity, PlannedParity)  # noqa: S101 - see above
    return parity


def _sampling(case: PromptCase) -> Sampling:
    return Sampling(max_tokens=case.max_tokens, temperature=case.temperature, seed=case.seed)


def _address(environment: Mapping[str, str]) -> str | None:
    """Return the server's address; Ollama's variable may leave out scheme and port."""
    text = next((environment[name] for name in ADDRESS_VARIABLES if environment.get(name)), "")
    text = text.strip().rstrip("/")
    if not text or "://" in text:
        return text or None
    return f"http://{text}" if ":" in text else f"http://{text}:{_DEFAULT_PORT}"


def _tag(tag: str | None, quantization: str | None) -> str:
    """Return the tag of the cell's quantization: the one that the tag names is replaced."""
    if tag is None:
        return "model"
    for name in sorted(quantization_catalogue(), key=len, reverse=True):
        at = tag.lower().find(name)
        if at >= 0 and quantization is not None:
            return f"{tag[:at]}{quantization}{tag[at + len(name) :]}"
    return tag


def _skipped(reason: str, figures: Mapping[str, object] | None = None) -> Finding:
    return Finding(
        outcome=Outcome.SKIPPED,
        reason=reason,
        figures=figures or {},
        cause=Cause(kind="policy", word="no-parity-server"),
    )
