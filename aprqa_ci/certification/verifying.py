"""Checking a bundle again, offline, from its own files: which link of the chain does not hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import (
    ACCEPTED_NAME,
    CERTIFICATE_NAME,
    EVIDENCE_NAME,
    Bundle,
    check_files,
    read_files,
)
from aprqa_ci.certification.chain import BrokenLink, Link, Links, UncheckedLink, in_order
from aprqa_ci.certification.model_digests import check_models, check_named
from aprqa_ci.certification.record_checks import record_faults, runs_stood_on
from aprqa_ci.certification.shard_checks import shard_faults, without_digests
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.shard_list import SHARDS_NAME, ShardList
from aprqa_ci.files import read_bounded
from aprqa_ci.reports.write import report_contents
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.runs import newest_run
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import MAX_WIRE_BYTES, decode_wire, digest_of, read_wire

__all__ = ["Verification", "bundles_below", "verify_bundle"]

_MOST_BUNDLES = 10_000
_OWN_LINKS = (
    Link.MODELS,
    Link.PLAN,
    Link.SHARDS,
    Link.RECORDS,
    Link.EVIDENCE,
    Link.CERTIFICATE,
    Link.REPORTS,
)
"""The links that are checked here; whoever checks another adds it to those that hold."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of checking one bundle."""

    directory: str
    holds: bool
    """Whether every link that could be checked holds; the evidence could be."""
    broken: tuple[BrokenLink, ...]
    """In the order of the chain."""
    held: tuple[Link, ...]
    unchecked: tuple[UncheckedLink, ...]
    """What nothing here could be held against, and why."""
    signer: str = ""
    """The workflow whose signature was verified; empty where none was."""

    def amended(self, links: Links, *, signer: str = "") -> "Verification":
        """Return it with what came of more links."""
        broken = in_order([*self.broken, *links.broken])
        return replace(
            self,
            holds=not broken,
            broken=broken,
            held=self.held + links.held,
            unchecked=self.unchecked + links.unchecked,
            signer=signer or self.signer,
        )


def verify_bundle(
    directory: Path, *, models: Path | None = None, place: str | None = None
) -> tuple[Verification, Bundle | None]:
    """Check a bundle: its files against each other, and the evidence by scoring it again.

    Args:
        directory: the bundle.
        models: where the model's files are; absent, they are not looked at.
        place: what its reports call the directory; absent, what they do by themselves.

    Returns:
        What came of it, and the bundle where its evidence can be scored.

    Raises:
        InputError: the bundle cannot be read, so that nothing can be said of it.
    """
    files = read_files(directory)
    bundle, found = check_files(files)
    broken = list(found)
    unchecked: list[UncheckedLink] = []
    _check_models(files.certificate, models, broken, unchecked)
    _check_accepted(directory, files.certificate, broken, baseline=_baseline(bundle))
    if bundle is None:
        why = "the evidence cannot be scored"
        unchecked += [
            UncheckedLink(link=each, why=why) for each in (Link.SHARDS, Link.RECORDS, Link.REPORTS)
        ]
    else:
        path = str(directory / EVIDENCE_NAME)
        broken += [
            BrokenLink(link=Link.RECORDS, what=what, path=path) for what in record_faults(bundle)
        ]
        for run, count in runs_stood_on(bundle.records).items():
            why = f"{count} records were carried over from run {run}, which is not in the file"
            unchecked.append(UncheckedLink(link=Link.RECORDS, why=why))
        _check_shards(files.shards, bundle, broken, unchecked)
        _check_named(bundle, broken, unchecked)
        _check_reports(bundle, place, broken, unchecked)
    return _verification(directory, broken, unchecked), bundle


def _verification(
    directory: Path, broken: list[BrokenLink], unchecked: list[UncheckedLink]
) -> Verification:
    not_held = {each.link for each in broken} | {each.link for each in unchecked}
    return Verification(
        directory=str(directory),
        holds=not broken,
        broken=in_order(broken),
        held=tuple(link for link in _OWN_LINKS if link not in not_held),
        unchecked=tuple(unchecked),
    )


def bundles_below(path: Path) -> tuple[Path, ...]:
    """Return the bundles in a directory: itself, or all that lie below it, by name.

    Raises:
        InputError: there is none, or more than can be.
    """
    if (path / CERTIFICATE_NAME).exists():
        return (path,)
    found: list[Path] = []
    for certificate in path.rglob(CERTIFICATE_NAME):
        found.append(certificate.parent)
        if len(found) > _MOST_BUNDLES:
            raise InputError(Problem(what=f"more than {_MOST_BUNDLES} bundles", path=path))
    if not found:
        what = f"there is no bundle here: no {CERTIFICATE_NAME}"
        raise InputError(Problem(what=what, path=path, hint="name a bundle, or what holds some"))
    return tuple(sorted(found))


