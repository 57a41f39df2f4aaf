"""One trial: a copy of the model, broken or not, goes through the whole pipeline.

Nothing of the pipeline is replaced: the playbook is a file, the plan is made of it, children load
and answer, and the verdict is that of the certificate.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.steps import certify_plan, make_plan
from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.errors import AprqaError
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.scoring.score import ScenarioScore
from aprqa_ci.selftest.equivalence import proof_of_equivalence
from aprqa_ci.selftest.faulty_engine import (
    ENGINE_NAME,
    FAULT_VARIABLE,
    Fault,
    install_engine,
)
from aprqa_ci.selftest.gpu_stand_in import install_stand_in
from aprqa_ci.selftest.mutants import Breakage, PlanShape
from aprqa_ci.selftest.transforms import NotApplicableError, apply_transform
from aprqa_ci.vocabulary import Backend, Outcome, Status

__all__ = ["Caught", "Trial", "TrialResult", "run_trial"]

_PLAYBOOK = "selftest"
_TIER = "mvp"
_PATH = re.compile(r"(?<![\w.:/<])/(?:[\w.+-]+/)+")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is run once."""

    id: str
    model: Path
    """The directory of the sound model; it is copied."""
    shape: PlanShape
    seed: int = 42
    """Of the playbook: which questions are asked."""
    breakage: Breakage | None = None
    fault: Fault | None = None
    workers: int = 1
    threads: int = 1
    """Threads of each engine."""
    prove: bool = False
    """Whether a certified broken model is held against the sound one, to see if it is the same."""

    @property
    def is_timed(self) -> bool:
        """Whether its verdict hangs on speed, so that nothing else of ours should run beside it."""
        return self.shape.limits is not None or self.shape.baseline


@dataclass(frozen=True, kw_only=True)
class Caught:
    """A scenario that spoke against the model, or could not be run."""

    gate: str
    """The gate; of a skip its cause."""
    scenario: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What came of a trial."""

    id: str
    status: Status | None = None
    """The certificate's; absent when there is none."""
    mqs: int = 0
    caught: tuple[Caught, ...] = ()
    """In plan order, once for each gate."""
    scenarios: int = 0
    seconds: float = 0.0
    proof: str = ""
    """Of a certified broken model: what shows that it is the sound one still."""
    lack: str = ""
    """Why there is no certificate: what the model does not have, or what failed."""
    applicable: bool = True
    """Whether the model has what is broken."""
    non_green: tuple[str, ...] = field(default=())
    """Every scenario that is not Corroborated, with its outcome."""


