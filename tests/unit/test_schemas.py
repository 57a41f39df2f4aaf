import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from aprqa_ci.data_files import data_directory
from aprqa_ci.evidence.record import (
    EvidenceHost,
    EvidenceMetrics,
    EvidenceModel,
    EvidenceRecord,
    EvidenceScenario,
)
from aprqa_ci.planning.plan import (
    OracleSpec,
    Plan,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PlannedScenario,
    PlannedShard,
    PromptCase,
)
from aprqa_ci.schemas import SCHEMAS, SchemaEntry, make_schema, schema_bytes
from aprqa_ci.scoring import certificate_parts as parts
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import (
    Backend,
    Category,
    FailurePolicy,
    Gateway,
    GatewayState,
    Modality,
    ModelFormat,
    Outcome,
    SizeCategory,
    Status,
)

REPOSITORY = Path(__file__).parents[2]

every_schema = pytest.mark.parametrize("entry", SCHEMAS, ids=lambda entry: entry.name)


def shipped(name: str) -> dict[str, Any]:
    file = data_directory().joinpath("schemas", f"{name}.schema.json")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def errors(name: str, document: object) -> list[str]:
    # JSON makes of the tuples of a model the arrays that a schema knows.
    data = json.loads(msgspec.json.encode(document))
    return [error.message for error in Draft202012Validator(shipped(name)).iter_errors(data)]


@every_schema
def test_shipped_schemas_are_valid(entry: SchemaEntry) -> None:
    Draft202012Validator.check_schema(shipped(entry.name))


@every_schema
def test_shipped_schemas_are_current(entry: SchemaEntry) -> None:
    file = data_directory().joinpath("schemas", entry.file_name)
    assert file.read_bytes() == schema_bytes(entry), "run scripts/generate_schemas.py"


@every_schema
def test_all_objects_are_closed(entry: SchemaEntry) -> None:
    for name, definition in make_schema(entry)["$defs"].items():
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name


