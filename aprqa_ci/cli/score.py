"""``aprqa score``."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.bundle import EVIDENCE_NAME, PLAN_NAME, read_plan
from aprqa_ci.cli.options import policy_option
from aprqa_ci.cli.output import (
    console,
    raise_for_scores,
    show_failures,
    show_score,
    write_out,
)
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.plain_text import one_line
from aprqa_ci.planning.plan import Plan
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.explain import explain
from aprqa_ci.scoring.policies import load_policy, policy_names
from aprqa_ci.scoring.score import Score
from aprqa_ci.scoring.summary import ScoreSummary, summary_of
from aprqa_ci.wire import pretty_json

__all__ = ["score"]


@click.command()
@click.argument("evidence", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--plan",
    "plan_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plan; plan.json beside the evidence if absent and there.",
)
@policy_option
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.option("--explain", "explained", is_flag=True, help="Show every point won and lost.")
def score(
    *, evidence: Path, plan_path: Path | None, policy: str, as_json: bool, explained: bool
) -> None:
    """Score evidence: gateways, categories, MQS, grade, status.

    EVIDENCE is an evidence file or a bundle. The exit code tells the verdict.
    """
    if policy not in policy_names():
        # load_policy says which there are.
        load_policy(policy)
    path = evidence / EVIDENCE_NAME if evidence.is_dir() else evidence
    beside = path.parent / PLAN_NAME
    plan = None
    if plan_path is not None or beside.exists():
        plan = read_plan(plan_path or beside)
    scores = _scores(path, plan, policy)
    if as_json:
        summaries = [summary_of(each) for each in scores]
        _write_json(summaries[0] if len(summaries) == 1 else summaries)
    else:
        out = console()
        for each in scores:
            show_score(out, each)
            show_failures(out, each)
            if explained:
                _show_explanation(out, each)
    raise_for_scores(scores)


def _scores(path: Path, plan: Plan | None, policy: str) -> list[Score]:
    records = read_evidence(path)
    loaded = load_policy(policy)
    names = [entry.name for entry in plan.playbooks] if plan else [None]
    return [score_evidence(records, plan=plan, playbook=name, policy=loaded) for name in names]


def _write_json(value: ScoreSummary | Sequence[ScoreSummary]) -> None:
    write_out(pretty_json(value).decode())


def _show_explanation(out: Console, scored: Score) -> None:
    out.print()
    for line in explain(scored):
        out.print(Text(f"  {float(line.points):+9.2f}  {one_line(line.text)}"), soft_wrap=True)
    out.print(Text(f"  {scored.mqs:9.2f}  MQS"))
