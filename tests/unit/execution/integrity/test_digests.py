import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.integrity.digests import model_paths
from aprqa_ci.execution.integrity.finding import FindingState
from aprqa_ci.execution.integrity.inspection import inspect_model
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

DIGEST = "G0-DIGEST-001"


def cached(tmp_path: Path, files: dict[str, tuple[bytes, str]]) -> ModelFiles:
    """A snapshot of the hub's cache: each file with its bytes and the name of its blob."""
    snapshot = tmp_path / "models--o--n" / "snapshots" / ("a" * 40)
    blobs = tmp_path / "models--o--n" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name, (data, blob) in files.items():
        (blobs / blob).write_bytes(data)
        (snapshot / name).symlink_to(blobs / blob)
    return ModelFiles(
        format=ModelFormat.APR,
        weights=(snapshot / "model.apr",),
        directory=snapshot,
        source="huggingface-cache",
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def test_every_file_is_digested_and_compared_with_its_blob(tmp_path: Path, look: Any) -> None:
    weights, config = b"w" * 3_000_000, b"{}"
    model = cached(
        tmp_path,
        {"model.apr": (weights, sha256(weights)), "config.json": (config, git_id(config))},
    )
    seen = inspect_model(model, ground_truth=None, expected={})
    assert seen.digests == {"model.apr": sha256(weights), "config.json": sha256(config)}
    found = look(model)[DIGEST]
    assert found.state is FindingState.CORROBORATED
    assert found.reason == (
        "2 files read whole; equal to the cache's digest: model.apr, config.json"
    )
    assert sha256(config) in found.details


@pytest.mark.parametrize(
    "files",
    [
        {"model.apr": (b"changed", sha256(b"original"))},
        {"model.apr": (b"same", sha256(b"same")), "config.json": (b"changed", git_id(b"{}"))},
    ],
)
def test_a_file_that_is_not_what_the_cache_names_it_by_is_falsified(
    tmp_path: Path, look: Any, files: dict[str, tuple[bytes, str]]
) -> None:
    found = look(cached(tmp_path, files))[DIGEST]
    assert found.state is FindingState.FALSIFIED
    assert "and the cache names it" in found.reason


def test_a_blob_of_another_name_is_not_compared(tmp_path: Path, look: Any) -> None:
    found = look(cached(tmp_path, {"model.apr": (b"x", "etag-123")}))[DIGEST]
    assert found.state is FindingState.CORROBORATED
    assert found.reason == "1 file read whole; none to compare"


def test_a_file_that_cannot_be_read_is_the_machine_s_trouble(tmp_path: Path, look: Any) -> None:
    model = cached(tmp_path, {"model.apr": (b"x", "etag")})
    model.weights[0].unlink()
    found = look(model)[DIGEST]
    assert found.state is FindingState.SKIPPED
    assert "model.apr cannot be read" in found.reason


def test_files_have_names_below_the_directory(tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    for name in ("gguf/m.gguf", "tokenizer.json", "notes.txt", "model.safetensors.index.json"):
        (tmp_path / name).write_bytes(b"x")
    model = ModelFiles(
        format=ModelFormat.GGUF,
        weights=(tmp_path / "gguf" / "m.gguf",),
        directory=tmp_path,
        source="local_path",
    )
    assert set(model_paths(model)) == {
        "gguf/m.gguf",
        "tokenizer.json",
        "model.safetensors.index.json",
    }
    elsewhere = dataclasses.replace(model, directory=tmp_path / "gguf" / "none")
    assert set(model_paths(elsewhere)) == {"m.gguf"}