@every_schema
def test_schemas_say_what_they_are(entry: SchemaEntry) -> None:
    schema = shipped(entry.name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:aprqa-ci:{entry.version}"
    assert schema["title"] == entry.title
    assert schema["description"] == entry.description


def test_identifiers_and_names_differ() -> None:
    assert len({entry.name for entry in SCHEMAS}) == len(SCHEMAS)
    assert len({entry.version for entry in SCHEMAS}) == len(SCHEMAS)


def test_fields_are_described_by_their_docstrings() -> None:
    matrix = shipped("playbook")["$defs"]["TestMatrix"]["properties"]
    assert matrix["seed"]["description"].startswith("What everything random is drawn from")
    definitions = shipped("playbook")["$defs"]
    assert "StateTransition" in definitions
    assert definitions["StateTransition"]["properties"]["from"]["description"]


def test_quantizations_are_named() -> None:
    quantizations = shipped("playbook")["$defs"]["ModelSpec"]["properties"]["quantizations"]
    assert "q4_k_m" in quantizations["items"]["enum"]
    assert "aprqa-quantization" not in json.dumps(shipped("playbook"))


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "playbooks" / "models").glob("*.yaml")), ids=str
)
def test_playbooks_are_accepted(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert errors("playbook", document) == []
    assert errors("playbook", {**document, "extra": 1}) != []


def test_suites_are_accepted() -> None:
    files = list(data_directory().joinpath("suites").iterdir())
    assert files
    for file in files:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert errors("suite", document) == []


def test_a_plan_is_accepted() -> None:
    cell = PlannedCell(
        id="p:run-cpu-gguf-q8_0",
        playbook="p",
        modality=Modality.RUN,
        backend=Backend.CPU,
        format=ModelFormat.GGUF,
        quantization="q8_0",
        timeout_ms=1000,
        scenarios=(
            PlannedScenario(
                id="p:run-cpu-gguf-q8_0#001",
                gate_id="F-A1-001",
                prompt=PromptCase(turns=("2+2=",), oracle=OracleSpec(kind="arithmetic")),
            ),
        ),
    )
    plan = Plan(
        tool_version="0.1.0",
        playbooks=(
            PlannedPlaybook(
                name="p",
                path="p.yaml",
                digest="0" * 64,
                version="1.0.0",
                model=PlannedModel(
                    hf_repo="a/b", formats=(ModelFormat.GGUF,), size_category=SizeCategory.TINY
                ),
                tier="quick",
                seed=0,
                failure_policy=FailurePolicy.COLLECT_ALL,
            ),
        ),
        cells=(cell,),
        shards=(PlannedShard(id="s1", cells=(cell.id,), expected_seconds=1.5),),
    )
    assert errors("plan", plan) == []
    assert errors("plan", {**msgspec.to_builtins(plan), "cells": [{"id": 3}]}) != []


def host() -> EvidenceHost:
    return EvidenceHost(hostname="h", os="linux", cpu="c", apr_version="aprqa-ci/0.1.0")


def test_evidence_is_accepted() -> None:
    record = EvidenceRecord(
        id="0" * 32,
        gate_id="F-A1-001",
        scenario=EvidenceScenario(
            id="p:run-cpu-gguf-q8_0#001",
            model=EvidenceModel(org="a", name="b"),
            modality=Modality.RUN,
            backend=Backend.CPU,
            format=ModelFormat.GGUF,
            prompt="2+2=",
            temperature=0.0,
            max_tokens=8,
            seed=1,
            oracle_type="arithmetic",
        ),
        outcome=Outcome.CORROBORATED,
        reason="",
        output="4",
        metrics=EvidenceMetrics(duration_ms=3),
        timestamp="2026-01-01T00:00:00Z",
        host=host(),
    )
    assert errors("evidence", [record]) == []
    assert errors("evidence", {"evidence": [record]}) != []
    assert errors("evidence", [{**msgspec.to_builtins(record), "outcome": "Passed"}]) != []


def test_a_certificate_is_accepted() -> None:
    tally = parts.CertifiedTally(
        planned=1, corroborated=1, falsified=0, skipped=0, timeout=0, crashed=0, missing=0
    )
    passed = parts.CertifiedGateway(state=GatewayState.PASSED, reasons=(), records=("r",))
    certificate = Certificate(
        model=parts.CertifiedModel(
            hf_repo="a/b",
            revision=None,
            family="llama",
            size_category=SizeCategory.TINY,
            files={"gguf-q8_0": {"m.gguf": "0" * 64}},
        ),
        playbook=parts.CertifiedPlaybook(name="p", digest="0" * 64, version="1.0.0"),
        tier="mvp",
        narrowed=False,
        plan_digest="0" * 64,
        evidence_digest="0" * 64,
        run_id="r",
        tool_version="0.1.0",
        engines={"reference": "1"},
        hosts=(host(),),
        policy=parts.CertifiedPolicy(id="aprqa-1", version=1),
        gateways=dict.fromkeys(Gateway, passed),
        categories={
            Category.QUAL: parts.CertifiedCategory(
                tally=tally, weight=200, points=200.0, maximum=200.0
            )
        },
        penalties=(),
        mqs=1000,
        raw=1000,
        grade="A",
        status=Status.CERTIFIED,
        certified_tier="mvp",
        totals=tally,
        pass_rate=parts.CertifiedPassRate(corroborated=1, planned=1, rate=1.0, low=0.2, high=1.0),
        coverage=parts.CertifiedCoverage(planned=1, recorded=1, missing=(), skipped={}),
        declared_not_run=(),
        flaky=(),
        findings=(),
        obstacles=(),
        cells={},
        throughput=(),
        started=None,
        finished=None,
    )
    assert errors("certificate", certificate) == []
    assert errors("certificate", {**msgspec.to_builtins(certificate), "mqs": "1000"}) != []


@pytest.mark.parametrize("damage", ["nothing", "old", "left-over"])
def test_the_script_checks(damage: str, tmp_path: Path) -> None:
    script = REPOSITORY / "scripts" / "generate_schemas.py"
    copy = tmp_path / "scripts" / script.name
    copy.parent.mkdir()
    copy.write_text(script.read_text())
    folder = tmp_path / "aprqa_ci" / "data" / "schemas"

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, copy, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(REPOSITORY)},
        )
        return done.returncode, done.stdout

    assert run("--check")[0] == 1
    assert not folder.exists()
    assert run()[0] == 0
    if damage == "old":
        (folder / "plan.schema.json").write_text("{}")
    elif damage == "left-over":
        (folder / "gone.schema.json").write_text("{}")
    code, output = run("--check")
    assert code == (0 if damage == "nothing" else 1)
    assert ("plan.schema.json: not current" in output) == (damage == "old")
    assert ("gone.schema.json: no model has this schema" in output) == (damage == "left-over")


def test_the_limits_of_numbers_do_not_depend_on_what_was_imported_first() -> None:
    """An equal annotation with whole limits, made first, would otherwise lend its spelling."""
    program = (
        "from typing import Annotated\n"
        "from msgspec import Meta\n"
        "first = Annotated[float, Meta(ge=0, lt=1)] | None, Annotated[float, Meta(ge=0, le=1)]\n"
        "from aprqa_ci.data_files import data_directory\n"
        "from aprqa_ci.schemas import SCHEMAS, schema_bytes\n"
        "shipped = data_directory().joinpath('schemas')\n"
        "for entry in SCHEMAS:\n"
        "    assert shipped.joinpath(entry.file_name).read_bytes() == schema_bytes(entry), entry\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