def run_trial(trial: Trial) -> TrialResult:
    """Run a trial in a directory of its own, which is removed."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="aprqa-selftest-") as scratch:
            result = _run(trial, Path(scratch))
    except NotApplicableError as error:
        result = TrialResult(id=trial.id, lack=str(error), applicable=False)
    except (FormatError, AprqaError, OSError) as error:
        lack = _without_paths(f"{type(error).__name__}: {error}")
        result = TrialResult(id=trial.id, lack=lack)
    return replace(result, seconds=round(time.monotonic() - started, 2))


def _run(trial: Trial, scratch: Path) -> TrialResult:
    sound, broken = trial.model, scratch / "model"
    shutil.copytree(sound, broken)
    playbook = scratch / f"{_PLAYBOOK}.playbook.yaml"
    # Every JSON document is a YAML document.
    playbook.write_text(json.dumps(_playbook(trial), indent=1), encoding="utf-8")
    with _engine_known(scratch, wanted=trial.shape.faulty_engine) as path:
        if trial.shape.baseline:
            _certify(trial, playbook, scratch, path, fault=None)
        if trial.breakage is not None:
            apply_transform(trial.breakage.transform, broken, trial.breakage.parameters)
        plan, bundle = _certify(trial, playbook, scratch, path, fault=trial.fault)
    score = bundle.score
    proof = ""
    if trial.prove and trial.breakage is not None and score.status is Status.CERTIFIED:
        proof = proof_of_equivalence(sound, broken, _prompts(plan))
    return TrialResult(
        id=trial.id,
        status=score.status,
        mqs=score.mqs,
        caught=_caught(score.scenarios),
        scenarios=len(score.scenarios),
        proof=proof,
        non_green=tuple(
            f"{each.scenario}: {each.outcome_text}"
            for each in score.scenarios
            if each.outcome is not Outcome.CORROBORATED
        ),
    )


def _playbook(trial: Trial) -> dict[str, Any]:
    shape = trial.shape
    content: dict[str, Any] = {
        "name": _PLAYBOOK,
        "version": "1.0.0",
        "model": {
            "hf_repo": f"selftest/{trial.model.name}",
            "local_path": "model",
            "formats": list(shape.formats),
            "quantizations": list(shape.quantizations),
            # Engines of tiny models get one thread, whatever the machine has.
            "size_category": "tiny" if trial.threads == 1 else "small",
        },
        "test_matrix": {
            "modalities": list(shape.modalities),
            "backends": list(shape.backends),
            "scenario_count": 1,
            "seed": trial.seed,
            "timeout_ms": shape.timeout_ms,
        },
        "failure_policy": "collect_all",
        "metadata": {"tier": _TIER},
    }
    if shape.limits is not None:
        limits = msgspec.to_builtins(shape.limits)
        named = {name: value for name, value in limits.items() if value is not None}
        content["profile_ci"] = {"assertions": named}
    return content


def _certify(
    trial: Trial, playbook: Path, scratch: Path, path: str, *, fault: Fault | None
) -> tuple[Plan, Bundle]:
    out = scratch / "certifications"
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop(FAULT_VARIABLE, None)
    if fault is not None:
        environment[FAULT_VARIABLE] = msgspec.json.encode(fault).decode()
    if Backend.GPU in trial.shape.backends:
        driver = scratch / "driver"
        driver.mkdir(exist_ok=True)
        environment |= install_stand_in(driver, environment)
    surroundings = _surroundings(trial, scratch, environment)
    plan = make_plan(
        [playbook],
        options=PlanOptions(engine=ENGINE_NAME if trial.shape.faulty_engine else None),
        surroundings=surroundings,
        certifications=out,
    )
    return plan, certify_plan(plan, out=out, surroundings=surroundings)[0]


def _surroundings(trial: Trial, scratch: Path, environment: Mapping[str, str]) -> Surroundings:
    return Surroundings(
        environment=environment,
        home=scratch,
        root=scratch,
        workers=trial.workers,
        processors=trial.workers * trial.threads,
    )


@contextmanager
def _engine_known(scratch: Path, *, wanted: bool) -> Iterator[str]:
    """Make the faulty engine known to this process; yields the search path of its children."""
    others = os.environ.get("PYTHONPATH", "")
    if not wanted:
        yield others
        return
    directory = scratch / "engine"
    directory.mkdir()
    install_engine(directory)
    sys.path.insert(0, str(directory))
    try:
        yield os.pathsep.join(filter(None, (str(directory), others)))
    finally:
        sys.path.remove(str(directory))


def _caught(scenarios: tuple[ScenarioScore, ...]) -> tuple[Caught, ...]:
    found: dict[str, Caught] = {}
    for each in scenarios:
        if each.outcome is None or each.outcome is Outcome.CORROBORATED:
            continue
        if each.outcome is Outcome.SKIPPED and not each.is_infrastructure:
            continue
        gate = each.cause if each.outcome is Outcome.SKIPPED else each.gate_id
        reason = _without_paths(each.reason)
        found.setdefault(gate, Caught(gate=gate, scenario=each.scenario, reason=reason))
    return tuple(found.values())


def _without_paths(text: str) -> str:
    """Return a text with the names of files alone: where they lie is this machine's affair."""
    return _PATH.sub("", text)


def _prompts(plan: Plan) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            scenario.prompt.turns[-1]
            for cell in plan.cells
            for scenario in cell.scenarios
            if scenario.prompt is not None
        )
    )
