import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import CERTIFICATE_NAME, DIGEST_NAME, EVIDENCE_NAME, Bundle
from aprqa_ci.certification.examining import Examination, examine
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id

# What was counted by hand in that file: a score, and a gateway that failed all the same.
SCORES_WITH_FAILED_GATES = {
    "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-3B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-Coder-0.5B-Instruct",
    "Qwen/Qwen2.5-Coder-1.5B-Instruct",
    "Qwen/Qwen2.5-Coder-14B-Instruct",
    "Qwen/Qwen2.5-Coder-3B-Instruct",
    "Qwen/Qwen2.5-Coder-7B-Instruct",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-4B",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "ibm-granite/granite-3.1-2b-instruct",
    "microsoft/Phi-4-mini-instruct",
    "nvidia/Llama-3.1-Nemotron-Nano-4B-v1.1",
}


@pytest.fixture
def corpus() -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    corpus = Path(os.environ.get("APRQA_CORPUS", default))
    if not (corpus / "certifications").is_dir():
        pytest.skip(f"{corpus} is missing; set APRQA_CORPUS to the folder of the corpus")
    return corpus


class Repository:
    """A repository with a registry and certifications."""

    def __init__(self, root: Path) -> None:
        self.registry = root / "docs" / "certifications" / "models.csv"
        self.certifications = root / "certifications"

    def bundle(self, **options: Any) -> Bundle:
        """Certify, and register unless told otherwise."""
        registered = options.pop("registered", True)
        name = options.get("playbook", "tiny-mvp")
        bundle = made_bundle(self.certifications / name, **options)
        if registered:
            register_bundle(bundle, registry=self.registry, readme=None)
        return bundle

    def foreign(self, name: str, records: tuple[EvidenceRecord, ...]) -> Path:
        """Leave evidence as the existing tool does: without a plan and our metadata."""
        path = self.certifications / name / EVIDENCE_NAME
        host = replace(records[0].host, apr_version="unknown")
        write_evidence(path, tuple(replace(each, metadata={}, host=host) for each in records))
        return path

    def set_cells(self, model: str, **cells: str) -> None:
        """Write cells into the model's row, or a row of a model that nobody tested."""
        lines = self.registry.read_text(encoding="utf-8").splitlines()
        rows = [dict(zip(COLUMNS, each, strict=True)) for each in csv.reader(lines[1:])]
        if all(each["model_id"] != model for each in rows):
            blank = dict.fromkeys(COLUMNS, "false") | {"status": "PENDING", "mqs_score": "0"}
            blank |= {"grade": "-", "certified_tier": "none"}
            rows.append(blank | {"model_id": model, "last_certified": "2026-01-01T00:00:00Z"})
        for each in rows:
            each.update(cells if each["model_id"] == model else {})
        text = "".join(",".join(each.values()) + "\n" for each in rows)
        self.registry.write_text(f"{lines[0]}\n{text}", encoding="utf-8")

    def examined(self) -> Examination:
        return examine(self.registry, self.certifications)

    def found(self) -> dict[str, str]:
        """The details by kind."""
        return {each.kind: each.detail for each in self.examined().findings}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_repository_of_our_own_contradicts_nothing(repository: Repository) -> None:
    repository.bundle()
    repository.bundle(
        playbook="small-mvp",
        model="aprqa/small-2B",
        outcomes={scenario_id("G1-LOAD", "small-mvp"): Outcome.FALSIFIED},
    )
    repository.set_cells("org/untested")
    found = repository.examined()
    assert (found.rows, found.evidence, found.findings) == (3, 2, ())


def test_a_gateway_that_was_not_evaluated_is_no_contradiction(repository: Repository) -> None:
    repository.bundle(
        outcomes={scenario_id("G4-GARBAGE"): Outcome.SKIPPED}, cause="policy:no-oracle-applies"
    )
    assert ",false," in repository.registry.read_text(encoding="utf-8")
    assert repository.found() == {}


@pytest.mark.parametrize(
    ("cells", "kind", "what"),
    [
        ({"mqs_score": "999"}, "score-not-given", "mqs_score is 999, 1000 by the certificate"),
        ({"status": "BLOCKED"}, "score-not-given", "CERTIFIED by the certificate (tiny-mvp)"),
        ({"g2": "false"}, "gates-not-given", "g2 is false, true by the certificate"),
        ({"g2": "false"}, "score-with-failed-gates", "with g2 false"),
        ({"last_certified": "2025-01-01T00:00:00Z"}, "time-not-given", "2026-01-02"),
        ({"tps_gguf_cpu": "77.0"}, "throughput-not-given", "77.0, 40.0 by the certificate"),
        ({"provenance_verified": "true"}, "provenance-without-proof", "no attestation"),
        ({"provenance_verified": "perhaps"}, "bad-value", "provenance_verified is 'perhaps'"),
        ({"status": "PENDING"}, "evidence-without-row", "the row says PENDING"),
    ],
)
def test_a_row_that_says_otherwise_than_its_certificate(
    repository: Repository, cells: dict[str, str], kind: str, what: str
) -> None:
    repository.bundle()
    repository.set_cells("aprqa/tiny-1M", **cells)
    assert what in repository.found()[kind]


