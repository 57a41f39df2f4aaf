"""Publishing bundles: from the event to a comment or a pull request, or to a reason for neither."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, Bundle
from aprqa_ci.errors import DeliveryError, InputError
from aprqa_ci.github.activity import Activity, activity_for
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.certification_pr import Proposed, deliver_proposal
from aprqa_ci.github.check_run import content_of, deliver_check_run
from aprqa_ci.github.comment import CommentMode, body_of, deliver_comment, is_wanted
from aprqa_ci.github.context import EventContext
from aprqa_ci.github.follow_up import Delivered, FollowUp, follow_up
from aprqa_ci.github.proposal import (
    Base,
    Declined,
    Places,
    Proposal,
    branch_of,
    certified_of,
    propose,
)
from aprqa_ci.github.refused import RefusedError
from aprqa_ci.github.reviewers import read_reviewers
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.markdown import Inline, code_span, join, link
from aprqa_ci.reports.comparison import compare
from aprqa_ci.reports.summary_markdown import SummarisedRun
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.wire import decode_wire

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.client import Client

__all__ = ["Mode", "PublishOptions", "Published", "publish", "what_to_do"]


class Mode(StrEnum):
    """What is published."""

    AUTO = "auto"
    """What the event calls for."""
    COMMENT = "comment"
    PR = "pr"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """How it is published."""

    mode: Mode = Mode.AUTO
    comment: CommentMode = CommentMode.ALWAYS
    dry_run: bool = False
    places: Places = field(default_factory=Places)
    key: str = "certification"
    """Tells the comments of several workflows apart."""
    author: str | None = None
    """Whose comments and pull requests are ours; absent, it is asked of GitHub."""
    reviewers: tuple[str, ...] | None = None
    """Who is asked for a review, ``user`` or ``org/team``; absent, as the settings say."""
    auto_merge: AutoMerge | None = None
    """Whether and how pull requests are merged automatically; absent, as the settings say."""
    close_superseded: bool | None = None
    """Whether superseded pull requests of ours are closed; absent, as the settings say."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What came of it."""

    lines: tuple[str, ...]
    """What was done and why, for people; one entry a thing, some of several lines."""
    outputs: Mapping[str, str]
    """``comment-url``, ``pr-number``, ``pr-url``; several are separated by spaces."""
    runs: tuple[SummarisedRun, ...]
    """What was reported, for the summary of the step."""
    failures: tuple[str, ...]
    """What could not be delivered."""


def what_to_do(context: EventContext, mode: Mode) -> tuple[Mode, str]:
    """Return what is published for an event, never ``auto``, and why. Pure.

    Raises:
        InputError: the mode does not fit the event.
    """
    activity = activity_for(context)
    may_comment = activity in {Activity.CERTIFY_PULL_REQUEST, Activity.REPORT_ONLY}
    if mode is Mode.NONE:
        return Mode.NONE, "as was asked"
    if mode is Mode.COMMENT and not may_comment:
        what = f"there is nothing to comment on that this job may write to: {_of(context)}"
        raise InputError(what)
    if mode is not Mode.AUTO:
        return mode, "as was asked"
    if may_comment:
        return Mode.COMMENT, _of(context)
    if activity is Activity.CERTIFICATION_PR:
        return Mode.PR, _of(context)
    return Mode.NONE, _of(context)


def publish(
    bundles: Sequence[Bundle],
    *,
    context: EventContext,
    options: PublishOptions,
    connect: Callable[[], "Client"],
) -> Published:
    """Publish bundles as the event and the options say.

    That GitHub does not take something is no exception: the verdicts stand, and what else is to be
    delivered is.

    Args:
        bundles: one a playbook.
        context: the event.
        options: how.
        connect: connects to the repository; not called when nothing is published.

    Raises:
        InputError: the options do not fit the event, or a file of the base cannot be read.
    """
    mode, why = what_to_do(context, options.mode)
    for bundle in bundles:
        branch_of(bundle.certificate.playbook.name)  # raises for a name that leads astray
    followed = _followed(context, options)
    if mode is Mode.NONE:
        return Published(
            lines=(f"published nothing: {why}",),
            outputs={},
            runs=tuple(_summarised(bundle, None) for bundle in bundles),
            failures=(),
        )
    try:
        client = connect()
    except DeliveryError as error:
        runs = tuple(_summarised(bundle, None) for bundle in bundles)
        return Published(lines=(), outputs={}, runs=runs, failures=(str(error),))
    if mode is Mode.COMMENT:
        return _comment(bundles, context, options, client)
    return _propose(bundles, context, options, followed, client)


