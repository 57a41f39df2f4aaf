"""The bundled model in both formats, and copies of it to break."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.protocol import Reply, Request

BUNDLED = Path(__file__).parents[3] / "aprqa_ci" / "data" / "models" / "aprqa-tiny"


@dataclass(frozen=True)
class TinyModel:
    """A model below the root that relative paths of a plan start from."""

    root: Path
    directory: Path

    @property
    def gguf(self) -> Path:
        """The GGUF file."""
        return self.directory / "aprqa-tiny-f16.gguf"

    @property
    def safetensors(self) -> Path:
        """The SafeTensors file."""
        return self.directory / "model.safetensors"


@pytest.fixture(scope="session")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """The model; not to be changed."""
    root = tmp_path_factory.mktemp("sound")
    shutil.copytree(BUNDLED, root / "model", ignore=shutil.ignore_patterns("*q8_0*", "*q4_0*"))
    return TinyModel(root, root / "model")


@pytest.fixture
def model(sound_model: TinyModel, tmp_path: Path) -> TinyModel:
    """A copy of the model, to be broken."""
    shutil.copytree(sound_model.directory, tmp_path / "model")
    return TinyModel(tmp_path, tmp_path / "model")


Hook = Callable[[CellChild, Request, int], None]


@pytest.fixture
def before_request(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hook], list[Request]]:
    """Calls a hook before each request that a child gets, with the number of its kind from 1."""

    def install(hook: Hook) -> list[Request]:
        sent: list[Request] = []
        real = CellChild.request

        def request(self: CellChild, request: Request, *, timeout_s: float) -> Reply:
            sent.append(request)
            hook(self, request, sum(isinstance(each, type(request)) for each in sent))
            return real(self, request, timeout_s=timeout_s)

        monkeypatch.setattr(CellChild, "request", request)
        return sent

    return install


@pytest.fixture
def patient_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives loading all the time it wants, where only answers are to time out."""
    monkeypatch.setattr(Limits, "load_seconds", lambda *_: 60.0)