def test_rows_and_evidence_without_each_other(repository: Repository) -> None:
    repository.bundle(registered=False)
    repository.bundle(playbook="small-mvp", model="aprqa/small-2B")
    (repository.certifications / "small-mvp" / CERTIFICATE_NAME).unlink()
    (repository.certifications / "small-mvp" / EVIDENCE_NAME).unlink()
    repository.set_cells("aprqa/small-2B", provenance_verified="true")
    found = {(each.subject, each.kind): each for each in repository.examined().findings}
    assert set(found) == {
        ("aprqa/small-2B", "row-without-evidence"),
        ("aprqa/small-2B", "provenance-without-proof"),
        ("aprqa/tiny-1M", "evidence-without-row"),
    }
    assert "models.csv:2: aprqa/small-2B: row-without" in str(
        found["aprqa/small-2B", "row-without-evidence"]
    )


def test_a_run_without_a_verdict_is_no_evidence_for_a_row(repository: Repository) -> None:
    repository.bundle()
    repository.bundle(outcomes={scenario_id(): Outcome.SKIPPED}, cause="infrastructure:no-memory")
    assert "comes to no verdict" in repository.found()["row-without-evidence"]


def test_the_bundle_that_gives_the_row_is_the_one_it_is_held_against(
    repository: Repository,
) -> None:
    repository.bundle(days=2)
    repository.bundle(
        playbook="tiny-other", registered=False, outcomes={scenario_id(): Outcome.FALSIFIED}
    )
    assert repository.found() == {}


def test_evidence_that_was_changed_is_named_with_what_is_wrong(repository: Repository) -> None:
    bundle = repository.bundle()
    path = bundle.directory / EVIDENCE_NAME
    path.write_bytes(path.read_bytes().replace(b"because", b"cause", 1))
    found = repository.found()
    assert "evidence: " in found["evidence-does-not-hold"]
    path.write_bytes(b"\xff")
    assert "and 1 more: aprqa verify" in repository.found()["evidence-does-not-hold"]
    (bundle.directory / CERTIFICATE_NAME).write_text("{", encoding="utf-8")
    found = repository.found()
    assert "certificate.json" in found["unreadable-evidence"]
    assert "row-without-evidence" in found


def rewritten(bundle: Bundle, **fields: Any) -> None:
    """Have another version make the certificate."""
    for path in bundle.directory.glob("*certificate.json"):
        content = json.loads(path.read_bytes()) | fields
        path.write_text(json.dumps(content), encoding="utf-8")


def test_certificates_of_another_release_are_named_once(repository: Repository) -> None:
    models = [f"aprqa/m{number}-1M" for number in range(12)]
    for model in models:
        name = model.partition("/")[2]
        rewritten(repository.bundle(playbook=name, model=model), tool_version="0.0.1")
    (finding,) = repository.examined().findings
    assert (finding.subject, finding.kind) == ("12 models", "stale-tool")
    assert finding.detail.startswith(f"made by aprqa 0.0.1; this is {__version__} (m0-1M, m1-1M, ")
    assert finding.detail.endswith(" and 2 more)")


@pytest.mark.parametrize(
    ("made", "this", "is_stale"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.1.7", False),
        ("0.1.7", "0.2.0", True),
        ("0.9.0", "1.0.0", True),
        ("1.0.0", "1.4.2", False),
        ("1.4.2", "2.0.0", True),
        ("2.0.0", "1.0.0", True),
        ("unreadable", "1.0.0", True),
    ],
)
def test_only_a_version_that_may_judge_otherwise_is_stale(
    *,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    made: str,
    this: str,
    is_stale: bool,
) -> None:
    rewritten(repository.bundle(), tool_version=made)
    monkeypatch.setattr("aprqa_ci.certification.surveyed_evidence.__version__", this)
    found = repository.examined().findings
    assert [(each.subject, each.kind, each.detail) for each in found] == (
        [("aprqa/tiny-1M", "stale-tool", f"made by aprqa {made}; this is {this} (tiny-mvp)")]
        if is_stale
        else []
    )


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"id": "aprqa-1", "version": 99}, "judged by aprqa-1 version 99; this judges by version"),
        ({"id": "aprqa-9", "version": 1}, "judged by the policy aprqa-9, which aprqa"),
    ],
)
def test_certificates_of_another_policy_are_named(
    repository: Repository, policy: dict[str, Any], said: str
) -> None:
    bundle = repository.bundle()
    rewritten(bundle, policy=policy)
    digest = bundle.directory / DIGEST_NAME
    digest.write_text(f"{bundle.certificate.evidence_digest}  {EVIDENCE_NAME}\n", encoding="utf-8")
    (bundle.directory / EVIDENCE_NAME).unlink()
    assert said in repository.found()["stale-tool"]


