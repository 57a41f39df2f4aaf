"""``aprqa triage``."""

from collections.abc import Iterator

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.cli.output import console, write_out
from aprqa_ci.cli.scored_runs import RunSource, run_source, scored_runs
from aprqa_ci.reports.triage import CauseTriage, GatewayTriage, Quote, Triage, triage_of
from aprqa_ci.vocabulary import GatewayState
from aprqa_ci.wire import pretty_json

__all__ = ["triage"]

_MOST_CELLS = 4


@click.command()
@run_source
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def triage(*, source: RunSource, as_json: bool) -> None:
    """Say what failed, quote what was recorded, and name likely causes and the next command.

    EVIDENCE is an evidence file or a bundle. What is quoted stands in the evidence; what is likely
    comes from a catalogue, and is nothing that was measured.
    """
    made = [
        triage_of(run.score, run.scenarios, playbook_path=run.playbook_path)
        for run in scored_runs(source)
    ]
    if as_json:
        write_out(pretty_json(made).decode())
        return
    out = console()
    for each in made:
        _show(out, each)


def _show(out: Console, made: Triage) -> None:
    name = made.playbook or made.model
    out.print(Text(f"{name}: {made.status}, MQS {made.mqs}", style="bold"))
    if not made.gateways and not made.causes:
        tested = "of what was tested nothing failed" if made.not_tested else "nothing failed"
        out.print(Text(f"  every gateway is passed and {tested}"))
    for sentence in made.not_tested:
        out.print(Text(f"  not tested: {sentence}"), soft_wrap=True)
    for gateway in made.gateways:
        _show_gateway(out, gateway)
    for number, cause in enumerate(made.causes, start=1):
        _show_cause(out, number, cause)


def _show_gateway(out: Console, gateway: GatewayTriage) -> None:
    out.print()
    style = "bold red" if gateway.state is GatewayState.FAILED else "bold magenta"
    out.print(Text(f"{gateway.gateway} {gateway.state}", style=style))
    for reason in gateway.reasons:
        out.print(Text(f"  recorded: {reason}"), soft_wrap=True)
    for sentence in gateway.likely:
        out.print(Text(f"  likely:   {sentence}"), soft_wrap=True)
    if gateway.next:
        out.print(Text(f"  next:     {gateway.next}"), soft_wrap=True)


def _show_cause(out: Console, number: int, cause: CauseTriage) -> None:
    out.print()
    counted = f"{cause.failures} failure{'' if cause.failures == 1 else 's'}"
    out.print(Text(f"{number}. {cause.title} ({counted})", style="bold"), soft_wrap=True)
    out.print(Text(f"  gates:    {', '.join(cause.gates[:_MOST_CELLS])}"), soft_wrap=True)
    more = len(cause.cells) - _MOST_CELLS
    cells = ", ".join(cause.cells[:_MOST_CELLS]) + (f" and {more} more" if more > 0 else "")
    out.print(Text(f"  cells:    {cells}"), soft_wrap=True)
    for quote in cause.quotes:
        for line in _quoted(quote):
            out.print(Text(f"  {line}"), soft_wrap=True)
    if cause.likely:
        out.print(Text(f"  likely:   {cause.likely}"), soft_wrap=True)
    if cause.next:
        out.print(Text(f"  next:     {cause.next}"), soft_wrap=True)


def _quoted(quote: Quote) -> Iterator[str]:
    exit_code = "" if quote.exit_code is None else f", exit code {quote.exit_code}"
    yield f"recorded: {quote.scenario} {quote.outcome}{exit_code}: {quote.reason}"
    if quote.answer:
        yield f"  answer: {quote.answer}"
    if quote.log:
        yield f"  log: … {quote.log}"
    if quote.invocation:
        yield f"  call: {quote.invocation}"
