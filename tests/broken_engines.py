"""Engines that each have one fault: the conformance suite has to find it.

They are the reference engine but for that fault. Children import this file through entry points, so
:func:`install_engines` writes it into a directory of its own, as a package manager would.
"""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    EngineInfo,
    Message,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.engines.reference import ReferenceEngine, ReferenceSession
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend

__all__ = ["BROKEN", "install_engines"]

OnText = Callable[[str], None] | None


class Session(ReferenceSession):
    """Answers through ``answer``, so that each fault is a few lines."""

    def complete(self, prompt: str, sampling: Sampling, *, on_text: OnText = None) -> Answer:
        return self.answer(prompt, sampling, on_text)

    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().complete(prompt, sampling, on_text=on_text)

    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        with serve_session(self) as served:
            yield served


class Engine(ReferenceEngine):
    session = Session

    def info(self) -> EngineInfo:
        return replace(super().info(), name=self.name)

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        sound = super().open(model, backend)
        broken = self.session.__new__(self.session)
        broken.__dict__.update(sound.__dict__)
        return broken


class Sound(Engine):
    """Has no fault."""


class _IgnoresSeed(Session):
    drawn = itertools.count(100)

    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, seed=next(self.drawn)), on_text)


class _OneSeed(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, seed=3), on_text)


class _AlwaysGreedy(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, temperature=0.0), on_text)


