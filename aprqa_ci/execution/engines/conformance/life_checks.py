"""Checks of how an engine begins, refuses, is ended and ends."""

from aprqa_ci.execution.engines.conformance.damage import damaged_copies
from aprqa_ci.execution.engines.conformance.traces import left_of
from aprqa_ci.execution.engines.conformance.trial import (
    CheckFailedError,
    NotTriedError,
    Trial,
    TrialChild,
    describe_reply,
    expect,
    opened_by,
)
from aprqa_ci.execution.engines.interface import Capability, Sampling
from aprqa_ci.execution.processes import descendants, kill_all, traceable
from aprqa_ci.execution.protocol import (
    Answered,
    Ask,
    CheckHealth,
    Health,
    LoadFailed,
    MalformedSent,
    Opened,
    Refused,
    SendMalformed,
)
from aprqa_ci.vocabulary import Modality

__all__ = [
    "bad_files",
    "closes",
    "context_overflow",
    "describes_itself",
    "device_proof",
    "loads",
    "serves",
    "time_out",
]

_MIDST_S = 0.03
_ENDLESS = 1 << 16


def describes_itself(trial: Trial) -> str:
    """It says its version, and that it is here for this format and backend."""
    info = trial.info
    expect(info.name == trial.engine, f"it calls itself {info.name!r}")
    expect(info.version, "it does not say its version")
    expect(info.how_to_get, "it does not say how to get it")
    expect(
        trial.model.format in info.formats and trial.backend in info.backends,
        f"it does not claim {trial.model.format} on {trial.backend}",
    )
    expect(
        {Capability.RAW, Capability.CHAT} & set(info.capabilities),
        "it promises neither raw text nor conversations",
    )
    return f"version {info.version}; promises {', '.join(info.capabilities)}"


def loads(trial: Trial) -> str:
    """It opens the model in time, and says its call and its context."""
    opened = trial.open_session()[1]
    expect(opened.engine == trial.engine, f"it opened as {opened.engine!r}")
    expect(opened.invocation.strip(), "it does not say how it was called")
    expect(opened.context_length >= 0, f"its context is {opened.context_length} tokens")
    context = f"{opened.context_length} tokens" if opened.context_length else "not known"
    return f"in {opened.load_ms:.0f} ms; context {context}"


def device_proof(trial: Trial) -> str:
    """It shows that it computes where it was asked to."""
    opened = trial.open_session()[1]
    backend, _, shown = opened.device.partition(": ")
    expect(backend == trial.backend, f"asked for {trial.backend}, it computes on {backend}")
    expect(opened.device_proven, f"it does not show where it computes: {shown}")
    expect("(" in shown and "()" not in shown, f"it names no proof: {opened.device!r}")
    return opened.device


def context_overflow(trial: Trial) -> str:
    """A prompt that is longer than the context is refused, and the session goes on."""
    length = trial.open_session()[1].context_length
    if not length:
        what = "how long its context is, is not known"
        raise NotTriedError(what)
    if length > trial.asked.most_overflow_tokens:
        what = f"its context of {length} tokens is too long to be overflown here"
        raise NotTriedError(what)
    child = trial.session
    reply = child.request(
        Ask(
            turns=("one " * (length + 8),),
            system=None,
            raw=Capability.CHAT not in trial.info.capabilities,
            sampling=Sampling(max_tokens=1),
            number=0,
        )
    )
    expect(
        isinstance(reply, Refused),
        f"a prompt of more than {length} tokens gets {describe_reply(reply)}, and no refusal",
    )
    before = trial.asked.named("sum")
    if Capability.CHAT in trial.info.capabilities:
        child.ask_known(before)
    else:
        child.ask_known(trial.asked.named("raw"))
    return f"more than {length} tokens are refused, and the next question is answered"


