"""Measure planning, merging and scoring at scale, and write the table of docs/performance.md.

    python benchmarks/scale.py [--sizes 1x1000 10x100 100x100] [--write] [--keep DIR]

A size is a number of models and of prompts a cell; 100x1000 makes 1.8 million records, and takes
10 GB of disk. For each: that many playbooks of 3 modalities × 2 backends × 3 formats, planned into
at most 256 shards; one evidence file a shard, whose outputs, logs and reasons are as long as those
of the existing tool's evidence (quantiles below, of 876 records); then `aprqa merge` as a whole
program, against decoding the same bytes with msgspec and doing nothing with them. Memory is that of
all its processes together, what they share counted once. Outcomes are made up: what is measured is
our own machinery.
"""

import argparse
import gc
import json
import os
import random
import re
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
from statistics import median
from uuid import UUID

import msgspec

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.evidence.building import RecordContext, record_of
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord
from aprqa_ci.evidence.shards import EVIDENCE_NAME, MANIFEST_NAME, ShardManifest
from aprqa_ci.execution.result import EngineRun, Metrics, ScenarioResult
from aprqa_ci.files import sha256_bytes
from aprqa_ci.planning.plan import digest_for_playbook
from aprqa_ci.planning.plan_file import AnyPlan, open_plan
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
    """What was measured with one size."""

    models: int
    scenarios: int
    """Prompts in each cell."""
    records: int
    megabytes: float
    plan_seconds: float
    plan_mb: float
    decode_seconds: float
    merge_seconds: float
    merge_cpu: float
    """Seconds of processor time, of all processes."""
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


def write_shards(folder: Path, plan: AnyPlan) -> tuple[int, int]:
    """Write the evidence of every shard; return records and bytes."""
    source = random.Random(0)
    words = " ".join(f"word{n}" for n in range(10_000))
    contexts = {
        entry.name: RecordContext(
            run_id="run-1",
            plan_digest=digest_for_playbook(plan.for_playbook(entry.name), entry.name),
            hf_repo=entry.model.hf_repo,
            host=HOST,
        )
        for entry in plan.playbooks
    }
    digest, count, size = plan.digest(), 0, 0
    for shard in plan.shards:
        records = []
        for cell in plan.cells_named(shard.cells):
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


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a program took."""

    seconds: float
    cpu: float
    megabytes: float


def timed(*arguments: str) -> Taken:
    """Run aprqa as a whole program, with all processes that it starts."""
    before, used = time.perf_counter(), children_cpu()
    process = subprocess.Popen(
        [sys.executable, "-m", "aprqa_ci", *arguments],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    most = 0
    while process.poll() is None:
        most = max(most, sum(memory_of(each) for each in with_descendants(process.pid)))
        time.sleep(0.1)
    if process.returncode not in {0, 1, 3}:
        sys.exit(f"aprqa {arguments[0]} ended with {process.returncode}")
    return Taken(
        seconds=time.perf_counter() - before,
        cpu=children_cpu() - used,
        megabytes=most / 1024,
    )


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def with_descendants(process: int) -> list[int]:
    found = [process]
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = thread.read_text().split()
        except OSError:
            continue
        for child in children:
            found += with_descendants(int(child))
    return found


def memory_of(process: int) -> int:
    """Return its memory in KiB, of what it shares its share."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +([0-9]+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def measure(models: int, scenarios: int, folder: Path) -> Row:
    write_playbooks(folder / "playbooks", models, scenarios)
    plan_path = folder / "plan.json"
    planned = timed(
        "plan", str(folder / "playbooks"), "--max-shards", str(SHARDS), "-o", str(plan_path)
    )
    records, size = write_shards(folder / "shards", open_plan(plan_path))
    gc.collect()
    shards = sorted((folder / "shards").iterdir())
    before = time.perf_counter()
    for shard in shards:
        msgspec.json.decode((shard / EVIDENCE_NAME).read_bytes(), type=list[EvidenceRecord])
    decoded = time.perf_counter() - before
    merged = timed(
        "merge", *map(str, shards), "--plan", str(plan_path), "-o", str(folder / "merged")
    )
    seconds, scored = score_seconds(folder / "merged" / "m0000-mvp")
    return Row(
        models=models,
        scenarios=scenarios,
        records=records,
        megabytes=size / 1e6,
        plan_seconds=planned.seconds,
        plan_mb=planned.megabytes,
        decode_seconds=decoded,
        merge_seconds=merged.seconds,
        merge_cpu=merged.cpu,
        merge_mb=merged.megabytes,
        score_seconds=seconds,
        scored=scored,
    )


def score_seconds(directory: Path) -> tuple[float, int]:
    """Return the median time of scoring a bundle five times, and how many records it has."""
    bundle = read_bundle(directory)
    policy = load_policy(DEFAULT_POLICY)
    taken = []
    for _ in range(5):
        before = time.perf_counter()
        score_evidence(bundle.records, plan=bundle.plan, playbook=directory.name, policy=policy)
        taken.append(time.perf_counter() - before)
    return median(taken), len(bundle.records)


def table(rows: Sequence[Row]) -> str:
    lines = [
        f"{sys.platform}, {os.cpu_count()} processors; 18 cells a model",
        "",
        "| size | records | evidence | plan | peak | decode | merge | cpu | peak | ratio | score |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.models} × {row.scenarios} | {row.records:,} | {row.megabytes:,.0f} MB"
        f" | {row.plan_seconds:.1f} s | {row.plan_mb:.0f} MB | {row.decode_seconds:.2f} s"
        f" | {row.merge_seconds:.1f} s, {row.megabytes / row.merge_seconds:.0f} MB/s"
        f" | {row.merge_cpu:.1f} s | {row.merge_mb:.0f} MB"
        f" | {row.merge_seconds / row.decode_seconds:.1f}"
        f" | {row.score_seconds:.2f} s for {row.scored:,} |"
        for row in rows
    ]
    return "\n".join(lines)


def size_of(text: str) -> tuple[int, int]:
    models, _, scenarios = text.partition("x")
    return int(models), int(scenarios)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure planning and merging at scale.")
    parser.add_argument(
        "--sizes", type=size_of, nargs="+", default=[(1, 1000), (10, 100), (100, 100)]
    )
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("--keep", type=Path, help="leave the files in this new folder")
    given = parser.parse_args()
    rows = []
    for models, scenarios in given.sizes:
        if given.keep is not None:
            folder = given.keep / f"{models}x{scenarios}"
            folder.mkdir(parents=True)
            rows.append(measure(models, scenarios, folder))
            continue
        with tempfile.TemporaryDirectory() as name:
            rows.append(measure(models, scenarios, Path(name)))
    text = table(rows)
    print(text)
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        head, _, rest = page.partition(START)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{START}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
