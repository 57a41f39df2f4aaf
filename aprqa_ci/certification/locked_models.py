"""Whether the model files on this machine are those that were locked, asked before anything runs.

A lock that only names what is to be run would let a branch that moved, or a file that somebody
exchanged in the cache, be certified under it. So every file that the cells would read is read whole
and held against the lock.
"""

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.converters import APR_ENGINE, apr_converter
from aprqa_ci.execution.derivable import Derivable, find_model
from aprqa_ci.execution.fetching.choosing import wanted_variants
from aprqa_ci.execution.hub_cache import hub_directory, repo_folder
from aprqa_ci.execution.integrity.digests import model_paths
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.resolve import ModelNotFoundError, located_model
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.plan import Plan, PlannedPlaybook
from aprqa_ci.playbook.lock import LockedModel, read_lock

__all__ = ["require_locked_models"]


def require_locked_models(
    plan: Plan, surroundings: Surroundings, cells: Collection[str] | None = None
) -> None:
    """Hold a plan, and the model files that its cells would read, against the lock.

    A playbook that was locked without its model says nothing of files. Files that are not here are
    not refused: what cannot be run for want of them is named by the run itself. What a server holds
    nobody can read.

    Args:
        plan: what would be run.
        surroundings: the outside world; the lock is below its root.
        cells: the ids of those that would be run; all unless given.

    Raises:
        InputError: with every playbook and every file that is not as it was locked, or there is no
            lock.
        OSError: a file cannot be read.
    """
    lock = read_lock(surroundings.root)
    problems: list[Problem] = []
    for playbook in plan.playbooks:
        entry = lock.entry(playbook.path)
        if entry is None or entry.sha256 != playbook.digest:
            locked = "it is not locked" if entry is None else f"locked was {entry.sha256}"
            what = f"the plan is of the playbook with sha256 {playbook.digest}; {locked}"
            problems.append(Problem(what=what, path=playbook.path, hint="plan again with --locked"))
        elif entry.models:
            here = _Here(
                surroundings=surroundings, locked=entry.models, hint=_renewal(playbook.path)
            )
            problems += here.problems(plan.for_playbook(playbook.name), playbook, cells)
    if problems:
        raise InputError(problems)


def _renewal(playbook: str) -> str:
    path = shlex.quote(playbook)
    return f"if that is meant: aprqa fetch {path} -o models.json && aprqa lock --models models.json"


@dataclass(frozen=True, kw_only=True)
class _Here:
    """This machine, held against what one playbook's lock says of models."""

    surroundings: Surroundings
    locked: Mapping[str, LockedModel]
    """By repository."""
    hint: str
    digests: dict[Path, str] = field(default_factory=dict)
    """SHA-256 of what was read; variants share files."""

    def problems(
        self, plan: Plan, playbook: PlannedPlaybook, cells: Collection[str] | None
    ) -> Iterator[Problem]:
        names = [cell.id for cell in plan.cells if cells is None or cell.id in cells]
        model = located_model(playbook.model, self.surroundings.root)
        converter = apr_converter(self.surroundings.engine_options.get(APR_ENGINE, {}))
        found: dict[Problem, None] = {}
        for variant in wanted_variants(plan, names):
            try:
                files = find_model(
                    model,
                    format=variant.format,
                    quantization=variant.quantization,
                    environment=self.surroundings.environment,
                    home=self.surroundings.home,
                    converter=converter,
                )
            except ModelNotFoundError:
                continue
            source = files.source if isinstance(files, Derivable) else files
            found |= dict.fromkeys(self._of_files(source))
        yield from found

    def _of_files(self, files: ModelFiles) -> Iterator[Problem]:
        if files.repo is None:
            # No cache of the hub: of what lies here, the names of the files are all that is known.
            by_name: defaultdict[str, set[str]] = defaultdict(set)
            for model in self.locked.values():
                for path, digest in model.files.items():
                    by_name[PurePosixPath(path).name].add(digest)
            yield from self._of_bytes({path.name: path for path in _paths(files)}, by_name)
            return
        folder = repo_folder(
            hub_directory(self.surroundings.environment, self.surroundings.home), files.repo
        )
        snapshot = folder / "snapshots" / (files.revision or "")
        locked = self.locked.get(files.repo)
        if locked is None:
            what = f"it is at commit {files.revision}, and nothing of {files.repo} is locked"
            yield Problem(what=what, path=snapshot, hint=self.hint)
        elif locked.commit != files.revision:
            what = f"{files.repo} was locked at commit {locked.commit} and is at {files.revision}"
            yield Problem(what=what, path=snapshot, hint=self.hint)
        else:
            yield from self._of_bytes(
                {path.relative_to(snapshot).as_posix(): path for path in _paths(files)},
                {path: {digest} for path, digest in locked.files.items()},
            )

    def _of_bytes(
        self, here: Mapping[str, Path], locked: Mapping[str, Collection[str]]
    ) -> Iterator[Problem]:
        for name, path in here.items():
            wanted = locked.get(name, ())
            if path not in self.digests:
                self.digests[path] = sha256_file(path)
            digest = self.digests[path]
            if digest in wanted:
                continue
            told = f"locked was {' or '.join(sorted(wanted))}" if wanted else "it is not locked"
            yield Problem(what=f"the sha256 is {digest}; {told}", path=path, hint=self.hint)


def _paths(files: ModelFiles) -> Collection[Path]:
    return model_paths(files).values()
