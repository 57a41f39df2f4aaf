"""The ledger: every planned scenario with what became of it, and every record that does not fit.

Nothing is dropped. A record either is behind exactly one scenario of the ledger or stands among the
strays, and then a finding names it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey, model_id_of
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.falsification import OWN_GATE_PREFIX
from aprqa_ci.planning.plan import PlacedOut, Plan, PlannedCell, digest_for_playbook
from aprqa_ci.scoring.playbook_gates import judge_gate
from aprqa_ci.scoring.recorded_facts import RunView
from aprqa_ci.scoring.runs import attempt_of, instant
from aprqa_ci.scoring.score import Finding, FindingKind, ScenarioScore
from aprqa_ci.scoring.wording import brief, named
from aprqa_ci.vocabulary import Category, Gateway, Outcome

__all__ = [
    "NO_RECORD",
    "Ledger",
    "cell_name",
    "not_run",
    "planned_ledger",
    "record_ledger",
    "unplanned_ledger",
]

NO_RECORD: Final = "no record"
"""The reason of a scenario that nothing else is known of."""

# As in runs: asked of every record.
_SCENARIO = MetadataKey.SCENARIO.value
_PLAN = MetadataKey.PLAN.value
_CELL = MetadataKey.CELL.value
_CAUSE = MetadataKey.CAUSE.value

# The worst outcome of several records counts. A skip is no verdict, so only a pass is better.
_BADNESS = {
    Outcome.CORROBORATED: 0,
    Outcome.SKIPPED: 1,
    Outcome.FALSIFIED: 2,
    Outcome.TIMEOUT: 3,
    Outcome.CRASHED: 4,
}


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What the records of one run say, scenario by scenario."""

    scenarios: tuple[ScenarioScore, ...]
    records: tuple[EvidenceRecord, ...]
    """All records of the run, strays included."""
    findings: tuple[Finding, ...]
    cells: tuple[PlannedCell, ...] | None = None
    """The plan's cells; absent without a plan."""
    gateways_off: tuple[Gateway, ...] = ()
    """Gateways that the playbook switches off."""

    def by_gateway(self, gateway: Gateway) -> tuple[ScenarioScore, ...]:
        """Return the scenarios that count for a gateway."""
        return tuple(entry for entry in self.scenarios if entry.gateway is gateway)

    def by_category(self, category: Category) -> tuple[ScenarioScore, ...]:
        """Return the scenarios that count for a category."""
        return tuple(
            entry for entry in self.scenarios if entry.category is category and entry.in_the_score
        )


def cell_name(record: EvidenceRecord) -> str:
    """Return the record's cell; for a foreign record what its scenario says of one."""
    scenario = record.scenario
    told = record.metadata.get(_CELL)
    return told or f"{scenario.modality}-{scenario.backend}-{scenario.format}"


def planned_ledger(records: Iterable[EvidenceRecord], plan: Plan) -> Ledger:
    """Hold the records of one run against a plan of one playbook."""
    planned = {each.id: each.gate_id for cell in plan.cells for each in cell.scenarios}
    own = {gate.scenario: gate for playbook in plan.playbooks for gate in playbook.own_gates}
    planned |= {name: gate.gate_id for name, gate in own.items()}
    run = _in_order(records)
    groups: dict[str, list[EvidenceRecord]] = {}
    unknown: list[str] = []
    wrong_gate: list[str] = []
    for record in run:
        name = record.metadata.get(_SCENARIO)
        if name is None or name not in planned:
            unknown.append(name or record.id)
        elif planned[name] != record.gate_id:
            wrong_gate.append(name)
        elif name in groups:
            groups[name].append(record)
        else:
            groups[name] = [record]
    left_out = {each.cell: f"no runner class has room: {each.reason}" for each in plan.unplaced}
    left_out |= {each.cell: f"deferred: {each.reason}" for each in plan.deferred}
    entries = tuple(
        _entry(
            groups.get(scenario.id, ()),
            name=scenario.id,
            cell=cell.id,
            gate_id=scenario.gate_id,
            missing=left_out.get(cell.id, NO_RECORD),
        )
        for cell in plan.cells
        for scenario in cell.scenarios
    )
    entries += tuple(own_gate_entries(plan, groups))
    findings = (
        _finding("unknown-scenario", "records that belong to no planned scenario", unknown),
        _finding("wrong-gate", "records that name another gate than the plan does", wrong_gate),
        _duplicates(groups.values()),
        _wrong_plan(run, _digest_of(plan)),
        _finding(
            "repeated-plan-id",
            "scenario ids that stand in the plan more than once",
            _repeated(
                (
                    *(scenario.id for cell in plan.cells for scenario in cell.scenarios),
                    *(gate.scenario for entry in plan.playbooks for gate in entry.own_gates),
                )
            ),
        ),
        _finding(
            "repeated-record-id",
            "record ids that stand in the evidence more than once",
            _repeated(record.id for record in run),
        ),
        _unknown_gates(entries),
        _unfounded(entries, groups),
        _other_models(run, plan),
    )
    return Ledger(
        scenarios=entries,
        records=run,
        findings=tuple(entry for entry in findings if entry is not None),
        cells=plan.cells,
        gateways_off=tuple(gate for entry in plan.playbooks for gate in entry.gateways_off),
    )


