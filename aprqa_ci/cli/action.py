"""``aprqa action``: a step of a GitHub Actions workflow."""

import os
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, PLAN_NAME, Bundle
from aprqa_ci.certification.collecting import collect_shards
from aprqa_ci.certification.sealing import seal_shard
from aprqa_ci.certification.steps import (
    certify_plan,
    merge_shards,
    run_shard,
)
from aprqa_ci.cli.action_step import (
    MOST_NAMED,
    ActionStep,
    log_console,
    named,
    said_of,
    silence,
    write,
)
from aprqa_ci.cli.attest_step import attest_step
from aprqa_ci.cli.fetch_step import fetch_step, models_for, resolve_step, surroundings_offline
from aprqa_ci.cli.offline import go_offline
from aprqa_ci.cli.output import (
    attempt_lines,
    raise_for,
    show_failures,
    show_paths,
    show_score,
)
from aprqa_ci.cli.progress import progress
from aprqa_ci.cli.step_plan import (
    CERTIFICATIONS,
    plan_given,
    plan_made,
    plan_to_fetch,
    require_running,
)
from aprqa_ci.errors import AprqaError, DeliveryError, InconclusiveError, InputError, Problem
from aprqa_ci.execution.fetching.offline import offline_environment
from aprqa_ci.github.annotations import annotations_of
from aprqa_ci.github.context import read_context
from aprqa_ci.github.inputs import Command, read_inputs
from aprqa_ci.github.outputs import MAX_SUMMARY_BYTES
from aprqa_ci.github.publish import PublishOptions, publish
from aprqa_ci.github.workflow_commands import Annotation, Level, annotate, stop_commands
from aprqa_ci.markdown import bullets, code_span, heading, join
from aprqa_ci.plain_text import visible
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.matrix import groups_of, matrix_of
from aprqa_ci.planning.plan import PlacedOut, plan_digest
from aprqa_ci.planning.plan_file import write_plan
from aprqa_ci.planning.runner_classes import (
    RUNNERS_PATH,
    RunnerClass,
    default_runners,
    read_runners,
)
from aprqa_ci.redaction import Redaction, redaction_of
from aprqa_ci.reports.summary_markdown import render_summary
from aprqa_ci.vocabulary import Outcome, Status

if TYPE_CHECKING:
    from aprqa_ci.github.client import Client

__all__ = ["OUTPUT_NAMES", "action"]

OUTPUT_NAMES = {
    Command.PLAN: ("matrix", "groups", "shard-count", "max-parallel", "plan", "plan-digest"),
    Command.RESOLVE: ("cache-key", "models"),
    Command.FETCH: ("models",),
    Command.RUN: (),
    Command.MERGE: (
        *("verdict", "mqs", "grade", "status", "certificate"),
        *("pr-number", "pr-url", "comment-url", "attest"),
    ),
}
"""The outputs of the action by the command that sets them; certify and report set those of merge.
Each is a name of ``action.yml``."""

_EVIDENCE = "evidence"
_SHARD = "shard"
_TOKENS = {"INPUT_TOKEN", "INPUT_HF_TOKEN"}
_WORST_FIRST = (Status.BLOCKED, Status.INCONCLUSIVE, Status.PROVISIONAL, Status.CERTIFIED)
_LEVELS = {Status.BLOCKED: Level.ERROR, Status.INCONCLUSIVE: Level.ERROR}


@click.command()
def action() -> None:
    """Run as a step of a GitHub Actions workflow.

    Takes the inputs of the action from INPUT_… and everything else from the variables of the job;
    the results go to GITHUB_OUTPUT and the step summary. Workflows use the action, people the other
    commands.
    """
    environment = dict(os.environ)
    redaction = redaction_of(environment)
    if environment.get("INPUT_COMMAND") not in {Command.RESOLVE, Command.FETCH}:
        go_offline()
        environment = offline_environment(environment)
    annotations: list[Annotation] = []
    ending: AprqaError | None = None
    # Nearly all that is printed holds words of models, playbooks and engines.
    with stop_commands(write):
        try:
            _perform(environment, annotations, redaction)
        except AprqaError as error:
            ending = error
            annotations += said_of(error, redaction)
            silence(error)
        except Exception:  # noqa: BLE001 - a bug of ours: shown where it can give no orders
            write(redaction(visible(traceback.format_exc())))
            ending = InconclusiveError()
            text = "aprqa failed; this is a fault of aprqa and says nothing about the model"
            annotations.append(Annotation(level=Level.ERROR, title="aprqa", message=text))
    annotate(
        [
            replace(each, title=redaction(each.title), message=redaction(each.message))
            for each in annotations
        ],
        write,
    )
    if ending is not None:
        raise ending


