from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from aprqa_ci.certification import model_digests
from aprqa_ci.certification.model_digests import check_models, check_named
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_plan
from tests.records import made_records

WEIGHTS, OTHER = sha256(b"weights").hexdigest(), sha256(b"other").hexdigest()
NAMED = {"gguf-q8_0": {"model.gguf": WEIGHTS}, "safetensors": {"nested/model.gguf": OTHER}}


def listed(text: str, outcome: Outcome = Outcome.CORROBORATED) -> list[EvidenceRecord]:
    """Evidence in which the files of the GGUF variant are listed so."""
    return [
        replace(record, output=text, outcome=outcome)
        for record in made_records(made_plan())
        if record.scenario.id.endswith("q8_0#G0-DIGEST-001") and record.scenario.format == "gguf"
    ]


def problems(root: Path) -> list[str]:
    return [str(each) for each in check_models(NAMED, root)]


def test_files_are_found_at_any_depth_and_told_apart_by_their_digest(tmp_path: Path) -> None:
    (tmp_path / "a" / "nested").mkdir(parents=True)
    (tmp_path / "a" / "nested" / "model.gguf").write_bytes(b"other")
    assert [each.partition(": ")[2] for each in problems(tmp_path)] == [
        (
            "gguf-q8_0: the file is not the one that was tested "
            f"(SHA-256 {WEIGHTS[:12]}…, this one {OTHER[:12]}…)"
        )
    ]
    (tmp_path / "model.gguf").write_bytes(b"weights")
    assert problems(tmp_path) == []
    (tmp_path / "a" / "nested" / "model.gguf").unlink()
    assert "nested/model.gguf is not there" in problems(tmp_path)[0]


def test_a_folder_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    monkeypatch.setattr(model_digests, "_MOST_FILES", 2)
    with pytest.raises(InputError, match="more than 2 files"):
        problems(tmp_path)


def test_the_certificate_names_the_files_that_were_read() -> None:
    assert check_named(NAMED, listed(f"{WEIGHTS}  model.gguf")) == ((), ("safetensors",))


@pytest.mark.parametrize(
    "text",
    [
        f"{OTHER}  model.gguf",
        f"{WEIGHTS}  model.gguf\n{OTHER}  config.json",
        f"{WEIGHTS}  another.gguf",
    ],
)
def test_other_files_are_a_contradiction(text: str) -> None:
    wrong, _ = check_named(NAMED, listed(text))
    assert wrong
    assert all(each.startswith("gguf-q8_0: ") for each in wrong)


def test_what_was_cut_off_or_cannot_be_printed_proves_nothing() -> None:
    long = f"{WEIGHTS}  model.gguf\n{OTHER}  ".ljust(2000, "x")
    assert check_named(NAMED, listed(long))[0] == ()
    odd = f"{WEIGHTS}  model.gguf\n{OTHER}  \N{REPLACEMENT CHARACTER}.json"
    assert check_named(NAMED, listed(odd))[0] == ()
    assert check_named({"gguf-q8_0": {"model.gguf": WEIGHTS}}, [])[1] == ("gguf-q8_0",)
    skipped = listed(f"{OTHER}  model.gguf", Outcome.SKIPPED)
    assert check_named(NAMED, skipped)[0] == ()
