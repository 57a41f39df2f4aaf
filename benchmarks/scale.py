"""Measure planning, merging and scoring at scale, and write the table of docs/performance.md.

    python benchmarks/scale.py [--models 1 10 100] [--scenarios 100] [--write] [--keep DIR]

For each number of models: that many playbooks of 3 modalities × 2 backends × 3 formats with as many
prompts a cell, planned into at most 256 shards; one evidence file a shard, whose outputs, logs and
reasons are as long as those of the existing tool's evidence (quantiles below, of 876 records); then
`aprqa merge` as a whole process, against decoding the same bytes with msgspec and doing nothing
with them. Outcomes are made up: what is measured is our own machinery.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from aprqa_ci.certification.bundle import read_bundle, read_plan
from aprqa_ci.evidence.building import RecordContext, record_of
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord
from aprqa_ci.evidence.shards import EVIDENCE_NAME, MANIFEST_NAME, ShardManifest
from aprqa_ci.execution.result import EngineRun, Metrics, ScenarioResult
from aprqa_ci.files import sha256_bytes
from aprqa_ci.planning.plan import Plan, digest_for_playbook, plan_digest
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import DEFAULT_POLICY, load_policy
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- SCALE_START -->", "<!-- SCALE_END -->"
SHARDS = 256
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOST = EvidenceHost(hostname="box", os="linux", cpu="x", gpu=None, apr_version="aprqa-ci/0")
ENGINE = EngineRun(engine="made-up", version="0", device="cpu", invocation="made-up model.gguf")
SHARES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99)
OUTPUT = (0, 0, 222, 1012, 3363, 32537)
LOG = (0, 0, 0, 218, 806, 2267)
REASON = (11, 136, 140, 159, 461, 1884)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured with one number of models."""

    models: int
    records: int
    megabytes: float
    plan_seconds: float
    plan_mb: float
    decode_seconds: float
    merge_seconds: float
    merge_mb: float
    score_seconds: float
    """Of the first model alone."""
    scored: int
    """Records of the first model."""


def lengths(source: random.Random, quantiles: Sequence[int]) -> int:
    """Draw a length: that of the quantile below."""
    return quantiles[bisect_right(SHARES, source.random()) - 1]


def write_playbooks(folder: Path, models: int, scenarios: int) -> None:
    folder.mkdir()
    for number in range(models):
        name = f"m{number:04d}-mvp"
        data = {
            "name": name,
            "version": "1.0.0",
            "model": {
                "hf_repo": f"org/m{number:04d}-1B",
                "size_category": "small",
                "formats": ["safetensors", "apr", "gguf"],
            },
            "test_matrix": {"scenario_count": scenarios, "seed": number},
            "failure_policy": "collect_all",
        }
        (folder / f"{name}.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")


def write_shards(folder: Path, plan: Plan) -> tuple[int, int]:
    """Write the evidence of every shard; return records and bytes."""
    source = random.Random(0)
    words = " ".join(f"word{n}" for n in range(10_000))
    contexts = {
        entry.name: RecordContext(
            run_id="run-1",
            plan_digest=digest_for_playbook(plan, entry.name),
            hf_repo=entry.model.hf_repo,
            host=HOST,
        )
        for entry in plan.playbooks
    }
    cells = {cell.id: cell for cell in plan.cells}
    digest, count, size = plan_digest(plan), 0, 0
    for shard in plan.shards:
        records = []
        for name in shard.cells:
            cell = cells[name]
            for scenario in cell.scenarios:
                failed = source.random() < 0.02 and scenario.prompt is not None
                result = ScenarioResult(
                    cell=cell,
                    scenario=scenario,
                    outcome=Outcome.FALSIFIED if failed else Outcome.CORROBORATED,
                    reason=words[: lengths(source, REASON)],
                    output=words[: lengths(source, OUTPUT)],
                    stderr=words[: lengths(source, LOG)] or None,
                    metrics=Metrics(tokens_per_second=40.0, total_tokens=8, duration_ms=200.0),
                    engine=ENGINE,
                    finished_at=NOON + timedelta(milliseconds=count),
                )
                identifier = UUID(int=source.getrandbits(128))
                records.append(record_of(result, contexts[cell.playbook], identifier=identifier))
                count += 1
        data = pretty_json(records)
        size += len(data)
        directory = folder / shard.id
        directory.mkdir(parents=True)
        (directory / EVIDENCE_NAME).write_bytes(data)
        manifest = ShardManifest(
            plan_digest=digest,
            shard=shard.id,
            attempt=1,
            started="2026-01-02T12:00:00Z",
            finished="2026-01-02T13:00:00Z",
            host=HOST,
            exit=0,
            files={EVIDENCE_NAME: sha256_bytes(data)},
            model_digests={},
        )
        (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return count, size


def timed(*arguments: str) -> tuple[float, float]:
    """Run aprqa as a whole process; return seconds and peak megabytes."""
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "aprqa_ci", *arguments],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1, 3}:
        sys.exit(f"aprqa {arguments[0]} ended with {process.returncode}")
    return time.perf_counter() - before, usage.ru_maxrss / 1024


