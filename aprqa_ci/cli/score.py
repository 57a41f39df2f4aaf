"""``aprqa score``."""

from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.cli.output import (
    console,
    raise_for_scores,
    show_failures,
    show_score,
    write_out,
)
from aprqa_ci.cli.scored_runs import RunSource, run_source, scored_runs
from aprqa_ci.plain_text import one_line
from aprqa_ci.scoring.explain import explain
from aprqa_ci.scoring.score import Score
from aprqa_ci.scoring.summary import ScoreSummary, summary_of
from aprqa_ci.wire import pretty_json

__all__ = ["score"]


@click.command()
@run_source
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.option("--explain", "explained", is_flag=True, help="Show every point won and lost.")
def score(*, source: RunSource, as_json: bool, explained: bool) -> None:
    """Score evidence: gateways, categories, MQS, grade, status.

    EVIDENCE is an evidence file or a bundle. The exit code tells the verdict.
    """
    scores = [run.score for run in scored_runs(source)]
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


def _write_json(value: ScoreSummary | Sequence[ScoreSummary]) -> None:
    write_out(pretty_json(value).decode())


def _show_explanation(out: Console, scored: Score) -> None:
    out.print()
    for line in explain(scored):
        out.print(Text(f"  {float(line.points):+9.2f}  {one_line(line.text)}"), soft_wrap=True)
    out.print(Text(f"  {scored.mqs:9.2f}  MQS"))
