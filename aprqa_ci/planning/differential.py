"""Which comparisons between files a playbook asks for, and in which cells they can show anything.

``contract_tests`` and ``differential_tests`` name tests. Each is a gate of the catalogue, made in
some cells. What can show nothing anywhere, or nothing in some format, is named with the reason:
nobody shall take it for tested.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.gates import canonical_gate_id, gates_of_section
from aprqa_ci.planning.comparisons import STATISTICS, Comparisons
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.plan import GroundTruth, PlannedCell
from aprqa_ci.planning.tiers import Tier
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["ComparedPlace", "comparison_gates", "comparison_settings", "left_out"]

_ANSWERS = frozenset({"F-GOLDEN-RULE-001", "F-ROSETTA-INF-001", "F-ROSETTA-INF-003"})
"""Gates that ask the loaded model; the others read files, once for each of them."""
_NOT_OF_APR = frozenset(
    {"F-APR-FORMAT-001", "F-APR-FORMAT-002", "F-CONTRACT-I3-001", "F-CONTRACT-I5-001"}
)
"""Gates that look at the file as it is, which a conversion would show nothing of. No report of the
tool of APR files says how and where tensors are stored in one, nor anything of its tokenizer."""
_AGAINST_TRUTH = frozenset(
    {"F-CONTRACT-I2-001", "F-CONTRACT-I4-001", "F-ROSETTA-DIFF-001", "F-ROSETTA-DIFF-002"}
    | {"F-ROSETTA-INF-001", "F-ROSETTA-INF-002", "F-ROSETTA-FP-002", "F-ROSETTA-FP-003"}
)
"""Gates that compare with the ground truth."""
_AGAINST_REFERENCE = frozenset(f"F-ROSETTA-STATS-{number:03d}" for number in range(1, 5))
"""Gates that compare with the playbook's file of statistics, or else with the ground truth."""
_EXACT = frozenset({"F-ROSETTA-INF-002", "F-ROSETTA-FP-002"})
"""Gates that only files with the same numbers can hold."""


@dataclass(frozen=True, kw_only=True)
class ComparedPlace:
    """Where a comparison would be made."""

    format: ModelFormat
    quantization: str | None
    backend: Backend
    engine: str | None
    truth: GroundTruth | None
    first: bool
    """Whether the modality is the first of this format on this backend."""
    first_backend: bool
    alone: bool
    """Whether the run has no other format or quantization."""

    @property
    def variant(self) -> str:
        """The format with its quantization."""
        return variant_name(self.format, self.quantization)

    @property
    def is_truth(self) -> bool:
        """Whether the file is the ground truth itself."""
        truth = self.truth
        return truth is not None and (truth.format, truth.quantization) == (
            self.format,
            self.quantization,
        )

    @property
    def answers_as_truth(self) -> bool:
        """Whether the answers of this place are those of the ground truth, and so always agree."""
        by_itself = self.format is ModelFormat.SAFETENSORS or self.engine == "reference"
        return self.is_truth and self.backend is Backend.CPU and by_itself


@dataclass(frozen=True, kw_only=True)
class _Asked:
    path: str
    """The section and the test, for example ``contract_tests.I-2``."""
    gate: str


def comparison_gates(playbook: Playbook, tier: Tier, place: ComparedPlace) -> list[str]:
    """Return the gates of the comparisons that are made in that place, in catalogue order."""
    if not tier.checks:
        return []
    return [
        asked.gate
        for asked in _asked(playbook)
        if _is_here(asked.gate, place) and not _refusal(asked.gate, place, playbook)
    ]


def comparison_settings(playbook: Playbook, located: Callable[[str], Path]) -> Comparisons | None:
    """Return what the playbook says of its comparisons, or nothing where it asks for none.

    Args:
        playbook: the playbook.
        located: says where a file that the playbook names lies, for the plan.
    """
    if not _asked(playbook):
        return None
    tests = playbook.differential_tests
    settings: dict[str, object] = {}
    if tests is not None and (diff := tests.tensor_diff) is not None:
        settings["tensors"] = _parts(diff.filter)
    if tests is not None and (compare := tests.inference_compare) is not None:
        settings |= {"max_tokens": compare.max_tokens, "logit_tolerance": compare.tolerance}
        if compare.prompt is not None:
            settings["prompt"] = compare.prompt
    if tests is not None and (fingerprint := tests.fingerprint) is not None:
        settings["fingerprint"] = _parts(fingerprint.tensors)
        settings["statistics"] = tuple(name for name in STATISTICS if name in fingerprint.stats)
    if tests is not None and (stats := tests.validate_stats) is not None:
        settings |= {
            "layernorm": stats.tolerance.layernorm,
            "embedding": stats.tolerance.embedding,
            "attention": stats.tolerance.attention,
            "reference": None if stats.reference is None else str(located(stats.reference)),
        }
    return Comparisons(**settings)  # type: ignore[arg-type] # each value has its field's type


