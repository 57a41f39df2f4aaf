"""``aprqa init`` and ``aprqa bootstrap``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.authoring import ModelFacts, facts_of, find_template, write_playbook
from aprqa_ci.planning.bootstrapping import bootstrap_facts
from aprqa_ci.planning.family_contract import read_family_contracts
from aprqa_ci.planning.tiers import tier_named
from aprqa_ci.vocabulary import SizeCategory
from aprqa_ci.wire import near_name

__all__ = ["bootstrap", "init"]

_FOLDER = Path("playbooks/models")

_tier_option = click.option(
    "--tier", default="mvp", show_default=True, metavar="NAME", help="quick, smoke, mvp or full."
)
_name_option = click.option("--name", metavar="STEM", help="Call it STEM-TIER.")
_templates_option = click.option(
    "--templates",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("playbooks/templates"),
    show_default=True,
    help="The folder of <tier>-template.yaml; what it lacks comes with aprqa.",
)
_output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; - is standard output.  [default: playbooks/models/STEM-TIER.playbook.yaml]",
)
_force_option = click.option(
    "--force", is_flag=True, help="Take the place of a file that is there."
)


@click.command()
@click.argument("repo", metavar="HF_REPO")
@_tier_option
@_name_option
@click.option(
    "--size",
    type=click.Choice([str(each) for each in SizeCategory]),
    help="The size category, where neither catalogue nor name tells it.",
)
@_templates_option
@_output_option
@_force_option
def init(
    *,
    repo: str,
    tier: str,
    name: str | None,
    size: str | None,
    templates: Path,
    output: str | None,
    force: bool,
) -> None:
    """Make a playbook of a tier's template for a model.

    HF_REPO is org/name, or bundled for the model that comes with aprqa and needs no network. For
    widely used models the formats and dimensions are filled in as well.
    """
    category = None if size is None else SizeCategory(size)
    facts = facts_of(repo, tier, name=name, size=category)
    _write(facts, tier, templates=templates, output=output, force=force)


@click.command()
@click.argument("family")
@click.argument("size")
@click.option(
    "--contracts",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The folder of family contracts, aprender's contracts/model-families.",
)
@click.option(
    "--repo",
    "--hf-repo",
    metavar="HF_REPO",
    help="The model's repository; without it the best known one of the family and size.",
)
@_tier_option
@_name_option
@_templates_option
@_output_option
@_force_option
def bootstrap(
    *,
    family: str,
    size: str,
    contracts: Path,
    repo: str | None,
    tier: str,
    name: str | None,
    templates: Path,
    output: str | None,
    force: bool,
) -> None:
    """Make a playbook that knows the architecture: dimensions, kernels, fitting questions."""
    known = read_family_contracts(contracts)
    if family not in known:
        what = f"there is no contract of the family {family!r}"
        hint = near_name(family, list(known)) or f"there are {', '.join(known)}"
        raise InputError(Problem(what=what, path=contracts, hint=hint))
    facts = bootstrap_facts(known[family], size, tier, repo=repo, name=name)
    _write(facts, tier, templates=templates, output=output, force=force)


def _write(
    facts: ModelFacts, tier: str, *, templates: Path, output: str | None, force: bool
) -> None:
    data, source = find_template(tier, folder=templates)
    text = write_playbook(data, facts, source=source)
    if output == "-":
        write_out(text)
        return
    default = _FOLDER / f"{facts.name}-{tier_named(tier).name}.playbook.yaml"
    path = default if output is None else Path(output)
    if path.exists() and not force:
        hint = "add --force to take its place, or --output for another"
        raise InputError(Problem(what="there is such a file already", path=path, hint=hint))
    write_atomic(path, text.encode())
    out = console()
    out.print(Text(f"{path}: {facts.repo}, {facts.size_category}"), soft_wrap=True)
    out.print(Text(f"next: aprqa plan {path} --print"), soft_wrap=True)