def _followed(context: EventContext, options: PublishOptions) -> FollowUp:
    """Return what is to be done with pull requests: the options', else the settings'.

    Raises:
        InputError: for reviewers that are none.
    """
    settings = load_publishing()
    names = settings.reviewers if options.reviewers is None else options.reviewers
    closes = options.close_superseded
    return FollowUp(
        reviewers=read_reviewers(names, owner=context.repository.partition("/")[0]),
        auto_merge=settings.auto_merge if options.auto_merge is None else options.auto_merge,
        close_superseded=settings.close_superseded if closes is None else closes,
    )


def _comment(
    bundles: Sequence[Bundle], context: EventContext, options: PublishOptions, client: "Client"
) -> Published:
    runs = tuple(_summarised(bundle, None) for bundle in bundles)
    unverified = context.workflow_run is not None and context.workflow_run.is_fork
    try:
        target = _target(context, client)
        if target is None:
            line = "no comment: no open pull request has the commit that was certified"
            return Published(lines=(line,), outputs={}, runs=runs, failures=())
        number, base_sha, head_sha = target
        merge_base = client.git.merge_base(base_sha, head_sha)
        runs = tuple(
            _summarised(bundle, _certificate_at(client, bundle, merge_base, options))
            for bundle in bundles
        )
    except DeliveryError as error:
        return Published(lines=(), outputs={}, runs=runs, failures=(str(error),))
    lines: list[str] = []
    failures: list[str] = []
    outputs: dict[str, str] = {}
    body = body_of(runs, key=options.key, footer=_footer(context), unverified=unverified)
    if options.dry_run:
        lines.append(f"would comment on #{number}:\n{body}")
    elif options.comment is CommentMode.OFF:
        lines.append("no comment: off")
    else:
        wanted = is_wanted(runs, options.comment)
        try:
            done = deliver_comment(client, number, body, wanted=wanted, author=options.author)
        except DeliveryError as error:
            failures.append(str(error))
        else:
            lines.append(f"comment on #{number}: {done.action} {done.url}".rstrip())
            if done.warning:
                lines.append(f"warning: {done.warning}")
            outputs |= {"comment-url": done.url} if done.url else {}
    if unverified:
        # A check that a stranger's evidence makes green could satisfy a rule of the branch.
        lines.append("no check run: the evidence is unverified")
    else:
        told, lost = _check(runs, head_sha, context, options, client)
        lines += told
        failures += lost
    return Published(lines=tuple(lines), outputs=outputs, runs=runs, failures=tuple(failures))


def _check(
    runs: Sequence[SummarisedRun],
    sha: str,
    context: EventContext,
    options: PublishOptions,
    client: "Client",
) -> tuple[list[str], list[str]]:
    """Deliver a check run for each run; return what was done, and what could not be delivered."""
    lines, failures = [], []
    contents = [content_of(run) for run in runs]
    for place, content in enumerate(contents):
        what = f"check run {content.name}"
        if options.dry_run:
            lines.append(f"would make the {what}: {content.conclusion}, {content.title}")
            continue
        key = f"{options.key}:{context.run_id}:{context.run_attempt}"
        try:
            done = deliver_check_run(client, content, sha=sha, key=key)
        except RefusedError as refusal:
            if refusal.status == 403:
                # Not every job may write checks, and the comment says the same. The others would
                # be refused as well, and the permission is named once.
                left = ", ".join(content.name for content in contents[place + 1 :])
                for_that = f"; for that reason none of {left}" if left else ""
                lines.append(f"warning: no {what}: {refusal}{for_that}")
                break
            failures.append(f"{what}: {refusal}")
        except DeliveryError as error:
            failures.append(f"{what}: {error}")
        else:
            lines.append(f"{what}: {done}, {content.conclusion}")
    return lines, failures