def _check_models(
    certificate: Certificate,
    models: Path | None,
    broken: list[BrokenLink],
    unchecked: list[UncheckedLink],
) -> None:
    if models is None:
        why = "the files are not at hand (--models)"
        unchecked.append(UncheckedLink(link=Link.MODELS, why=why))
    elif not certificate.model.files:
        why = "the certificate names no file of the model"
        unchecked.append(UncheckedLink(link=Link.MODELS, why=why))
    else:
        broken += [
            BrokenLink.of(Link.MODELS, each)
            for each in check_models(certificate.model.files, models)
        ]


def _check_shards(
    data: bytes | None, bundle: Bundle, broken: list[BrokenLink], unchecked: list[UncheckedLink]
) -> None:
    if data is None:
        why = "the evidence was not merged of shards"
        unchecked.append(UncheckedLink(link=Link.SHARDS, why=why))
        return
    path = bundle.directory / SHARDS_NAME
    try:
        listed = decode_wire(data, ShardList, source=path)
    except InputError as error:
        broken += [BrokenLink.of(Link.SHARDS, each) for each in error.problems]
        return
    faults = shard_faults(listed, bundle.plan, bundle.records, bundle.certificate.model.files)
    broken += [BrokenLink(link=Link.SHARDS, what=what, path=str(path)) for what in faults]
    if without := without_digests(listed):
        why = f"an earlier version wrote the manifests of {', '.join(without)}"
        unchecked.append(UncheckedLink(link=Link.SHARDS, why=why))


def _check_named(bundle: Bundle, broken: list[BrokenLink], unchecked: list[UncheckedLink]) -> None:
    wrong, without = check_named(bundle.certificate.model.files, newest_run(bundle.records))
    path = str(bundle.directory / CERTIFICATE_NAME)
    broken += [BrokenLink(link=Link.CERTIFICATE, what=what, path=path) for what in wrong]
    if without:
        why = f"the evidence does not name the files of {', '.join(without)}"
        unchecked.append(UncheckedLink(link=Link.CERTIFICATE, why=why))


def _baseline(bundle: Bundle | None) -> str | None:
    if bundle is None or bundle.plan.playbooks[0].baseline is None:
        return None
    return bundle.plan.playbooks[0].baseline.certificate_digest


def _check_accepted(
    directory: Path, certificate: Certificate, broken: list[BrokenLink], *, baseline: str | None
) -> None:
    """Hold the accepted certificate against what must be the same: this one, or the baseline."""
    path = directory / ACCEPTED_NAME
    if not path.exists():
        return
    accepted = read_wire(path, Certificate)
    what = ""
    if certificate.status is Status.CERTIFIED:
        if accepted != certificate:
            what = "the accepted certificate is another one, and this one is CERTIFIED"
    elif accepted.status is not Status.CERTIFIED:
        what = f"the accepted certificate is {accepted.status}"
    elif baseline is not None and digest_of(accepted) != baseline:
        what = "the accepted certificate is not the one that the plan compares with"
    if what:
        broken.append(BrokenLink(link=Link.PLAN, what=what, path=str(path)))


def _check_reports(
    bundle: Bundle, place: str | None, broken: list[BrokenLink], unchecked: list[UncheckedLink]
) -> None:
    made_with = bundle.certificate.tool_version
    if made_with != __version__:
        why = f"the reports are of aprqa {made_with}, and this is {__version__}"
        unchecked.append(UncheckedLink(link=Link.REPORTS, why=why))
        return
    try:
        bundle_report = bundle.report
    except InputError:
        unchecked.append(
            UncheckedLink(link=Link.REPORTS, why="certificate and score contradict one another")
        )
        return
    expected = report_contents(bundle_report, place=place)
    there = [name for name in expected if (bundle.directory / name).exists()]
    if not there:
        unchecked.append(UncheckedLink(link=Link.REPORTS, why="there is none"))
    for what, path in _other_reports(bundle.directory, {name: expected[name] for name in there}):
        broken.append(
            BrokenLink(
                link=Link.REPORTS, what=what, path=str(path), hint="write it again: aprqa report"
            )
        )


def _other_reports(directory: Path, expected: dict[str, bytes]) -> Iterator[tuple[str, Path]]:
    for name, data in expected.items():
        path = directory / name
        if read_bounded(path, MAX_WIRE_BYTES) != data:
            yield "the report is not the one of this certificate", path
