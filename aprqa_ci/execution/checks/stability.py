"""Staying as it is: repetition, memory, over-long prompts and what comes after them."""

import msgspec

from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.checks.open_texts import ask_open_texts
from aprqa_ci.execution.protocol import Answered, Refused
from aprqa_ci.execution.result import Cause
from aprqa_ci.planning.plan import PromptCase
from aprqa_ci.vocabulary import Outcome

__all__ = ["memory", "overflow", "recovery", "repeat"]


def repeat(cell: OpenCell) -> Finding:
    """The same question gets the same answer, greedy and with a fixed seed, whatever was before."""
    case = cell.playbook.probe_prompts[0]
    seeded = msgspec.structs.replace(
        case,
        turns=(cell.limits.repeat_open_question,),
        system=None,
        raw=False,
        max_tokens=cell.limits.repeat_open_tokens,
        temperature=cell.limits.repeat_temperature,
    )
    said: dict[str, list[str]] = {"greedy": [], "seeded": []}
    lengths: dict[str, set[int]] = {"greedy": set(), "seeded": set()}
    for name, each in (("greedy", case), ("seeded", seeded)):
        for _ in range(cell.limits.repeat_times):
            reply = cell.ask(each)
            if not isinstance(reply, Answered):
                return unanswered(reply)
            said[name].append(reply.text)
            lengths[name].add(reply.prompt_tokens)
    differing = [name for name, answers in said.items() if len(set(answers)) > 1]
    if not any(said["greedy"]):
        return Finding(
            outcome=Outcome.FALSIFIED, reason="every answer was empty", figures={"answers": said}
        )
    for counts in lengths.values():
        if len(counts) > 1:
            read = " and ".join(str(count) for count in sorted(counts))
            return Finding(
                outcome=Outcome.FALSIFIED,
                reason=f"the same prompt was read as {read} tokens: something else came with it",
                figures={"answers": said, "prompt_tokens": sorted(counts)},
            )
    if differing:
        return Finding(
            outcome=Outcome.FALSIFIED,
            reason=f"answers differ: {', '.join(differing)}",
            figures={"answers": said},
        )
    seen = ask_open_texts(cell)
    if seen.unanswered is not None:
        return seen.unanswered
    return Finding(
        outcome=Outcome.FALSIFIED if seen.problem else Outcome.CORROBORATED,
        reason=seen.problem
        or f"{cell.limits.repeat_times} greedy and as many seeded answers are the same, and so are "
        f"the continuations of {len(cell.limits.open_texts)} open texts",
        figures={"answers": said, **seen.figures},
    )


def memory(cell: OpenCell) -> Finding:
    """Memory does not grow from answer to answer."""
    levels: list[int] = []
    for _ in range(1 + cell.limits.memory_rounds):
        level = 0
        for case in cell.playbook.probe_prompts:
            reply = cell.ask(case)
            if not isinstance(reply, Answered):
                return unanswered(reply)
            level = reply.memory_mb
        levels.append(level)
    growth = levels[-1] - levels[0]
    allowed = max(cell.limits.memory_growth_mb, cell.limits.memory_growth_share * levels[0])
    return Finding(
        outcome=Outcome.CORROBORATED if growth <= allowed else Outcome.FALSIFIED,
        reason=f"memory grew by {growth} MiB over {cell.limits.memory_rounds} rounds; "
        f"{allowed:.0f} MiB are allowed",
        figures={"resident_mb": levels, "allowed_mb": allowed},
    )


def _over_long(cell: OpenCell) -> PromptCase:
    # One word is at least one token: no pre-tokenizer joins across a space into one token alone.
    text = "word " * (cell.context_length + 64)
    return msgspec.structs.replace(cell.playbook.probe_prompts[0], turns=(text.strip(),))


def _no_context() -> Finding:
    return Finding(
        outcome=Outcome.SKIPPED,
        reason="how long the model's context is, the engine does not say",
        figures={},
        cause=Cause(kind="infrastructure", word="not-shown"),
    )


def overflow(cell: OpenCell) -> Finding:
    """A prompt longer than the context is refused in good order."""
    if not cell.context_length:
        return _no_context()
    reply = cell.ask(_over_long(cell))
    figures = {"context_length": cell.context_length, "reply": type(reply).__name__}
    if isinstance(reply, Refused):
        return Finding(
            outcome=Outcome.CORROBORATED,
            reason=f"refused: {reply.message}",
            figures=figures,
        )
    if isinstance(reply, Answered):
        return Finding(
            outcome=Outcome.FALSIFIED,
            reason=f"answered a prompt longer than the context of {cell.context_length} tokens "
            "as if it had been read",
            figures=figures | {"prompt_tokens": reply.prompt_tokens},
        )
    return unanswered(reply)


def recovery(cell: OpenCell) -> Finding:
    """After a refused prompt the session answers as before."""
    if not cell.context_length:
        return _no_context()
    case = cell.playbook.probe_prompts[-1]
    before, between, after = cell.ask(case), cell.ask(_over_long(cell)), cell.ask(case)
    if not isinstance(before, Answered):
        return unanswered(before)
    if not isinstance(after, Answered):
        return unanswered(after)
    same = before.text == after.text and before.text.strip() != ""
    return Finding(
        outcome=Outcome.CORROBORATED if same else Outcome.FALSIFIED,
        reason="the answer is the same as before the over-long prompt"
        if same
        else "the answer changed, or is empty, after the over-long prompt",
        figures={
            "before": before.text,
            "between": type(between).__name__,
            "after": after.text,
        },
    )
