"""``aprqa verify``."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.repository import no_attestations, verify_repository
from aprqa_ci.certification.verifying import Verification, bundles_below, verify_bundle
from aprqa_ci.cli.attestations import Attestations, attestation_options
from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.plain_text import one_line
from aprqa_ci.registry.update_file import write_provenance
from aprqa_ci.wire import pretty_json

__all__ = ["verify"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--repo",
    is_flag=True,
    help="PATH is the root of a repository: its rows of models.csv and, in a git checkout, the "
    "commits that wrote them are checked as well.",
)
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the model's files are, to compute their digests again.",
)
@click.option(
    "--registry",
    default="docs/certifications/models.csv",
    show_default=True,
    help="The models.csv, from the root of the repository. Goes with --repo.",
)
@click.option(
    "--certifications",
    default="certifications",
    show_default=True,
    help="Where bundles are, from the root of the repository. Goes with --repo.",
)
@click.option(
    "--write",
    is_flag=True,
    help="Have provenance_verified true in the rows whose provenance is verified, and in no "
    "other. Goes with --repo.",
)
@attestation_options
@click.option("--json", "as_json", is_flag=True, help="All that was found, as JSON.")
def verify(
    *,
    path: Path,
    repo: bool,
    models: Path | None,
    registry: str,
    certifications: str,
    write: bool,
    attestations: Attestations | None,
    as_json: bool,
) -> None:
    """Check the chain of digests of bundles again, offline.

    PATH is a bundle, or a directory of bundles. The evidence is scored again; what is said first
    is the first link that does not hold. Exit code 0 when everything holds that could be checked,
    1 when something does not, 2 when a bundle cannot be read. With --attestation, what was signed
    about them is verified as well.
    """
    if repo and models is not None:
        msg = "--models goes with a bundle, not with --repo"
        raise click.UsageError(msg)
    if write and not repo:
        msg = "--write goes with --repo"
        raise click.UsageError(msg)
    if repo:
        _verify_repository(
            path, registry, certifications, attestations, write=write, as_json=as_json
        )
        return
    done: list[Verification] = []
    unreadable: list[Problem] = []
    for directory in bundles_below(path):
        try:
            verification, bundle = verify_bundle(directory, models=models)
            if attestations is not None:
                verification = attestations.added(verification, bundle)
            done.append(verification)
        except InputError as error:
            unreadable += error.problems
    if as_json:
        _write_json(done, unreadable)
    else:
        _show(console(), done)
    _end(done, unreadable)


def _verify_repository(
    root: Path,
    registry: str,
    certifications: str,
    attestations: Attestations | None,
    *,
    write: bool,
    as_json: bool,
) -> None:
    found = verify_repository(
        root,
        registry=registry,
        certifications=certifications,
        environment=os.environ,
        attestations=no_attestations if attestations is None else attestations.verified,
    )
    verified = [model for model, result in found.provenance.items() if result.verified]
    change = write_provenance(root / registry, verified) if write else None
    if as_json:
        _write_json(
            found.bundles,
            found.unreadable,
            without_bundle=found.without_bundle,
            provenance=found.provenance,
        )
    else:
        out = console()
        _show(out, found.bundles)
        for model, result in found.provenance.items():
            told = "verified" if result.verified else f"not verified: {result.missing[0]}"
            out.print(Text(one_line(f"{model}: provenance {told}")), soft_wrap=True)
        for model in found.without_bundle:
            out.print(Text(one_line(f"{model}: no certification here gives its row")))
        for cell in change.cells if change is not None else ():
            told = f"{cell.model_id}: {cell.column}: {cell.old or '(empty)'} -> {cell.new}"
            out.print(Text(one_line(told)))
    _end(found.bundles, found.unreadable)


def _write_json(
    done: Sequence[Verification], unreadable: Sequence[Problem], **more: object
) -> None:
    holds = not unreadable and all(each.holds for each in done)
    told = {"holds": holds, "bundles": done, "unreadable": [str(each) for each in unreadable]}
    write_out(pretty_json(told | more).decode())


def _end(done: Sequence[Verification], unreadable: Sequence[Problem]) -> None:
    """End with the exit code of what was found; nothing when all holds."""
    if any(not each.holds for each in done):
        err = console(stderr=True)
        for problem in unreadable:
            err.print(Text(f"error: {problem}"), soft_wrap=True)
        raise click.exceptions.Exit(1)
    if unreadable:
        raise InputError(unreadable)


def _show(out: Console, done: Sequence[Verification]) -> None:
    for each in done:
        links = ", ".join(each.held)
        if each.holds:
            out.print(Text(f"{each.directory}: holds: {links}"), soft_wrap=True)
            if each.signer:
                out.print(Text(f"  signed by {one_line(each.signer)}"), soft_wrap=True)
        else:
            more = len(each.broken) - 1
            told = f" (and {more} more, --json has all)" if more else ""
            first = one_line(str(each.broken[0]))
            out.print(Text(f"{each.directory}: does not hold: {first}{told}"), soft_wrap=True)
        for unchecked in each.unchecked:
            out.print(Text(f"  not checked: {one_line(str(unchecked))}"), soft_wrap=True)
