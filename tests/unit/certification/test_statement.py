import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.certification.bundle import Bundle, read_bundle
from aprqa_ci.certification.statement import (
    PREDICATE_TYPE,
    Statement,
    checksums_of,
    statement_bytes,
    statement_of,
)
from aprqa_ci.errors import InconclusiveError, InputError
from aprqa_ci.files import sha256_file
from aprqa_ci.scoring.certificate_parts import CertifiedTally
from aprqa_ci.scoring.certified_gates import CertifiedGate
from aprqa_ci.vocabulary import Category, Outcome, Severity
from aprqa_ci.wire import decode_wire
from tests.bundles import made_bundle, scenario_id

URL = "https://github.com/octo/models/actions/runs/42/attempts/1"


def with_certificate(bundle: Bundle, **changes: Any) -> Bundle:
    certificate = msgspec.structs.replace(bundle.certificate, **changes)
    return Bundle(
        directory=bundle.directory,
        plan=bundle.plan,
        records=bundle.records,
        score=bundle.score,
        certificate=certificate,
    )


def with_files(bundle: Bundle, files: dict[str, dict[str, str]]) -> Bundle:
    return with_certificate(
        bundle, model=msgspec.structs.replace(bundle.certificate.model, files=files)
    )


def test_a_statement_names_the_files_and_how_each_test_ended(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "tiny-mvp")
    told = json.loads(statement_bytes(statement_of(bundle, url=URL)))
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == PREDICATE_TYPE
    assert {each["name"]: each["digest"] for each in told["subject"]} == {
        **{
            name: {"sha256": sha256_file(bundle.directory / name)}
            for name in ("certificate.json", "evidence.json", "plan.json")
        },
        "gguf-q8_0/model.gguf": {"sha256": "f" * 64},
    }
    predicate = told["predicate"]
    assert set(predicate) == {"result", "configuration", "url", "passedTests"}
    assert predicate["result"] == "PASSED"
    assert predicate["url"] == URL
    assert predicate["configuration"] == [
        {
            "name": "playbooks/tiny-mvp.yaml",
            "digest": {"sha256": bundle.certificate.playbook.digest},
        },
        {"name": "plan.json", "digest": {"sha256": sha256_file(bundle.directory / "plan.json")}},
        {"uri": f"pkg:generic/aprqa-ci@{bundle.certificate.tool_version}"},
    ]
    gateways = [f"gateway:G{n}" for n in range(5)]
    assert predicate["passedTests"][:5] == gateways
    assert "category:QUAL" in predicate["passedTests"]
    # A few names, however many scenarios there are.
    assert len(predicate["passedTests"]) < 20


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    first = made_bundle(tmp_path / "a" / "tiny-mvp")
    second = made_bundle(tmp_path / "b" / "tiny-mvp")
    data = statement_bytes(statement_of(first))
    assert statement_bytes(statement_of(second)) == data
    assert statement_bytes(statement_of(read_bundle(first.directory))) == data
    assert statement_bytes(decode_wire(data, Statement, source="x")) == data
    files = {"gguf-q8_0": {"b": "2" * 64, "a": "1" * 64}, "apr": {"c": "3" * 64}}
    turned = {name: dict(reversed(of.items())) for name, of in reversed(files.items())}
    assert statement_of(with_files(first, files)) == statement_of(with_files(first, turned))


def test_a_size_that_does_not_grow_with_the_scenarios(tmp_path: Path) -> None:
    few = statement_bytes(statement_of(made_bundle(tmp_path / "few", prompts=3)))
    many = statement_bytes(statement_of(made_bundle(tmp_path / "many", prompts=60)))
    assert len(few) == len(many)


