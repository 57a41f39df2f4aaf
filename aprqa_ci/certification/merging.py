"""Merging shards into bundles, in as many processes as there are processors."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.certification.side_by_side import each_in_turn
from aprqa_ci.certification.timings import timings_of, write_timings
from aprqa_ci.evidence.merging import Attempts, merge_playbooks, settle
from aprqa_ci.evidence.shard_list import shard_lists
from aprqa_ci.evidence.shards import read_manifest, read_records
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.plan_file import AnyPlan
from aprqa_ci.reports.write import write_reports

__all__ = ["merge_each", "merge_shards"]

ToldT = TypeVar("ToldT")

_PARTS = 4
"""How many parts of the work there are for a process, so that none waits long for the others."""


def merge_shards(
    directories: Sequence[Path], plan: Plan, *, out: Path
) -> tuple[Attempts, list[Bundle]]:
    """Merge shard directories and write a bundle for each playbook of the plan.

    The directories may be of several attempts at a shard. The evidence of a bundle is what the best
    of them say, and what the others say of scenarios that did not end in one way in all of them.

    Raises:
        InputError: a shard is damaged, of another plan, or unknown.
    """
    attempts, bundles = merge_each(directories, plan, out=out, told=lambda bundle: bundle)
    return attempts, list(bundles)


def merge_each(
    directories: Sequence[Path],
    plan: AnyPlan,
    *,
    out: Path,
    told: Callable[[Bundle], ToldT],
    processes: int = 1,
) -> tuple[Attempts, Iterator[ToldT]]:
    """Do the same, with one playbook's bundle in the memory of a process at a time.

    All shards are checked before this returns, and nothing is written before the first bundle is
    asked for; every shard is read again when its playbooks are merged. What is written does not
    depend on the number of processes.

    Args:
        directories: of the shards.
        plan: what they ran.
        out: where the bundles go.
        told: returns what is to be known of a bundle here, before the bundle is let go.
        processes: how many work at the same time, at most.

    Returns:
        The attempts, and of each playbook what was told, in plan order.

    Raises:
        InputError: a shard is damaged, of another plan, or unknown.
        InconclusiveError: a process was ended from outside.
    """
    attempts = settle(
        [read_manifest(directory) for directory in directories],
        plan,
        read_records,
        check_each=partial(each_in_turn, processes=processes),
    )
    return attempts, _merged(attempts, plan, out, told, processes)


def _merged(
    attempts: Attempts, plan: AnyPlan, out: Path, told: Callable[[Bundle], ToldT], processes: int
) -> Iterator[ToldT]:
    lists = shard_lists(attempts, plan)

    def bundles(names: Sequence[str]) -> Iterator[ToldT]:
        for merged in merge_playbooks(attempts, plan, read_records, names=names):
            bundle = write_bundle(
                out / merged.name,
                plan.for_playbook(merged.name),
                (*merged.records, *merged.disagreeing),
                model_digests=attempts.model_digests.get(merged.name, {}),
                shards=lists[merged.name],
            )
            write_reports(bundle.directory, bundle.report)
            write_timings(bundle.directory, timings_of(plan, merged.name, merged.records))
            yield told(bundle)

    names = [entry.name for entry in plan.playbooks]
    if processes == 1:
        yield from bundles(names)
        return
    # Playbooks that follow one another share shards, which are then read once for all of them.
    size = -(-len(names) // (processes * _PARTS)) or 1
    parts = [names[start : start + size] for start in range(0, len(names), size)]
    for part in each_in_turn(lambda part: list(bundles(part)), parts, processes=processes):
        yield from part
