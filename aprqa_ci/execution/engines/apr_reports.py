"""What the ``apr`` tool reports of files: pulled, validated, inspected, converted, profiled.

Nothing passes on nothing: a report that names no tensor, a path that does not exist or a throughput
of zero is an error, and so is every shape that is not known.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from aprqa_ci.execution.engines.apr_cli import AprCompleted, AprEnding
from aprqa_ci.plain_text import strip_ansi

__all__ = [
    "AprReportError",
    "Conversion",
    "Inspection",
    "Profile",
    "Pulled",
    "Validation",
    "parse_convert",
    "parse_inspect",
    "parse_profile",
    "parse_pull",
    "parse_validate",
]

_PATH = re.compile(r"^\s*Path: (.+?)\s*$", re.MULTILINE)
_ROW = re.compile(r"^│ (\S+)\s+│ (?:✓ |✗ )?(PASS|FAIL)\s*│ ?(.*?)\s*│$", re.MULTILINE)
_CHECKED = re.compile(
    r"^(VALID|INVALID): (\d+) tensors checked, (\d+) contract violations", re.MULTILINE
)
_TENSORS = re.compile(r"^Tensors: (\d+) -> (\d+)$", re.MULTILINE)
_TARGET = re.compile(r"^Target: (.+?)\s*$", re.MULTILINE)
_DURATION = re.compile(r"^Duration: (\d+)ms$", re.MULTILINE)
_SUCCESS = re.compile(r"^Conversion successful$", re.MULTILINE)
_THROUGHPUT_KEYS = ("throughput_tps", "throughput_tok_s", "tokens_per_second", "tok_per_sec")
_P50_KEYS = ("latency_p50_ms", "p50_ms")
_P99_KEYS = ("latency_p99_ms", "p99_ms")


class AprReportError(Exception):
    """A command failed, or its report says nothing that can be relied on."""

    def __init__(self, what: str, ending: AprEnding = AprEnding.NOT_OURS) -> None:
        super().__init__(what)
        self.ending = ending
        """What the command's end says; the tool's own fault where it ended well."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A model that lies in the tool's cache now."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What ``apr validate --strict`` found."""

    tensors: int
    violations: int
    failed: Mapping[str, str]
    """The tensors that failed, each with what is wrong."""
    names: tuple[str, ...] = ()
    """All tensors that were checked; empty where the tool does not list them."""

    @property
    def passed(self) -> bool:
        """Whether every tensor is sound; there is at least one."""
        return self.violations == 0 and not self.failed


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What ``apr rosetta inspect`` says a file is."""

    format: str
    tensor_count: int
    file_size: int | None
    total_params: int | None
    architecture: str | None
    tensor_names: tuple[str, ...]
    """Empty where the tool does not list them."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What ``apr rosetta convert`` made."""

    target: Path
    source_tensors: int
    target_tensors: int
    duration_ms: int | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What ``apr profile`` measured."""

    tokens_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    passed: bool | None
    """Whether the tool's own assertions hold, where it says so."""


def parse_pull(completed: AprCompleted) -> Pulled:
    """Return where the model lies.

    Raises:
        AprReportError: the command failed, or names no file that is there.
    """
    _require_done(completed)
    found = _object(completed.stdout)
    named = found.get("path") if found else None
    if not isinstance(named, str):
        line = _PATH.search(strip_ansi(completed.stdout))
        named = line[1] if line else None
    if not named:
        _fail(completed, "names no path")
    path = Path(named)
    if not path.exists():
        _fail(completed, f"names {path}, which is not there")
    return Pulled(path=path)


def parse_validate(completed: AprCompleted) -> Validation:
    """Return what was found; a file with faults is a report and no error.

    Raises:
        AprReportError: the command could not look at the file, or checked no tensor.
    """
    shown = strip_ansi(completed.stdout)
    rows = {name: (verdict, why) for name, verdict, why in _ROW.findall(shown)}
    summary = _CHECKED.search(shown)
    if summary is None:
        _require_done(completed)
        _fail(completed, "says nothing of how many tensors were checked")
    tensors, violations = int(summary[2]), int(summary[3])
    failed = {name: why or "failed" for name, (verdict, why) in rows.items() if verdict == "FAIL"}
    if tensors < 1:
        _fail(completed, "checked no tensor")
    if rows and len(rows) != tensors:
        _fail(completed, f"lists {len(rows)} tensors and says that it checked {tensors}")
    sound = violations == 0 and not failed
    if sound != (summary[1] == "VALID") or sound != (completed.returncode == 0):
        _fail(completed, f"contradicts itself: {summary[0]!r}, exit code {completed.returncode}")
    return Validation(tensors=tensors, violations=violations, failed=failed, names=tuple(rows))


