"""Bundles that real runs left, checked again; and what was done to them since."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings

from aprqa_ci import certify
from aprqa_ci.certification.bundle import EVIDENCE_NAME, write_bundle
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.steps import make_plan, merge_shards, run_shard
from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.certification.verifying import verify_bundle
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.shard_list import SHARDS_NAME, ShardList
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.wire import read_wire
from tests.edits import edited_evidence

if TYPE_CHECKING:
    from tests.integration.certification.conftest import Project


def test_a_real_bundle_holds_and_no_record_of_it_can_be_changed(
    project: "Project", world: Surroundings, tmp_path: Path, tiny_llama: Path
) -> None:
    out = tmp_path / "certifications"
    (bundle,) = certify([project()], out=out, surroundings=world)
    found, _ = verify_bundle(bundle.directory, models=tiny_llama)
    assert found.broken == ()
    assert [str(each) for each in found.unchecked] == [
        "shards: the evidence was not merged of shards"
    ]
    assert set(found.held) > {Link.MODELS, Link.RECORDS, Link.CERTIFICATE, Link.REPORTS}
    path = bundle.directory / EVIDENCE_NAME
    whole = path.read_bytes()
    records = json.loads(whole)

    @settings(
        deadline=None,
        max_examples=40,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(edited_evidence(records))
    def one_change_is_seen(change: tuple[str, list[dict[str, Any]]]) -> None:
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


def test_no_record_of_merged_shards_can_be_changed_even_with_the_certificate_made_anew(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    options = PlanOptions(shards=2)
    plan = make_plan([project()], options=options, surroundings=world)
    directories = []
    for shard in plan.shards:
        directories.append(tmp_path / "shards" / shard.id)
        run_shard(plan, shard.id, out=directories[-1], surroundings=world)
    _, (bundle,) = merge_shards(directories, plan, out=tmp_path / "merged")
    found, _ = verify_bundle(bundle.directory)
    assert found.broken == ()
    assert Link.SHARDS in found.held
    records = json.loads((bundle.directory / EVIDENCE_NAME).read_bytes())
    listed = read_wire(bundle.directory / SHARDS_NAME, ShardList)

    @settings(
        deadline=None,
        max_examples=40,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(edited_evidence(records))
    def one_change_is_seen(change: tuple[str, list[dict[str, Any]]]) -> None:
        kind, made = change
        forged = parse_evidence(json.dumps(made).encode(), source="forged")
        files = bundle.certificate.model.files
        write_bundle(tmp_path / "forged", bundle.plan, forged, model_digests=files, shards=listed)
        seen, _ = verify_bundle(tmp_path / "forged")
        links = {each.link for each in seen.broken}
        # Shards end in any order, so only who made the file can say that it was in another one.
        assert (Link.SHARDS in links) == (kind != "reordered"), kind
        assert Link.EVIDENCE not in links

    one_change_is_seen()