def _perform(
    environment: Mapping[str, str], annotations: list[Annotation], redaction: Redaction
) -> None:
    problems: list[Problem] = []
    inputs, context = None, None
    try:
        inputs = read_inputs(environment)
    except InputError as error:
        problems += error.problems
    try:
        context = read_context(environment)
    except InputError as error:
        problems += error.problems
    if problems or inputs is None or context is None:
        raise InputError(problems)
    step = ActionStep(
        inputs=inputs,
        context=context,
        environment={name: text for name, text in environment.items() if name not in _TOKENS},
        out=log_console(),
        annotations=annotations,
        redaction=redaction,
    )
    match inputs.command:
        case Command.PLAN:
            _plan(step)
        case Command.RESOLVE:
            resolve_step(step, plan_to_fetch(step))
        case Command.FETCH:
            fetch_step(step, plan_to_fetch(step))
        case Command.RUN:
            _run(step)
        case Command.MERGE | Command.REPORT:
            _merge(step)
        case Command.CERTIFY:
            _certify(step)


def _plan(step: ActionStep) -> None:
    inputs = step.inputs
    plan = plan_made(
        step,
        PlanOptions(
            tier=inputs.tier,
            only=inputs.only,
            shards=None,
            target_minutes=inputs.target_minutes,
            max_shards=inputs.max_shards,
            runners=_runners(inputs.runners),
            fork=step.context.read_only,
        ),
    )
    matrix = matrix_of(plan)
    path = inputs.output / PLAN_NAME
    write_plan(path, plan)
    digest = plan_digest(plan)
    scenarios = sum(len(cell.scenarios) for cell in plan.cells)
    told = f"{len(plan.cells)} cells, {scenarios} scenarios, {matrix.shards} shards"
    step.say(f"{told}; plan {digest[:12]}")
    for shard in plan.shards:
        expected = f"{shard.expected_seconds / 60:.1f} minutes"
        step.say(f"  {shard.id}: {len(shard.cells)} cells on {shard.runner}, about {expected}")
    step.outputs(
        {
            "matrix": matrix.text,
            "groups": groups_of(plan).text,
            "shard-count": str(matrix.shards),
            "max-parallel": str(matrix.max_parallel),
            "plan": str(path),
            "plan-digest": digest,
        }
    )
    sections = [heading(2, "Plan"), f"{told}; digest {code_span(digest[:12])}"]
    for level, title, placed in (
        (Level.WARNING, "No runner class has room for it", plan.unplaced),
        (Level.NOTICE, "Deferred to a run of the repository's own", plan.deferred),
    ):
        sections += _placed_out(step, level, title, placed)
    step.summary("\n\n".join(sections))


def _run(step: ActionStep) -> None:
    inputs, context = step.inputs, step.context
    require_running(context)
    plan = plan_given(step)
    shard = inputs.shard or ""
    directory = inputs.output / _SHARD
    # On a runner that outlives its jobs, what lies there is of another run.
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with progress(step.out) as observer:
            done = run_shard(
                plan,
                shard,
                out=directory,
                attempt=context.run_attempt,
                run_id=f"github-{context.run_id}",
                models=models_for(step, plan),
                surroundings=surroundings_offline(step),
                observer=observer,
            )
    except InputError:
        raise  # no such shard: there is nothing to be sealed
    except BaseException as error:
        code = error.exit_code if isinstance(error, AprqaError) else InconclusiveError.exit_code
        kept = seal_shard(
            directory,
            plan,
            shard,
            attempt=context.run_attempt,
            exit_code=code,
            surroundings=step.surroundings,
        )
        step.say(f"shard {shard} did not come to its end; its {kept} records are kept")
        raise
    counts = {
        outcome: sum(record.outcome is outcome for record in done.records) for outcome in Outcome
    }
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    step.say(f"shard {shard}: {told}")
    causes = {
        f"{record.metadata['cause']}: {record.reason}"
        for record in done.records
        if record.metadata.get("cause", "").startswith("infrastructure:")
    }
    # Not an error of the job: run again on the same machine, it would end in the same way. The
    # merge says that there is no verdict, and this says why.
    for cause in sorted(causes)[:MOST_NAMED]:
        step.note(Level.WARNING, f"Shard {shard}: could not be run on this machine", cause)


