"""What one certification says about one row of the registry."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.registry.values import instant_of
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory, Status

__all__ = ["RowUpdate", "is_model_id", "parameters_of", "throughput_column"]

_MODEL_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PARAMETERS = re.compile(r"[0-9]+(?:\.[0-9]+)?[BM]")
_GRADES = ("A", "B", "C", "D", "F", "-")
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9._])(\d+(?:[._]\d+)?)([BbMm])(?![A-Za-z0-9])")

_FORMAT_COLUMNS = {
    ModelFormat.GGUF: "gguf",
    ModelFormat.APR: "apr",
    ModelFormat.SAFETENSORS: "st",
}


@dataclass(frozen=True, kw_only=True)
class RowUpdate:
    """The measured cells of one model, and what a row needs that is not there yet.

    ``family``, ``parameters`` and ``size_category`` are written into a new row only.
    """

    model_id: str
    """The repository, ``org/name``; the key of the row, compared exactly."""
    status: Status
    mqs_score: int
    """0 to 1000."""
    grade: str
    """``A`` to ``F``."""
    certified_tier: str
    """The tier that is certified, or ``none``."""
    last_certified: str
    """The time of the newest evidence record, RFC 3339."""
    g1: bool
    """Whether the gateway is passed; failed and not evaluated are both false."""
    g2: bool
    g3: bool
    g4: bool
    throughput: Mapping[tuple[ModelFormat, Backend], float] = field(default_factory=dict)
    """Measured tokens per second; what was not measured is not in it."""
    family: str = ""
    parameters: str = ""
    """``0.5B``, ``135M``; empty where nothing names a size."""
    size_category: SizeCategory

    def measured(self) -> dict[str, str]:
        """Return the cells that this certification measured, by column, as they are written."""
        cells = {
            "status": self.status.value,
            "mqs_score": str(self.mqs_score),
            "grade": self.grade,
            "certified_tier": self.certified_tier,
            "last_certified": self.last_certified,
            "g1": _truth(self.g1),
            "g2": _truth(self.g2),
            "g3": _truth(self.g3),
            "g4": _truth(self.g4),
        }
        for (model_format, backend), value in self.throughput.items():
            cells[throughput_column(model_format, backend)] = f"{value:.1f}"
        return cells

    def described(self) -> dict[str, str]:
        """Return the cells that only a new row gets."""
        return {
            "model_id": self.model_id,
            "family": self.family,
            "parameters": self.parameters,
            "size_category": self.size_category.value,
            # A certification proves nothing of where it comes from; verifying it does.
            "provenance_verified": "false",
        }

    def check(self) -> None:
        """See that nothing but plain values of the known kinds can reach the file.

        The patterns leave no room for a separator, a line end, or the characters with which a
        spreadsheet takes a cell for a formula.

        Raises:
            InputError: a value is not fit for its column; all of them are named.
        """
        problems = [Problem(what=what) for what in self._faults()]
        if problems:
            raise InputError(problems)

    def _faults(self) -> Iterator[str]:
        if not is_model_id(self.model_id):
            yield f"model_id must be org/name of letters, digits and ._-, not {self.model_id!r}"
        if self.status is Status.INCONCLUSIVE:
            yield "an inconclusive run says nothing about the model; the registry keeps its row"
        if not 0 <= self.mqs_score <= 1000:
            yield f"mqs_score must be 0 to 1000, not {self.mqs_score}"
        if self.grade not in _GRADES:
            yield f"grade must be one of {', '.join(_GRADES)}, not {self.grade!r}"
        if not _WORD.fullmatch(self.certified_tier):
            yield f"certified_tier must be a tier's name or none, not {self.certified_tier!r}"
        if instant_of(self.last_certified) is None:
            yield f"last_certified must be an RFC 3339 time, not {self.last_certified!r}"
        if self.family and not _WORD.fullmatch(self.family):
            yield f"family must be one plain word, not {self.family!r}"
        if self.parameters and not _PARAMETERS.fullmatch(self.parameters):
            yield f"parameters must be a number with B or M, not {self.parameters!r}"
        for (model_format, backend), value in self.throughput.items():
            if not math.isfinite(value) or value < 0:
                column = throughput_column(model_format, backend)
                yield f"{column} must be a finite number from 0, not {value}"


def is_model_id(text: str) -> bool:
    """Whether a text is a repository id, ``org/name``, and nothing else."""
    return _MODEL_ID.fullmatch(text) is not None


def throughput_column(model_format: ModelFormat, backend: Backend) -> str:
    """Return the column of a throughput, for example ``tps_gguf_cpu``."""
    return f"tps_{_FORMAT_COLUMNS[model_format]}_{backend.value}"


def parameters_of(*names: str | None) -> str:
    """Return the size that the first of the names tells, for example ``0.5B`` or ``135M``.

    Args:
        names: repository names and size variants, the most trusted one first.

    Returns:
        The number with ``B`` or ``M``; empty where no name tells one.
    """
    for name in names:
        if name and (found := _SIZE_IN_NAME.search(name.rpartition("/")[2])):
            return found[1].replace("_", ".") + found[2].upper()
    return ""


def _truth(value: bool) -> str:  # noqa: FBT001 - the value is the point, not a switch
    return "true" if value else "false"
