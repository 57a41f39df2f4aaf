"""Finding a model's files on this machine; the first place that has them wins.

1. ``model.local_path``, a file or a directory (flat, or with a folder per format);
2. the package itself, of the model that comes with it (unless a revision is pinned);
3. the Hugging Face cache, at the pinned revision or else ``main``: the repository itself and, for
   GGUF, the sibling repository ``<name>-GGUF``; `aprqa fetch` puts there what it fetches;
4. ``~/.cache/apr-models``: ``<org>/<name>``, ``<name-in-lower-case-with-dashes>``;
5. the project's own cache, ``$APRQA_CACHE`` or ``~/.cache/aprqa``: ``models/<name in lower case>``,
   where ``scripts/fetch_smollm2.py`` puts what it fetches.

A place that has the files but incomplete or ambiguous ends the search: to go on would certify other
files than those the user sees. Nothing is written and nothing is fetched.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from aprqa_ci.data_files import BUNDLED, BUNDLED_REPO, bundled_model
from aprqa_ci.execution.hub_cache import (
    SnapshotAbsentError,
    find_snapshot,
    hub_directory,
    is_repo_id,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.weight_files import (
    COMPANION_NAMES,
    WeightFiles,
    WeightsAbsentError,
    WeightsFaultyError,
    find_weights,
    weights_of_file,
)
from aprqa_ci.files import slug
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat

__all__ = [
    "HUB_SOURCE",
    "ModelNotFoundError",
    "hub_repositories",
    "located_model",
    "own_cache",
    "resolve_model",
]

HUB_SOURCE = "huggingface-cache"
"""What ``ModelFiles.source`` is for files in the cache of the hub."""


class ModelNotFoundError(Exception):
    """The model's files are not on this machine, or not usable as they lie there.

    Says nothing of the model itself: a scenario that ends here is skipped, never failed.
    """

    def __init__(self, what: str, looked_at: Sequence[str], *, nowhere: bool = False) -> None:
        self.what = what
        self.looked_at = tuple(looked_at)
        """Every place that was looked at, with what was found there."""
        self.nowhere = nowhere
        """Whether every place could be looked at, and none has anything of it."""
        super().__init__("\n".join([what, *(f"  {place}" for place in self.looked_at)]))


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    model: PlannedModel
    format: ModelFormat
    quantization: str | None

    def files(
        self,
        found: WeightFiles,
        source: str,
        repo: str | None = None,
        revision: str | None = None,
    ) -> ModelFiles:
        return ModelFiles(
            format=self.format,
            quantization=self.quantization,
            weights=found.weights,
            directory=found.directory,
            source=source,
            repo=repo,
            revision=revision,
        )

    def in_directory(self, directory: Path) -> WeightFiles:
        return find_weights(directory, format=self.format, quantization=self.quantization)


class _Look(Protocol):
    """Looks at one place; raises WeightsAbsentError, WeightsFaultyError or OSError."""

    def __call__(self) -> ModelFiles: ...


def own_cache(environment: Mapping[str, str], home: Path) -> Path:
    """Return the project's own cache: ``$APRQA_CACHE`` or ``~/.cache/aprqa``."""
    value = environment.get("APRQA_CACHE")
    return Path(value) if value else home / ".cache" / "aprqa"


def hub_repositories(
    model: PlannedModel,
    format: ModelFormat,  # noqa: A002 - the word of the field
) -> tuple[tuple[str, str | None], ...]:
    """Return the repositories of the hub that may have the format, in their order.

    Each comes with its revision; without one, ``main`` is meant.
    """
    own = (model.hf_repo, model.revision)
    if format is not ModelFormat.GGUF or model.hf_repo.upper().endswith("-GGUF"):
        return (own,)
    # Another repository, so the pinned commit says nothing of it; its own is recorded.
    return (own, (f"{model.hf_repo}-GGUF", None))


def located_model(model: PlannedModel, root: Path) -> PlannedModel:
    """Return the model with its declared path as it is on this machine.

    Args:
        model: what the plan says.
        root: what relative paths of the plan start from.
    """
    if model.local_path is None:
        return model
    return msgspec.structs.replace(model, local_path=str(root / model.local_path))


