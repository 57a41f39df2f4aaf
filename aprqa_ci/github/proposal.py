"""What a certification changes in a repository: files, title, text and labels, as plain values."""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aprqa_ci.certification.bundle import (
    ACCEPTED_NAME,
    CERTIFICATE_NAME,
    DIGEST_NAME,
    EVIDENCE_NAME,
    PLAN_NAME,
    Bundle,
)
from aprqa_ci.certification.timings import TIMINGS_NAME, CellTimings, joined_timings
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.shard_list import SHARDS_NAME
from aprqa_ci.files import read_bounded, sha256_bytes
from aprqa_ci.github.certified import BRANCH_PREFIX, Certified, marker_of
from aprqa_ci.github.comment import MAX_BODY_BYTES
from aprqa_ci.github.settings import Publishing
from aprqa_ci.markdown import code_span, fenced, heading, join
from aprqa_ci.plain_text import visible
from aprqa_ci.registry.better_evidence import Standing, row_of, why_not_better
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY, apply, read_registry
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START, render_table, replace_table
from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.markdown_report import render_markdown
from aprqa_ci.reports.summary_markdown import SummarisedRun, render_summary
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import MAX_WIRE_BYTES, decode_wire, pretty_json, read_wire

__all__ = ["Base", "Declined", "Places", "Proposal", "branch_of", "certified_of", "propose"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.|lock$|$)){0,99}")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are in the repository."""

    registry: str = "docs/certifications/models.csv"
    readme: str = "README.md"
    certifications: str = "certifications"


@dataclass(frozen=True, kw_only=True)
class Base:
    """The files of the base branch that a certification may change."""

    registry: bytes | None
    readme: bytes | None
    branch: str = ""
    """The base branch's name."""
    certificate: bytes | None
    """The playbook's own."""
    timings: bytes | None = None
    """What its cells took, as the last plans went by it."""
    blobs: Mapping[str, str] = field(default_factory=dict)
    """Git's names of the contents that are there, by path; what is equal is not written again."""


@dataclass(frozen=True, kw_only=True)
class Declined:
    """That nothing is proposed, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A pull request that is to be there."""

    branch: str
    title: str
    body: str
    labels: tuple[str, ...]
    message: str
    """Of the commit."""
    files: Mapping[str, bytes | None]
    """By path; nothing as content takes a file away."""
    diff: str
    """What changes, for people; of large files only that they do."""


def branch_of(playbook: str) -> str:
    """Return the branch of a playbook's certification.

    Raises:
        InputError: the name is not fit for a branch.
    """
    if not _NAME.fullmatch(playbook):
        what = f"the playbook's name {playbook!r} is not fit for a branch and a directory"
        hint = "letters, digits and . _ -, at most 100 of them"
        raise InputError(Problem(what=what, hint=hint))
    return f"{BRANCH_PREFIX}{playbook}"


def certified_of(bundle: Bundle, base_branch: str) -> Certified:
    """Return what a pull request for a bundle certifies. Pure."""
    new = bundle.certificate
    return Certified(
        playbook=new.playbook.name,
        path=bundle.plan.playbooks[0].path,
        model=new.model.hf_repo,
        tier=new.tier,
        finished=new.finished or "",
        base=base_branch,
    )


def propose(
    bundle: Bundle,
    base: Base,
    *,
    places: Places,
    publishing: Publishing,
    verified: bool,
    footer: str,
) -> Proposal | Declined:
    """Return what a bundle changes on a base, or why it changes nothing.

    Nothing is asked of anybody; of the bundle's directory the evidence is read.

    Args:
        bundle: the certification.
        base: the files as they are.
        places: where they are.
        publishing: limits.
        verified: whether a run on reviewed files of this repository made the evidence.
        footer: finished Markdown for the end of the text, such as the link to the run.

    Raises:
        InputError: the registry, the README or the bundle cannot be read.
    """
    new = bundle.certificate
    name = new.playbook.name
    branch = branch_of(name)
    registry = read_registry(
        EMPTY_REGISTRY if base.registry is None else base.registry, source=places.registry
    )
    standing = Standing(certificate=_certificate(base), row=row_of(registry, new.model.hf_repo))
    if reason := why_not_better(new, standing, verified=verified):
        return Declined(reason=reason)
    update = update_from_certificate(new)
    if update is None:
        return Declined(reason="the certificate says nothing about the model")
    data, _ = apply(registry, update)
    directory = f"{places.certifications}/{name}"
    files: dict[str, bytes | None] = {places.registry: data}
    if base.readme is not None:
        files[places.readme] = _readme(base.readme, data, places)
    files |= _bundle_files(bundle, base, publishing, directory)
    changed = {
        path: content
        for path, content in files.items()
        if content is None or base.blobs.get(path) != _blob_name(content)
    }
    if not changed:
        return Declined(reason="all of it stands already")
    old = {places.registry: base.registry, places.readme: base.readme}
    run = SummarisedRun(
        report=bundle.report,
        comparison=compare(standing.certificate, bundle.report, least_noise=publishing.least_noise),
        playbook=bundle.plan.playbooks[0].path,
    )
    title = _title(new, standing)
    return Proposal(
        branch=branch,
        title=title,
        body=_body(run, directory, marker_of(certified_of(bundle, base.branch)), footer),
        labels=("certification", f"status: {new.status.value.lower()}", f"tier: {new.tier}"),
        message=_message(title, new),
        files=changed,
        diff="\n".join(_diff(old, changed)),
    )


