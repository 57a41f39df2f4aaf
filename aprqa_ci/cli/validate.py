"""``aprqa validate``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
from rich.text import Text

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, read_bundle
from aprqa_ci.cli.output import console
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.shard_list import SHARDS_SCHEMA, ShardList
from aprqa_ci.evidence.shards import ShardManifest
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.files import read_bounded
from aprqa_ci.planning.plan import PLAN_SCHEMA, Plan
from aprqa_ci.playbook.load import load_playbook
from aprqa_ci.registry.models_csv import MAX_REGISTRY_BYTES, read_registry
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.wire import MAX_WIRE_BYTES, decode_wire, near_name

__all__ = ["validate"]


class _Head(msgspec.Struct):
    """What every JSON file of ours but the evidence begins with."""

    schema: str | None = None


_JSON_MODELS: dict[str, type] = {
    PLAN_SCHEMA: Plan,
    "aprqa-certificate/1": Certificate,
    "aprqa-models/1": Models,
    "aprqa-shard/1": ShardManifest,
    SHARDS_SCHEMA: ShardList,
}
_PATTERNS = ("*.playbook.yaml", "plan.json", "evidence.json", "models.csv")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def validate(*, paths: tuple[str, ...]) -> None:
    """Check playbooks, plans, evidence, certificates and models.csv.

    A directory stands for the playbooks, bundles and registries below it. Every problem is shown,
    then there is one exit.
    """
    problems: list[Problem] = []
    checked = 0
    warnings: list[str] = []
    for path in _files([Path(path) for path in paths], problems):
        checked += 1
        try:
            warnings += _check(path)
        except InputError as error:
            problems += error.problems
    out = console()
    for warning in warnings:
        out.print(Text(f"warning: {warning}"), soft_wrap=True)
    if problems:
        raise InputError(problems)
    out.print(Text(f"{checked} file{'' if checked == 1 else 's'} valid"))


def _files(paths: list[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted({each for pattern in _PATTERNS for each in path.rglob(pattern)})
            bundles = sorted(each.parent for each in path.rglob(CERTIFICATE_NAME))
            if not found and not bundles:
                problems.append(Problem(what="there is nothing to validate here", path=path))
            yield from found
            yield from bundles
        elif path.exists():
            yield path
        else:
            problems.append(Problem(what="there is no such file", path=path))


def _check(path: Path) -> list[str]:
    """Check one file, or the bundle in a directory; returns warnings.

    Raises:
        InputError: with every problem of it.
    """
    if path.is_dir():
        read_bundle(path)
        return []
    checks: dict[str, Callable[[Path], list[str]]] = {
        ".yaml": _check_playbook,
        ".yml": _check_playbook,
        ".csv": _check_registry,
        ".json": _check_json,
    }
    check = checks.get(path.suffix)
    if check is None:
        what = f"do not know what to check in a {path.suffix or 'suffixless'} file"
        raise InputError(Problem(what=what, path=path, hint=f"known are {', '.join(checks)}"))
    return check(path)


def _check_playbook(path: Path) -> list[str]:
    return [str(warning) for warning in load_playbook(path).warnings]


def _check_registry(path: Path) -> list[str]:
    read_registry(read_bounded(path, MAX_REGISTRY_BYTES), source=path)
    return []


def _check_json(path: Path) -> list[str]:
    data = read_bounded(path, MAX_WIRE_BYTES)
    schema = _schema_of(data)
    if schema is None:
        parse_evidence(data, source=path)
    elif schema in _JSON_MODELS:
        decode_wire(data, _JSON_MODELS[schema], source=path)
    else:
        known = list(_JSON_MODELS)
        hint = near_name(schema, known) or f"known are {', '.join(known)}"
        raise InputError(Problem(what=f"the schema {schema!r} is not known", path=path, hint=hint))
    return []


def _schema_of(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(data, type=_Head).schema
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
