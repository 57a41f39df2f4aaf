"""Bundles that real runs left, checked again; and what was done to them since."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings

from aprqa_ci import certify
from aprqa_ci.certification.bundle import EVIDENCE_NAME
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.certification.verifying import verify_bundle
from tests.edits import edited_evidence

if TYPE_CHECKING:
    from tests.integration.certification.conftest import Project


def test_a_real_bundle_holds_and_no_record_of_it_can_be_changed(
    project: "Project", world: Surroundings, tmp_path: Path, tiny_llama: Path
) -> None:
    out = tmp_path / "certifications"
    (bundle,) = certify([project()], out=out, surroundings=world)
    found, _ = verify_bundle(bundle.directory, models=tiny_llama)
    assert (found.broken, found.unchecked) == ((), ())
    assert set(found.held) > {Link.MODELS, Link.RECORDS, Link.CERTIFICATE, Link.REPORTS}
    path = bundle.directory / EVIDENCE_NAME
    whole = path.read_bytes()
    records = json.loads(whole)

    @settings(
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(edited_evidence(records))
    def one_change_is_seen(change: tuple[str, list[dict[str, object]]]) -> None:
        kind, made = change
        path.write_bytes(json.dumps(made).encode())
        seen = verify_bundle(bundle.directory)[0]
        assert Link.EVIDENCE in {each.link for each in seen.broken}, kind

    one_change_is_seen()
    path.write_bytes(whole)
    assert verify_bundle(bundle.directory)[0].holds


def test_other_model_files_are_seen(
    project: "Project", world: Surroundings, tmp_path: Path, tiny_llama: Path
) -> None:
    (bundle,) = certify([project()], out=tmp_path / "out", surroundings=world)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    config = copy / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    found, _ = verify_bundle(bundle.directory, models=copy)
    assert [each.link for each in found.broken] == [Link.MODELS]
    assert "config.json" in found.broken[0].path
