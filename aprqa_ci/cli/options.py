"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.engine_options import (
    OPTIONS_VARIABLE,
    EngineOptions,
    parse_options,
)
from aprqa_ci.execution.engines.registry import engine_names
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.scoring.policies import DEFAULT_POLICY
from aprqa_ci.vocabulary import Backend
from aprqa_ci.wire import near_name

__all__ = [
    "engine_option",
    "existing_directory",
    "plan_options",
    "playbooks_argument",
    "policy_option",
    "replace_better_option",
    "workers_option",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

existing_directory = click.Path(exists=True, file_okay=False, path_type=Path)


def playbooks_argument(function: FunctionT) -> FunctionT:
    """Add ``PLAYBOOK…``: files, directories or globs."""
    return click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...")(function)


def _backends(
    context: click.Context, option: click.Parameter, words: tuple[str, ...]
) -> tuple[Backend, ...]:
    del context, option
    return tuple(Backend(word) for word in words)


def plan_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what narrows or shapes a plan; the command gets it as ``options``."""

    @wraps(function)
    def with_options(
        *,
        tier: str | None,
        only: tuple[str, ...],
        backends: tuple[Backend, ...],
        engine: str | None,
        locked: bool,
        **others: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        options = PlanOptions(tier=tier, only=only, backends=backends, engine=engine, locked=locked)
        function(options=options, **others)

    command: Callable[..., None] = with_options
    for option in reversed(
        (
            click.option(
                "--tier", metavar="NAME", help="quick, smoke, mvp or full (`aprqa tiers`)."
            ),
            click.option(
                "--only",
                multiple=True,
                metavar="GLOB",
                help="Only the cells whose id matches, for example '*:chat-*'; may be repeated. "
                "A narrowed run cannot certify.",
            ),
            click.option(
                "--backend",
                "backends",
                multiple=True,
                type=click.Choice([str(backend) for backend in Backend]),
                callback=_backends,
                help="Only this backend; may be repeated. A narrowed run cannot certify.",
            ),
            click.option(
                "--engine", metavar="NAME", help="The engine for every cell (`aprqa engines`)."
            ),
            click.option(
                "--locked",
                is_flag=True,
                help="Refuse playbooks, and before a run model files, that are not as they were "
                "locked (`aprqa lock`).",
            ),
        )
    ):
        command = option(command)
    return command


def _engine_options(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> EngineOptions:
    del context, option
    options = parse_options(texts)
    known = list(engine_names()) if options else []
    if unknown := [name for name in options if name not in known]:
        raise InputError(
            Problem(
                what=f"there is no engine {name!r}; known: {', '.join(known)}",
                hint=near_name(name, known),
            )
            for name in unknown
        )
    return options


def engine_option(function: FunctionT) -> FunctionT:
    """Add what engines are told on this machine."""
    return click.option(
        "--engine-option",
        "engine_options",
        multiple=True,
        metavar="ENGINE.KEY=VALUE",
        callback=_engine_options,
        help="An option of an engine (docs/engines.md); may be repeated. "
        f"{OPTIONS_VARIABLE} names a file of them.",
    )(function)


def workers_option(function: FunctionT) -> FunctionT:
    """Add how many cells run side by side."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Cells that run side by side; speed is always measured alone.",
    )(function)


def policy_option(function: FunctionT) -> FunctionT:
    """Add by which policy points are given."""
    return click.option(
        "--policy",
        default=DEFAULT_POLICY,
        show_default=True,
        metavar="ID",
        help="How points are given: aprqa-1, or apr-qa-0, the existing tool's, which certifies "
        "nothing (docs/scoring.md).",
    )(function)


def replace_better_option(function: FunctionT) -> FunctionT:
    """Add whether a result is registered although something better stands."""
    return click.option(
        "--replace-better",
        is_flag=True,
        help="Write the row also where what stands is better evidence: newer, of a higher tier, "
        "whole, or a certificate (docs/design/registry.md).",
    )(function)
