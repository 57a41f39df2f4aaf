"""From SafeTensors alone to the certificate of a GGUF variant, which says what it is of."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci import certify
from aprqa_ci.certification.bundle import EVIDENCE_NAME, read_bundle
from aprqa_ci.certification.model_digests import check_models, check_named
from aprqa_ci.certification.standing import Earlier, standing_records
from aprqa_ci.certification.steps import Surroundings, make_plan
from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.execution.derived_files import source_digest
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.identifiers import sources_in
from aprqa_ci.vocabulary import GatewayState, Status
from tests.integration.certification.conftest import BUNDLED

if TYPE_CHECKING:
    from tests.integration.certification.conftest import Project


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The bundled model, of which only the SafeTensors are there."""
    return shutil.copytree(BUNDLED, tmp_path / "m", ignore=shutil.ignore_patterns("*.gguf"))


def gguf(bare: Path, quantization: str) -> dict[str, object]:
    return {"local_path": str(bare), "formats": ["gguf"], "quantizations": [quantization]}


def test_the_certificate_says_that_the_file_was_made_here(
    project: "Project", world: Surroundings, tmp_path: Path, bare: Path
) -> None:
    playbooks = project("tiny-smoke", model=gguf(bare, "q8_0"))
    (bundle,) = certify([playbooks], out=tmp_path / "out", surroundings=world)
    certificate = bundle.certificate
    assert certificate.status is Status.PROVISIONAL, certificate.obstacles
    assert {each.state for each in certificate.gateways.values()} == {GatewayState.PASSED}
    assert read_bundle(bundle.directory) == bundle
    derived = certificate.model.derived
    assert derived
    ((variant, made),) = derived.items()
    assert (variant, made.source) == ("gguf-q8_0", "safetensors")
    assert made.tool.startswith("aprqa-ci/")
    assert certificate.model.sources == {}
    told = certificate.model.files["derived gguf-q8_0 of safetensors"]
    assert made.source_digest == source_digest(sources_in(told))
    assert certificate.model.files[variant] == {"model.gguf": told["model.gguf"]}
    for record in bundle.records:
        assert record.meta(MetadataKey.DERIVED_FROM) == "safetensors"
        assert record.meta(MetadataKey.DERIVED_DIGEST) == made.source_digest
    report = (bundle.directory / "report.md").read_text(encoding="utf-8")
    assert "our conversion, not a published file" in report
    assert made.source_digest in report

    # What was made need not be kept; what it was made of must be the same.
    files = certificate.model.files
    assert list(check_models(files, bare)) == []
    assert check_named(files, bundle.records)[0] == ()
    other = msgspec.structs.replace(certificate.model).files | {
        "derived gguf-q8_0 of safetensors": told | {"from/model.safetensors": "0" * 64}
    }
    assert check_named(other, bundle.records)[0] == (
        "derived gguf-q8_0 of safetensors: the source is not the one that the evidence names",
    )
    (bare / "model.safetensors").write_bytes(b"other")
    (problem,) = check_models(files, bare)
    assert "not the one that was tested" in problem.what
    assert (bundle.directory / EVIDENCE_NAME).exists()


def test_answers_of_a_made_file_stand_while_its_source_is_the_same(
    project: "Project", world: Surroundings, tmp_path: Path, bare: Path
) -> None:
    playbooks = project("tiny-quick", model=gguf(bare, "q4_0"))
    (bundle,) = certify([playbooks], out=tmp_path / "out", surroundings=world)
    assert bundle.certificate.status is Status.PROVISIONAL, bundle.certificate.obstacles
    plan = make_plan([playbooks], options=PlanOptions(), surroundings=world)

    def stands() -> int:
        return len(standing_records(Earlier.of(bundle), plan, world.run_environment(plan)))

    assert stands() > 5
    config = bare / "tokenizer_config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text + "\n", encoding="utf-8")
    assert stands() == 0
    config.write_text(text, encoding="utf-8")
    assert stands() > 5
    shutil.rmtree(world.home / ".cache" / "aprqa" / "derived")
    assert stands() == 0
