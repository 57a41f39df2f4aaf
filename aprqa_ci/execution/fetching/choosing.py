"""Which files of a repository the cells need: those that are found again when they are run."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aprqa_ci.errors import InputError
from aprqa_ci.execution.fetching.hub import HubError, HubFile, Listing
from aprqa_ci.execution.weight_files import (
    COMPANION_NAMES,
    INDEX_NAME,
    WeightsFaultyError,
    find_weights,
)
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.plan import Plan, PlannedModel
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["WantedVariant", "choose_files", "wanted_variants"]

_MAX_PATH = 512
_MAX_COMPANION_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class WantedVariant:
    """One format of one model, in one quantization."""

    model: PlannedModel
    format: ModelFormat
    quantization: str | None

    @property
    def name(self) -> str:
        """``safetensors``, ``gguf-q8_0``."""
        return variant_name(self.format, self.quantization)


def wanted_variants(plan: Plan, cells: Collection[str]) -> tuple[WantedVariant, ...]:
    """Return what the named cells read, ground truths included, each once, in plan order. Pure."""
    found: dict[tuple[object, ...], WantedVariant] = {}
    playbooks = {playbook.name: playbook for playbook in plan.playbooks}
    for cell in plan.cells:
        if cell.id not in cells:
            continue
        playbook = playbooks[cell.playbook]
        model, truth = playbook.model, playbook.ground_truth
        pairs = [(cell.format, cell.quantization)]
        if truth is not None:
            pairs.append((truth.format, truth.quantization))
        for format_, quantization in pairs:
            key = (model.hf_repo, model.revision, model.local_path, format_, quantization)
            found.setdefault(
                key, WantedVariant(model=model, format=format_, quantization=quantization)
            )
    return tuple(found.values())


def choose_files(
    listing: Listing,
    *,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    read: Callable[[HubFile], bytes],
) -> tuple[HubFile, ...]:
    """Return the weights of one variant, and what beside them decides its answers.

    Args:
        listing: all files of the repository.
        format: the format wanted.
        quantization: for GGUF, what the file name must claim.
        read: gives the bytes of a small file, such as the index of a model in several files.

    Raises:
        WeightsAbsentError: the repository has no such weights.
        WeightsFaultyError: they are incomplete or ambiguous.
        HubError: an index could not be had, or a file has a name or size that it cannot have.
    """
    tree = _ListingTree(listing.files, read)
    found = find_weights(Path(), format=format, quantization=quantization, tree=tree)
    companions = [found.directory / name for name in COMPANION_NAMES]
    if format is ModelFormat.SAFETENSORS:
        companions.append(found.weights[0].parent / INDEX_NAME)
    chosen = [tree.files[path] for path in (*found.weights, *companions) if path in tree.files]
    weights = {path.as_posix() for path in found.weights}
    for file in chosen:
        _require_sense(listing, file, weight=file.path in weights)
    return tuple(sorted(chosen, key=lambda file: file.path))


def _require_sense(listing: Listing, file: HubFile, *, weight: bool) -> None:
    path = PurePosixPath(file.path)
    sound = (
        file.path == path.as_posix()
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in file.path
        and file.path.isprintable()
        and len(file.path) <= _MAX_PATH
    )
    if not sound:
        msg = f"{listing.repo}: {file.path!r} is no name of a file in a repository"
        raise HubError(msg, fault="infrastructure")
    if file.size <= 0 and weight:
        msg = f"{listing.repo}: {file.path} is empty"
        raise HubError(msg, fault="input")
    if not weight and file.size > _MAX_COMPANION_BYTES:
        msg = (
            f"{listing.repo}: {file.path} has {file.size} bytes; beside the weights a file may have"
            f" {_MAX_COMPANION_BYTES}"
        )
        raise HubError(msg, fault="input")


class _ListingTree:
    """The files of a repository as a tree; none of its paths is looked up on this machine."""

    def __init__(self, files: Iterable[HubFile], read: Callable[[HubFile], bytes]) -> None:
        self.files: dict[Path, HubFile] = {}
        self._read = read
        self._directories: dict[Path, set[Path]] = {Path(): set()}
        for file in files:
            path = Path(file.path)
            if path.is_absolute() or ".." in path.parts:
                # Not chosen, whatever it is; a repository of git cannot hold it.
                continue
            self.files[path] = file
            for below, above in zip((path, *path.parents), path.parents, strict=False):
                self._directories.setdefault(above, set()).add(below)

    def is_file(self, path: Path) -> bool:
        return path in self.files

    def is_directory(self, path: Path) -> bool:
        return path in self._directories

    def entries(self, directory: Path) -> Iterable[Path]:
        return self._directories[directory]

    def read(self, path: Path, limit: int) -> bytes:
        file = self.files[path]
        if file.size > limit:
            msg = f"{file.path} has {file.size} bytes, and {limit} is the most that is read of it"
            raise WeightsFaultyError(msg)
        try:
            return self._read(file)
        except InputError as error:
            raise WeightsFaultyError(str(error)) from error