def parse_inspect(completed: AprCompleted) -> Inspection:
    """Return what the file is.

    Raises:
        AprReportError: the command failed, or names no format or no tensor.
    """
    _require_done(completed)
    found = _object(completed.stdout)
    if found is None:
        _fail(completed, "is not a JSON object")
    kind, names = found.get("format"), found.get("tensor_names", [])
    if not isinstance(kind, str) or not kind:
        _fail(completed, "names no format")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        _fail(completed, "has tensor_names that are no list of names")
    count = _whole(found, "tensor_count")
    count = len(names) if count is None else count
    if count < 1 or (names and len(names) != count):
        _fail(completed, f"counts {count} tensors and names {len(names)}")
    architecture = found.get("architecture")
    return Inspection(
        format=kind,
        tensor_count=count,
        file_size=_whole(found, "file_size"),
        total_params=_whole(found, "total_params"),
        architecture=architecture if isinstance(architecture, str) else None,
        tensor_names=tuple(names),
    )


def parse_convert(completed: AprCompleted, target: Path) -> Conversion:
    """Return what was made.

    Args:
        completed: the command.
        target: the file that was asked for.

    Raises:
        AprReportError: the command failed, does not say that it succeeded, moved no tensor, or the
            file is not there or is empty.
    """
    _require_done(completed)
    shown = strip_ansi(completed.stdout)
    tensors, named = _TENSORS.search(shown), _TARGET.search(shown)
    if _SUCCESS.search(shown) is None or tensors is None or named is None:
        _fail(completed, "does not say what it made")
    source_count, target_count = int(tensors[1]), int(tensors[2])
    if source_count < 1 or target_count < 1:
        _fail(completed, f"moved {source_count} tensors into {target_count}")
    if Path(named[1]) != target:
        _fail(completed, f"names {named[1]} and not {target}")
    if not target.is_file() or target.stat().st_size == 0:
        _fail(completed, f"says that it made {target}, which is not there or empty")
    took = _DURATION.search(shown)
    return Conversion(
        target=target,
        source_tensors=source_count,
        target_tensors=target_count,
        duration_ms=int(took[1]) if took else None,
    )


def parse_profile(completed: AprCompleted) -> Profile:
    """Return what was measured; a missed assertion is a report and no error.

    Raises:
        AprReportError: the command failed, or gives no throughput above zero.
    """
    found = _object(completed.stdout)
    if found is None:
        _require_done(completed)
        _fail(completed, "is not a JSON object")
    passed = found.get("passed")
    if passed is not False:
        _require_done(completed)
    figures = dict(found)
    for part in found.values():
        if isinstance(part, dict):
            figures = part | figures
    rate = _number(figures, _THROUGHPUT_KEYS)
    if rate is None or rate <= 0:
        _fail(completed, f"gives no throughput above zero ({rate})")
    return Profile(
        tokens_per_second=rate,
        p50_ms=_number(figures, _P50_KEYS),
        p99_ms=_number(figures, _P99_KEYS),
        passed=passed if isinstance(passed, bool) else None,
    )


def _require_done(completed: AprCompleted) -> None:
    if completed.ending is not AprEnding.DONE:
        raise AprReportError(completed.describe(), completed.ending)


def _fail(completed: AprCompleted, lack: str) -> NoReturn:
    what = f"what apr {' '.join(completed.command[1:3])} reports {lack}"
    raise AprReportError(what)


def _object(stdout: str) -> dict[str, Any] | None:
    """Return the JSON object that the output is, banners before it aside."""
    shown = strip_ansi(stdout)
    start = shown.find("{")
    if start < 0:
        return None
    try:
        found = json.loads(shown[start:])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _whole(found: Mapping[str, Any], key: str) -> int | None:
    value = found.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(found: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = found.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None
