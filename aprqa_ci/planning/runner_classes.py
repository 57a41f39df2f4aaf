"""Runner classes: which machines there are, what fits on them, and who may use them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from aprqa_ci.data_files import data_directory
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.planning.plan import RunnerGroup, RunsOn
from aprqa_ci.playbook.field_types import matching
from aprqa_ci.playbook.finding import Finding
from aprqa_ci.playbook.validation import control_characters
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, YamlDocument, read_yaml
from aprqa_ci.vocabulary import Backend
from aprqa_ci.wire import WireModel

__all__ = [
    "RUNNERS_PATH",
    "RUNNERS_SCHEMA",
    "RunnerClass",
    "RunnerFile",
    "default_runners",
    "parse_runners",
    "read_runners",
]

RUNNERS_SCHEMA: Final = "aprqa-runners/1"

RUNNERS_PATH: Final = Path(".github/aprqa-runners.yml")
"""Where a repository keeps its own runner classes."""

_SELF_HOSTED_LABEL = "self-hosted"

ClassName = Annotated[
    str, matching(r"[a-z0-9][a-z0-9._-]{0,31}", "text of 1 to 32 of a-z 0-9 . _ -")
]
Gigabytes = Annotated[float, Meta(gt=0.0, le=65536.0)]


class RunnerClass(WireModel, frozen=True, kw_only=True):
    """One kind of machine that jobs can ask for."""

    name: ClassName
    """What plans, timings and reports call the class. Required."""
    runs_on: RunsOn
    """What the job asks GitHub for: a label, a list of labels, or ``{group, labels}``. Required."""
    backend: Backend
    """``cpu`` or ``gpu``: a class takes the cells of its own backend and no others. Required."""
    self_hosted: bool
    """Whether the machine is yours rather than GitHub's. Required, for nothing else tells it; a
    self-hosted class never takes a fork's pull request."""
    memory_gb: Gigabytes
    """Main memory, in 10^9 bytes. Required."""
    disk_gb: Gigabytes
    """Free disk for model files, in 10^9 bytes. Required."""
    vram_gb: Annotated[float, Meta(ge=0.0, le=65536.0)] = 0.0
    """Memory of one GPU, in 10^9 bytes; required for backend ``gpu``, and for ``cpu`` left out."""
    trusted: bool = False
    """Whether the class is trusted with a stranger's code: a fresh machine for each job, from which
    nothing of yours can be reached. A fork's pull request goes to trusted classes only, and never
    to a GPU or a self-hosted one, whatever this says."""
    max_parallel: Annotated[int, Meta(ge=1, le=1024)] = 20
    """How many jobs of the class run at a time."""
    cost_per_minute: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    """What a minute costs, in any currency, the same for all classes."""
    speed: Annotated[float, Meta(ge=0.01, le=1000.0)] = 1.0
    """How fast the class is, as a factor of GitHub's ``ubuntu-latest`` (or, for a GPU, of a
    data-centre GPU), until timings of the class itself are known."""

    @property
    def takes_forks(self) -> bool:
        """Whether a fork's pull request may run here."""
        return self.trusted and not self.self_hosted and self.backend is Backend.CPU


class RunnerFile(WireModel, frozen=True, kw_only=True):
    """The runner classes of one repository."""

    schema: Literal["aprqa-runners/1"]
    runners: Annotated[tuple[RunnerClass, ...], Meta(min_length=1, max_length=64)]


def read_runners(path: Path) -> tuple[RunnerClass, ...]:
    """Read the runner classes of a file.

    Raises:
        InputError: with every problem of the file, by line.
    """
    return parse_runners(read_bounded(path, MAX_YAML_BYTES), source=path)


@cache
def default_runners() -> tuple[RunnerClass, ...]:
    """Return the classes that hold when a repository has none of its own: GitHub's own Linux."""
    source = data_directory().joinpath("runners.yaml")
    return parse_runners(source.read_bytes(), source="runners.yaml")


def parse_runners(data: bytes, *, source: Path | str) -> tuple[RunnerClass, ...]:
    """Read runner classes from the bytes of a YAML file.

    Args:
        data: the bytes.
        source: the file named in messages.

    Raises:
        InputError: with every problem, by line.
    """
    document = read_yaml(data, source=source)
    findings = [*control_characters(document.data), *_rules(_readable(document.data))]
    try:
        file = msgspec.convert(document.data, type=RunnerFile)
    except msgspec.ValidationError as error:
        findings += _schema_findings(document.data)
        findings = findings or [Finding(path=(), what=str(error))]
        raise InputError(_problems(findings, document, source)) from error
    if findings:
        raise InputError(_problems(findings, document, source))
    return file.runners


def _schema_findings(data: object) -> list[Finding]:
    """Find all that is malformed; msgspec stops at the first."""
    # Loading jsonschema takes long, and good files never need it.
    from aprqa_ci.playbook.schema_findings import schema_findings  # noqa: PLC0415 - see above

    return schema_findings(data, msgspec.json.schema(RunnerFile))


def _readable(data: Any) -> dict[int, RunnerClass]:  # noqa: ANN401 - any YAML
    """Return the classes that are well formed, by position, however the others may be."""
    entries = data.get("runners") if isinstance(data, dict) else None
    readable = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        try:
            readable[number] = msgspec.convert(entry, type=RunnerClass)
        except msgspec.ValidationError:
            continue  # the schema says what is wrong with it
    return readable


def _rules(runners: Mapping[int, RunnerClass]) -> Iterator[Finding]:
    """Find what neither types nor schema can say."""
    first: dict[str, int] = {}
    for number, runner in runners.items():
        here = ("runners", number)
        if first.setdefault(runner.name, number) != number:
            what = f"the name {runner.name!r} is also that of `runners[{first[runner.name]}]`"
            yield Finding(path=(*here, "name"), what=what, hint="give each class its own")
        if runner.backend is Backend.GPU and not runner.vram_gb:
            what = f"the GPU class {runner.name!r} has no `vram_gb`"
            yield Finding(path=here, what=what, hint="give the memory of one GPU")
        if runner.backend is Backend.CPU and runner.vram_gb:
            what = f"the class {runner.name!r} has `vram_gb` and backend cpu"
            hint = "make the backend gpu, or leave vram_gb out"
            yield Finding(path=(*here, "vram_gb"), what=what, hint=hint)
        if not runner.self_hosted and _asks_for_own(runner.runs_on):
            what = f"the class {runner.name!r} asks for `self-hosted` and says that it is not"
            hint = "write self_hosted: true, or strangers' code may reach your machine"
            yield Finding(path=(*here, "self_hosted"), what=what, hint=hint)


def _asks_for_own(runs_on: RunsOn) -> bool:
    labels = runs_on.labels if isinstance(runs_on, RunnerGroup) else runs_on
    asked = [labels] if isinstance(labels, str) else labels or ()
    return any(label.lower() == _SELF_HOSTED_LABEL for label in asked)


def _problems(
    findings: Sequence[Finding], document: YamlDocument, source: Path | str
) -> list[Problem]:
    problems = [
        Problem(
            what=finding.what,
            path=source,
            line=document.line_of(finding.path),
            hint=finding.hint,
        )
        for finding in findings
    ]
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.what))