def test_what_spoke_against_the_model_has_failed(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b", outcomes={scenario_id("G1-LOAD"): Outcome.FALSIFIED})
    predicate = statement_of(bundle).predicate
    assert predicate.result == "FAILED"
    assert "gateway:G1" in predicate.failed_tests
    assert "gateway:G1" not in predicate.passed_tests
    assert predicate.warned_tests == ()


def test_a_run_that_could_not_certify_has_not_passed(tmp_path: Path) -> None:
    predicate = statement_of(made_bundle(tmp_path / "b", tier="quick")).predicate
    assert predicate.result == "WARNED"
    assert predicate.failed_tests == ()


def test_what_fell_short_under_a_certificate_that_stands_is_a_warning(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    quality = bundle.certificate.categories[Category.QUAL]
    tally = CertifiedTally(
        planned=9, corroborated=8, falsified=1, skipped=0, timeout=0, crashed=0, missing=0
    )
    changed = {
        **bundle.certificate.categories,
        Category.QUAL: msgspec.structs.replace(quality, tally=tally),
    }
    predicate = statement_of(with_certificate(bundle, categories=changed)).predicate
    assert (predicate.result, predicate.warned_tests) == ("PASSED", ("category:QUAL",))


@pytest.mark.parametrize("untested", [{"skipped": 1}, {"missing": 1}])
def test_what_was_not_tested_in_full_is_in_no_list(
    tmp_path: Path, untested: dict[str, int]
) -> None:
    bundle = made_bundle(tmp_path / "b")
    quality = bundle.certificate.categories[Category.QUAL]
    none = dict.fromkeys(("falsified", "skipped", "timeout", "crashed", "missing"), 0)
    tally = CertifiedTally(planned=9, corroborated=8, **{**none, **untested})
    changed = {Category.QUAL: msgspec.structs.replace(quality, tally=tally)}
    predicate = statement_of(with_certificate(bundle, categories=changed)).predicate
    assert all(name.startswith("gateway:") for name in predicate.passed_tests)
    assert (predicate.warned_tests, predicate.failed_tests) == ((), ())


def test_gates_of_the_playbook_are_tests_by_their_names(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    gates = tuple(
        CertifiedGate(
            id=f"F-OWN-{outcome}",
            category=Category.QUAL,
            severity=Severity.P1,
            description="",
            condition="true",
            outcome=outcome,
            reason="because",
        )
        for outcome in (Outcome.CORROBORATED, Outcome.FALSIFIED, Outcome.SKIPPED)
    )
    predicate = statement_of(with_certificate(bundle, gates=gates)).predicate
    assert predicate.passed_tests[-1] == "gate:F-OWN-Corroborated"
    assert predicate.warned_tests == ("gate:F-OWN-Falsified",)


def test_without_a_verdict_nothing_is_stated(tmp_path: Path) -> None:
    outcomes = {scenario_id("001"): Outcome.SKIPPED}
    bundle = made_bundle(tmp_path / "b", outcomes=outcomes, cause="infrastructure:no-memory")
    assert bundle.certificate.status == "INCONCLUSIVE"
    with pytest.raises(InconclusiveError, match="nothing is attested"):
        statement_of(bundle)


def test_checksums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    (bundle.directory / "gguf-q8_0").mkdir()
    (bundle.directory / "gguf-q8_0" / "model.gguf").write_bytes(b"weights")
    digest = sha256_file(bundle.directory / "gguf-q8_0" / "model.gguf")
    bundle = with_files(bundle, {"gguf-q8_0": {"model.gguf": digest}})
    sums = tmp_path / "subjects.sha256"
    sums.write_bytes(checksums_of(statement_of(bundle)))
    command = ["sha256sum", "--check", "--strict", "--status", str(sums)]
    assert subprocess.run(command, cwd=bundle.directory, check=False).returncode == 0
    (bundle.directory / "gguf-q8_0" / "model.gguf").write_bytes(b"other weights")
    assert subprocess.run(command, cwd=bundle.directory, check=False).returncode == 1


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2K", "a\u202egpj", "a\rb", "a\0b"])
def test_a_file_name_that_is_not_one_line_is_refused(tmp_path: Path, name: str) -> None:
    bundle = made_bundle(tmp_path / "b")
    with pytest.raises(InputError, match="not one line"):
        statement_of(with_files(bundle, {"apr": {name: "1" * 64}}))


def test_more_files_than_github_takes_are_refused(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    names = {f"model-{n:05}.safetensors": "1" * 64 for n in range(1021)}
    assert len(statement_of(with_files(bundle, {"safetensors": names})).subject) == 1024
    names["one-more"] = "1" * 64
    with pytest.raises(InputError, match="1022 files"):
        statement_of(with_files(bundle, {"safetensors": names}))


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    (bundle.directory / "plan.json").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        statement_of(bundle)
