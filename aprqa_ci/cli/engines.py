"""``aprqa engines``."""

import os
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aprqa_ci.cli.options import engine_option
from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InconclusiveError, InputError, ModelFellShortError
from aprqa_ci.execution.engines.conformance import CheckState, ConformanceReport, check_engine
from aprqa_ci.execution.engines.conformance.subject import model_to_check
from aprqa_ci.execution.engines.engine_options import EngineOptions, machine_options
from aprqa_ci.execution.engines.interface import Capability, EngineAbsentError, EngineInfo
from aprqa_ci.execution.engines.registry import configured, describe, engine_named
from aprqa_ci.execution.engines.registry import engines as known_engines
from aprqa_ci.plain_text import one_line
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import pretty_json

__all__ = ["engines"]

_STYLES: Mapping[CheckState, str] = {
    CheckState.PASSED: "green",
    CheckState.FAILED: "bold red",
    CheckState.NOT_APPLICABLE: "dim",
    CheckState.NOT_TRIED: "yellow",
}


@click.command()
@click.argument("model", required=False)
@click.option(
    "--check",
    "checked",
    metavar="NAME",
    help="Hold this engine to what it promises, on MODEL: bundled, a file, a directory or a "
    "repository in a cache.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([str(each) for each in ModelFormat]),
    help="The format to check with; the first that the engine reads and MODEL has.",
)
@click.option("--quantization", metavar="NAME", help="Of GGUF, which file of several.")
@click.option(
    "--backend",
    type=click.Choice([str(each) for each in Backend]),
    default=str(Backend.CPU),
    show_default=True,
    help="Where the engine is to compute.",
)
@engine_option
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def engines(
    *,
    model: str | None,
    checked: str | None,
    format_: str | None,
    quantization: str | None,
    backend: str,
    engine_options: EngineOptions,
    as_json: bool,
) -> None:
    """Which engines are here, what they promise, and how to get the others.

    With --check, the conformance suite runs on one engine: exit code 0 when it keeps what it
    promises, 1 when it does not, 3 when something could not be tried.
    """
    if checked is None:
        if model is not None:
            msg = f"MODEL {model!r} is for --check NAME"
            raise InputError(msg)
        told = machine_options(os.environ, engine_options)
        _list(
            [
                describe(configured(engine, told.get(name, {})))
                for name, engine in known_engines().items()
            ],
            as_json=as_json,
        )
        return
    if model is None:
        msg = "--check needs a MODEL: bundled, a file, a directory or a repository in a cache"
        raise InputError(msg)
    report = _check(
        checked,
        model,
        format_=None if format_ is None else ModelFormat(format_),
        quantization=quantization,
        backend=Backend(backend),
        options=engine_options,
    )
    if as_json:
        write_out(pretty_json(report).decode())
    else:
        _show(console(), report)
    if report.conforms is False:
        msg = f"engine {checked} does not keep what it promises"
        raise ModelFellShortError(msg)
    if report.conforms is None:
        msg = f"not everything could be tried on engine {checked}"
        raise InconclusiveError(msg)


def _check(
    name: str,
    model: str,
    *,
    format_: ModelFormat | None,
    quantization: str | None,
    backend: Backend,
    options: EngineOptions,
) -> ConformanceReport:
    own = machine_options(os.environ, options).get(name, {})
    try:
        info = describe(configured(engine_named(name), own))
    except EngineAbsentError as error:
        raise InputError(str(error)) from error
    if not info.available:
        msg = f"engine {name} is not here: {_lack(info)}"
        raise InconclusiveError(msg)
    if format_ is not None and format_ not in info.formats:
        msg = f"engine {name} does not claim {format_}; it reads {', '.join(info.formats)}"
        raise InputError(msg)
    if backend not in info.backends:
        msg = f"engine {name} does not claim {backend} on this machine: {info.how_to_get}"
        raise InconclusiveError(msg)
    found = model_to_check(
        model,
        info,
        format=format_,
        quantization=quantization,
        environment=os.environ,
        home=Path.home(),
    )
    return check_engine(
        name,
        found.files,
        backend,
        options=own,
        environment=os.environ,
        truth_files=found.truth,
    )


def _show(out: Console, report: ConformanceReport) -> None:
    what = (
        report.format if report.quantization is None else f"{report.format} {report.quantization}"
    )
    out.print(Text(f"{report.engine} {report.version}, {report.model} ({what}), {report.backend}"))
    if report.device:
        out.print(Text(f"device: {one_line(report.device)}"), soft_wrap=True)
        out.print(Text(f"called: {one_line(report.invocation)}"), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("check", "state", "found"):
        table.add_column(column)
    for result in report.results:
        table.add_row(
            result.check, Text(result.state, style=_STYLES[result.state]), one_line(result.reason)
        )
    out.print(table)
    counts = (f"{len(report.of(state))} {state}" for state in CheckState if report.of(state))
    out.print(Text(", ".join(counts)))


def _list(infos: list[EngineInfo], *, as_json: bool) -> None:
    if as_json:
        write_out(pretty_json(infos).decode())
        return
    out = console()
    table = Table(box=None, pad_edge=False)
    for column in ("engine", "version", "here", "formats", "backends", "promises"):
        table.add_column(column)
    for info in infos:
        table.add_row(
            info.name,
            info.version or "-",
            "yes" if info.available else "no",
            ", ".join(info.formats),
            ", ".join(info.backends),
            _promises(info),
        )
    out.print(table)
    for info in infos:
        if not info.available:
            out.print(Text(f"{info.name}: {_lack(info)}"), soft_wrap=True)


def _lack(info: EngineInfo) -> str:
    """Return why an engine is not here and how to get it; some reasons say both."""
    if info.how_to_get in info.reason:
        return info.reason
    return f"{info.reason}; {info.how_to_get}"


def _promises(info: EngineInfo) -> str:
    """Return the shorter of what the engine promises and what it leaves out."""
    missing = [each for each in Capability if each not in info.capabilities]
    if not missing:
        return "all"
    if len(missing) < len(info.capabilities):
        return f"all but {', '.join(missing)}"
    return ", ".join(info.capabilities) or "-"