def left_out(
    playbook: Playbook, tier: Tier, places: Sequence[ComparedPlace], cells: Sequence[PlannedCell]
) -> dict[str, str]:
    """Name what the playbook asks for and the plan does not have.

    Args:
        playbook: the playbook.
        tier: the tier of the plan.
        places: where comparisons could be made.
        cells: the playbook's cells in the plan.

    Returns:
        Why each test is not made, by its path, with the format where it is one of several.
    """
    reasons = dict(_unknown(playbook))
    planned = {scenario.gate_id for cell in cells for scenario in cell.scenarios}
    for asked in _asked(playbook):
        refused = {
            place.variant: refusal
            for place in places
            if _is_here(asked.gate, place) and (refusal := _refusal(asked.gate, place, playbook))
        }
        if not tier.checks:
            reasons[asked.path] = f"tier {tier.name} makes no comparisons"
        elif asked.gate not in planned:
            said = "; ".join(dict.fromkeys(refused.values()))
            reasons[asked.path] = said or "its cells were left out of this run"
        else:
            # That the ground truth is not compared with itself leaves nothing untested.
            reasons |= {
                f"{asked.path} on {variant}": reason
                for variant, reason in refused.items()
                if reason != _ITSELF
            }
    return reasons


_ITSELF = "it would be compared with itself"


def _is_here(gate: str, place: ComparedPlace) -> bool:
    return place.first and (gate in _ANSWERS or place.first_backend)


def _refusal(gate: str, place: ComparedPlace, playbook: Playbook) -> str:
    """Say why a test can show nothing in that place, or nothing."""
    if place.format is ModelFormat.APR and gate in _NOT_OF_APR:
        return "the inside of an APR file is not read here, and no report of its tool speaks of it"
    against_truth = gate in _AGAINST_TRUTH
    if gate in _AGAINST_REFERENCE:
        tests = playbook.differential_tests
        stats = None if tests is None else tests.validate_stats
        against_truth = stats is None or stats.reference is None
    if against_truth:
        if place.truth is None:
            return "there is nothing to compare with"
        if gate == "F-ROSETTA-INF-001":
            # Alone, the file is compared with the one that is converted from it.
            return _ITSELF if place.answers_as_truth and not place.alone else ""
        if place.is_truth:
            return _ITSELF
    if gate in _EXACT and place.quantization is not None:
        kind = quantization_catalogue()[place.quantization].agreement
        if kind != "exact":
            return f"{place.quantization} does not keep the numbers that it would compare"
    return ""


def _asked(playbook: Playbook) -> list[_Asked]:
    """Return the tests that the playbook asks for, section by section."""
    found = []
    if playbook.contract_tests is not None:
        gates = gates_of_section("contract_tests")
        found += [
            _Asked(path=f"contract_tests.{name}", gate=gates[name])
            for name in dict.fromkeys(sorted(playbook.contract_tests.invariants))
        ]
    for path, section in _sections(playbook):
        gates = gates_of_section(path)
        chosen = _chosen(playbook, path, gates, section)
        found += [
            _Asked(path=f"{path}.{test}", gate=gate)
            for test, gate in gates.items()
            if gate in chosen
        ]
    return found


def _sections(playbook: Playbook) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the sections of ``differential_tests`` that are asked for, with their gate ids."""
    tests = playbook.differential_tests
    if tests is None:
        return
    for name in tests.__struct_fields__:
        section = getattr(tests, name)
        if section is not None and section.enabled:
            yield f"differential_tests.{name}", section.gates


def _chosen(
    playbook: Playbook, path: str, gates: dict[str, str], listed: tuple[str, ...]
) -> set[str]:
    """Return the gates that a section chooses: those that it names, or all of them."""
    chosen = {canonical_gate_id(gate) for gate in listed} & set(gates.values())
    tests = playbook.differential_tests
    validation = None if tests is None else tests.format_validation
    if path.endswith(".format_validation") and validation is not None:
        chosen |= {gates[name] for name in validation.checks if name in gates}
    chosen = chosen or set(gates.values())
    fingerprint = None if tests is None else tests.fingerprint
    if path.endswith(".fingerprint") and fingerprint is not None:
        if "checksum" not in fingerprint.stats:
            chosen.discard(gates["checksum"])
        if not set(fingerprint.stats) & set(STATISTICS) - {"checksum"}:
            chosen.discard(gates["statistics"])
    return chosen


def _unknown(playbook: Playbook) -> Iterator[tuple[str, str]]:
    """Yield the names in the sections that no test has, by path."""
    for path, listed in _sections(playbook):
        known = gates_of_section(path)
        for gate in listed:
            if canonical_gate_id(gate) not in known.values():
                yield f"{path}.gates: {gate}", "no test of the section has that id"
    tests = playbook.differential_tests
    if tests is None:
        return
    if (validation := tests.format_validation) is not None and validation.enabled:
        known = gates_of_section("differential_tests.format_validation")
        for name in validation.checks:
            if name not in known:
                yield f"differential_tests.format_validation.checks: {name}", _known(known)
    if (fingerprint := tests.fingerprint) is not None and fingerprint.enabled:
        for name in fingerprint.stats:
            if name not in STATISTICS:
                yield f"differential_tests.fingerprint.stats: {name}", _known(STATISTICS)


def _known(names: Sequence[str] | dict[str, str]) -> str:
    return f"known are {', '.join(names)}"


def _parts(text: str | None) -> tuple[str, ...]:
    """Return the comma-separated parts; ``all`` and nothing stand for every tensor."""
    if text is None or text.strip() == "all":
        return ()
    return tuple(part.strip() for part in text.split(",") if part.strip())
