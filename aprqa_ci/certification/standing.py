"""What of earlier evidence still stands, so that it need not be asked again.

An answer stands while everything that it came from is the same: the model's files, the engine with
its version and what it is told, this tool, and the question with how it is judged. Of a server that
somebody else runs nobody knows whether it is the same, so nothing of it stands. A measurement
stands on the same kind of machine. Nothing else does, and a failure is never carried over into
another run.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey, machine_of
from aprqa_ci.execution.converters import APR_ENGINE, apr_converter
from aprqa_ci.execution.derivable import find_model
from aprqa_ci.execution.derived_files import already_derived
from aprqa_ci.execution.engines.engine_options import EngineOptions, options_digest
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.engines.registry import configured, describe, engine_for, engine_named
from aprqa_ci.execution.integrity.digests import digest_files
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.machine import RunEnvironment
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.resolve import ModelNotFoundError, located_model, own_cache
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.plan import (
    Plan,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PlannedScenario,
    digest_for_playbook,
)
from aprqa_ci.scoring.runs import newest_run
from aprqa_ci.vocabulary import ModelFormat, Outcome
from aprqa_ci.wire import canonical_json

__all__ = ["Earlier", "differences", "standing_records", "stood"]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A run that came before, of the same playbook at this or another tier."""

    plan: Plan
    """Of the one playbook."""
    records: tuple[EvidenceRecord, ...]
    """Of that run alone."""
    model_digests: Mapping[str, Mapping[str, str]]
    """SHA-256 by file name, by variant."""

    @classmethod
    def of(cls, bundle: Bundle) -> "Earlier":
        """Return the run that a bundle's certificate speaks of."""
        run_id = bundle.certificate.run_id
        records = bundle.records if run_id is None else newest_run(bundle.records)
        return cls(plan=bundle.plan, records=records, model_digests=bundle.certificate.model.files)


def differences(earlier: Earlier, plan: Plan, environment: RunEnvironment) -> list[str]:
    """Return what is not as it was in the earlier run, a sentence each.

    Args:
        earlier: the run that came before.
        plan: what would be run now, of the same playbook alone.
        environment: the machine, whose files are read whole and whose engines are asked for.
    """
    before, now = earlier.plan.playbooks[0], plan.playbooks[0]
    found = []
    if before.digest != now.digest:
        found.append("the playbook has changed")
    if before.tier != now.tier:
        found.append(f"the tier was {before.tier} and is {now.tier}")
    if earlier.plan.tool_version != __version__:
        found.append(f"aprqa was {earlier.plan.tool_version} and is {__version__}")
    if not found and digest_for_playbook(earlier.plan, before.name) != digest_for_playbook(
        plan, now.name
    ):
        found.append("the plan is another, for a certificate was accepted since or options differ")
    found += _other_engines(earlier.records, plan.cells, environment)
    found += _other_files(earlier.model_digests, plan, environment)
    return found


def standing_records(
    earlier: Earlier, plan: Plan, environment: RunEnvironment
) -> dict[str, EvidenceRecord]:
    """Return the earlier records that stand, by the id of the scenario of ``plan`` that each is of.

    Only what was Corroborated is carried over, and nothing that is concluded from a cell's records:
    that is concluded anew. A record is used once.

    Args:
        earlier: the run that came before.
        plan: what is run now, of the same playbook alone.
        environment: as in :func:`differences`.
    """
    if earlier.plan.tool_version != __version__:
        return {}
    good = _by_content(earlier)
    same_files = _same_variants(earlier.model_digests, plan, environment)
    settings = _settings(earlier.plan.playbooks[0]) == _settings(plan.playbooks[0])
    engines = _EnginesHere(environment)
    standing: dict[str, EvidenceRecord] = {}
    for cell in plan.cells:
        if variant_name(cell.format, cell.quantization) not in same_files:
            continue
        for scenario in cell.scenarios:
            if scenario.prompt is None and not settings:
                continue
            candidates = good.get(_content(cell, scenario), [])
            for record in candidates:
                if engines.would_answer(record, cell) and _is_measured_alike(
                    record, scenario, environment
                ):
                    candidates.remove(record)
                    standing[scenario.id] = record
                    break
    return standing