def not_run(ledger: Ledger, placed_out: Iterable[PlacedOut]) -> tuple[PlacedOut, ...]:
    """Return those of the cells of which something is missing indeed.

    Whoever runs the plan on a machine of their own has evidence of all cells.
    """
    incomplete = {entry.cell for entry in ledger.scenarios if entry.outcome is None}
    return tuple(each for each in placed_out if each.cell in incomplete)


def own_gate_entries(
    plan: Plan, groups: Mapping[str, Sequence[EvidenceRecord]]
) -> Iterator[ScenarioScore]:
    """Return the verdicts on the gates that the plan's playbooks define.

    Args:
        plan: the plan.
        groups: the records of one run by scenario id. Those of the gates themselves decide nothing:
            the verdict is made of the others.
    """
    if not any(playbook.own_gates for playbook in plan.playbooks):
        return
    deciding = {name: record for name, group in groups.items() if (record := _deciding(group))}
    for playbook in plan.playbooks:
        view = RunView(playbook=playbook, cells=plan.cells_of(playbook.name), records=deciding)
        for gate in playbook.own_gates:
            verdict = judge_gate(gate, view)
            yield ScenarioScore(
                scenario=gate.scenario,
                cell=playbook.name,
                gate_id=gate.gate_id,
                gateway=None,
                category=gate.category,
                outcome=verdict.outcome,
                earned=verdict.outcome is Outcome.CORROBORATED,
                reason=brief(verdict.reason),
                cause=verdict.cause,
                records=tuple(record.id for record in groups.get(gate.scenario, ())),
                own_gate=gate,
            )


def _unfounded(
    entries: Iterable[ScenarioScore], groups: Mapping[str, Sequence[EvidenceRecord]]
) -> Finding | None:
    """Name the playbook's gates whose record says something else than the facts do."""
    names = [
        entry.scenario
        for entry in entries
        if entry.own_gate is not None
        and any(record.outcome is not entry.outcome for record in groups.get(entry.scenario, ()))
    ]
    label = "gates of the playbook whose record the facts do not bear out"
    return _finding("unfounded-verdict", label, names)


def unplanned_ledger(records: Iterable[EvidenceRecord]) -> Ledger:
    """Take the records of one run as they are: what should be there too, nothing says."""
    run = _in_order(records)
    alone = [record for record in run if _is_foreign(record)]
    groups: defaultdict[tuple[str, str], list[EvidenceRecord]] = defaultdict(list)
    for record in run:
        name = record.meta(MetadataKey.SCENARIO)
        if name is not None:
            groups[name, record.gate_id].append(record)
    entries = [_unplanned_entry([record]) for record in alone]
    entries += [_unplanned_entry(group) for group in groups.values()]
    findings = (
        None if run else Finding(kind="no-records", text="the evidence holds no record"),
        _duplicates(groups.values()),
        _unknown_gates(entries),
    )
    return Ledger(
        scenarios=tuple(sorted(entries, key=lambda entry: (entry.scenario, entry.gate_id))),
        records=run,
        findings=tuple(entry for entry in findings if entry is not None),
    )


def record_ledger(records: Iterable[EvidenceRecord]) -> Ledger:
    """Take every record for itself, even several of one scenario."""
    run = _in_order(records)
    entries = tuple(_unplanned_entry([record]) for record in run)
    return Ledger(scenarios=entries, records=run, findings=())


def _in_order(records: Iterable[EvidenceRecord]) -> tuple[EvidenceRecord, ...]:
    """Order records by time, so that the order in the file changes nothing."""
    given = tuple(records)
    if len({record.id for record in given}) == len(given):
        return tuple(sorted(given, key=lambda record: (instant(record.timestamp), record.id)))
    # Somebody put ids in twice.
    return tuple(
        sorted(
            given,
            key=lambda record: (
                instant(record.timestamp),
                record.id,
                record.gate_id,
                _BADNESS[record.outcome],
                record.reason,
                sorted(record.metadata.items()),
            ),
        )
    )