def serves(trial: Trial) -> str:
    """Served over HTTP it gives the same answers, and refuses what is malformed."""
    asked = [trial.asked.named(name) for name in ("sum", "conversation", "long")]
    wanted = [trial.session.ask_known(question).text for question in asked]
    with trial.opened(Modality.SERVE) as (child, _):
        for question, text in zip(asked, wanted, strict=True):
            for number, how in enumerate(("whole", "streamed")):
                said = child.ask_known(question, number=number).text
                expect(
                    said == text,
                    f"{question.turns[-1]!r}, {how}: {said!r} over HTTP, and {text!r} without",
                )
        sent = child.request(SendMalformed())
        if not isinstance(sent, MalformedSent):
            raise CheckFailedError(describe_reply(sent))
        wrong = {name: status for name, status in sent.statuses.items() if not 400 <= status < 500}
        expect(not wrong, f"malformed requests get {wrong}, and not 4xx")
        health = child.request(CheckHealth())
        expect(
            isinstance(health, Health) and health.status == 200 and sent.alive,
            "after malformed requests the server is not well",
        )
    return f"{len(asked)} answers, whole and streamed; {len(sent.statuses)} malformed requests"


def bad_files(trial: Trial) -> str:
    """Damaged and missing files are refused as such; it neither crashes nor takes them."""
    names = []
    child: TrialChild | None = None
    try:
        for what, model in damaged_copies(trial.model, trial.scratch):
            if child is None:
                child = trial.spawn()
            try:
                reply = trial.load(child, model=model, modality=Modality.CHAT)
            except CheckFailedError as error:
                message = f"it does not survive weights that are {what}: {error}"
                raise CheckFailedError(message) from error
            if isinstance(reply, Opened):
                message = f"it opens weights that are {what}"
                raise CheckFailedError(message)
            expect(
                isinstance(reply, LoadFailed),
                f"weights that are {what} are no fault of the model's to it: "
                f"{describe_reply(reply)[:300]}",
            )
            names.append(what)
    finally:
        if child is not None:
            child.kill()
    return f"weights are refused that are {', '.join(names)}"


def time_out(trial: Trial) -> str:
    """Ended in the midst of an answer it leaves no process, and opens again."""
    _require_traceable()
    known = frozenset[int]()
    with trial.opened() as (child, _):
        known = descendants(child.pid)
        child.begin(
            Ask(
                turns=trial.asked.named("long").turns,
                system=None,
                raw=Capability.CHAT not in trial.info.capabilities,
                sampling=Sampling(max_tokens=_ENDLESS),
                number=0,
            ),
            seconds=_MIDST_S,
        )
    _expect_none_left(child, known, "ended by force")
    with trial.opened() as (again, _):
        reply = again.request(
            Ask(
                turns=("Hello",),
                system=None,
                raw=Capability.CHAT not in trial.info.capabilities,
                sampling=Sampling(max_tokens=1),
                number=0,
            )
        )
        expect(isinstance(reply, Answered), f"opened again: {describe_reply(reply)}")
    return "no process is left, and it opens again"


def closes(trial: Trial) -> str:
    """Closed in good order it ends by itself and leaves no process."""
    _require_traceable()
    child = trial.spawn()
    try:
        opened_by(trial.load(child, modality=Modality.CHAT))
        known = descendants(child.pid)
        code = child.close()
    finally:
        child.kill()
    expect(code is not None, "it does not end within 5 seconds when its session is closed")
    expect(code == 0, f"when its session is closed, its process ends with code {code}")
    _expect_none_left(child, known, "closed")
    return "it ends by itself and leaves no process"


def _require_traceable() -> None:
    if not traceable():
        what = "processes cannot be looked at on this system"
        raise NotTriedError(what)


def _expect_none_left(child: TrialChild, known: frozenset[int], how: str) -> None:
    left = left_of(child.mark, known)
    if left:
        kill_all(left)
        named = "; ".join(left.values())
        what = f"{how}, it leaves {len(left)} processes: {named}"
        raise CheckFailedError(what)