def _merge(step: ActionStep) -> None:
    plan = plan_given(step)
    root = step.inputs.evidence or step.inputs.output / _EVIDENCE
    collected = collect_shards(root, plan_digest=plan_digest(plan))
    merged, bundles = merge_shards(
        collected.directories, plan, out=step.inputs.output / CERTIFICATIONS
    )
    for name in collected.other_plan:
        step.say(f"{name} does not count: it ran the plan of an earlier attempt")
    for name in collected.made_up_for:
        step.say(f"{name} died without a manifest; a later attempt came to its end")
    for line in attempt_lines(merged):
        step.say(line)
    for title, names in (
        ("died without a manifest", collected.without_manifest),
        ("did not come to its end", merged.unfinished),
        ("left no evidence", merged.missing_shards),
    ):
        for name in names:
            step.say(f"shard {name} {title}")
        if names:
            step.note(Level.ERROR, f"Shards: {title}", named(names))
    _finish(step, bundles)


def _certify(step: ActionStep) -> None:
    inputs = step.inputs
    require_running(step.context)
    plan = plan_made(step, PlanOptions(tier=inputs.tier, only=inputs.only))
    out = inputs.output / CERTIFICATIONS
    with progress(step.out) as observer:
        bundles = certify_plan(
            plan, out=out, surroundings=surroundings_offline(step), observer=observer
        )
    _finish(step, bundles)


def _finish(step: ActionStep, bundles: Sequence[Bundle]) -> None:
    """Show, hand on and publish what came of it, and end with the verdict."""
    for bundle in bundles:
        step.out.print()
        show_score(step.out, bundle.score)
        show_failures(step.out, bundle.score)
        show_paths(step.out, [bundle.directory])
        _note_verdict(step, bundle)
    done = publish(
        bundles,
        context=step.context,
        options=PublishOptions(
            mode=step.inputs.publish,
            comment=step.inputs.comment_mode,
            reviewers=step.inputs.reviewers,
            auto_merge=step.inputs.auto_merge,
            close_superseded=step.inputs.close_superseded,
            author=step.inputs.author,
        ),
        connect=lambda: _connect(step),
    )
    for line in done.lines:
        step.say(line)
    for text in done.failures:
        step.say(f"not delivered: {text}")
        step.note(Level.ERROR, "Not delivered", text)
    run = step.context.workflow_run
    step.summary(
        render_summary(
            done.runs, limit=MAX_SUMMARY_BYTES, unverified=run is not None and run.is_fork
        )
    )
    step.outputs({**_results(bundles), **done.outputs, "attest": attest_step(step, bundles)})
    if step.inputs.command is not Command.REPORT:
        raise_for(bundles)
    if done.failures:
        msg = "the verdict stands, and could not be delivered"
        raise DeliveryError(msg)


def _results(bundles: Sequence[Bundle]) -> dict[str, str]:
    """Return the outputs of a verdict; of several playbooks, the worst speaks for all."""
    worst = min(bundles, key=lambda bundle: _WORST_FIRST.index(bundle.score.status)).score
    lowest = min(bundles, key=lambda bundle: bundle.score.mqs).score
    return {
        "verdict": worst.verdict,
        "status": worst.status.value,
        "mqs": str(lowest.mqs),
        "grade": str(lowest.grade),
        "certificate": "\n".join(str(bundle.directory / CERTIFICATE_NAME) for bundle in bundles),
    }


def _note_verdict(step: ActionStep, bundle: Bundle) -> None:
    score, playbook = bundle.score, bundle.plan.playbooks[0]
    title = f"{playbook.name}: {score.status.value} {score.mqs} ({score.grade})"
    level = _LEVELS.get(score.status, Level.NOTICE)
    step.note(level, title, named(score.obstacles) or "nothing stands against it", playbook.path)
    # A reporter's run is of the default branch, whose playbook need not be the one that failed.
    if step.context.workflow_run is None:
        step.annotations.extend(annotations_of(bundle.report, playbook=playbook.path))


def _runners(path: Path | None) -> tuple[RunnerClass, ...]:
    if path is None and not RUNNERS_PATH.exists():
        return default_runners()
    return read_runners(path or RUNNERS_PATH)


def _placed_out(
    step: ActionStep, level: Level, title: str, placed: Sequence[PlacedOut]
) -> list[str]:
    for each in placed:
        step.say(f"{title}: {each.cell}: {each.reason}")
        step.note(level, title, f"{each.cell}: {each.reason}")
    if not placed:
        return []
    shown = [join(": ", [code_span(each.cell), code_span(each.reason)]) for each in placed]
    return [heading(3, f"{title} ({len(placed)})"), bullets(shown)]


def _connect(step: ActionStep) -> "Client":
    token = step.inputs.token
    if not token:
        hint = "leave the input out, and the token of the job is taken"
        raise InputError(Problem(what="publishing needs the input token", hint=hint))
    # PyGithub is installed only for commands that publish.
    from aprqa_ci.github.client import connect  # noqa: PLC0415 - see above

    return connect(step.context.repository, token=token, api_url=step.context.api_url)