def _title(new: Certificate, standing: Standing) -> str:
    name = new.playbook.name.removesuffix(f"-{new.tier}")
    title = f"feat(cert): {name} {new.tier}: {new.status.value} {new.mqs} ({new.grade})"
    if standing.status == Status.CERTIFIED.value and new.status is not Status.CERTIFIED:
        title += ", was CERTIFIED"
        if standing.row is not None and standing.row["status"] == Status.CERTIFIED.value:
            title += f" {visible(standing.row['mqs_score'])[:10]}"
    return title


def _message(title: str, new: Certificate) -> str:
    facts = {
        "Plan-SHA256": new.plan_digest,
        "Evidence-SHA256": new.evidence_digest,
        "Tool": f"aprqa-ci {new.tool_version}",
    }
    return title + "\n\n" + "\n".join(f"{name}: {value}" for name, value in facts.items())


def _body(run: SummarisedRun, directory: str, marker: str, footer: str) -> str:
    command = f"aprqa score {directory} --explain"
    end = "\n\n".join(
        [
            heading(2, "Check it again"),
            fenced(command, "sh"),
            join(" ", ["Evidence SHA-256:", code_span(run.report.certificate.evidence_digest)]),
            footer,
        ]
    )
    limit = MAX_BODY_BYTES - len(marker.encode()) - len(end.encode()) - 2
    return f"{marker}{render_summary([run], limit=limit)}\n{end}\n"


def _bundle_files(
    bundle: Bundle, base: Base, publishing: Publishing, directory: str
) -> dict[str, bytes | None]:
    evidence = read_bounded(bundle.directory / EVIDENCE_NAME, MAX_WIRE_BYTES)
    timings = _timings(bundle, base)
    digest = sha256_bytes(evidence)
    if digest != bundle.certificate.evidence_digest:
        what = "the evidence is not what the certificate was made of"
        raise InputError(Problem(what=what, path=bundle.directory / EVIDENCE_NAME))
    certificate = pretty_json(bundle.certificate)
    files: dict[str, bytes | None] = {
        PLAN_NAME: pretty_json(bundle.plan),
        CERTIFICATE_NAME: certificate,
        "report.md": render_markdown(bundle.report, directory=directory).encode(),
    }
    if bundle.certificate.status is Status.CERTIFIED:
        files[ACCEPTED_NAME] = certificate
    if timings is not None:
        files[TIMINGS_NAME] = timings
    shards = bundle.directory / SHARDS_NAME
    if shards.exists():
        files[SHARDS_NAME] = read_bounded(shards, MAX_WIRE_BYTES)
    elif f"{directory}/{SHARDS_NAME}" in base.blobs:
        files[SHARDS_NAME] = None
    kept, other = EVIDENCE_NAME, DIGEST_NAME
    if len(evidence) > publishing.inline_evidence_bytes:
        kept, other = other, kept
        evidence = f"{digest}  {EVIDENCE_NAME}\n".encode()
    files[kept] = evidence
    if f"{directory}/{other}" in base.blobs:
        files[other] = None
    return {f"{directory}/{name}": content for name, content in files.items()}


def _timings(bundle: Bundle, base: Base) -> bytes | None:
    """Return what cells took, for the next plan; nothing when the run was not timed."""
    path = bundle.directory / TIMINGS_NAME
    if not path.exists():
        return None
    now = read_wire(path, CellTimings)
    if base.timings is not None:
        earlier = decode_wire(base.timings, CellTimings, source=TIMINGS_NAME)
        now = joined_timings(earlier, now, bundle.plan)
    return pretty_json(now)


def _blob_name(content: bytes) -> str:
    """Return git's name of a content; in a repository of SHA-256 names it is never equal."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _certificate(base: Base) -> Certificate | None:
    if base.certificate is None:
        return None
    return decode_wire(base.certificate, Certificate, source=CERTIFICATE_NAME)


def _readme(readme: bytes, registry: bytes, places: Places) -> bytes:
    try:
        text = readme.decode()
    except UnicodeDecodeError as error:
        what = "the text is not UTF-8"
        raise InputError(Problem(what=what, path=places.readme)) from error
    if TABLE_START not in text and TABLE_END not in text:
        return readme
    table = render_table(read_registry(registry, source=places.registry))
    return replace_table(text, table, source=places.readme).encode()


def _diff(old: Mapping[str, bytes | None], new: Mapping[str, bytes | None]) -> Iterator[str]:
    for path, content in new.items():
        yield from (f"--- a/{path}", f"+++ b/{path}")
        if path not in old or content is None:
            yield "(removed)" if content is None else f"({len(content)} bytes)"
            continue
        before = (old[path] or b"").decode(errors="replace").split("\n")
        after = content.decode(errors="replace").split("\n")
        lines = difflib.unified_diff(before, after, n=1, lineterm="")
        # The first two lines name the files.
        yield from (visible(line) for line in list(lines)[2:])
