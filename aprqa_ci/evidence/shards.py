"""What a shard leaves behind: its evidence, and a manifest that says what the files are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.journal import ModelDigests
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord
from aprqa_ci.files import path_below, read_bounded, sha256_bytes
from aprqa_ci.wire import MAX_WIRE_BYTES, WireModel, read_wire

__all__ = [
    "EVIDENCE_NAME",
    "MANIFEST_NAME",
    "ShardEvidence",
    "ShardFiles",
    "ShardManifest",
    "read_manifest",
    "read_records",
    "read_shard",
]

MANIFEST_NAME = "manifest.json"
EVIDENCE_NAME = "evidence.json"


class ShardManifest(WireModel, frozen=True, kw_only=True):
    """What a shard says of itself, beside its evidence."""

    schema: Literal["aprqa-shard/1"] = "aprqa-shard/1"
    plan_digest: str
    """Of the whole plan, shards included."""
    shard: str
    attempt: int
    started: str
    """RFC 3339, UTC."""
    finished: str
    host: EvidenceHost
    runner: str | None = None
    """The runner class that the plan has for the shard; absent when it was planned for none."""
    exit: int
    """0 when every scenario of the shard has a record."""
    files: dict[str, str]
    """SHA-256 of each file of the shard by name."""
    model_digests: ModelDigests
    records: dict[str, str] = msgspec.field(default_factory=dict)
    """SHA-256 over the records of each cell and attempt, see ``cell_digests``; empty where an
    earlier version wrote it."""


@dataclass(frozen=True, kw_only=True)
class ShardFiles:
    """One attempt at a shard: where its files lie, and what it says of itself."""

    directory: Path
    manifest: ShardManifest

    @property
    def name(self) -> str:
        """The shard and its attempt, as ``s001 a1``."""
        return f"{self.manifest.shard} a{self.manifest.attempt}"

    @property
    def rank(self) -> tuple[bool, int]:
        """Grows with what the attempt is worth: complete before not, then newer before older."""
        return self.manifest.exit == 0, self.manifest.attempt


@dataclass(frozen=True, kw_only=True)
class ShardEvidence(ShardFiles):
    """One shard's manifest and records."""

    records: tuple[EvidenceRecord, ...]


def read_shard(directory: Path) -> ShardEvidence:
    """Read one shard's directory and check its files against its manifest.

    Raises:
        InputError: something is missing, unreadable, or not what the manifest says.
    """
    files = read_manifest(directory)
    return ShardEvidence(directory=directory, manifest=files.manifest, records=read_records(files))


def read_manifest(directory: Path) -> ShardFiles:
    """Read what a shard says of itself.

    Raises:
        InputError: it is missing or unreadable.
    """
    if not (directory / MANIFEST_NAME).exists():
        what = f"there is no shard here: no {MANIFEST_NAME}"
        raise InputError(Problem(what=what, path=directory, hint="name each shard's directory"))
    manifest = read_wire(directory / MANIFEST_NAME, ShardManifest)
    return ShardFiles(directory=directory, manifest=manifest)


def read_records(shard: ShardFiles) -> tuple[EvidenceRecord, ...]:
    """Read the records of a shard and check all its files against its manifest.

    Raises:
        InputError: a file is missing, unreadable, or not what the manifest says.
    """
    directory, problems, evidence = shard.directory, [], None
    for name, digest in shard.manifest.files.items():
        path = path_below(directory, name)
        data = read_bounded(path, MAX_WIRE_BYTES)
        found = sha256_bytes(data)
        if found != digest:
            what = f"the file is not the one that the manifest names (SHA-256 {found[:12]}…)"
            problems.append(Problem(what=what, path=path, hint="upload the shard's files again"))
        if name == EVIDENCE_NAME:
            evidence = data
    if EVIDENCE_NAME not in shard.manifest.files:
        what = f"the manifest names no {EVIDENCE_NAME}"
        problems.append(Problem(what=what, path=directory / MANIFEST_NAME))
    if problems or evidence is None:
        raise InputError(problems)
    return parse_evidence(evidence, source=directory / EVIDENCE_NAME)
