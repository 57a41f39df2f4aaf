"""What is done for an event: the one table that decides who may run what, and where it may go."""

from enum import StrEnum

from aprqa_ci.github.context import EventContext

__all__ = ["Activity", "activity_for"]

_PULL_REQUEST_ACTIONS = {None, "opened", "synchronize", "reopened", "ready_for_review", "labeled"}


class Activity(StrEnum):
    """What a job may do, the most careful one last."""

    CERTIFICATION_PR = "certification_pr"
    """Run everything; open the pull request that updates the registry."""
    CERTIFY_PULL_REQUEST = "certify_pull_request"
    """Run everything; comment on the pull request."""
    CERTIFY_FORK = "certify_fork"
    """Run on hosted runners alone, others are deferred; write nothing, the token can only read.
    The evidence is left as an artifact for a run of ``REPORT_ONLY``."""
    CERTIFY_ONLY = "certify_only"
    """Run everything and end with the verdict; publish nothing."""
    REPORT_ONLY = "report_only"
    """Run nothing; comment on the pull request whose run left evidence, as unverified if that was
    a fork's."""
    PLAN_ONLY = "plan_only"
    """Run nothing and write nothing."""


def activity_for(context: EventContext) -> Activity:
    """Return what is done for the event. Pure.

    What is on the default branch was reviewed and may write to the registry; what is on another
    branch may not, whoever started it. ``pull_request_target`` and all events that are not in the
    table would mix a stranger's files with a token that can write, so for them nothing is run.
    """
    match context.event:
        case "pull_request":
            if context.pull_request is None or context.action not in _PULL_REQUEST_ACTIONS:
                return Activity.PLAN_ONLY
            if context.read_only:
                return Activity.CERTIFY_FORK
            return Activity.CERTIFY_PULL_REQUEST
        case "push" if context.deleted:
            return Activity.PLAN_ONLY
        case "push" | "workflow_dispatch" | "schedule" | "repository_dispatch":
            if context.on_default_branch:
                return Activity.CERTIFICATION_PR
            return Activity.CERTIFY_ONLY
        case "merge_group":
            return Activity.CERTIFY_ONLY
        case "workflow_run":
            run = context.workflow_run
            if run is not None and run.event == "pull_request":
                return Activity.REPORT_ONLY
            return Activity.PLAN_ONLY
        case _:
            return Activity.PLAN_ONLY
