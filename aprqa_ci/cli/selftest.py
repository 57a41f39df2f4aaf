"""``aprqa selftest``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from aprqa_ci.cli.offline import go_offline
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import console, write_out
from aprqa_ci.data_files import bundled_model
from aprqa_ci.errors import InconclusiveError, InputError, ModelFellShortError
from aprqa_ci.files import write_atomic
from aprqa_ci.plain_text import one_line
from aprqa_ci.selftest.falsification import Falsification, Verdict
from aprqa_ci.selftest.mutants import MutantClass, chosen_samples, mutant_file
from aprqa_ci.selftest.report import falsification_markdown
from aprqa_ci.selftest.study import StudyOptions, run_study
from aprqa_ci.selftest.trial import TrialResult
from aprqa_ci.wire import pretty_json, read_wire

__all__ = ["selftest"]

_STYLES: Mapping[Verdict, str] = {"killed": "green", "equivalent": "dim", "survived": "bold red"}


@click.command()
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([str(each) for each in MutantClass]),
    help="Only this class of mutants; may be repeated.",
)
@click.option("--only", multiple=True, metavar="ID", help="Only this mutant; may be repeated.")
@click.option("--fast", is_flag=True, help="The fast subset: one value of a few of each class.")
@click.option(
    "--healthy",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="Runs of the sound model beside those of each plan; 200 for the whole study.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Trials side by side.",
)
@click.option(
    "--model",
    type=existing_directory,
    help="The directory of a sound model; the bundled one if absent.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the result as JSON; `-` is standard output.",
)
@click.option(
    "--markdown",
    "markdown_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result as Markdown.",
)
@click.option(
    "--from",
    "read_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run nothing; take the result of an earlier study.",
)
def selftest(
    *,
    classes: tuple[str, ...],
    only: tuple[str, ...],
    fast: bool,
    healthy: int,
    workers: int,
    model: Path | None,
    json_path: Path | None,
    markdown_path: Path | None,
    read_path: Path | None,
) -> None:
    """Break a sound model in every way that models break, and see which gate catches it.

    Each mutant goes through the whole pipeline. Exit code 0 when all are killed or shown to be
    equivalent and every run of the sound model is certified, 1 when a mutant survived, 3 when the
    sound model was not certified.
    """
    go_offline()
    if read_path is not None:
        study = read_wire(read_path, Falsification)
    else:
        file = mutant_file()
        samples = chosen_samples(
            file.mutants,
            classes=tuple(MutantClass(name) for name in classes),
            only=only,
            fast=fast,
        )
        options = StudyOptions(
            model=(model or bundled_model()).resolve(), healthy=healthy, workers=workers
        )
        out = console()
        with _progress(out) as observe:
            study = run_study(
                samples, file.plans, options, now=lambda: datetime.now(UTC), progress=observe
            )
    data = pretty_json(study)
    if markdown_path is not None:
        write_atomic(markdown_path, falsification_markdown(study).encode())
    if json_path is not None and str(json_path) != "-":
        write_atomic(json_path, data)
    if json_path is not None and str(json_path) == "-":
        write_out(data.decode())
    else:
        _show(console(), study)
    _raise(study)


@contextmanager
def _progress(out: Console) -> Iterator[Callable[[TrialResult, int, int], None]]:
    """Yield what is told of each trial."""
    if not out.is_terminal:

        def tell(result: TrialResult, number: int, of: int) -> None:
            out.print(Text(f"{number} of {of}: {result.id}: {_end(result)}"), soft_wrap=True)

        yield tell
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
    )
    with bars:
        task = bars.add_task("starting", total=None)

        def show(result: TrialResult, number: int, of: int) -> None:
            bars.update(task, completed=number, total=of, description=result.id)

        yield show


def _end(result: TrialResult) -> str:
    gates = ", ".join(each.gate for each in result.caught[:3])
    what = str(result.status) if result.status is not None else result.lack
    return f"{one_line(what)}{f' by {gates}' if gates else ''}, {result.seconds:.1f} s"


def _show(out: Console, study: Falsification) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("mutant", "expected", "caught by", "verdict"):
        table.add_column(column)
    for each in study.mutants:
        table.add_row(
            each.id,
            ", ".join(each.expected),
            ", ".join(each.caught_by[:3]) or "-",
            Text(each.verdict, style=_STYLES[each.verdict]),
        )
    out.print(table)
    for each in study.of("survived"):
        out.print(Text(f"survived: {each.id}: {one_line(each.reason)}"), soft_wrap=True)
    for alarm in study.false_alarms:
        text = f"false alarm: {alarm.run}: {alarm.status or 'no certificate'}: {alarm.reason}"
        out.print(Text(one_line(text)), soft_wrap=True)
    runs = study.healthy_runs
    counts = (f"{len(study.of(verdict))} {verdict}" for verdict in _STYLES)
    sound = f"{runs.certified} of {runs.runs} runs of the sound model certified"
    out.print(Text(f"{', '.join(counts)}; {sound}"))


def _raise(study: Falsification) -> None:
    if study.false_alarms:
        msg = f"{len(study.false_alarms)} runs of the sound model were not certified"
        raise InconclusiveError(msg)
    survived = study.of("survived")
    if survived:
        msg = f"{len(survived)} mutants survived"
        raise ModelFellShortError(msg)
    if not study.mutants:
        msg = "no mutant applies to this model"
        raise InputError(msg)
