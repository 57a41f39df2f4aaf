"""From the cells of a plan to their models in the cache, checked, with a manifest.

What lies on this machine outside the hub's cache is not fetched, for it would not be taken. Each
repository is asked for its files once; what is there already with the right digest is not fetched
again; what cannot be had is named, and the rest is fetched all the same.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from aprqa_ci.execution.converters import apr_converter
from aprqa_ci.execution.derivable import Derivable, find_model, why_not_made, why_not_made_of
from aprqa_ci.execution.fetching.choosing import WantedVariant, choose_files
from aprqa_ci.execution.fetching.hub import Hub, HubError, HubFile, Listing
from aprqa_ci.execution.fetching.manifest import AbsentModel, FetchedModel, ModelFile, Models
from aprqa_ci.execution.hub_cache import is_repo_id, record_revision, repo_folder
from aprqa_ci.execution.integrity.digests import content_digests
from aprqa_ci.execution.resolve import (
    HUB_SOURCE,
    ModelNotFoundError,
    hub_repositories,
    located_model,
)
from aprqa_ci.execution.weight_files import WeightsAbsentError, WeightsFaultyError
from aprqa_ci.files import read_bounded
from aprqa_ci.planning.model_size import placement_facts
from aprqa_ci.vocabulary import ModelFormat
from aprqa_ci.wire import digest_of

__all__ = ["FetchWorld", "Refusal", "Resolved", "ResolvedModel", "fetch_models", "resolve_models"]

_GB = 10**9
_SHA256_DIGITS = 64
_KEY_DIGITS = 32
_MAX_READ = 64 << 20
_DEFAULT_REVISION = "main"
_CONFIG = "config.json"


def _free_disk(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@dataclass(frozen=True, kw_only=True)
class FetchWorld:
    """What fetching takes from the outside world."""

    environment: Mapping[str, str]
    home: Path
    root: Path
    """What relative paths of the plan start from."""
    cache: Path
    """The hub's cache."""
    connect: Callable[[], Hub]
    """Called when there is something to ask a hub for."""
    say: Callable[[str], None]
    """Takes lines about what is going on."""
    free_disk: Callable[[Path], int] = _free_disk
    """The bytes that are free where a path is, or will be."""


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """One repository at one commit, and the files of it that are needed."""

    listing: Listing
    revision: str
    """What was asked for."""
    variants: Mapping[str, tuple[HubFile, ...]]
    derived: tuple[str, ...] = ()
    """Those of the variants that no repository has files of, and that are made of these."""

    @property
    def files(self) -> tuple[HubFile, ...]:
        """The files of all variants, each once."""
        files = {file.path: file for chosen in self.variants.values() for file in chosen}
        return tuple(files[path] for path in sorted(files))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What cannot be fetched."""

    variant: WantedVariant
    error: HubError

    @property
    def absent(self) -> AbsentModel:
        """The refusal as the manifest has it."""
        model = self.variant.model
        return AbsentModel(
            repo=model.hf_repo,
            revision=model.revision or _DEFAULT_REVISION,
            variant=self.variant.name,
            reason=str(self.error),
        )


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What is to be fetched, as the hub has it now."""

    models: tuple[ResolvedModel, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    hub: Hub | None = None
    """Absent when there is nothing to fetch."""

    @property
    def key(self) -> str:
        """What a cache of exactly these files is known by; empty when there are none."""
        if not self.models:
            return ""
        told = [
            (each.listing.repo, each.listing.commit, [(f.path, f.digest) for f in each.files])
            for each in self.models
        ]
        return f"aprqa-models-1-{digest_of(told)[:_KEY_DIGITS]}"


@dataclass(kw_only=True)
class _Found:
    listing: Listing
    revision: str
    variants: dict[str, tuple[HubFile, ...]] = field(default_factory=dict)
    derived: list[str] = field(default_factory=list)


def resolve_models(wanted: Sequence[WantedVariant], world: FetchWorld) -> Resolved:
    """Ask which commits and files are meant; of the weights nothing is downloaded.

    Args:
        wanted: what is needed.
        world: the outside world.

    Raises:
        InputError: the library for it is not installed, or its settings are wrong.
    """
    missing = [each for each in wanted if not _lies_here(each, world)]
    if not missing:
        return Resolved()
    asking = _Asking(world.connect(), world)
    refusals = []
    for variant in missing:
        try:
            asking.resolve(variant)
        except HubError as error:
            refusals.append(Refusal(variant=variant, error=error))
    models = tuple(
        ResolvedModel(
            listing=each.listing,
            revision=each.revision,
            variants=each.variants,
            derived=tuple(each.derived),
        )
        for each in asking.found.values()
        if each.variants
    )
    return Resolved(models=models, refusals=tuple(refusals), hub=asking.hub)


def fetch_models(resolved: Resolved, world: FetchWorld) -> tuple[Models, tuple[HubError, ...]]:
    """Download what was resolved and is not in the cache, and check every digest.

    Returns:
        The manifest, and why it is not whole, if it is not.
    """
    absent = [refusal.absent for refusal in resolved.refusals]
    errors = [refusal.error for refusal in resolved.refusals]
    models = []
    for model in resolved.models:
        assert resolved.hub is not None  # noqa: S101 - whoever resolved something has a hub
        try:
            models.append(_fetch_model(model, resolved.hub, world))
        except HubError as error:
            errors.append(error)
            absent += [
                AbsentModel(
                    repo=model.listing.repo,
                    revision=model.revision,
                    variant=variant,
                    reason=str(error),
                )
                for variant in model.variants
            ]
    return Models(models=tuple(models), absent=tuple(absent)), tuple(errors)


def _lies_here(variant: WantedVariant, world: FetchWorld) -> bool:
    """Say whether a place other than the hub's cache has the files, so that none are fetched.

    So has one with the SafeTensors that they can be made of.
    """
    try:
        found = find_model(
            located_model(variant.model, world.root),
            format=variant.format,
            quantization=variant.quantization,
            environment={**world.environment, "HF_HUB_CACHE": str(world.cache)},
            home=world.home,
            converter=apr_converter(),
        )
    except ModelNotFoundError:
        return False
    files = found.source if isinstance(found, Derivable) else found
    if files.source == HUB_SOURCE:
        return False
    how = "to be made of the SafeTensors there, " if files is not found else ""
    world.say(f"{variant.model.hf_repo} {variant.name}: {files.directory}: {how}nothing to fetch")
    return True


class _Asking:
    """Asks for each repository once."""

    def __init__(self, hub: Hub, world: FetchWorld) -> None:
        self.hub = hub
        self.found: dict[tuple[str, str], _Found] = {}
        self._world = world
        self._refused: dict[tuple[str, str], HubError] = {}

    def resolve(self, variant: WantedVariant) -> None:
        """Find the first repository that has the variant, or else what it can be made of.

        Raises:
            HubError: none has it and it cannot be made, or the hub cannot be asked.
        """
        reasons: list[str] = []
        fault: Literal["input", "infrastructure"] = "input"
        published_nowhere = True
        for repo, named in hub_repositories(variant.model, variant.format):
            try:
                found = self._listed(repo, named or _DEFAULT_REVISION)
                found.variants[variant.name] = self._chosen(
                    found, variant.format, variant.quantization
                )
            except WeightsAbsentError as error:
                reasons.append(f"{repo}: {error}")
            except WeightsFaultyError as error:
                msg = f"{repo} ({variant.name}): {error}"
                raise HubError(msg, fault="input") from error
            except HubError as error:
                # Without the sibling it is still known that the first one does not have it.
                if not reasons:
                    raise
                reasons.append(str(error))
                fault = error.fault
                published_nowhere = error.unseen
            else:
                return
        if published_nowhere:
            if not (reason := self._source(variant)):
                return
            reasons.append(reason)
        msg = f"the hub has no {variant.name} of {variant.model.hf_repo}: {'; '.join(reasons)}"
        raise HubError(msg, fault=fault)

    def _chosen(
        self, found: _Found, format_: ModelFormat, quantization: str | None
    ) -> tuple[HubFile, ...]:
        return choose_files(
            found.listing,
            format=format_,
            quantization=quantization,
            read=partial(self._read, found.listing),
        )

    def _source(self, variant: WantedVariant) -> str:
        """Find the SafeTensors that a variant can be made of which no repository has.

        Returns:
            Why it cannot be made, or nothing.

        Raises:
            HubError: the configuration cannot be had.
        """
        if reason := why_not_made(variant.format, variant.quantization, apr_converter()):
            return f"it is not made here {reason}"
        repo = variant.model.hf_repo
        found = self._listed(repo, variant.model.revision or _DEFAULT_REVISION)
        try:
            files = self._chosen(found, ModelFormat.SAFETENSORS, None)
        except (WeightsAbsentError, WeightsFaultyError) as error:
            return f"it is not made here of SafeTensors: {error}"
        config = next((file for file in files if PurePosixPath(file.path).name == _CONFIG), None)
        if config is None:
            return f"it is not made here of SafeTensors without {_CONFIG}"
        if reason := why_not_made_of(self._read(found.listing, config), variant.format):
            return f"it is not made here of the SafeTensors: {reason}"
        found.variants[variant.name] = files
        found.derived.append(variant.name)
        self._world.say(
            f"{repo} {variant.name}: the hub has none; its SafeTensors are fetched, and it is made "
            "of them when it is run"
        )
        return ""

    def _listed(self, repo: str, revision: str) -> _Found:
        key = (repo, revision)
        if key in self._refused:
            raise self._refused[key]
        if key not in self.found:
            try:
                listing = _listing(self.hub, repo, revision)
            except HubError as error:
                self._refused[key] = error
                raise
            if listing.name != repo:
                self._world.say(f"{repo}: the hub calls it {listing.name} by now")
            self._world.say(f"{repo} at {revision}: commit {listing.commit}")
            self.found[key] = _Found(listing=listing, revision=revision)
        return self.found[key]

    def _read(self, listing: Listing, file: HubFile) -> bytes:
        _require_room(file.size, self._world)
        path, _ = _fetched(self.hub, listing, file, self._world.cache)
        return read_bounded(path, _MAX_READ)


def _listing(hub: Hub, repo: str, revision: str) -> Listing:
    if not is_repo_id(repo):
        msg = f"{repo!r} is no name of a repository; it has the form org/name"
        raise HubError(msg, fault="input")
    return hub.listing(repo, revision)


def _fetch_model(model: ResolvedModel, hub: Hub, world: FetchWorld) -> FetchedModel:
    listing, cache = model.listing, world.cache
    blobs = repo_folder(cache, listing.repo) / "blobs"
    lacking = [file for file in model.files if not (blobs / file.digest).exists()]
    if lacking:
        size = sum(file.size for file in lacking)
        _require_room(size, world)
        world.say(f"{listing.repo}: {len(lacking)} files, {size / _GB:.3f} GB to download")
    files = []
    for file in model.files:
        _, sha256 = _fetched(hub, listing, file, cache)
        files.append(ModelFile(path=file.path, size=file.size, sha256=sha256))
        world.say(f"{listing.repo}: {file.path} has the digest that the hub lists")
    try:
        # Last, so that what the revision stands for is whole.
        record_revision(cache, listing.repo, model.revision, listing.commit)
    except OSError as error:
        raise _unwritable(listing, error) from error
    return FetchedModel(
        repo=listing.repo,
        renamed_to=None if listing.name == listing.repo else listing.name,
        revision=model.revision,
        commit=listing.commit,
        variants=tuple(model.variants),
        derived=model.derived,
        files=tuple(files),
    )


def _require_room(size: int, world: FetchWorld) -> None:
    needed = size / _GB + placement_facts().least_free_gb
    free = world.free_disk(world.cache) / _GB
    if free < needed:
        msg = f"{free:.1f} GB are free at {world.cache}; {needed:.1f} GB are needed to fetch"
        raise HubError(msg, fault="infrastructure")


def _fetched(hub: Hub, listing: Listing, file: HubFile, cache: Path) -> tuple[Path, str]:
    """Return where the file is, and its SHA-256; one with another digest is fetched once more."""
    for last in (False, True):
        try:
            path = hub.download(listing, file)
            sha256, git_id = content_digests(path)
            actual = sha256 if len(file.digest) == _SHA256_DIGITS else git_id
            if actual == file.digest:
                return path, sha256
            _remove(path, cache)
        except OSError as error:
            raise _unwritable(listing, error) from error
        if last:
            msg = (
                f"{listing.repo}: {file.path} has the digest {actual}, and the hub lists"
                f" {file.digest}; nothing of it was kept"
            )
            raise HubError(msg, fault="infrastructure")
    raise AssertionError


def _remove(path: Path, cache: Path) -> None:
    """Remove a file of the cache and what it links to."""
    target = path.resolve()
    path.unlink()
    if target.is_relative_to(cache.resolve()):
        target.unlink(missing_ok=True)


def _unwritable(listing: Listing, error: OSError) -> HubError:
    told = error.strerror or str(error)
    return HubError(f"{listing.repo}: the cache cannot be used: {told}", fault="infrastructure")
