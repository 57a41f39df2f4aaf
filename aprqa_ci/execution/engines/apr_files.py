"""What the ``apr`` tool does with files, each command held to what it says and to what it left.

Whatever goes wrong with the tool itself says nothing of the model: a crash, a report in a shape
that is not known here, a file that is not what was asked for.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from aprqa_ci.execution.engines.apr_cli import (
    AprCompleted,
    AprEnding,
    convert_arguments,
    inspect_arguments,
    profile_arguments,
    pull_arguments,
    validate_arguments,
)
from aprqa_ci.execution.engines.apr_process import (
    AprAbsentError,
    AprTimeoutError,
    AprTool,
    private_environment,
    pulling_environment,
    run_apr,
)
from aprqa_ci.execution.engines.apr_reports import (
    AprReportError,
    Conversion,
    parse_convert,
    parse_inspect,
    parse_profile,
    parse_pull,
    parse_validate,
)
from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.examiners import Examination
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.protocol import Profiled
from aprqa_ci.execution.weight_files import INDEX_NAME

__all__ = ["AprFiles"]

LONGEST_S: Final = 6 * 3600.0
"""Longer than any process that asks for it may live: its parent's limit is the one that counts."""

_Report = TypeVar("_Report")


class AprFiles:
    """Runs the commands of one tool that are about files.

    Args:
        tool: the tool.
        environment: the environment variables; the tool gets a home of its own and no GPU.
        timeout_s: how long a command may take.
    """

    def __init__(
        self, tool: AprTool, *, environment: Mapping[str, str], timeout_s: float = LONGEST_S
    ) -> None:
        self._tool = tool
        self._environment = environment
        self._timeout_s = timeout_s

    def convert(self, source: Path, target: Path) -> str:
        """Convert a file, or the shards that an index names; the names' endings say the formats.

        Args:
            source: what is read. That it is as before is looked at afterwards.
            target: what is written; it is not there yet, and nothing else is in its directory.

        Returns:
            The call that was made.

        Raises:
            EngineAbsentError: the tool is at fault: it crashed, changed the source, or left
                something else than the file that it says it made.
            ModelLoadError: it says that it cannot convert the source.
            MemoryError: there is not enough memory.
        """
        source, target = source.absolute(), target.absolute()
        before = _state(source)
        arguments = convert_arguments(source, target)
        self._asked(arguments, lambda done: _made(done, source, target))
        if _state(source) != before:
            what = f"apr rosetta convert changed {source.parent}, which it was only to read"
            raise EngineAbsentError(what)
        return " ".join((str(self._tool.path), *arguments))

    def examine(self, file: Path) -> Examination:
        """Let the tool inspect a file and check every tensor of it.

        Raises:
            EngineAbsentError: the tool is at fault, or its two reports do not agree with one
                another or with the file.
            ModelLoadError: it says that the file is damaged.
            MemoryError: there is not enough memory.
        """
        file = file.absolute()
        seen = self._asked(inspect_arguments(file), parse_inspect)
        checked = self._asked(validate_arguments(file), parse_validate)
        size = file.stat().st_size
        if seen.file_size not in {None, size}:
            what = f"apr says that {file} has {seen.file_size} bytes; it has {size}"
            raise EngineAbsentError(what)
        if seen.tensor_count != checked.tensors:
            what = (
                f"apr inspect counts {seen.tensor_count} tensors in {file}, and apr validate"
                f" {checked.tensors}"
            )
            raise EngineAbsentError(what)
        if seen.tensor_names and checked.names and {*seen.tensor_names} != {*checked.names}:
            what = f"apr inspect and apr validate name different tensors in {file}"
            raise EngineAbsentError(what)
        return Examination(
            format=seen.format,
            tensors=checked.tensors,
            names=checked.names or seen.tensor_names,
            violations=checked.violations,
            failed=checked.failed,
            architecture=seen.architecture,
        )

    def profile(self, model: Path, *, warmup: int, measure: int) -> Profiled:
        """Let the tool measure its own speed on the processor.

        Raises:
            EngineAbsentError: the tool is at fault, or gives no throughput above zero.
            ModelLoadError: it says that it cannot load the model.
            MemoryError: there is not enough memory.
        """
        arguments = profile_arguments(model, warmup=warmup, measure=measure)
        found = self._asked(arguments, parse_profile)
        return Profiled(
            tool=f"apr/{self._tool.version}",
            invocation=" ".join((str(self._tool.path), *arguments)),
            tokens_per_second=found.tokens_per_second,
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
        )

    def pull(self, repo: str, home: Path) -> Path:
        """Let the tool fetch a repository of the hub; see ``fetching.pulling.PullsModels``.

        Raises:
            EngineAbsentError: the tool, the network or the repository is at fault.
            ModelLoadError: it says that what it fetched is damaged.
            MemoryError: there is not enough memory.
        """
        environment = pulling_environment(self._environment, home)
        return self._run(pull_arguments(repo), parse_pull, environment).path

    def _asked(self, arguments: Sequence[str], parse: Callable[[AprCompleted], _Report]) -> _Report:
        """Run a command that needs neither network nor cache, and return what it reports."""
        with private_environment(self._environment) as environment:
            return self._run(arguments, parse, environment)

    def _run(
        self,
        arguments: Sequence[str],
        parse: Callable[[AprCompleted], _Report],
        environment: Mapping[str, str],
    ) -> _Report:
        if arguments[0] not in self._tool.commands:
            what = f"{self._tool.path} has no command {arguments[0]}"
            raise EngineAbsentError(what)
        try:
            done = run_apr(
                self._tool.path, arguments, environment=environment, timeout_s=self._timeout_s
            )
            return parse(done)
        except (AprAbsentError, AprTimeoutError) as error:
            what = f"apr {arguments[0]}: {error}"
            raise EngineAbsentError(what) from error
        except AprReportError as error:
            match error.ending:
                case AprEnding.NO_MEMORY:
                    raise MemoryError(str(error)) from error
                case AprEnding.LOAD_FAILED:
                    raise ModelLoadError(str(error)) from error
                case _:
                    raise EngineAbsentError(str(error)) from error


def _made(done: AprCompleted, source: Path, target: Path) -> Conversion:
    """Hold what a conversion left against what it says.

    Raises:
        AprReportError: it says nothing of use, or left another thing.
    """
    made = parse_convert(done, target)
    # A link would let a file be compared with itself.
    if target.is_symlink() or target.samefile(source):
        what = f"apr rosetta convert made {target.name} a link"
        raise AprReportError(what)
    if others := sorted(each.name for each in target.parent.iterdir() if each != target):
        what = f"apr rosetta convert left {', '.join(others[:4])} beside {target.name}"
        raise AprReportError(what)
    if target.suffix == ".safetensors":
        try:
            with contextlib.closing(open_safetensors([target])) as weights:
                count = len(weights.tensors)
        except FormatError as error:
            what = f"apr rosetta convert made a file that cannot be read: {error}"
            raise AprReportError(what) from error
        if count != made.target_tensors:
            what = f"apr rosetta convert says {made.target_tensors} tensors and wrote {count}"
            raise AprReportError(what)
    return made


def _state(source: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of every file that a conversion reads."""
    shards = source.parent.glob("*.safetensors") if source.name == INDEX_NAME else ()
    paths = [path for path in (source, *shards) if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}
