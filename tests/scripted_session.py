"""A session without a model: it says what a test tells it to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineInfo,
    Message,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["ScriptedEngine", "ScriptedSession", "answer_of"]


def answer_of(text: str) -> Answer:
    """Return an answer with ordinary figures."""
    return Answer(
        text=text,
        prompt_tokens=3,
        completion_tokens=2,
        finish="stop",
        time_to_first_token_ms=1.0,
        duration_ms=2.0,
    )


class ScriptedSession:
    """Answers with what ``reply`` makes of the prompt; keeps what it was asked."""

    device = Device(backend=Backend.CPU, name="cpu", proof="a script")
    context_length = 64

    def __init__(self, reply: Callable[[str], Answer] = answer_of, served: str = "") -> None:
        self._reply = reply
        self._served = served
        self.prompts: list[str] = []
        self.samplings: list[Sampling] = []
        self.serving = 0
        self.closed = 0

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer."""
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        answer = self._reply(prompt)
        if on_text is not None:
            on_text(answer.text)
        return answer

    def render(self, messages: Sequence[Message]) -> str:
        """Write the messages one after the other."""
        return "|".join(f"{message.role}={message.content}" for message in messages)

    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        """Pretend that something else serves."""
        self.serving += 1
        yield ServedModel(base_url=self._served)
        self.serving -= 1

    def close(self) -> None:
        """Count."""
        self.closed += 1


class ScriptedEngine:
    """Opens one session, given beforehand."""

    name = "scripted"

    def __init__(self, session: ScriptedSession) -> None:
        self._session = session

    def info(self) -> EngineInfo:
        """Say that it is here."""
        return EngineInfo(
            name=self.name,
            version=None,
            available=True,
            reason="",
            how_to_get="",
            formats=(ModelFormat.GGUF,),
            backends=(Backend.CPU,),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Name the model."""
        return f"scripted({model.weights[0].name}, {backend})"

    def open(self, model: ModelFiles, backend: Backend) -> ScriptedSession:
        """Return the session."""
        del model, backend
        return self._session
