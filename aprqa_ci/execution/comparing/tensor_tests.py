"""The tests of names, shapes, values and statistics of tensors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.comparing.comparison import Comparison, Difference
from aprqa_ci.execution.comparing.findings import NothingComparedError, Seen
from aprqa_ci.execution.comparing.named_tensors import TensorKind, kind_of
from aprqa_ci.execution.comparing.statistics import (
    TensorStatistics,
    TensorStatisticsFile,
    checksum_of,
)
from aprqa_ci.execution.integrity.finding import NotJudgedError, listed

__all__ = [
    "checksums",
    "finite_statistics",
    "kept_statistics",
    "norm_deviations",
    "norm_means",
    "orientation",
    "reference_coverage",
    "reference_statistics",
    "same_names",
    "same_shapes",
]

_ZERO = 1e-6
"""A mean or deviation below this is none: the smallest that a half-precision norm has is above."""


def same_names(comparison: Comparison) -> Seen:
    """I-2: the tensors of both files are the same, by name."""
    missing, added = comparison.missing(), comparison.added()
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing: {listed(missing)}")
    if added:
        problems.append(f"{len(added)} tensors are not in the ground truth: {listed(added)}")
    count = len(comparison.truth.tensors)
    return Seen(
        shown=f"the names of {count} tensors compared",
        problems=problems,
        figures={"tensors": count, "missing": list(missing[:32]), "added": list(added[:32])},
    )


def same_shapes(comparison: Comparison, parts: Sequence[str]) -> Seen:
    """DIFF-002: the selected tensors are there and have the shape of the ground truth."""
    ours, theirs = comparison.model.tensors, comparison.truth.tensors
    missing = comparison.missing(parts)
    chosen = comparison.chosen(parts, among=comparison.truth)
    wrong = [
        f"{name} is {list(ours[name].shape)} and not {list(theirs[name].shape)}"
        for name in chosen
        if name in ours and ours[name].shape != theirs[name].shape
    ]
    problems = [f"{name} is missing" for name in missing] + wrong
    return Seen(
        shown=f"the shapes of {len(chosen)} tensors compared",
        problems=problems,
        figures={"tensors": len(chosen), "missing": list(missing[:32]), "other_shape": wrong[:32]},
    )


def orientation(comparison: Comparison, parts: Sequence[str], limit: float) -> Seen:
    """DIFF-001: the selected tensors hold the ground truth's values, and none is transposed."""
    found = comparison.differences(parts)
    problems = []
    for each in found:
        if each.transposed:
            problems.append(f"{each.name} is transposed")
        elif each.error > limit:
            problems.append(f"{each.name} is off by {each.error:.4g}")
    worst = max(found, key=lambda each: each.error)
    return Seen(
        shown=f"{len(found)} tensors compared; {_worst(worst)}; the limit is {limit:g}",
        problems=problems,
        figures=_figures(found, worst) | {"limit": limit},
    )


def _worst(worst: Difference) -> str:
    place = f" at {list(worst.where)}" if worst.where else ""
    return (
        f"the worst, {worst.name}, is off by {worst.error:.4g}, "
        f"at most by {worst.largest:.4g}{place}"
    )


def _figures(found: Sequence[Difference], worst: Difference) -> dict[str, object]:
    return {
        "tensors": len(found),
        "worst_tensor": worst.name,
        "worst_error": worst.error,
        "largest_difference": worst.largest,
        "where": list(worst.where),
        "transposed": [each.name for each in found if each.transposed][:32],
    }


def finite_statistics(comparison: Comparison, parts: Sequence[str]) -> Seen:
    """FP-001: the statistics of the selected tensors are finite."""
    chosen = comparison.chosen(parts)
    statistics = {name: comparison.statistics[name] for name in chosen}
    bad = [name for name, found in statistics.items() if not found.finite]
    elements = sum(found.elements for found in statistics.values())
    return Seen(
        shown=f"{elements} values of {len(chosen)} tensors looked at",
        problems=[f"{name} has a NaN or an infinity" for name in bad],
        figures={
            "tensors": len(chosen),
            "elements": elements,
            "least": min(found.minimum for found in statistics.values()),
            "largest": max(found.maximum for found in statistics.values()),
            "not_finite": bad[:32],
        },
    )


def checksums(comparison: Comparison, parts: Sequence[str]) -> Seen:
    """FP-002: the selected tensors are the ground truth's, stored in the same type, bit by bit."""
    chosen = comparison.chosen(parts, among=comparison.truth)
    problems = [f"{name} is missing" for name in comparison.missing(parts)]
    for name in chosen:
        if name not in comparison.model.tensors:
            continue
        expected = _stored_as(comparison.truth.load(name), comparison.model.tensors[name].dtype)
        if checksum_of(comparison.model.load(name)) != checksum_of(expected):
            problems.append(f"{name} has another checksum")
    return Seen(
        shown=f"the checksums of {len(chosen)} tensors compared",
        problems=problems,
        figures={"tensors": len(chosen), "other": [text.split()[0] for text in problems[:32]]},
    )


