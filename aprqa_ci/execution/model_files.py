"""The files of one model in one format, found and ready to be opened."""

from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.vocabulary import ModelFormat

__all__ = ["ModelFiles", "Origin", "held_elsewhere"]


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where the weights of one format (and quantization) lie on this machine."""

    format: ModelFormat
    quantization: str | None = None
    weights: tuple[Path, ...]
    """The weight files; several for a sharded model. Empty only for a model that a server
    holds."""
    directory: Path
    """The directory that holds ``config.json``, ``tokenizer.json`` and the like."""
    source: str
    """How it was found: ``local_path``, ``bundled``, ``huggingface-cache``, ``apr-cache`` or
    ``aprqa-cache``; ``server`` for a model that a server holds, ``derived`` for files that were
    made here."""
    repo: str | None = None
    """The repository of the hub's cache that it lies in."""
    revision: str | None = None
    """The commit of the repository, where the cache knows it."""
    origin: "Origin | None" = None
    """What the files were made from, where nobody published them and they were made here."""

    @property
    def size_bytes(self) -> int:
        """The bytes of all weight files together."""
        return sum(path.stat().st_size for path in self.weights)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What files were made from by a conversion of this project."""

    files: ModelFiles
    """The source."""
    digest: str
    """The SHA-256 of the canonical JSON of the SHA-256 of each file of the source by its name."""
    tool: str
    """What wrote the files, with its version."""


def held_elsewhere(format_: ModelFormat, quantization: str | None) -> ModelFiles:
    """Return what stands for a model whose files nobody showed: a server holds it."""
    return ModelFiles(
        format=format_, quantization=quantization, weights=(), directory=Path(), source="server"
    )