def _entry(
    group: Sequence[EvidenceRecord],
    *,
    name: str,
    cell: str,
    gate_id: str,
    foreign: bool = False,
    missing: str = NO_RECORD,
) -> ScenarioScore:
    gate = gate_catalogue().get(gate_id)
    if foreign and gate is not None and gate.taken_over:
        gate = None
    deciding = _deciding(group)
    outcome = None if deciding is None else deciding.outcome
    cause = None if deciding is None else deciding.metadata.get(_CAUSE)
    return ScenarioScore(
        scenario=name,
        cell=cell,
        gate_id=gate_id,
        gateway=None if gate is None else gate.gateway,
        category=None if gate is None else gate.category,
        outcome=outcome,
        earned=outcome is Outcome.CORROBORATED,
        reason=brief(missing if deciding is None else deciding.reason),
        cause=brief(cause, 80) if cause else "",
        records=(group[0].id,) if len(group) == 1 else tuple(record.id for record in group),
    )


def _unplanned_entry(group: Sequence[EvidenceRecord]) -> ScenarioScore:
    first = group[0]
    name = first.meta(MetadataKey.SCENARIO) or first.id
    return _entry(
        group, name=name, cell=cell_name(first), gate_id=first.gate_id, foreign=_is_foreign(first)
    )


def _is_foreign(record: EvidenceRecord) -> bool:
    """Say whether another tool wrote the record: ours name the scenario."""
    return record.meta(MetadataKey.SCENARIO) is None


def _deciding(group: Sequence[EvidenceRecord]) -> EvidenceRecord | None:
    """Return the record that counts: the worst, but a skip that was tried again does not.

    A skip followed by a later attempt that ended is our machinery's delay, not a second outcome;
    an answer followed by a better one is a flaky scenario, and its worst answer counts.
    """
    if len(group) == 1:
        return group[0]
    ended = [attempt_of(record) for record in group if record.outcome is not Outcome.SKIPPED]
    last = max(ended, default=0)
    standing = (
        record
        for record in group
        if record.outcome is not Outcome.SKIPPED or attempt_of(record) >= last
    )
    return max(standing, key=lambda record: _BADNESS[record.outcome], default=None)


def _digest_of(plan: Plan) -> str:
    return digest_for_playbook(plan, plan.playbooks[0].name)


def _duplicates(groups: Iterable[Sequence[EvidenceRecord]]) -> Finding | None:
    """Name scenarios that have two records of one and the same attempt."""
    names = [
        group[0].metadata[MetadataKey.SCENARIO.value]
        for group in groups
        if len(group) > 1 and max(Counter(map(attempt_of, group)).values()) > 1
    ]
    label = "scenarios with several records of one attempt, of which the worst counts"
    return _finding("duplicate", label, names)


def _wrong_plan(run: Sequence[EvidenceRecord], digest: str) -> Finding | None:
    others = [record.id for record in run if record.metadata.get(_PLAN) != digest]
    return _finding("wrong-plan", f"records that do not name this plan, {digest[:12]}", others)


def _unknown_gates(entries: Iterable[ScenarioScore]) -> Finding | None:
    label = (
        "gate ids that no catalogue has and that count nowhere "
        "(--policy apr-qa-0 scores evidence of the existing tool)"
    )
    # What a playbook's own gate is, its plan says; without one it counts nowhere either.
    unknown = {
        entry.gate_id
        for entry in entries
        if (entry.gateway or entry.category) is None
        and not entry.gate_id.startswith(OWN_GATE_PREFIX)
    }
    return _finding("unknown-gate", label, unknown)


def _other_models(run: Iterable[EvidenceRecord], plan: Plan) -> Finding | None:
    expected = {entry.model.hf_repo for entry in plan.playbooks}
    models = {record.scenario.model for record in run}
    found = {model_id_of(model).strip("/") for model in models}
    return _finding("other-model", "models that the plan does not test", found - expected)


def _finding(kind: FindingKind, label: str, subjects: Collection[str]) -> Finding | None:
    if not subjects:
        return None
    every = tuple(sorted(set(subjects)))
    text = f"{label} ({len(subjects)}): {named(every)}"
    return Finding(kind=kind, text=text, subjects=every)


def _repeated(names: Iterable[str]) -> list[str]:
    every = list(names)
    if len(set(every)) == len(every):
        return []
    return [name for name, times in Counter(every).items() if times > 1]