def resolve_model(
    model: PlannedModel,
    *,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    environment: Mapping[str, str],
    home: Path,
) -> ModelFiles:
    """Find the files of ``model`` in one format.

    Args:
        model: what the playbook declares.
        format: the format wanted.
        quantization: for GGUF, what the file name must claim, in any case; without one there must
            be exactly one file.
        environment: the environment variables.
        home: the user's home directory.

    Raises:
        ModelNotFoundError: no place has the files, or one has them in a state that cannot be used.
    """
    wanted = _Wanted(model=model, format=format, quantization=quantization)
    label = format.value if quantization is None else f"{format.value} {quantization}"
    looked_at: list[str] = []
    nowhere = True
    for source, look in _places(wanted, environment, home):
        try:
            return look()
        except (WeightsAbsentError, OSError) as error:
            looked_at.append(f"{source}: {error}")
            nowhere = nowhere and isinstance(error, WeightsAbsentError)
        except WeightsFaultyError as error:
            looked_at.append(f"{source}: {error}")
            what = f"{model.hf_repo} ({label}) is on this machine but cannot be used as it lies:"
            raise ModelNotFoundError(what, looked_at) from error
    what = f"{model.hf_repo} ({label}) is not on this machine; looked at:"
    raise ModelNotFoundError(what, looked_at, nowhere=nowhere)


def _places(
    wanted: _Wanted, environment: Mapping[str, str], home: Path
) -> Iterator[tuple[str, _Look]]:
    """Give the places in their order, each with its name and the way to look at it."""
    repo = wanted.model.hf_repo
    if wanted.model.local_path is not None:
        yield "local_path", partial(_look_locally, wanted, Path(wanted.model.local_path))
    if repo == BUNDLED_REPO and wanted.model.revision is None:
        yield BUNDLED, partial(_look_in_package, wanted)
    hub = hub_directory(environment, home)
    for repository, revision in hub_repositories(wanted.model, wanted.format):
        yield HUB_SOURCE, partial(_look_in_hub, wanted, hub, repository, revision)
    apr = home / ".cache" / "apr-models"
    name = repo.rpartition("/")[2]
    for folder in (repo, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")):
        yield "apr-cache", partial(_look_in_cache, wanted, "apr-cache", apr, folder, (hub,))
    own = own_cache(environment, home) / "models"
    yield "aprqa-cache", partial(_look_in_cache, wanted, "aprqa-cache", own, slug(name), ())


def _look_locally(wanted: _Wanted, path: Path) -> ModelFiles:
    if path.is_file():
        found = weights_of_file(path, format=wanted.format, quantization=wanted.quantization)
    else:
        found = wanted.in_directory(path)
    return wanted.files(found, "local_path")


def _look_in_package(wanted: _Wanted) -> ModelFiles:
    return wanted.files(wanted.in_directory(bundled_model()), BUNDLED)


def _look_in_hub(wanted: _Wanted, hub: Path, repo: str, revision: str | None) -> ModelFiles:
    _check_repo_id(repo)
    try:
        snapshot = find_snapshot(hub, repo, revision)
    except SnapshotAbsentError as error:
        raise WeightsAbsentError(str(error)) from error
    found = wanted.in_directory(snapshot.directory)
    _check_links(found, (hub,))
    return wanted.files(found, HUB_SOURCE, repo, snapshot.commit)


def _look_in_cache(
    wanted: _Wanted, source: str, root: Path, folder: str, linked: tuple[Path, ...]
) -> ModelFiles:
    _check_repo_id(wanted.model.hf_repo)
    found = wanted.in_directory(root / folder)
    _check_links(found, (root, *linked))
    return wanted.files(found, source)


def _check_repo_id(repo: str) -> None:
    if not is_repo_id(repo):
        msg = f"{repo!r} is not a repository id of the form org/name, so no cache can hold it"
        raise WeightsAbsentError(msg)


def _check_links(found: WeightFiles, roots: Sequence[Path]) -> None:
    """Refuse files of a cache that are links to somewhere else."""
    allowed = [root.resolve() for root in roots]
    companions = (found.directory / name for name in COMPANION_NAMES)
    for path in (*found.weights, found.directory, *companions):
        target = path.resolve()
        if not any(target.is_relative_to(root) for root in allowed):
            msg = f"{path}: the link leads out of the cache, to {target}"
            raise WeightsFaultyError(msg)
