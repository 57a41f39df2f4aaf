"""Letting the ``apr`` tool pull models, for whoever asks for that instead of asking the hub.

The tool pulls the SafeTensors of a repository as it is now, and tells neither commit nor digests.
What it pulled is read, moved into our own cache under the name of the model, and used from there;
its own cache is a temporary home, so that nothing that it kept before is taken for this model.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.fetching.choosing import WantedVariant
from aprqa_ci.execution.fetching.fetch import FetchWorld
from aprqa_ci.execution.fetching.hub import HubError
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.hub_cache import is_repo_id
from aprqa_ci.execution.resolve import ModelNotFoundError, located_model, own_cache, resolve_model
from aprqa_ci.execution.weight_files import (
    COMPANION_NAMES,
    INDEX_NAME,
    WeightsAbsentError,
    WeightsFaultyError,
    find_weights,
)
from aprqa_ci.files import sha256_file, slug
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["FindPuller", "PullsModels", "pull_missing"]

_SUFFIX = ".safetensors"


@runtime_checkable
class PullsModels(Protocol):
    """An engine that fetches models by itself."""

    def pull(self, repo: str, home: Path) -> Path:
        """Fetch a repository and return the weights, or the index of their shards.

        Args:
            repo: the repository of the hub.
            home: the home directory, and so the cache, that the tool gets.

        Raises:
            EngineAbsentError: the tool is not here, or the network or the repository is not.
            ModelLoadError: it says that what it fetched is damaged.
            MemoryError: there is not enough memory.
        """
        ...


FindPuller: TypeAlias = Callable[[], tuple[PullsModels, str]]
"""Returns what pulls models, and its name with its version.

Raises:
    EngineAbsentError: there is none.
"""


def pull_missing(
    wanted: Sequence[WantedVariant], world: FetchWorld, puller: FindPuller
) -> tuple[HubError, ...]:
    """Pull the models of which nothing is on this machine, each once.

    What the tool does not pull, files of other formats above all, is left to the hub.

    Args:
        wanted: what is needed.
        world: the outside world.
        puller: finds the tool.

    Returns:
        Why models could not be pulled.
    """
    missing = {each.model.hf_repo: each.model for each in wanted if _is_nowhere(each, world)}
    errors = []
    for model in missing.values():
        try:
            _pull(model, world, puller)
        except HubError as error:
            errors.append(error)
    return tuple(errors)


def _is_nowhere(variant: WantedVariant, world: FetchWorld) -> bool:
    """Whether neither the files nor SafeTensors to make them of are on this machine."""
    for format_, quantization in (
        (variant.format, variant.quantization),
        (ModelFormat.SAFETENSORS, None),
    ):
        try:
            resolve_model(
                located_model(variant.model, world.root),
                format=format_,
                quantization=quantization,
                environment={**world.environment, "HF_HUB_CACHE": str(world.cache)},
                home=world.home,
            )
        except ModelNotFoundError as error:
            if not error.nowhere:
                return False
        else:
            return False
    return True


def _pull(model: PlannedModel, world: FetchWorld, puller: FindPuller) -> None:
    repo = model.hf_repo
    if not is_repo_id(repo):
        what = f"{repo!r} is no name of a repository; it has the form org/name"
        raise HubError(what, fault="input")
    if model.revision is not None:
        what = f"{repo}: the playbook wants {model.revision}, and apr pulls what is newest"
        raise HubError(what, fault="input")
    cache = own_cache(world.environment, world.home) / "models"
    target = cache / slug(repo.rpartition("/")[2])
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if target.exists():
            # Whatever it is, it was not found to be this model.
            what = f"{repo}: {target} is there already, and is not this model"
            raise HubError(what, fault="infrastructure")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".pulling-") as scratch:
            home, kept = Path(scratch, "home"), Path(scratch, "kept")
            home.mkdir()
            tool, path = _pulled(repo, home, puller)
            _keep(repo, path, home.resolve(), kept)
            kept.rename(target)
    except OSError as error:
        what = f"{repo}: {cache} cannot be used: {error.strerror or error}"
        raise HubError(what, fault="infrastructure") from error
    for path in sorted(target.iterdir()):
        world.say(f"{repo}: {path.name} has the SHA-256 {sha256_file(path)}")
    world.say(f"{repo}: pulled by {tool} into {target}; it tells no commit and no digests")


def _pulled(repo: str, home: Path, puller: FindPuller) -> tuple[str, Path]:
    try:
        tool, name = puller()
        return name, tool.pull(repo, home)
    except (EngineAbsentError, ModelLoadError, MemoryError) as error:
        what = f"{repo}: {error}"
        raise HubError(what, fault="infrastructure") from error


def _keep(repo: str, path: Path, home: Path, kept: Path) -> None:
    """Move the files of a model out of the tool's cache, under the names that they are known by.

    Raises:
        HubError: they are not SafeTensors that can be read, or lie elsewhere.
    """
    files = _files(repo, path)
    for each in files.values():
        if not each.resolve().is_relative_to(home):
            what = f"{repo}: apr names {each}, which is not where it was told to pull to"
            raise HubError(what, fault="infrastructure")
    weights = [each for name, each in files.items() if name.endswith(_SUFFIX)]
    try:
        with closing(open_safetensors(weights)) as opened:
            count = len(opened.tensors)
    except FormatError as error:
        what = f"{repo}: apr pulled what cannot be read: {error}"
        raise HubError(what, fault="infrastructure") from error
    if not count:
        what = f"{repo}: apr pulled {path.name}, which holds no tensor"
        raise HubError(what, fault="infrastructure")
    kept.mkdir()
    for name, each in files.items():
        shutil.move(each.resolve(), kept / name)


def _files(repo: str, path: Path) -> dict[str, Path]:
    """Return the files of a model as the tool keeps them, by the names that the hub has for them.

    A single file has the name of a digest, and so have those beside it; shards have their own.
    """
    if path.name == INDEX_NAME:
        try:
            found = find_weights(path.parent, format=ModelFormat.SAFETENSORS, quantization=None)
        except (WeightsAbsentError, WeightsFaultyError) as error:
            what = f"{repo}: apr pulled what is not whole: {error}"
            raise HubError(what, fault="infrastructure") from error
        files = {each.name: each for each in found.weights} | {INDEX_NAME: path}
        named = {name: path.parent / name for name in COMPANION_NAMES}
    elif path.suffix == _SUFFIX and path.is_file():
        files = {f"model{_SUFFIX}": path}
        named = {name: path.with_name(f"{path.stem}.{name}") for name in COMPANION_NAMES}
    else:
        what = f"{repo}: apr pulled {path.name}; what is known here are SafeTensors"
        raise HubError(what, fault="infrastructure")
    return files | {name: each for name, each in named.items() if each.is_file()}
