"""Finding the place that is to be broken."""

from collections.abc import Iterable
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import TensorInfo

__all__ = ["NotApplicableError", "matching", "one_file", "tensors_of"]


class NotApplicableError(Exception):
    """The model does not have what the mutant breaks."""


def one_file(directory: Path, pattern: str) -> Path:
    """Return the first file of a name.

    Raises:
        NotApplicableError: there is none.
    """
    found = sorted(path for path in directory.glob(pattern) if path.is_file())
    if not found:
        what = f"the model has no {pattern}"
        raise NotApplicableError(what)
    return found[0]


def tensors_of(path: Path) -> dict[str, TensorInfo]:
    """Return where the tensors of a weight file lie, by name."""
    if path.suffix == ".gguf":
        with closing(open_gguf(path)) as gguf:
            return dict(gguf.tensors)
    with closing(open_safetensors([path])) as opened:
        return dict(opened.tensors)


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that fit a pattern.

    Raises:
        NotApplicableError: none does.
    """
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        what = f"the model has no tensor {pattern}"
        raise NotApplicableError(what)
    return found