def stood(record: EvidenceRecord) -> bool:
    """Return whether the record was carried over from an earlier run."""
    return record.meta(MetadataKey.STANDS_FROM) is not None


def _by_content(earlier: Earlier) -> dict[bytes, list[EvidenceRecord]]:
    planned = {
        scenario.id: (cell, scenario)
        for cell in earlier.plan.cells
        for scenario in cell.scenarios
        if not _is_concluded(scenario)
    }
    failed = {
        record.meta(MetadataKey.SCENARIO)
        for record in earlier.records
        if record.outcome is not Outcome.CORROBORATED
    }
    found: defaultdict[bytes, list[EvidenceRecord]] = defaultdict(list)
    for record in earlier.records:
        name = record.meta(MetadataKey.SCENARIO)
        # One attempt of several that went well is no proof that it goes well.
        if name in planned and name not in failed:
            found[_content(*planned[name])].append(record)
    return found


def _content(cell: PlannedCell, scenario: PlannedScenario) -> bytes:
    """Return all that makes a scenario what it is, its number aside."""
    return canonical_json(
        [
            cell.modality,
            cell.backend,
            cell.format,
            cell.quantization,
            cell.engine,
            cell.timeout_ms,
            scenario.gate_id,
            scenario.prompt,
        ]
    )


def _is_concluded(scenario: PlannedScenario) -> bool:
    gate = gate_catalogue().get(scenario.gate_id)
    return gate is None or gate.made_by == "derived"


def _settings(playbook: PlannedPlaybook) -> bytes:
    """Return what checks depend on besides their gate."""
    return canonical_json(
        [
            playbook.model,
            playbook.performance,
            playbook.ground_truth,
            playbook.probe_prompts,
            playbook.measured_prompt,
            playbook.warmup,
            playbook.measure,
            playbook.oracles,
        ]
    )


def _is_measured_alike(
    record: EvidenceRecord, scenario: PlannedScenario, environment: RunEnvironment
) -> bool:
    gate = gate_catalogue().get(scenario.gate_id)
    if gate is None or gate.made_by != "check":
        return True
    return environment.machine == machine_of(record.host)


