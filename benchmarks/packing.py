"""Compare ways to pack cells into shards, and write the table of docs/performance.md.

    python benchmarks/packing.py [--write]

The cells are those of the corpus of playbooks ($APRQA_CORPUS, or beside the repository), else of
the playbooks here; their durations are the estimates. The ways do not depend on the machine: the
same playbooks give the same table.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zlib import crc32

from aprqa_ci.certification.steps import Surroundings, make_plan
from aprqa_ci.planning.balancing import Item, Setup, seconds_of
from aprqa_ci.planning.durations import cell_seconds, setup_seconds
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.model_size import size_of
from aprqa_ci.planning.packing import lower_bound, pack_items
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.shards import packing_facts
from aprqa_ci.vocabulary import Backend

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- PACKING_START -->", "<!-- PACKING_END -->"
SHARDS = (16, 64, 256)
Packed = Sequence[Sequence[Item]]
Strategy = Callable[[Sequence[Item], Setup, int], Packed]


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one strategy did with one number of shards."""

    strategy: str
    backend: Backend
    shards: int
    ratio: float
    """The longest shard over the lower bound."""
    fetches: int
    """How often a model's files are fetched."""
    hours: float
    """The work of all shards, fetching included."""


def ours(items: Sequence[Item], setup: Setup, bins: int) -> Packed:
    return pack_items(items, setup, bins=bins, slack=packing_facts().slack)


def longest_first(items: Sequence[Item], setup: Setup, bins: int) -> Packed:
    packed: list[list[Item]] = [[] for _ in range(bins)]
    loads = [0.0] * bins
    for item in sorted(items, key=lambda each: (-each.seconds, each.name)):
        index = loads.index(min(loads))
        packed[index].append(item)
        loads[index] = seconds_of(packed[index], setup)
    return packed


def contiguous(items: Sequence[Item], _: Setup, bins: int) -> Packed:
    size, more = divmod(len(items), bins)
    starts = [number * size + min(number, more) for number in range(bins + 1)]
    return [items[start:end] for start, end in pairwise(starts)]


def round_robin(items: Sequence[Item], _: Setup, bins: int) -> Packed:
    return [items[number::bins] for number in range(bins)]


def by_hash(items: Sequence[Item], _: Setup, bins: int) -> Packed:
    packed: list[list[Item]] = [[] for _ in range(bins)]
    for item in items:
        packed[crc32(item.name.encode()) % bins].append(item)
    return packed


STRATEGIES: dict[str, Strategy] = {
    "by model, longest first, evened": ours,
    "longest first, cell by cell": longest_first,
    "contiguous split": contiguous,
    "round robin": round_robin,
    "hash split": by_hash,
}


def cells_of(plan: Plan, backend: Backend) -> tuple[list[Item], dict[str, float]]:
    models = {playbook.name: playbook.model for playbook in plan.playbooks}
    items, setup = [], {}
    for cell in plan.cells:
        if cell.backend is not backend:
            continue
        model = models[cell.playbook]
        group = f"{model.hf_repo} {cell.format} {cell.quantization}"
        setup[group] = setup_seconds(model, cell.format, cell.quantization)
        seconds = cell_seconds(cell, size_of(model), runner="", speed=1.0, timings={})
        items.append(Item(name=cell.id, seconds=seconds, group=group))
    return items, setup


def measure(plan: Plan) -> tuple[list[Row], float]:
    rows, slowest = [], 0.0
    for backend in Backend:
        items, setup = cells_of(plan, backend)
        for bins in SHARDS:
            if len(items) < bins:
                continue
            least = lower_bound(items, setup, bins)
            for name, strategy in STRATEGIES.items():
                started = time.perf_counter()
                packed = strategy(items, setup, bins)
                if strategy is ours:
                    slowest = max(slowest, time.perf_counter() - started)
                loads = [seconds_of(each, setup) for each in packed]
                rows.append(
                    Row(
                        strategy=name,
                        backend=backend,
                        shards=bins,
                        ratio=max(loads) / least,
                        fetches=sum(len({item.group for item in each}) for each in packed),
                        hours=sum(loads) / 3600,
                    )
                )
    return rows, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table of the page")
    options = parser.parse_args()
    corpus = Path(os.environ.get("APRQA_CORPUS", ROOT.parent / "shared" / "corpus"))
    folder = corpus / "playbooks" / "models"
    if not folder.is_dir():
        folder = ROOT / "playbooks" / "models"
    plan = make_plan([folder], options=PlanOptions(tier="mvp"), surroundings=Surroundings())
    rows, slowest = measure(plan)
    groups = {backend: len(cells_of(plan, backend)[1]) for backend in Backend}
    lines = [
        f"{len(plan.playbooks)} playbooks at mvp, {len(plan.cells)} cells; "
        + ", ".join(f"{count} model files on {backend}" for backend, count in groups.items())
        + f". Packing takes less than {max(0.1, round(slowest + 0.05, 1)):g} s.",
        "",
        "| backend | shards | way | longest shard over the lower bound | fetches | hours in all |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.backend} | {row.shards} | {row.strategy} | {row.ratio:.2f} | {row.fetches} "
        f"| {row.hours:.1f} |"
        for row in rows
    ]
    table = "\n".join(lines)
    print(table)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        head, _, rest = page.partition(START)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{START}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
