from typing import Any

import msgspec
import pytest

from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY, apply, read_registry
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.certificate_parts import (
    CertifiedCoverage,
    CertifiedGateway,
    CertifiedModel,
    CertifiedPassRate,
    CertifiedPlaybook,
    CertifiedPolicy,
    CertifiedTally,
    CertifiedThroughput,
)
from aprqa_ci.vocabulary import (
    Backend,
    Gateway,
    GatewayState,
    ModelFormat,
    SizeCategory,
    Status,
)

TALLY = CertifiedTally(
    planned=1, corroborated=1, falsified=0, skipped=0, timeout=0, crashed=0, missing=0
)


def speed(model_format: ModelFormat, backend: Backend, value: float) -> CertifiedThroughput:
    return CertifiedThroughput(
        format=model_format, backend=backend, tokens_per_second=value, measurements=3
    )


def certificate(**changes: Any) -> Certificate:
    passed = CertifiedGateway(state=GatewayState.PASSED, reasons=(), records=())
    whole = Certificate(
        model=CertifiedModel(
            hf_repo="org/model-135M",
            revision=None,
            family="llama",
            size_category=SizeCategory.TINY,
            files={},
        ),
        playbook=CertifiedPlaybook(name="p", digest="0" * 64, version="1"),
        tier="mvp",
        narrowed=False,
        plan_digest="1" * 64,
        evidence_digest="2" * 64,
        run_id="r",
        tool_version="0.1.0",
        engines={},
        hosts=(),
        policy=CertifiedPolicy(id="aprqa-1", version=1),
        gateways=dict.fromkeys(Gateway, passed),
        categories={},
        penalties=(),
        mqs=931,
        raw=931,
        grade="A",
        status=Status.CERTIFIED,
        certified_tier="mvp",
        totals=TALLY,
        pass_rate=CertifiedPassRate(corroborated=1, planned=1, rate=1.0, low=0.2, high=1.0),
        coverage=CertifiedCoverage(planned=1, recorded=1, missing=(), skipped={}),
        declared_not_run=(),
        flaky=(),
        findings=(),
        obstacles=(),
        cells={},
        throughput=(
            speed(ModelFormat.GGUF, Backend.CPU, 12.96),
            speed(ModelFormat.SAFETENSORS, Backend.CPU, 3.0),
        ),
        started="2026-11-02T09:00:00Z",
        finished="2026-11-02T10:00:00.123456789Z",
    )
    return msgspec.structs.replace(whole, **changes)


def row_of(value: Certificate) -> dict[str, str]:
    update = update_from_certificate(value)
    assert update is not None
    data, _ = apply(read_registry(EMPTY_REGISTRY, source="x"), update)
    return dict(read_registry(data, source="x").rows[0])


def test_a_new_row() -> None:
    assert list(row_of(certificate()).values()) == [
        "org/model-135M", "llama", "135M", "tiny", "CERTIFIED", "931", "A", "mvp",
        "2026-11-02T10:00:00.123456789Z", "true", "true", "true", "true",
        "13.0", "", "", "", "3.0", "", "false",
    ]  # fmt: skip


def test_a_gateway_is_true_only_when_it_is_passed() -> None:
    gateways = {
        Gateway.G0: CertifiedGateway(state=GatewayState.FAILED, reasons=(), records=()),
        Gateway.G1: CertifiedGateway(state=GatewayState.PASSED, reasons=(), records=()),
        Gateway.G2: CertifiedGateway(state=GatewayState.FAILED, reasons=(), records=()),
        Gateway.G3: CertifiedGateway(state=GatewayState.NOT_EVALUATED, reasons=(), records=()),
    }
    row = row_of(
        certificate(
            gateways=gateways, status=Status.BLOCKED, mqs=0, grade="F", certified_tier="none"
        )
    )
    assert [row[name] for name in ("g1", "g2", "g3", "g4")] == ["true", "false", "false", "false"]
    assert (row["status"], row["mqs_score"], row["grade"]) == ("BLOCKED", "0", "F")


def test_a_provisional_result_certifies_no_tier() -> None:
    row = row_of(certificate(tier="quick", status=Status.PROVISIONAL, certified_tier="none"))
    assert (row["status"], row["certified_tier"]) == ("PROVISIONAL", "none")


@pytest.mark.parametrize("changes", [{"status": Status.INCONCLUSIVE}, {"finished": None}])
def test_what_says_nothing_about_the_model_changes_nothing(changes: dict[str, Any]) -> None:
    assert update_from_certificate(certificate(**changes)) is None
