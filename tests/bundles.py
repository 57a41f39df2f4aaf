"""Bundles on disk, of plans and evidence made in memory."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import ModelFormat, Outcome
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.records import NOON, made_records

__all__ = ["made_bundle", "made_plan", "scenario_id"]

Mend = Callable[[EvidenceRecord], EvidenceRecord]


def made_plan(
    playbook: str = "tiny-mvp", *, model: str = "aprqa/tiny-1M", tier: str = "mvp", prompts: int = 3
) -> Plan:
    """Return a small plan that can certify: every gateway, answers and speed."""
    entry = playbook_of(name=playbook, tier=tier, path=f"playbooks/{playbook}.yaml")
    cells = [
        cell_of(
            format=format_,
            quantization="q8_0",
            prompts=[prompt_of(f"question {n}") for n in range(prompts)],
            checks=["F-PERF-TPS-001"],
            inspect=True,
            playbook=playbook,
        )
        for format_ in (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    ]
    owner = msgspec.structs.replace(entry.model, hf_repo=model)
    return plan_of(*cells, playbook=msgspec.structs.replace(entry, model=owner))


def scenario_id(what: str = "001", playbook: str = "tiny-mvp", variant: str = "gguf-q8_0") -> str:
    """Return the id of a scenario of such a plan: a prompt's number, or a gate."""
    return f"{playbook}:run-cpu-{variant}#{what}"


def made_bundle(
    directory: Path,
    *,
    playbook: str = "tiny-mvp",
    model: str = "aprqa/tiny-1M",
    tier: str = "mvp",
    prompts: int = 3,
    outcomes: Mapping[str, Outcome] | None = None,
    cause: str | None = None,
    days: int = 0,
    mend: Mend = lambda record: record,
) -> Bundle:
    """Write a bundle; without ``outcomes`` it is certified.

    Args:
        directory: where to.
        playbook: the name.
        model: the repository.
        tier: of the plan.
        prompts: of each cell.
        outcomes: by scenario id; all others are Corroborated.
        cause: of the records that ``outcomes`` names.
        days: after the usual day.
        mend: changes each record.
    """
    plan = made_plan(playbook, model=model, tier=tier, prompts=prompts)
    start: datetime = NOON + timedelta(days=days)
    run_id = f"run-{days}"
    records = made_records(plan, outcomes, cause=cause, run_id=run_id, start=start)
    digests = {"gguf-q8_0": {"model.gguf": "f" * 64}}
    mended = tuple(mend(record) for record in records)
    return write_bundle(directory, plan, mended, model_digests=digests)