def measure(models: int, scenarios: int, folder: Path) -> Row:
    write_playbooks(folder / "playbooks", models, scenarios)
    plan_path = folder / "plan.json"
    planned = timed(
        "plan", str(folder / "playbooks"), "--max-shards", str(SHARDS), "-o", str(plan_path)
    )
    plan = read_plan(plan_path)
    records, size = write_shards(folder / "shards", plan)
    del plan
    shards = sorted((folder / "shards").iterdir())
    before = time.perf_counter()
    for shard in shards:
        msgspec.json.decode((shard / EVIDENCE_NAME).read_bytes(), type=list[EvidenceRecord])
    decoded = time.perf_counter() - before
    merged = timed(
        "merge", *map(str, shards), "--plan", str(plan_path), "-o", str(folder / "merged")
    )
    bundle = read_bundle(folder / "merged" / "m0000-mvp")
    policy = load_policy(DEFAULT_POLICY)
    before = time.perf_counter()
    score_evidence(bundle.records, plan=bundle.plan, playbook="m0000-mvp", policy=policy)
    scored = time.perf_counter() - before
    return Row(
        models=models,
        records=records,
        megabytes=size / 1e6,
        plan_seconds=planned[0],
        plan_mb=planned[1],
        decode_seconds=decoded,
        merge_seconds=merged[0],
        merge_mb=merged[1],
        score_seconds=scored,
        scored=len(bundle.records),
    )


def table(rows: Sequence[Row], scenarios: int) -> str:
    lines = [
        f"{sys.platform}, {os.cpu_count()} processors; {scenarios} prompts in each of 18 cells",
        "",
        "| models | records | evidence | plan | peak | decode | merge | peak | ratio | score |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.models} | {row.records:,} | {row.megabytes:,.0f} MB | {row.plan_seconds:.1f} s"
        f" | {row.plan_mb:.0f} MB | {row.decode_seconds:.2f} s"
        f" | {row.merge_seconds:.1f} s, {row.megabytes / row.merge_seconds:.0f} MB/s"
        f" | {row.merge_mb:.0f} MB | {row.merge_seconds / row.decode_seconds:.1f}"
        f" | {row.score_seconds:.2f} s for {row.scored:,} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure planning and merging at scale.")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--scenarios", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("--keep", type=Path, help="leave the files in this new folder")
    given = parser.parse_args()
    rows = []
    for models in given.models:
        if given.keep is not None:
            folder = given.keep / str(models)
            folder.mkdir(parents=True)
            rows.append(measure(models, given.scenarios, folder))
            continue
        with tempfile.TemporaryDirectory() as name:
            rows.append(measure(models, given.scenarios, Path(name)))
    text = table(rows, given.scenarios)
    print(text)
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        head, _, rest = page.partition(START)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{START}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
