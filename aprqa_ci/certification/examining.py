"""Looking over a registry and its certifications for what contradicts itself.

Whatever state the files are in, what can be read is held against the rest, and what cannot is a
finding. Evidence of the existing tool has no plan and no certificate: it is scored by that tool's
own formula.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.certification.provenance import provenance_of
from aprqa_ci.certification.surveyed_evidence import FoundEvidence, evidence_below
from aprqa_ci.files import read_bounded
from aprqa_ci.registry.models_csv import COLUMNS, MAX_REGISTRY_BYTES
from aprqa_ci.registry.row_checks import differences, row_faults, value_faults
from aprqa_ci.registry.survey import Survey, SurveyedRow, survey
from aprqa_ci.registry.values import UNTESTED, instant_of, number_of, truth_of
from aprqa_ci.scoring.runs import instant
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Gateway, GatewayState

__all__ = ["Examination", "Finding", "examine"]

_MOST_NAMES = 10
"""The most directories that a finding about many names."""
_GATEWAYS = {"g1": Gateway.G1, "g2": Gateway.G2, "g3": Gateway.G3, "g4": Gateway.G4}
_KINDS = {
    **dict.fromkeys(_GATEWAYS, "gates-not-given"),
    **{column: "throughput-not-given" for column in COLUMNS if column.startswith("tps_")},
    "last_certified": "time-not-given",
}
"""By column, what it is that the evidence does not give."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that contradicts another, or that nothing bears out."""

    subject: str
    """The model; the directory or line where none is known; how many where it is of several."""
    kind: str
    detail: str
    path: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.subject}: {self.kind}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was looked over, and what was found."""

    rows: int
    evidence: int
    """How many files of evidence, or of digests of it, there are."""
    findings: tuple[Finding, ...]
    """Those of the registry in line order, those of evidence by directory, then those of all."""


def examine(registry: Path, certifications: Path) -> Examination:
    """Hold a registry against itself and against its evidence.

    Args:
        registry: the ``models.csv``.
        certifications: where the evidence is; may be missing, and then no row has any.

    Raises:
        InputError: the registry cannot be read at all.
    """
    found = survey(read_bounded(registry, MAX_REGISTRY_BYTES), source=registry)
    evidence = evidence_below(certifications)
    by_model: defaultdict[str, list[FoundEvidence]] = defaultdict(list)
    for each in evidence:
        if each.model is not None:
            by_model[each.model].append(each)
    findings = list(_of_file(found, str(registry)))
    for row in found.rows:
        for kind, detail in _of_row(row, by_model.get(row.model_id, ())):
            findings.append(
                Finding(
                    subject=row.model_id,
                    kind=kind,
                    detail=detail,
                    path=str(registry),
                    line=row.line,
                )
            )
    rows = {row.model_id: row for row in found.rows}
    for each in evidence:
        subject = each.model or each.directory.name
        for kind, detail in _of_evidence(each, rows):
            findings.append(
                Finding(subject=subject, kind=kind, detail=detail, path=str(each.directory))
            )
    findings += _of_versions(evidence, str(certifications))
    return Examination(rows=len(found.rows), evidence=len(evidence), findings=tuple(findings))


def _of_versions(evidence: Sequence[FoundEvidence], path: str) -> Iterator[Finding]:
    """Name once what made evidence otherwise than this version would, not once for each row."""
    made: defaultdict[str, list[FoundEvidence]] = defaultdict(list)
    for each in evidence:
        for why in each.outdated:
            made[why].append(each)
    for why, found in made.items():
        subjects = list(dict.fromkeys(each.model or each.name for each in found))
        names = ", ".join(each.name for each in found[:_MOST_NAMES])
        more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
        subject = subjects[0] if len(subjects) == 1 else f"{len(subjects)} models"
        yield Finding(
            subject=subject, kind="stale-tool", detail=f"{why} ({names}{more})", path=path
        )


def _of_file(found: Survey, path: str) -> Iterator[Finding]:
    for line, what in found.damaged:
        yield Finding(subject=f"line {line}", kind="damaged-row", detail=what, path=path, line=line)
    for model, line, first in found.duplicates:
        what = f"the model has a row already, in line {first}"
        yield Finding(subject=model, kind="duplicate-row", detail=what, path=path, line=line)


def _of_row(row: SurveyedRow, evidence: Sequence[FoundEvidence]) -> Iterator[tuple[str, str]]:
    speaking = [each for each in evidence if each.says_something]
    untested = row.cells["status"] in UNTESTED
    nearest, against = None, []
    for each in sorted(speaking, key=lambda one: instant(one.finished), reverse=True):
        found = list(_not_given(row, each))
        if nearest is None or len(found) < len(against):
            nearest, against = each, found
    yield from value_faults(row.cells)
    # What a certificate that holds gives word for word is as the rules have it: a gateway that was
    # not evaluated is false beside a score.
    if nearest is None or not nearest.holds or against:
        yield from row_faults(row.cells)
    if not untested and nearest is None:
        why = "there is none of this model"
        if evidence:
            why = "what there is comes to no verdict"
        yield "row-without-evidence", f"status is {row.cells['status']}, and of evidence {why}"
    elif not untested and nearest is not None:
        yield from ((kind, f"{what} ({nearest.name})") for kind, what in against)
    if truth_of(row.cells["provenance_verified"]):
        yield "provenance-without-proof", f"provenance_verified is true: {_unproven(evidence)}"


def _unproven(evidence: Sequence[FoundEvidence]) -> str:
    """Say why nothing here proves the provenance."""
    for each in evidence:
        if each.bundle is not None and each.verification is not None:
            result = provenance_of(each.bundle, each.verification, None)
            return f"{result.missing[-1]} ({each.name})"
    return "there is no certificate of this model"


def _not_given(row: SurveyedRow, evidence: FoundEvidence) -> Iterator[tuple[str, str]]:
    """Yield what the row says otherwise than the evidence gives, a kind and a sentence each."""
    if evidence.update is not None:
        for column, what in differences(row.cells, evidence.update):
            yield _KINDS.get(column, "score-not-given"), what
    elif evidence.score is not None:
        yield from _not_given_by_formula(row.cells, evidence.score, evidence.finished)


def _not_given_by_formula(
    cells: Mapping[str, str], score: Score, finished: str
) -> Iterator[tuple[str, str]]:
    if number_of(cells["mqs_score"]) != score.mqs:
        yield "score-not-given", f"mqs_score is {cells['mqs_score']}, {score.mqs} by {score.policy}"
    states = {name: score.gateways[gateway].state for name, gateway in _GATEWAYS.items()}
    wrong = [
        f"{name} is {cells[name]}, {state} by {score.policy}"
        for name, state in states.items()
        if truth_of(cells[name]) is not (state is GatewayState.PASSED)
    ]
    if wrong:
        yield "gates-not-given", ", ".join(wrong)
    if instant_of(cells["last_certified"]) != instant_of(finished):
        yield (
            "time-not-given",
            f"last_certified is {cells['last_certified']}, the newest record is of {finished}",
        )


def _of_evidence(
    evidence: FoundEvidence, rows: Mapping[str, SurveyedRow]
) -> Iterator[tuple[str, str]]:
    yield from evidence.faults
    if not evidence.says_something or evidence.model is None:
        return
    row = rows.get(evidence.model)
    if row is None:
        yield "evidence-without-row", "the registry has no row of this model"
    elif row.cells["status"] in UNTESTED:
        what = f"the row says {row.cells['status']}, and there is evidence of {evidence.finished}"
        yield "evidence-without-row", f"{what} ({evidence.name})"
