"""The plan that a step of a workflow works on: made of playbooks, or taken over."""

from pathlib import Path

from aprqa_ci.certification.bundle import PLAN_NAME, read_plan
from aprqa_ci.certification.steps import make_plan
from aprqa_ci.cli.action_step import ActionStep
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.github.activity import Activity, activity_for
from aprqa_ci.github.context import EventContext
from aprqa_ci.github.workflow_commands import Level
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan, plan_digest

__all__ = ["CERTIFICATIONS", "plan_given", "plan_made", "plan_to_fetch", "require_running"]

CERTIFICATIONS = Path("certifications")
"""Where the certificates of a repository lie, and in the output those that are made."""


def plan_made(step: ActionStep, options: PlanOptions) -> Plan:
    """Make the plan of the playbooks that the step was given."""
    require_running(step.context)
    plan = make_plan(
        step.inputs.playbooks,
        options=options,
        surroundings=step.surroundings,
        certifications=CERTIFICATIONS,
    )
    for playbook in plan.playbooks:
        for warning in playbook.warnings:
            step.note(Level.WARNING, playbook.name, warning, playbook.path)
    return plan


def require_running(context: EventContext) -> None:
    """Refuse events for which nothing is run.

    Raises:
        InputError: the event is one of them.
    """
    if activity_for(context) in {Activity.PLAN_ONLY, Activity.REPORT_ONLY}:
        event = context.event if context.action is None else f"{context.event} ({context.action})"
        what = f"nothing is run for the event {event}"
        hint = "use pull_request, push, schedule, workflow_dispatch or merge_group"
        raise InputError(Problem(what=what, hint=hint))


def plan_given(step: ActionStep) -> Plan:
    """Read the plan that an earlier job made.

    Raises:
        InputError: there is none, or it is another than the step was told.
    """
    path = step.inputs.plan or step.inputs.output / PLAN_NAME
    plan = read_plan(path)
    wanted, found = step.inputs.plan_digest, plan_digest(plan)
    if wanted is not None and found != wanted:
        what = f"the plan is not the one that was made ({found[:12]}…, not {wanted[:12]}…)"
        raise InputError(Problem(what=what, path=path, hint="plan and run again"))
    return plan


def plan_to_fetch(step: ActionStep) -> Plan:
    """Return what models are fetched for: the plan, or the playbooks where they were given."""
    if not step.inputs.playbooks:
        return plan_given(step)
    return plan_made(step, PlanOptions(tier=step.inputs.tier, only=step.inputs.only))