class _NeverGreedy(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        hot = replace(sampling, temperature=max(sampling.temperature, 4.0))
        return super().answer(prompt, replace(hot, seed=sampling.seed * 7 + 1), on_text)


class _Remembers(Session):
    before = ""

    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        prompt, self.before = self.before + prompt, prompt
        return super().answer(prompt, sampling, on_text)


class _Echoes(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return replace(super().answer(prompt, sampling, on_text), text=prompt)


class _NearlyRight(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, on_text)
        return replace(answer, text=answer.text.rstrip() + " ")


class _MiscountsPrompts(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, on_text)
        return replace(answer, prompt_tokens=len(prompt.split()))


class _MiscountsAnswers(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, on_text)
        return replace(answer, completion_tokens=max(1, len(answer.text.split())))


class _CountsOneTooMany(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, on_text)
        return replace(answer, completion_tokens=answer.completion_tokens + 1)


class _Unlimited(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, max_tokens=32), on_text)


class _AlwaysStops(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return replace(super().answer(prompt, sampling, on_text), finish="stop")


class _NeverStops(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, stop=()), on_text)


class _FirstStopOnly(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt, replace(sampling, stop=sampling.stop[:1]), on_text)


class _KeepsTheStopText(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, on_text)
        ended = answer.finish == "stop" and sampling.stop
        return replace(answer, text=answer.text + sampling.stop[-1]) if ended else answer


class _OwnSystemMessage(Session):
    def render(self, messages: Sequence[Message]) -> str:
        if all(each.role != "system" for each in messages):
            messages = [Message(role="system", content="Be helpful."), *messages]
        return super().render(messages)


class _DropsSystemMessages(Session):
    def render(self, messages: Sequence[Message]) -> str:
        return super().render([each for each in messages if each.role != "system"])


class _TemplateAroundAll(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        if "<|im_start|>" not in prompt:
            prompt = self.render([Message(role="user", content=prompt)])
        return super().answer(prompt, sampling, on_text)


class _OnePiece(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, None)
        if on_text is not None:
            on_text(answer.text)
        return answer


class _LatePieces(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        answer = super().answer(prompt, sampling, None)
        # Long enough that the time of handing it over is none beside it.
        time.sleep(0.2)
        for character in answer.text if on_text is not None else "":
            on_text(character)  # type: ignore[misc] # there is one, or no character
        return replace(answer, duration_ms=answer.duration_ms + 200)


class _OtherPieces(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        told = None if on_text is None else lambda text: on_text(text.upper() + "!")
        return super().answer(prompt, sampling, told)


class _NoPieces(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        del on_text
        return super().answer(prompt, sampling, None)


class _CutsOverflow(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        return super().answer(prompt[-300:], sampling, on_text)


class _DiesOfOverflow(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        if len(prompt) > 1000:
            os.abort()
        return super().answer(prompt, sampling, on_text)


class _StuckAfterRefusal(Session):
    refused = False

    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        if self.refused:
            what = "the context is still full"
            raise EngineFailedError(what)
        try:
            return super().answer(prompt, sampling, on_text)
        except PromptRefusedError:
            self.refused = True
            raise


class _Hangs(Session):
    def answer(self, prompt: str, sampling: Sampling, on_text: OnText) -> Answer:
        time.sleep(600)
        raise AssertionError(prompt, sampling, on_text)


class _HangsAtItsEnd(Session):
    def close(self) -> None:
        time.sleep(600)


class _DiesAtItsEnd(Session):
    def close(self) -> None:
        os._exit(3)


class _Unproven(Session):
    @property
    def device(self) -> Device:
        return Device(backend=Backend.CPU, name="somewhere", proof="far away", proven=False)


class _NoProof(Session):
    @property
    def device(self) -> Device:
        return Device(backend=Backend.CPU, name="cpu", proof="")


class _OtherDevice(Session):
    @property
    def device(self) -> Device:
        return Device(backend=Backend.GPU, name="gpu", proof="it was warm")


class _ServesOtherwise(Session):
    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        other = _OwnSystemMessage.__new__(_OwnSystemMessage)
        other.__dict__.update(self.__dict__)
        other.answer = _Echoes.answer.__get__(other)  # type: ignore[method-assign] # as it should
        with serve_session(other) as served:
            yield served


class _ServesNothing(Session):
    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        yield ServedModel(base_url="http://127.0.0.1:9")


def _of(kind: type[Session]) -> type[Engine]:
    return type(kind.__name__.lstrip("_"), (Engine,), {"session": kind})


class AcceptsDamage(Engine):
    """Opens another model where the one it is given is damaged."""

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        try:
            return super().open(model, backend)
        except ModelLoadError:
            from aprqa_ci.data_files import bundled_model

            sound = replace(
                model,
                weights=(bundled_model() / "aprqa-tiny-q8_0.gguf",),
                directory=bundled_model(),
            )
            return super().open(sound, backend)


class CrashesOnDamage(Engine):
    """Dies where it should refuse."""

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        try:
            return super().open(model, backend)
        except ModelLoadError:
            os.abort()


class BlamesUs(Engine):
    """Lets an error of its own escape where it should refuse."""

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        try:
            return super().open(model, backend)
        except ModelLoadError as error:
            raise KeyError(str(error)) from error


class HangsOnLoading(Engine):
    """Never opens anything."""

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        time.sleep(600)
        raise AssertionError(model, backend)


class LeavesADaemon(Engine):
    """Starts a process that leaves its group."""

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True
        )
        return super().open(model, backend)


class Versionless(Engine):
    """Does not say its version."""

    def info(self) -> EngineInfo:
        return replace(super().info(), version=None)


class PromisesNothing(Engine):
    """Promises nothing at all."""

    def info(self) -> EngineInfo:
        return replace(super().info(), capabilities=())


class OtherFormats(Engine):
    """Does not claim the format that it reads."""

    def info(self) -> EngineInfo:
        return replace(super().info(), formats=())


class Wordless(Engine):
    """Does not say how it was called."""

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        del model, backend
        return " "


BROKEN: dict[str, tuple[type[Engine], str]] = {
    "ignores-seed": (_of(_IgnoresSeed), "seed"),
    "one-seed": (_of(_OneSeed), "seed"),
    "always-greedy": (_of(_AlwaysGreedy), "temperature"),
    "never-greedy": (_of(_NeverGreedy), "greedy-repeats"),
    "remembers": (_of(_Remembers), "greedy-repeats"),
    "echoes": (_of(_Echoes), "answers-right"),
    "nearly-right": (_of(_NearlyRight), "agrees-with-reference"),
    "miscounts-prompts": (_of(_MiscountsPrompts), "counts-tokens"),
    "miscounts-answers": (_of(_MiscountsAnswers), "counts-tokens"),
    "counts-one-too-many": (_of(_CountsOneTooMany), "counts-tokens"),
    "unlimited": (_of(_Unlimited), "max-tokens"),
    "always-stops": (_of(_AlwaysStops), "max-tokens"),
    "never-stops": (_of(_NeverStops), "stops"),
    "first-stop-only": (_of(_FirstStopOnly), "stops"),
    "keeps-the-stop-text": (_of(_KeepsTheStopText), "stops"),
    "own-system-message": (_of(_OwnSystemMessage), "counts-tokens"),
    "drops-system-messages": (_of(_DropsSystemMessages), "chat-template"),
    "template-around-all": (_of(_TemplateAroundAll), "continues-raw-text"),
    "one-piece": (_of(_OnePiece), "streams"),
    "late-pieces": (_of(_LatePieces), "streams"),
    "other-pieces": (_of(_OtherPieces), "streams"),
    "no-pieces": (_of(_NoPieces), "streams"),
    "cuts-overflow": (_of(_CutsOverflow), "context-overflow"),
    "dies-of-overflow": (_of(_DiesOfOverflow), "context-overflow"),
    "stuck-after-refusal": (_of(_StuckAfterRefusal), "context-overflow"),
    "hangs": (_of(_Hangs), "answers-right"),
    "hangs-on-loading": (HangsOnLoading, "loads"),
    "wordless": (Wordless, "loads"),
    "versionless": (Versionless, "describes-itself"),
    "promises-nothing": (PromisesNothing, "describes-itself"),
    "other-formats": (OtherFormats, "describes-itself"),
    "unproven": (_of(_Unproven), "device-proof"),
    "no-proof": (_of(_NoProof), "device-proof"),
    "other-device": (_of(_OtherDevice), "device-proof"),
    "serves-otherwise": (_of(_ServesOtherwise), "serves"),
    "serves-nothing": (_of(_ServesNothing), "serves"),
    "accepts-damage": (AcceptsDamage, "bad-files"),
    "crashes-on-damage": (CrashesOnDamage, "bad-files"),
    "blames-us": (BlamesUs, "bad-files"),
    "leaves-a-daemon": (LeavesADaemon, "time-out"),
    "leaves-a-daemon-too": (type("LeavesADaemonToo", (LeavesADaemon,), {}), "closes"),
    "hangs-at-its-end": (_of(_HangsAtItsEnd), "closes"),
    "dies-at-its-end": (_of(_DiesAtItsEnd), "closes"),
}
"""Each broken engine by its name, and the check that has to find its fault."""

_ALL: dict[str, type[Engine]] = {"sound": Sound} | {
    name: kind for name, (kind, _) in BROKEN.items()
}
for _name, _kind in _ALL.items():
    _kind.name = _name


def __getattr__(name: str) -> Any:
    """Hand out the classes by their engines' names: entry points need an attribute."""
    found = _ALL.get(name.removeprefix("engine_").replace("_", "-"))
    if found is None:
        raise AttributeError(name)
    return found


def install_engines(directory: Path) -> Path:
    """Write this file and its entry points into a directory, and return it."""
    shutil.copy(__file__, directory / "aprqa_broken_engines.py")
    metadata = directory / "aprqa_broken_engines-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: aprqa-broken-engines\nVersion: 1\n", encoding="utf-8")
    lines = [
        f"{name} = aprqa_broken_engines:engine_{name.replace('-', '_')}" for name in sorted(_ALL)
    ]
    text = "\n".join(["[aprqa.engines]", *lines, ""])
    (metadata / "entry_points.txt").write_text(text, encoding="utf-8")
    return directory
