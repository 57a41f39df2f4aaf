"""``aprqa align``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.planning.family_contract import read_family_contracts
from aprqa_ci.playbook.load import load_playbooks
from aprqa_ci.registry.alignment import align as compare
from aprqa_ci.registry.models_csv import MAX_REGISTRY_BYTES, read_registry
from aprqa_ci.wire import pretty_json

__all__ = ["align"]

_BELOW_APRENDER = Path("contracts/model-families")


@click.command()
@click.argument("aprender", type=click.Path(path_type=Path), default=Path("../aprender"))
@click.option(
    "--playbooks",
    "patterns",
    multiple=True,
    default=("playbooks/models",),
    show_default=True,
    help="Files, folders or globs; can be given more than once.",
)
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    default=Path("docs/certifications/models.csv"),
    show_default=True,
    help="The models.csv to compare; left out where there is none.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def align(*, aprender: Path, patterns: tuple[str, ...], registry: Path, as_json: bool) -> None:
    """Compare playbooks and models.csv with the family contracts of APRENDER.

    APRENDER is a checkout of aprender, or its folder of contracts. Exit code 1 when something
    contradicts them, 2 when there is no such folder.
    """
    result = compare(
        read_family_contracts(_contracts(aprender)),
        load_playbooks(patterns),
        read_registry(read_bounded(registry, MAX_REGISTRY_BYTES), source=registry)
        if registry.exists()
        else None,
    )
    if as_json:
        write_out(pretty_json(result).decode())
    else:
        out = console()
        for sentence in result.notices:
            out.print(Text(f"warning: {sentence}"), soft_wrap=True)
        for contradiction in result.contradictions:
            out.print(Text(str(contradiction)), soft_wrap=True)
        out.print(
            Text(
                f"{len(result.compared)} compared, {len(result.contradictions)} contradictions, "
                f"{len(result.without_contract)} without a contract"
            )
        )
    if result.contradictions:
        raise click.exceptions.Exit(1)


def _contracts(aprender: Path) -> Path:
    for folder in (aprender / _BELOW_APRENDER, aprender):
        if folder.is_dir():
            return folder
    hint = "check out aprender beside this repository, or name where it is"
    raise InputError(Problem(what="there is no such folder", path=aprender, hint=hint))
