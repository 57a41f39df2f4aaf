"""The texts of ``tests/red_team``, and certifications that are full of them."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.evidence.record import EvidenceModel, EvidenceRecord, MetadataKey
from aprqa_ci.planning.plan import Plan
from aprqa_ci.reports.run_report import RunReport, run_report
from aprqa_ci.scoring.certificate import build_certificate
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, made_plan, scenario_id
from tests.records import made_records

__all__ = [
    "OUTCOMES",
    "TEXTS",
    "foreign_score",
    "hostile_bundle",
    "hostile_record",
    "hostile_report",
]

_FOLDER = Path(__file__).parent / "red_team"

OUTCOMES = {
    scenario_id("001"): Outcome.FALSIFIED,
    scenario_id("002"): Outcome.CRASHED,
    scenario_id("003"): Outcome.TIMEOUT,
    scenario_id("F-PERF-TPS-001"): Outcome.SKIPPED,
}
"""One of each that is told of, for the texts are shown of those."""


def _read() -> dict[str, str]:
    entries: list[dict[str, Any]] = yaml.safe_load((_FOLDER / "texts.yaml").read_bytes())
    found = {}
    for entry in entries:
        if "surrogates" in entry:
            # No file can hold them; an answer in JSON can.
            text = entry["surrogates"].encode().decode("unicode_escape")
        else:
            text = entry["text"] if "text" in entry else entry["repeat"] * entry["times"]
        assert entry["id"] not in found
        found[entry["id"]] = text
    return found


TEXTS = _read()


def hostile_record(record: EvidenceRecord, text: str) -> EvidenceRecord:
    """Return the record with the text wherever an engine, a model or a runner has a word."""
    # Evidence is JSON in UTF-8: a lone surrogate ends before it, as a decoding error of ours.
    text = text.encode("utf-8", "replace").decode()
    told = record.metadata | {
        key.value: text
        for key in (
            MetadataKey.ENGINE,
            MetadataKey.ENGINE_VERSION,
            MetadataKey.DEVICE,
            MetadataKey.INVOCATION,
            MetadataKey.ORACLES,
            MetadataKey.FINISH,
        )
    }
    if record.outcome is Outcome.SKIPPED:
        told[MetadataKey.CAUSE.value] = f"model:{text}"
    host = msgspec.structs.replace(record.host, hostname=text, os=text, cpu=text, gpu=text)
    return msgspec.structs.replace(
        record, reason=text, output=text, stderr=text, host=host, metadata=told
    )


def hostile_bundle(directory: Path, text: str, *, certified: bool = False) -> Bundle:
    """Write a bundle whose evidence is full of the text."""
    return made_bundle(
        directory,
        outcomes=None if certified else OUTCOMES,
        cause="model:it",
        mend=lambda record: hostile_record(record, text),
    )


def foreign_score(text: str) -> Score:
    """Return the score of another tool's evidence, in which every name is the text as well."""
    text = text.encode("utf-8", "replace").decode()
    records = []
    for number, record in enumerate(_records()):
        scenario = msgspec.structs.replace(
            record.scenario,
            id=f"{text}{number}",
            model=EvidenceModel(org=text, name=text),
            prompt=text,
            oracle_type=text,
        )
        hostile = hostile_record(record, text)
        records.append(
            msgspec.structs.replace(hostile, scenario=scenario, gate_id=text, metadata={})
        )
    return score_evidence(records, plan=None, playbook=None, policy=load_policy("apr-qa-0"))


@cache
def _plan() -> Plan:
    return made_plan()


@cache
def _records() -> tuple[EvidenceRecord, ...]:
    return made_records(_plan(), OUTCOMES, cause="model:it")


def hostile_report(text: str, *, names: bool = False) -> RunReport:
    """Return a report on evidence that is full of the text.

    Args:
        text: the text.
        names: the names of playbook, file, model, tier and tool are the text as well, as in a
            plan that was written by hand.
    """
    text = text.encode("utf-8", "replace").decode()
    plan = _plan()
    name = plan.playbooks[0].name
    records = [hostile_record(record, text) for record in _records()]
    if names:
        entry = plan.playbooks[0]
        model = msgspec.structs.replace(entry.model, hf_repo=text, family=text, size_variant=text)
        entry = msgspec.structs.replace(entry, path=text, version=text, model=model)
        plan = msgspec.structs.replace(plan, playbooks=(entry,), tool_version=text)
    score = score_evidence(records, plan=plan, playbook=name, policy=load_policy())
    certificate = build_certificate(
        score,
        plan,
        name,
        records,
        evidence_digest="e" * 64,
        model_digests={"gguf-q8_0": {text: "f" * 64}},
        tool_version=text if names else "0",
    )
    return run_report(certificate, score, records)
