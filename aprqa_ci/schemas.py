"""JSON Schemas of everything on disk, made from the models that read and write it.

They are shipped below ``data/schemas`` for editors and for other tools;
``scripts/generate_schemas.py`` writes them.
"""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import msgspec.inspect

from aprqa_ci.certification.timings import TIMINGS_SCHEMA, CellTimings
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.execution.engines.conformance.report import CONFORMANCE_SCHEMA, ConformanceReport
from aprqa_ci.execution.engines.engine_options import OPTIONS_SCHEMA, EngineOptionsFile
from aprqa_ci.execution.fetching.manifest import MODELS_SCHEMA, Models
from aprqa_ci.planning.plan import PLAN_SCHEMA, Plan
from aprqa_ci.planning.runner_classes import RUNNERS_SCHEMA, RunnerFile
from aprqa_ci.planning.suites import Suite
from aprqa_ci.playbook.field_types import QUANTIZATION_FORMAT
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.scoring.certificate import CERTIFICATE_SCHEMA, Certificate
from aprqa_ci.selftest.falsification import FALSIFICATION_SCHEMA, Falsification
from aprqa_ci.selftest.mutants import MutantFile
from aprqa_ci.wire import WireModel, pretty_json

__all__ = ["SCHEMAS", "SchemaEntry", "make_schema", "schema_bytes"]

_BASE = "urn:aprqa-ci:"


@dataclass(frozen=True, kw_only=True)
class SchemaEntry:
    """One kind of document that has a schema."""

    name: str
    """The file is ``<name>.schema.json``."""
    title: str
    description: str
    model: Any
    """The wire model, or any type that msgspec knows."""
    version: str
    """The value of the documents' own ``schema`` key, or the version of the format."""

    @property
    def file_name(self) -> str:
        """The name of the shipped file."""
        return f"{self.name}.schema.json"


SCHEMAS: Final[tuple[SchemaEntry, ...]] = (
    SchemaEntry(
        name="playbook",
        title="Playbook",
        description="What is to be certified. Legacy spellings that the loader makes regular, such"
        " as quoted booleans, are not part of it.",
        model=Playbook,
        version="aprqa-playbook/1",
    ),
    SchemaEntry(
        name="plan",
        title="Plan",
        description="Everything that will be tested, written down before anything is.",
        model=Plan,
        version=PLAN_SCHEMA,
    ),
    SchemaEntry(
        name="evidence",
        title="Evidence",
        description="The records of one run, as a bare array.",
        model=tuple[EvidenceRecord, ...],
        version="aprqa-evidence/1",
    ),
    SchemaEntry(
        name="conformance",
        title="Conformance report",
        description="How one engine did in the conformance suite, with one model on one backend.",
        model=ConformanceReport,
        version=CONFORMANCE_SCHEMA,
    ),
    SchemaEntry(
        name="engine-options",
        title="Options of engines",
        description="What engines are given on one machine: addresses, commands.",
        model=EngineOptionsFile,
        version=OPTIONS_SCHEMA,
    ),
    SchemaEntry(
        name="certificate",
        title="Certificate",
        description="The result of one run of one playbook, whatever its status.",
        model=Certificate,
        version=CERTIFICATE_SCHEMA,
    ),
    SchemaEntry(
        name="models",
        title="Models",
        description="What was fetched for a plan: repositories, commits, files and digests.",
        model=Models,
        version=MODELS_SCHEMA,
    ),
    SchemaEntry(
        name="mutants",
        title="Mutants",
        description="The ways in which the self-test breaks a model, and what has to catch each.",
        model=MutantFile,
        version="aprqa-mutants/1",
    ),
    SchemaEntry(
        name="falsification",
        title="Falsification",
        description="Which gate caught which broken model, and what sound ones were refused.",
        model=Falsification,
        version=FALSIFICATION_SCHEMA,
    ),
    SchemaEntry(
        name="suite",
        title="Prompt suite",
        description="Questions whose parameters are drawn from the seed.",
        model=Suite,
        version="aprqa-suite/1",
    ),
    SchemaEntry(
        name="runners",
        title="Runner classes",
        description="Which machines there are, what fits on them, and who may use them.",
        model=RunnerFile,
        version=RUNNERS_SCHEMA,
    ),
    SchemaEntry(
        name="timings",
        title="Timings",
        description="What the cells of a playbook took, by runner class.",
        model=CellTimings,
        version=TIMINGS_SCHEMA,
    ),
)
"""All kinds of documents that have a schema. To add one, add its entry and run the script."""

_LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}


def make_schema(entry: SchemaEntry) -> dict[str, Any]:
    """Return the Draft 2020-12 schema of one kind of document.

    The descriptions are the models' docstrings; of fields, those below them.
    """
    (root,), definitions = msgspec.json.schema_components([entry.model])
    models = {model.__name__: model for model in _models_in(entry.model)}
    for name, definition in definitions.items():
        if name in models:
            _describe(definition, models[name])
    _name_quantizations(definitions)
    _spell_limits(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{_BASE}{entry.version}",
        "title": entry.title,
        "description": entry.description,
        **{key: value for key, value in root.items() if key not in {"title", "description"}},
        "$defs": dict(sorted(definitions.items())),
    }


def schema_bytes(entry: SchemaEntry) -> bytes:
    """Return the shipped form of the schema of one kind of document."""
    return pretty_json(make_schema(entry))


def _models_in(model: Any) -> Iterator[type[msgspec.Struct]]:  # noqa: ANN401 - any type that msgspec knows
    """Give every wire model that ``model`` is made of, once."""
    seen: set[type[msgspec.Struct]] = set()
    pending: list[object] = [msgspec.inspect.type_info(model)]
    while pending:
        part = pending.pop()
        if isinstance(part, list | tuple):
            pending.extend(part)
            continue
        if isinstance(part, msgspec.inspect.StructType):
            if part.cls in seen:
                continue
            seen.add(part.cls)
            yield part.cls
        if isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field):
            pending.extend(getattr(part, name) for name in part.__struct_fields__)


def _describe(definition: dict[str, Any], model: type[msgspec.Struct]) -> None:
    """Put the docstrings of a model's fields into its definition."""
    documented = _field_docstrings(model)
    for field in msgspec.structs.fields(model):
        if field.name in documented:
            old = definition["properties"][field.encode_name]
            new = {"description": documented[field.name], **old}
            # A reference's neighbours count in Draft 2020-12, so this says nothing new of the type.
            definition["properties"][field.encode_name] = new


def _field_docstrings(model: type[msgspec.Struct]) -> dict[str, str]:
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, WireModel) or owner is WireModel:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for statement, after in itertools.pairwise(body):
            match statement, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found


def _spell_limits(part: Any) -> None:  # noqa: ANN401 - any part of a schema
    """Write the limits of numbers as reals.

    Python takes ``Annotated[float, Meta(ge=0)]`` and ``Annotated[float, Meta(ge=0.0)]`` for one
    type and keeps the one that was imported first: ``0`` or ``0.0`` would be a matter of chance.
    """
    if isinstance(part, list):
        for entry in part:
            _spell_limits(entry)
    if not isinstance(part, dict):
        return
    if part.get("type") == "number":
        for name in _LIMITS & part.keys():
            part[name] = float(part[name])
    for entry in part.values():
        _spell_limits(entry)


def _name_quantizations(part: Any) -> None:  # noqa: ANN401 - any part of a schema
    """Put the names of the catalogue where a schema asks for a quantization."""
    if isinstance(part, dict):
        if part.get("format") == QUANTIZATION_FORMAT:
            part.clear()
            part["enum"] = list(quantization_catalogue())
        for value in part.values():
            _name_quantizations(value)
    elif isinstance(part, list):
        for value in part:
            _name_quantizations(value)