def test_evidence_that_is_too_large_for_the_repository(repository: Repository) -> None:
    bundle = repository.bundle()
    (bundle.directory / EVIDENCE_NAME).unlink()
    digest = bundle.directory / DIGEST_NAME
    digest.write_text(f"{bundle.certificate.evidence_digest}  {EVIDENCE_NAME}\n", encoding="utf-8")
    assert repository.found() == {}
    digest.write_text(f"{'0' * 64}  {EVIDENCE_NAME}\n", encoding="utf-8")
    assert "not the digest that the certificate" in repository.found()["evidence-does-not-hold"]
    repository.set_cells("aprqa/tiny-1M", mqs_score="7")
    assert "1000 by the certificate" in repository.found()["score-not-given"]
    digest.write_bytes(b"0" * 5000)
    assert "larger than" in repository.found()["unreadable-evidence"]


def test_evidence_of_other_tools_is_scored_by_their_formula(repository: Repository) -> None:
    bundle = repository.bundle(registered=False)
    register_bundle(
        made_bundle(repository.certifications.parent / "x", model="org/y"),
        registry=repository.registry,
        readme=None,
    )
    records = tuple(
        replace(each, scenario=replace(each.scenario, model=replace(each.scenario.model, org="o")))
        for each in bundle.records
    )
    failed = (replace(records[0], gate_id="G1-LOAD", outcome=Outcome.FALSIFIED), *records[1:])
    repository.foreign("foreign", failed)
    model = f"o/{records[0].scenario.model.name}"
    repository.set_cells(model, status="FAIL", mqs_score="300", g1="true")
    found = {
        each.kind: each.detail for each in repository.examined().findings if each.subject == model
    }
    assert "mqs_score is 300, 0 by apr-qa-0 (foreign)" in found["score-not-given"]
    assert "g1 is true, failed by apr-qa-0" in found["gates-not-given"]
    assert "the newest record is of 2026-01-02" in found["time-not-given"]
    assert "do not say which version" in found["stale-tool"]


def test_evidence_of_a_run_that_was_not_certified(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = repository.bundle()
    (bundle.directory / CERTIFICATE_NAME).unlink()
    assert "made by aprqa 0.0.0; this is" in repository.found()["stale-tool"]
    (bundle.directory / EVIDENCE_NAME).write_text("[]", encoding="utf-8")
    assert "no record" in repository.found()["evidence-without-records"]
    (bundle.directory / EVIDENCE_NAME).write_text("[1]", encoding="utf-8")
    assert "unreadable-evidence" in repository.found()
    monkeypatch.chdir(repository.certifications.parent)
    assert examine(Path("docs/certifications/models.csv"), Path("nowhere")).evidence == 0


def test_damaged_and_double_rows_are_findings(repository: Repository) -> None:
    repository.bundle()
    with repository.registry.open("a", encoding="utf-8") as stream:
        stream.write('aprqa/tiny-1M,short\n"open')
    found = repository.found()
    assert found["duplicate-row"] == "the model has a row already, in line 2"
    assert "damaged-row" in found


def test_the_real_registry_is_full_of_them(corpus: Path) -> None:
    found = examine(corpus / "docs" / "certifications" / "models.csv", corpus / "certifications")
    by_kind: dict[str, set[str]] = {}
    for each in found.findings:
        by_kind.setdefault(each.kind, set()).add(each.subject)
    assert by_kind["score-with-failed-gates"] == SCORES_WITH_FAILED_GATES
    assert len(by_kind["status-contradicts-score"]) == 9
    assert "Qwen/Qwen2.5-7B-Instruct" in by_kind["row-without-evidence"]
    assert "stabilityai/stablelm-zephyr-3b" in by_kind["evidence-without-row"]
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in by_kind["score-not-given"]
    assert (found.rows, found.evidence) == (92, 20)
