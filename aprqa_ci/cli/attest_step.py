"""What a step leaves for the job that attests, which runs none of our code."""

import shutil
from collections.abc import Sequence

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.statement import (
    checksums_of,
    statement_bytes,
    statement_of,
)
from aprqa_ci.cli.action_step import ActionStep, named
from aprqa_ci.errors import InconclusiveError, InputError
from aprqa_ci.files import sha256_bytes, write_atomic
from aprqa_ci.github.inputs import Command
from aprqa_ci.github.publish import Mode
from aprqa_ci.github.workflow_commands import Level
from aprqa_ci.wire import canonical_json, pretty_json

__all__ = ["ATTESTATIONS", "attest_step"]

ATTESTATIONS = "attestations"
"""Below the output: for each bundle a directory, with what is signed about it."""
_STATEMENT = "statement.json"
_PREDICATE = "predicate.json"
_SUBJECTS = "subjects.sha256"
_MOST_JOBS = 256
"""A matrix has no more."""


def attest_step(step: ActionStep, bundles: Sequence[Bundle]) -> str:
    """Write what is to be signed about each bundle, and return the job matrix that signs it.

    An entry names a bundle and the artifact it is in, and has the SHA-256 of each file that goes
    into the signature: outputs come from this job alone, while any job of the run can put another
    artifact in the place of ours.

    Returns:
        JSON, a list; nothing where nothing is to be attested.
    """
    directory = step.inputs.output / ATTESTATIONS
    # On a runner that outlives its jobs, what lies there is of another run.
    shutil.rmtree(directory, ignore_errors=True)
    why_not = _why_not(step)
    if why_not:
        if step.inputs.command is not Command.REPORT:
            step.say(f"nothing is attested: {why_not}")
            step.note(Level.NOTICE, "Not attested", why_not)
        return ""
    artifact = f"{step.inputs.artifact_prefix}{ATTESTATIONS}-a{step.context.run_attempt}"
    entries: list[dict[str, str]] = []
    left_out: list[str] = []
    for bundle in bundles:
        try:
            statement = statement_of(bundle, url=step.context.attempt_url)
        except InconclusiveError as error:
            left_out.append(f"{bundle.directory.name}: {error}")
            continue
        except InputError as error:
            left_out += [f"{bundle.directory.name}: {each}" for each in error.problems]
            continue
        if len(entries) == _MOST_JOBS:
            left_out.append(f"{bundle.directory.name}: a run attests at most {_MOST_JOBS} bundles")
            continue
        files = {
            _STATEMENT: statement_bytes(statement),
            _PREDICATE: pretty_json(statement.predicate),
            _SUBJECTS: checksums_of(statement),
        }
        for name, data in files.items():
            write_atomic(directory / bundle.directory.name / name, data)
        entries.append(
            {
                "bundle": bundle.directory.name,
                "artifact": artifact,
                "predicate": sha256_bytes(files[_PREDICATE]),
                "subjects": sha256_bytes(files[_SUBJECTS]),
            }
        )
    if left_out:
        step.note(Level.NOTICE, "Not attested", named(left_out))
    for line in left_out:
        step.say(f"not attested: {line}")
    return canonical_json(entries).decode() if entries else ""


def _why_not(step: ActionStep) -> str:
    """Return why nothing is attested of this run, if so."""
    if step.inputs.attest is False:
        return "as was asked"
    if step.inputs.publish is Mode.NONE:
        return "nothing is published"
    if step.context.read_only or step.inputs.command is Command.REPORT:
        return "a run for a fork or for Dependabot may not"
    return ""
