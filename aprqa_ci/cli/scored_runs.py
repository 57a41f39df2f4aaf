"""What the commands share that look at the evidence of runs: their options, and the reading."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from aprqa_ci.certification.bundle import EVIDENCE_NAME, PLAN_NAME, read_plan
from aprqa_ci.cli.options import policy_option
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.reports.run_report import ReportedScenario, reported_scenarios
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.scoring.score import Score

__all__ = ["RunSource", "ScoredRun", "evidence_argument", "run_source", "scored_runs"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class RunSource:
    """Where runs are read from, and how they are scored."""

    evidence: Path
    """The evidence file; a bundle that was named stands for the one in it."""
    plan: Path | None
    """The plan; absent, plan.json beside the evidence if it is there."""
    policy: str
    """The id of a scoring policy."""


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """One playbook's run, scored."""

    score: Score
    records: tuple[EvidenceRecord, ...]
    """All of the file."""
    playbook_path: str | None
    """Where the playbook is; absent without a plan."""

    @cached_property
    def scenarios(self) -> tuple[ReportedScenario, ...]:
        """Every scenario with the record that decided it."""
        return reported_scenarios(self.score, self.records)


def _evidence_file(context: click.Context, argument: click.Parameter, path: Path) -> Path:
    del context, argument
    return path / EVIDENCE_NAME if path.is_dir() else path


def evidence_argument(function: FunctionT) -> FunctionT:
    """Add ``EVIDENCE``: a file, or a bundle; the command gets the file as ``evidence``."""
    return click.argument(
        "evidence", type=click.Path(exists=True, path_type=Path), callback=_evidence_file
    )(function)


def run_source(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``EVIDENCE``, ``--plan`` and ``--policy``; the command gets them as ``source``."""

    @wraps(function)
    def with_source(
        *,
        evidence: Path,
        plan_path: Path | None,
        policy: str,
        **others: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        function(source=RunSource(evidence=evidence, plan=plan_path, policy=policy), **others)

    plan_option = click.option(
        "--plan",
        "plan_path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The plan; plan.json beside the evidence if absent and there.",
    )
    return evidence_argument(plan_option(policy_option(with_source)))


def scored_runs(source: RunSource) -> Iterator[ScoredRun]:
    """Yield the run of each playbook in the evidence, scored.

    Raises:
        InputError: evidence or plan cannot be read, or there is no such policy.
    """
    policy = load_policy(source.policy)
    beside = source.evidence.parent / PLAN_NAME
    plan = read_plan(source.plan or beside) if source.plan or beside.exists() else None
    records = read_evidence(source.evidence)
    for entry in plan.playbooks if plan is not None else (None,):
        name = None if entry is None else entry.name
        yield ScoredRun(
            score=score_evidence(records, plan=plan, playbook=name, policy=policy),
            records=records,
            playbook_path=None if entry is None else entry.path,
        )