def _propose(
    bundles: Sequence[Bundle],
    context: EventContext,
    options: PublishOptions,
    wanted: FollowUp,
    client: "Client",
) -> Published:
    publishing = load_publishing()
    lines: list[str] = []
    failures: list[str] = []
    done: list[Proposed] = []
    delivered: list[Delivered] = []
    verified = activity_for(context) is Activity.CERTIFICATION_PR
    for bundle in bundles:
        name = bundle.certificate.playbook.name
        certified = certified_of(bundle, client.default_branch)

        def proposal(base: Base, bundle: Bundle = bundle) -> Proposal | Declined:
            return propose(
                bundle,
                base,
                places=options.places,
                publishing=publishing,
                verified=verified,
                footer=_footer(context),
            )

        try:
            result = deliver_proposal(
                client,
                bundle,
                base_branch=client.default_branch,
                places=options.places,
                attempts=publishing.attempts,
                propose=proposal,
                dry_run=options.dry_run,
            )
        except DeliveryError as error:
            failures.append(f"{name}: {error}")
            continue
        match result:
            case Declined():
                lines.append(f"{name}: no pull request: {result.reason}")
            case Proposal():
                lines.append(f"{name}: would propose on {result.branch}: {result.title}")
                lines.append(result.diff)
                delivered.append(Delivered(certified=certified, pull=None))
            case Proposed():
                done.append(result)
                delivered.append(Delivered(certified=certified, pull=result))
                lines.append(f"{name}: pull request #{result.number} {result.action} {result.url}")
    if verified:
        # A stranger's evidence is no reason to touch anything.
        after = follow_up(
            client,
            wanted,
            delivered,
            touched=[certified_of(bundle, client.default_branch) for bundle in bundles],
            base=client.default_branch,
            registry=options.places.registry,
            author=options.author,
            footer=_footer(context),
            dry_run=options.dry_run,
        )
        lines += after.lines
        failures += after.failures
    outputs = {
        "pr-number": " ".join(str(each.number) for each in done),
        "pr-url": " ".join(each.url for each in done),
    }
    return Published(
        lines=tuple(lines),
        outputs=outputs if done else {},
        runs=tuple(_summarised(bundle, None) for bundle in bundles),
        failures=tuple(failures),
    )


def _target(context: EventContext, client: "Client") -> tuple[int, str, str] | None:
    """Return number, base and head of the pull request to comment on.

    After a ``workflow_run`` it is asked of GitHub by the head of that run: what the run left behind
    is a stranger's and may name any pull request.
    """
    if context.pull_request is not None:
        pull = context.pull_request
        return pull.number, pull.base_sha, pull.head_sha
    run = context.workflow_run
    if run is None or not run.head_owner:
        return None
    for found in client.pull_requests(head=f"{run.head_owner}:{run.head_branch}"):
        if found.head.sha == run.head_sha:
            return found.number, found.base.sha, found.head.sha
    return None


def _summarised(bundle: Bundle, base: Certificate | None) -> SummarisedRun:
    return SummarisedRun(
        report=bundle.report,
        comparison=compare(
            base,
            bundle.report,
            least_noise=load_publishing().least_noise,
        ),
        playbook=bundle.plan.playbooks[0].path,
    )


def _certificate_at(
    client: "Client", bundle: Bundle, commit: str | None, options: PublishOptions
) -> Certificate | None:
    """Return the playbook's certificate at a commit; one that cannot be read is none."""
    if commit is None:
        return None
    name = bundle.certificate.playbook.name
    path = f"{options.places.certifications}/{name}/{CERTIFICATE_NAME}"
    data = client.git.file(path, commit)
    try:
        return None if data is None else decode_wire(data, Certificate, source=path)
    except InputError:
        return None


def _footer(context: EventContext) -> Inline:
    """Return where this comes from; it changes with every run, so it is no content."""
    run = f"run {context.run_id}, attempt {context.run_attempt}"
    # A server without TLS is somebody's own; nothing is linked there.
    linked = link(run, context.run_url) if context.server_url.startswith("https://") else run
    head = context.workflow_run.head_sha if context.workflow_run else context.sha
    return join(" ", ["Evidence and reports are artifacts of", linked, "at", code_span(head[:12])])


def _of(context: EventContext) -> str:
    return f"{activity_for(context)}, by {context.event} on {context.ref}"
