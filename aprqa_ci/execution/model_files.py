"""The files of one model in one format, found and ready to be opened."""

from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.vocabulary import ModelFormat

__all__ = ["ModelFiles"]


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where the weights of one format (and quantization) lie on this machine."""

    format: ModelFormat
    quantization: str | None = None
    weights: tuple[Path, ...]
    """The weight files; several for a sharded model. Never empty."""
    directory: Path
    """The directory that holds ``config.json``, ``tokenizer.json`` and the like."""
    source: str
    """How it was found: ``local_path``, ``huggingface-cache`` or ``apr-cache``."""
    repo: str | None = None
    """The repository of the hub's cache that it lies in."""
    revision: str | None = None
    """The commit of the repository, where the cache knows it."""

    @property
    def size_bytes(self) -> int:
        """The bytes of all weight files together."""
        return sum(path.stat().st_size for path in self.weights)
