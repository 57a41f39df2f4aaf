"""``aprqa certify``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME, Bundle
from aprqa_ci.certification.locked_models import require_locked_models
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.certification.repeating import certify_failed
from aprqa_ci.certification.standing import Earlier, stood
from aprqa_ci.certification.steps import (
    Surroundings,
    certify_plan,
    end_run,
    make_plan,
)
from aprqa_ci.cli.listing import list_plan
from aprqa_ci.cli.options import (
    engine_option,
    plan_options,
    playbooks_argument,
    replace_better_option,
    workers_option,
)
from aprqa_ci.cli.output import console, raise_for, show_failures, show_paths, show_score
from aprqa_ci.cli.progress import progress
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.tiers import tiers_through
from aprqa_ci.scoring.runs import newest_run

__all__ = ["certify"]


@click.command()
@playbooks_argument
@plan_options
@engine_option
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
@replace_better_option
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted run; an appending one needs --append again.",
)
@click.option("--append", is_flag=True, help="Keep the evidence of earlier runs.")
@click.option(
    "--through",
    metavar="TIER",
    help="Climb: every tier up to this one in turn, until one is not reached. What a tier has shown"
    " of the same model, engine and question stands for the next.",
)
@click.option(
    "--failed",
    is_flag=True,
    help="Run again what failed last time, and keep all evidence.",
)
@click.option("--dry-run", is_flag=True, help="List every scenario and touch nothing.")
def certify(
    *,
    playbooks: tuple[str, ...],
    options: PlanOptions,
    engine_options: EngineOptions,
    workers: int,
    out: Path,
    registry: Path,
    no_register: bool,
    replace_better: bool,
    resume: bool,
    append: bool,
    through: str | None,
    failed: bool,
    dry_run: bool,
) -> None:
    """Plan, run, score, report and register playbooks in one go.

    PLAYBOOK is a file, a directory or a glob. Each playbook's bundle goes to OUT/<playbook name>.
    """
    _require_sense(options, resume=resume, through=through, failed=failed, dry_run=dry_run)
    run = _Run(
        playbooks=playbooks,
        options=options,
        out=out,
        registry=None if no_register else registry,
        replace_better=replace_better,
        surroundings=Surroundings(workers=workers, told=engine_options),
        shown=console(),
    )
    if failed:
        bundles = run.again()
    elif through is not None:
        bundles = run.climb(tiers_through(through), append=append)
    else:
        plan = run.plan(options)
        if dry_run:
            list_plan(run.shown, plan)
            return
        bundles = run.once(plan, resume=resume, append=append, settled=False)
        for bundle in bundles:
            run.register(bundle)
        end_run(plan, out)
    raise_for(bundles)


def _require_sense(
    options: PlanOptions, *, resume: bool, through: str | None, failed: bool, dry_run: bool
) -> None:
    problems = []
    if through is not None and options.tier is not None:
        problems.append("--through says which tiers are run; leave --tier out")
    if through is not None and (resume or dry_run):
        problems.append("--through makes a plan for each tier; --resume and --dry-run are for one")
    if failed and (resume or dry_run or through is not None):
        problems.append("--failed goes by the evidence; leave --resume, --dry-run, --through out")
    if problems:
        raise InputError(Problem(what=each) for each in problems)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One call of the command."""

    playbooks: tuple[str, ...]
    options: PlanOptions
    out: Path
    registry: Path | None
    """Nothing when nothing is to be registered."""
    replace_better: bool
    surroundings: Surroundings
    shown: Console

    def plan(self, options: PlanOptions) -> Plan:
        made = make_plan(
            self.playbooks,
            options=options,
            surroundings=self.surroundings,
            certifications=self.out,
        )
        if options.locked:
            require_locked_models(made, self.surroundings)
        return made

    def once(
        self,
        plan: Plan,
        *,
        resume: bool = False,
        append: bool = False,
        previous: Mapping[str, Earlier] | None = None,
        settled: bool = True,
    ) -> list[Bundle]:
        for playbook in plan.playbooks:
            for warning in playbook.warnings:
                self.shown.print(Text(f"warning: {warning}"))
        with progress(self.shown) as observer:
            bundles = certify_plan(
                plan,
                out=self.out,
                resume=resume,
                append=append,
                previous=previous,
                settled=settled,
                surroundings=self.surroundings,
                observer=observer,
            )
        for bundle in bundles:
            self.show(bundle)
        return bundles

    def climb(self, tiers: Sequence[str], *, append: bool) -> list[Bundle]:
        """Certify each playbook tier by tier, as far as it comes; return its last bundle."""
        reached: dict[str, Bundle] = {}
        playbooks = self.playbooks
        for number, tier in enumerate(tiers):
            climbing = replace(self, playbooks=playbooks)
            self.shown.print(Text(f"tier {tier}", style="bold"))
            bundles = climbing.once(
                climbing.plan(replace(self.options, tier=tier)),
                append=append or number > 0,
                previous={name: Earlier.of(bundle) for name, bundle in reached.items()},
            )
            reached |= {bundle.certificate.playbook.name: bundle for bundle in bundles}
            good = [bundle for bundle in bundles if bundle.score.verdict == "good"]
            for bundle in bundles:
                if bundle not in good and number + 1 < len(tiers):
                    name = bundle.certificate.playbook.name
                    self.shown.print(Text(f"{name} goes no further than {tier}"))
            playbooks = tuple(str(bundle.plan.playbooks[0].path) for bundle in good)
            if not playbooks:
                break
        for bundle in reached.values():
            self.register(bundle)
        return list(reached.values())

    def again(self) -> list[Bundle]:
        """Run what failed again."""
        plan = self.plan(self.options)
        with progress(self.shown) as observer:
            repeated = certify_failed(
                plan, out=self.out, surroundings=self.surroundings, observer=observer
            )
        for each in repeated:
            name = each.bundle.certificate.playbook.name
            if not each.failed:
                self.shown.print(Text(f"{name}: nothing had failed"))
                continue
            for difference in each.differences:
                self.shown.print(Text(f"{name}: {difference}"), soft_wrap=True)
            if each.differences:
                text = (
                    "the cells that had failed were run whole; to certify, run it without --failed"
                )
                self.shown.print(Text(f"{name}: {text}"), soft_wrap=True)
            self.show(each.bundle)
            if not each.differences:
                self.register(each.bundle)
        return [each.bundle for each in repeated]

    def show(self, bundle: Bundle) -> None:
        self.shown.print()
        show_score(self.shown, bundle.score)
        show_failures(self.shown, bundle.score)
        carried = sum(map(stood, newest_run(bundle.records)))
        if carried:
            self.shown.print(Text(f"  {carried} scenarios stand from an earlier run"))
        names = (EVIDENCE_NAME, CERTIFICATE_NAME, "report.md", "junit.xml")
        show_paths(self.shown, [bundle.directory / name for name in names])

    def register(self, bundle: Bundle) -> None:
        if self.registry is None:
            return
        change = register_bundle(
            bundle,
            registry=self.registry,
            readme=Path("README.md"),
            replace_better=self.replace_better,
        )
        if change is None:
            text = f"  left {self.registry} as it is: there is no verdict"
            self.shown.print(Text(text))
        elif change.declined:
            text = f"  left {self.registry} as it is: {change.declined} (--replace-better)"
            self.shown.print(Text(text), soft_wrap=True)
        else:
            show_paths(self.shown, [self.registry])