@dataclass(frozen=True, kw_only=True)
class _AnsweringEngine:
    """All that tells the engine of an answer from another."""

    name: str
    version: str
    options: str = ""
    """SHA-256 of what it is told."""
    passed_over: tuple[tuple[str, str], ...] = ()
    """Name and version of each that did not know the model, and may in another version."""
    shown: bool = True
    """Whether it opens the files that it is given."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def _engine_of(record: EvidenceRecord) -> _AnsweringEngine | None:
    name = record.meta(MetadataKey.ENGINE)
    if not name:
        return None
    return _AnsweringEngine(
        name=name,
        version=record.meta(MetadataKey.ENGINE_VERSION) or "",
        options=record.meta(MetadataKey.ENGINE_OPTIONS) or "",
        passed_over=tuple((each.engine, each.version) for each in record.passed_over()),
    )


class _EnginesHere:
    """What would run a cell on this machine; each engine is asked once, for some start a tool."""

    def __init__(self, environment: RunEnvironment) -> None:
        self._options = environment.engine_options
        self._known: dict[tuple[object, ...], _AnsweringEngine | None] = {}

    def instead_of(self, before: _AnsweringEngine, cell: PlannedCell) -> _AnsweringEngine | None:
        """Return what would run the cell now, where the same engines do not know the model."""
        names = tuple(name for name, _ in before.passed_over)
        key = (cell.format, cell.backend, cell.engine, names)
        if key not in self._known:
            self._known[key] = _engine_here(cell, self._options, names)
        return self._known[key]

    def would_answer(self, record: EvidenceRecord, cell: PlannedCell) -> bool:
        """Say whether what answered would answer again; of a record without an engine it would."""
        engine = _engine_of(record)
        return engine is None or engine == self.instead_of(engine, cell)


def _engine_here(
    cell: PlannedCell, options: EngineOptions, passed_over: tuple[str, ...]
) -> _AnsweringEngine | None:
    try:
        info = describe(
            engine_for(
                cell.format,
                cell.backend,
                asked=cell.engine,
                options=options,
                passed_over=dict.fromkeys(passed_over, "does not know the model"),
            )
        )
        others = [
            describe(configured(engine_named(name), options.get(name, {}))) for name in passed_over
        ]
    except EngineAbsentError:
        return None
    return _AnsweringEngine(
        name=info.name,
        version=info.version or "",
        options=options_digest(options.get(info.name, {})),
        passed_over=tuple((each.name, each.version or "unknown") for each in others),
        shown=info.needs_files,
    )


def _other_engines(
    records: Sequence[EvidenceRecord], cells: Sequence[PlannedCell], environment: RunEnvironment
) -> Iterator[str]:
    engines = _EnginesHere(environment)
    used: defaultdict[str, set[_AnsweringEngine]] = defaultdict(set)
    for record in records:
        engine = _engine_of(record)
        if engine is not None:
            used[record.meta(MetadataKey.CELL) or ""].add(engine)
    yield from sorted(
        {
            _difference(engine, here)
            for cell in cells
            for engine in used[cell.id]
            if (here := engines.instead_of(engine, cell)) is not None and here != engine
        }
    )


def _difference(before: _AnsweringEngine, now: _AnsweringEngine) -> str:
    if (before.name, before.version) != (now.name, now.version):
        return f"the engine was {before} and is {now}"
    if not now.shown:
        return f"{now} asks a server, and nobody shows that it is the same"
    if before.options != now.options:
        return f"what the engine {now} is told has changed"
    return "an engine that does not know the model is of another version"


def _other_files(
    before: Mapping[str, Mapping[str, str]], plan: Plan, environment: RunEnvironment
) -> Iterator[str]:
    for variant, now in _variants(plan, environment):
        if variant in before and now != before[variant]:
            yield f"the {variant} files have changed, or are not here"


def _same_variants(
    before: Mapping[str, Mapping[str, str]], plan: Plan, environment: RunEnvironment
) -> set[str]:
    return {variant for variant, now in _variants(plan, environment) if now == before.get(variant)}


def _variants(
    plan: Plan, environment: RunEnvironment
) -> Iterator[tuple[str, Mapping[str, str] | None]]:
    """Yield each variant of the plan with the digests of its files; nothing where it has none."""
    model = located_model(plan.playbooks[0].model, environment.root)
    for format_, quantization in dict.fromkeys(
        (cell.format, cell.quantization) for cell in plan.cells
    ):
        digests: Mapping[str, str] | None = None
        with suppress(ModelNotFoundError, NotJudgedError, OSError):
            files = _files(model, format_, quantization, environment)
            if files is not None:
                _, digests = digest_files(files)
        yield variant_name(format_, quantization), digests


def _files(
    model: PlannedModel,
    format_: ModelFormat,
    quantization: str | None,
    environment: RunEnvironment,
) -> ModelFiles | None:
    """Return the files; what would have to be made first is not there.

    Raises:
        ModelNotFoundError: they are not on this machine, and cannot be made.
        OSError: what was made cannot be read.
    """
    variables, home = environment.environment, environment.home
    converter = apr_converter(environment.engine_options.get(APR_ENGINE, {}))
    found = find_model(
        model,
        format=format_,
        quantization=quantization,
        environment=variables,
        home=home,
        converter=converter,
    )
    if isinstance(found, ModelFiles):
        return found
    made = already_derived(
        found.source,
        cache=own_cache(variables, home),
        format=found.format,
        quantization=found.quantization,
        converter=converter,
    )
    return None if made is None else made.files
