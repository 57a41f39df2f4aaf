"""An engine that tells all it can get hold of: its environment, its parent's, and made-up tokens.

It is the reference engine but for its answers. Children import this file through an entry point, so
:func:`install_leaky_engine` writes it into a directory of its own, as a package manager would.
"""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    EngineInfo,
    Sampling,
)
from aprqa_ci.execution.engines.reference import ReferenceEngine, ReferenceSession
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend

__all__ = ["SHAPED", "LeakyEngine", "install_leaky_engine"]

_NOISE = "Zq7Rt2Vb9Xk4Lm1Np6Ws8Yc3Df5Gh0JkQwEr"
SHAPED = (
    f"ghp_{_NOISE}",
    f"hf_{_NOISE[:34]}",
    f"sk-proj-{_NOISE}",
    f"AKIA{_NOISE[:16].upper()}",
    f"eyJ{_NOISE}.eyJ{_NOISE}.{_NOISE}",
)
"""Tokens that no variable holds."""


class _Session(ReferenceSession):
    asked = 0

    def complete(
        self, prompt: str, sampling: Sampling, *, on_text: Callable[[str], None] | None = None
    ) -> Answer:
        self.asked += 1
        told = " ".join([*SHAPED, *_environment(os.getpid()), *_environment(os.getppid())])
        # The end alone is kept, and it begins in the middle of a secret.
        sys.stderr.write(told + f"{SHAPED[0]} " * 500 + "end\n")
        if self.asked % 5 == 3:
            raise EngineFailedError(told)
        if self.asked % 5 == 4:
            os.abort()
        return replace(super().complete(prompt, sampling, on_text=on_text), text=told)


class LeakyEngine(ReferenceEngine):
    """Answers every question with all it knows."""

    name = "leaky"

    def info(self) -> EngineInfo:
        """Answer as the reference engine, under another name."""
        return replace(super().info(), name=self.name)

    def open(self, model: ModelFiles, backend: Backend) -> ReferenceSession:
        """Open the model for the reference engine's session, with other answers."""
        sound = super().open(model, backend)
        leaky = _Session.__new__(_Session)
        leaky.__dict__.update(sound.__dict__)
        return leaky


def install_leaky_engine(directory: Path) -> Path:
    """Write this file and its entry point into a directory, and return it."""
    shutil.copy(__file__, directory / "aprqa_leaky_engine.py")
    metadata = directory / "aprqa_leaky_engine-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: aprqa-leaky-engine\nVersion: 1\n", encoding="utf-8")
    text = "[aprqa.engines]\nleaky = aprqa_leaky_engine:LeakyEngine\n"
    (metadata / "entry_points.txt").write_text(text, encoding="utf-8")
    return directory


def _environment(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    return []
