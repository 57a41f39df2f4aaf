"""From a specification to an oracle."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.oracles.arithmetic import ArithmeticConfig, ArithmeticOracle
from aprqa_ci.execution.oracles.code_syntax import CodeSyntaxConfig, CodeSyntaxOracle
from aprqa_ci.execution.oracles.composite import CompositeOracle, GuardedOracle
from aprqa_ci.execution.oracles.expected_text import (
    ContainsConfig,
    ContainsOracle,
    ExactConfig,
    ExactOracle,
)
from aprqa_ci.execution.oracles.garbage import GarbageConfig, GarbageOracle
from aprqa_ci.execution.oracles.interface import Oracle
from aprqa_ci.execution.oracles.json_oracle import JsonConfig, JsonOracle
from aprqa_ci.execution.oracles.response import ResponseConfig, ResponseOracle
from aprqa_ci.planning.plan import OracleSpec
from aprqa_ci.wire import WireModel, canonical_json, decode_wire, near_name

__all__ = ["build_oracle", "oracle_for", "oracle_names"]

_MAX_DEPTH = 8
"""Composites inside composites; deeper ones are refused."""

ConfigT = TypeVar("ConfigT")

Overrides = Mapping[str, Mapping[str, object]]
"""A playbook's ``oracles[].config`` by type."""


class _CompositeConfig(WireModel, frozen=True, kw_only=True):
    oracles: tuple[OracleSpec, ...]


def _read(kind: str, model: type[ConfigT], config: Mapping[str, object]) -> ConfigT:
    """Read the settings of an oracle strictly."""
    source = f"oracle {kind}"
    try:
        return decode_wire(canonical_json(dict(config)), model, source=source)
    except (TypeError, msgspec.EncodeError) as error:
        raise InputError(Problem(what=f"config: {error}", path=source)) from error


_BUILDERS: Mapping[str, Callable[[Mapping[str, object]], Oracle]] = {
    "arithmetic": lambda config: ArithmeticOracle(
        config=_read("arithmetic", ArithmeticConfig, config)
    ),
    "code_syntax": lambda config: CodeSyntaxOracle(
        config=_read("code_syntax", CodeSyntaxConfig, config)
    ),
    "contains": lambda config: ContainsOracle(config=_read("contains", ContainsConfig, config)),
    "exact": lambda config: ExactOracle(config=_read("exact", ExactConfig, config)),
    "garbage": lambda config: GarbageOracle(config=_read("garbage", GarbageConfig, config)),
    "json": lambda config: JsonOracle(config=_read("json", JsonConfig, config)),
    "response": lambda config: ResponseOracle(config=_read("response", ResponseConfig, config)),
}


def oracle_names() -> tuple[str, ...]:
    """Return the names that an ``OracleSpec`` may have as its kind."""
    return tuple(sorted([*_BUILDERS, "composite"]))


def build_oracle(spec: OracleSpec) -> Oracle:
    """Build the oracle that a specification names, with nothing around it.

    Raises:
        InputError: an unknown oracle, an unknown or wrong setting, or a composite without members.
    """
    return _build(spec, {}, 0)


def oracle_for(spec: OracleSpec, overrides: Overrides | None = None) -> Oracle:
    """Build the oracle that judges a scenario's answers.

    Every answer is judged by garbage, then by response, then by the named oracle. The first two can
    only falsify: where the named oracle does not apply, the answer has not been checked, unless the
    named oracle is one of the two.

    Args:
        spec: the scenario's oracle.
        overrides: settings by oracle type that hold for all scenarios of a playbook; what the
            scenario's own ``config`` says goes before them.

    Raises:
        InputError: as :func:`build_oracle`, also for the overrides.
    """
    overrides = overrides or {}
    for kind, config in overrides.items():
        _check_override(kind, config)
    guards = [
        _build(OracleSpec(kind=kind), overrides, 0)
        for kind in ("garbage", "response")
        if kind != spec.kind
    ]
    return GuardedOracle(guards=tuple(guards), guarded=_build(spec, overrides, 0))


def _check_override(kind: str, config: Mapping[str, object]) -> None:
    """Refuse wrong settings even if no scenario uses them: their author waits for an effect."""
    needed: dict[str, dict[str, Any]] = {"exact": {"expect": "x"}, "contains": {"any": ["x"]}}
    if kind == "composite":
        _read(kind, _CompositeConfig, config)
        return
    build_oracle(OracleSpec(kind=kind, config={**needed.get(kind, {}), **config}))


def _build(spec: OracleSpec, overrides: Overrides, depth: int) -> Oracle:
    if depth > _MAX_DEPTH:
        what = f"composite oracles are nested more than {_MAX_DEPTH} deep"
        raise InputError(what)
    config = {**overrides.get(spec.kind, {}), **spec.config}
    if spec.kind == "composite":
        members = _read(spec.kind, _CompositeConfig, config).oracles
        return CompositeOracle(
            members=tuple(_build(member, overrides, depth + 1) for member in members)
        )
    builder = _BUILDERS.get(spec.kind)
    if builder is None:
        what = f"there is no oracle {spec.kind!r}"
        hint = near_name(spec.kind, list(oracle_names())) or f"known: {', '.join(oracle_names())}"
        raise InputError(Problem(what=what, hint=hint))
    return builder(config)
