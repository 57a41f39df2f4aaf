"""What a run changes against an earlier certificate of the same playbook."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from aprqa_ci.evidence.record import EvidenceHost
from aprqa_ci.reports.run_report import ReportedScenario, RunReport
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

__all__ = ["Comparison", "SpeedChange", "compare"]


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """The median throughput of one format on one backend, then and now."""

    format: ModelFormat
    backend: Backend
    before: float
    """Tokens per second."""
    now: float
    noise: float
    """Half the spread of the change over the cells, as a part of one; a smaller change says
    nothing."""

    @property
    def change(self) -> float:
        """Return the change as a part of one; 0.1 is a tenth faster."""
        return self.now / self.before - 1

    @property
    def is_noise(self) -> bool:
        """Whether the change is within what is measured without one."""
        return abs(self.change) <= self.noise


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changed; made by :func:`compare`."""

    base: Certificate | None
    """What is compared with; absent when there is nothing, and then every failure is new."""
    same_questions: bool
    """Whether scenarios of one name ask the same: same playbook, tier and tool."""
    same_machine: bool
    """Whether both ran on machines of one kind, so that speeds can be compared."""
    new: tuple[ReportedScenario, ...]
    """Failures of scenarios that were not known to fail."""
    still: tuple[ReportedScenario, ...]
    """Failures of scenarios that failed before."""
    fixed: tuple[str, ...]
    """The ids of scenarios that failed before and are corroborated now."""
    lost: tuple[str, ...]
    """The ids of scenarios that were corroborated before and have no outcome now."""
    deferred: tuple[str, ...]
    """The ids of cells that were left to another run."""
    flaky: tuple[str, ...]
    """The ids of scenarios whose attempts disagree."""
    speeds: tuple[SpeedChange, ...]

    @property
    def is_change(self) -> bool:
        """Whether anything but speed is not as it was, or there is nothing to compare with."""
        return self.base is None or bool(self.new or self.fixed or self.lost or self.flaky)


def compare(
    base: Certificate | None,
    head: RunReport,
    *,
    least_noise: float = 0.0,
) -> Comparison:
    """Compare a run with an earlier certificate of the same playbook. Pure.

    Args:
        base: the earlier certificate, if there is one.
        head: the run.
        least_noise: the least change of throughput that can mean anything, as a part of one. The
            spread over the cells can be smaller by chance.
    """
    failed, corroborated = _ends(base)
    failures = [entry for entry in head.scenarios if entry.is_failure]
    now = {entry.score.scenario: entry.score.outcome for entry in head.scenarios}
    deferred = {each.cell for each in head.certificate.deferred}
    untested = {name for name in corroborated if now.get(name) in {None, Outcome.SKIPPED}}
    mine = head.certificate
    same_machine = base is not None and _machines(base.hosts) == _machines(mine.hosts)
    return Comparison(
        base=base,
        same_questions=base is not None and _asked(base) == _asked(mine),
        same_machine=same_machine,
        new=tuple(entry for entry in failures if entry.score.scenario not in failed),
        still=tuple(entry for entry in failures if entry.score.scenario in failed),
        fixed=tuple(sorted(name for name in failed if now.get(name) is Outcome.CORROBORATED)),
        lost=tuple(sorted(name for name in untested if name.partition("#")[0] not in deferred)),
        deferred=tuple(sorted(deferred)),
        flaky=mine.flaky,
        speeds=() if base is None else tuple(_speeds(base, head, least_noise)),
    )


def _ends(base: Certificate | None) -> tuple[set[str], set[str]]:
    cells = () if base is None else tuple(base.cells.values())
    failed = {name for cell in cells for name in cell.failed}
    return failed, {name for cell in cells for name in cell.corroborated}


def _asked(certificate: Certificate) -> tuple[str, str, str]:
    return certificate.playbook.digest, certificate.tier, certificate.tool_version


def _machines(hosts: tuple[EvidenceHost, ...]) -> set[tuple[str, str | None]]:
    return {(host.cpu, host.gpu) for host in hosts}


def _speeds(base: Certificate, head: RunReport, least_noise: float) -> Iterator[SpeedChange]:
    before = {(each.format, each.backend): each.tokens_per_second for each in base.throughput}
    for each in head.certificate.throughput:
        earlier = before.get((each.format, each.backend))
        if not earlier or each.tokens_per_second <= 0:
            continue
        changes = [
            cell.tokens_per_second / then
            for name, cell in head.score.cells.items()
            if (cell.format, cell.backend) == (each.format, each.backend)
            and cell.tokens_per_second
            and name in base.cells
            and (then := base.cells[name].tokens_per_second)
        ]
        spread = (max(changes) - min(changes)) / (2 * median(changes)) if changes else 0.0
        yield SpeedChange(
            format=each.format,
            backend=each.backend,
            before=earlier,
            now=each.tokens_per_second,
            noise=max(spread, least_noise),
        )
