"""``aprqa certify``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME
from aprqa_ci.certification.steps import Surroundings, certify_plan, make_plan, register_bundle
from aprqa_ci.cli.listing import list_plan
from aprqa_ci.cli.offline import go_offline
from aprqa_ci.cli.options import plan_options, playbooks_argument, workers_option
from aprqa_ci.cli.output import console, raise_for, show_failures, show_paths, show_score
from aprqa_ci.cli.progress import progress
from aprqa_ci.planning.expand import PlanOptions

__all__ = ["certify"]


@click.command()
@playbooks_argument
@plan_options
@workers_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certifications"),
    show_default=True,
    help="Where the bundles go.",
)
@click.option(
    "--registry",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/certifications/models.csv"),
    show_default=True,
    help="The registry to update; it is made if it is missing.",
)
@click.option("--no-register", is_flag=True, help="Leave models.csv and README as they are.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted run; an appending one needs --append again.",
)
@click.option("--append", is_flag=True, help="Keep the evidence of earlier runs.")
@click.option("--dry-run", is_flag=True, help="List every scenario and touch nothing.")
def certify(
    *,
    playbooks: tuple[str, ...],
    options: PlanOptions,
    workers: int,
    out: Path,
    registry: Path,
    no_register: bool,
    resume: bool,
    append: bool,
    dry_run: bool,
) -> None:
    """Plan, run, score, report and register playbooks in one go.

    PLAYBOOK is a file, a directory or a glob. Each playbook's bundle goes to OUT/<playbook name>.
    """
    go_offline()
    surroundings = Surroundings(workers=workers)
    plan = make_plan(
        playbooks,
        options=options,
        surroundings=surroundings,
        certifications=out,
    )
    shown = console()
    if dry_run:
        list_plan(shown, plan)
        return
    for playbook in plan.playbooks:
        for warning in playbook.warnings:
            shown.print(Text(f"warning: {warning}"))
    with progress(shown) as observer:
        bundles = certify_plan(
            plan,
            out=out,
            resume=resume,
            append=append,
            surroundings=surroundings,
            observer=observer,
        )
    for bundle in bundles:
        shown.print()
        show_score(shown, bundle.score)
        show_failures(shown, bundle.score)
        show_paths(
            shown,
            [
                bundle.directory / name
                for name in (EVIDENCE_NAME, CERTIFICATE_NAME, "report.md", "junit.xml")
            ],
        )
        if not no_register:
            change = register_bundle(bundle, registry=registry, readme=Path("README.md"))
            if change is None:
                shown.print(Text(f"  left {registry} as it is: there is no verdict"))
            else:
                show_paths(shown, [registry])
    raise_for(bundles)