def _stored_as(values: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[np.float32]:
    """Return what is left of the values in a storage type."""
    with np.errstate(all="ignore"):
        match dtype:
            case "F32" | "F64":
                return values
            case "F16":
                return values.astype(np.float16).astype(np.float32)
            case "BF16":
                return _as_bfloat16(values)
            case _:
                what = f"what {dtype} makes of a number depends on its converter"
                raise NotJudgedError(what)


def _as_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round to the upper half of a float32, halves to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def kept_statistics(
    comparison: Comparison,
    parts: Sequence[str],
    limit: float,
    compared: Sequence[str] = ("mean", "std"),
) -> Seen:
    """I-4 and FP-003: statistics are the ground truth's, relative to the larger of its two."""
    chosen = comparison.chosen(parts, among=comparison.truth)
    offsets: dict[str, float] = {}
    problems = [f"{name} is missing" for name in comparison.missing(parts)]
    for name in chosen:
        theirs = comparison.truth_statistics[name]
        ours = comparison.statistics.get(name)
        if ours is None:
            continue
        offsets[name] = _offset(ours, theirs, compared)
        if not offsets[name] <= limit:
            problems.append(f"{name} is off by {offsets[name]:.4g}")
    return _offsets_seen(offsets, problems, limit)


def _offset(ours: TensorStatistics, theirs: TensorStatistics, compared: Sequence[str]) -> float:
    """Return the largest difference of the statistics over the reference's own scale."""
    if not (ours.finite and theirs.finite):
        return float("inf")
    largest = 0.0
    # One value at the edge says little of a rounded tensor: it is measured by the whole range.
    span = max(theirs.maximum - theirs.minimum, theirs.scale)
    for statistic, scale in (
        ("mean", theirs.scale),
        ("std", theirs.scale),
        ("min", span),
        ("max", span),
    ):
        if statistic not in compared:
            continue
        field = {"min": "minimum", "max": "maximum"}.get(statistic, statistic)
        apart = abs(getattr(ours, field) - getattr(theirs, field))
        if apart:
            largest = max(largest, apart / scale if scale else float("inf"))
    return largest


def _offsets_seen(offsets: dict[str, float], problems: Sequence[str], limit: float) -> Seen:
    if not offsets:
        what = "no selected tensor is in both"
        raise NothingComparedError(what)
    worst = max(offsets, key=lambda name: offsets[name])
    return Seen(
        shown=f"the statistics of {len(offsets)} tensors compared; the worst, {worst}, is off by "
        f"{offsets[worst]:.4g}; the limit is {limit:g}",
        problems=problems,
        figures={
            "tensors": len(offsets),
            "worst_tensor": worst,
            "worst_offset": offsets[worst],
            "limit": limit,
        },
    )


def reference_statistics(
    comparison: Comparison,
    reference: TensorStatisticsFile | None,
    kind: TensorKind,
    limit: float,
) -> Seen:
    """STATS-001 to 003: mean and deviation of one kind of tensor, against the reference."""
    theirs = comparison.truth_statistics if reference is None else reference.tensors
    names = [name for name in theirs if kind_of(name) == kind]
    if not names:
        what = f"the reference has no tensor of the kind {kind}"
        raise NothingComparedError(what)
    offsets: dict[str, float] = {}
    problems = [f"{name} is missing" for name in names if name not in comparison.statistics]
    for name in names:
        ours = comparison.statistics.get(name)
        if ours is None:
            continue
        known = ours.finite and theirs[name].finite
        offsets[name] = (
            max(abs(ours.mean - theirs[name].mean), abs(ours.std - theirs[name].std))
            if known
            else float("inf")
        )
        if not offsets[name] <= limit:
            problems.append(f"{name} is off by {offsets[name]:.4g}")
    return _offsets_seen(offsets, problems, limit)


def reference_coverage(comparison: Comparison, reference: TensorStatisticsFile | None) -> Seen:
    """STATS-004: the reference and the file speak of the same tensors."""
    theirs = comparison.truth_statistics if reference is None else reference.tensors
    ours = comparison.statistics
    problems = [f"{name} is missing" for name in theirs if name not in ours]
    problems += [f"{name} is not in the reference" for name in ours if name not in theirs]
    problems += [
        f"{name} has {ours[name].elements} values and not {theirs[name].elements}"
        for name in theirs
        if name in ours and ours[name].elements != theirs[name].elements
    ]
    return Seen(
        shown=f"{len(theirs)} tensors of the reference looked for",
        problems=problems,
        figures={"tensors": len(theirs), "problems": len(problems)},
    )


def norm_means(comparison: Comparison) -> Seen:
    """STATS-005: no normalisation weight has a mean of zero."""
    norms = _norms(comparison)
    bad = [name for name, found in norms.items() if not abs(found.mean) > _ZERO]
    least = min(norms, key=lambda name: abs(norms[name].mean))
    return Seen(
        shown=f"the means of {len(norms)} normalisation weights looked at; "
        f"the smallest, {least}, is {norms[least].mean:.4g}",
        problems=[f"{name} has a mean of {norms[name].mean:.4g}" for name in bad],
        figures={"tensors": len(norms), "least_tensor": least, "least_mean": norms[least].mean},
    )


def norm_deviations(comparison: Comparison) -> Seen:
    """STATS-006: no normalisation weight is one number throughout."""
    norms = _norms(comparison)
    bad = [name for name, found in norms.items() if not found.std > _ZERO]
    least = min(norms, key=lambda name: norms[name].std)
    return Seen(
        shown=f"the deviations of {len(norms)} normalisation weights looked at; "
        f"the smallest, {least}, is {norms[least].std:.4g}",
        problems=[f"{name} is {norms[name].mean:.4g} throughout" for name in bad],
        figures={"tensors": len(norms), "least_tensor": least, "least_std": norms[least].std},
    )


def _norms(comparison: Comparison) -> dict[str, TensorStatistics]:
    found = {
        name: each for name, each in comparison.statistics.items() if kind_of(name) == "layernorm"
    }
    if not found:
        what = "the model has no normalisation weight"
        raise NothingComparedError(what)
    return found
