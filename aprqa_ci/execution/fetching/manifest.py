"""What was fetched, written down for the steps that then run without a network."""

from typing import Literal

from aprqa_ci.wire import WireModel

__all__ = ["MODELS_NAME", "MODELS_SCHEMA", "AbsentModel", "FetchedModel", "ModelFile", "Models"]

MODELS_NAME = "models.json"
MODELS_SCHEMA: Literal["aprqa-models/1"] = "aprqa-models/1"


class ModelFile(WireModel, frozen=True, kw_only=True):
    """One file of a repository, after its digest was checked."""

    path: str
    """In the repository, with ``/``."""
    size: int
    """Bytes."""
    sha256: str


class FetchedModel(WireModel, frozen=True, kw_only=True):
    """The files of one repository at one commit."""

    repo: str
    """As the playbook has it, or the sibling ``<name>-GGUF`` of that."""
    renamed_to: str | None = None
    """What the hub calls the repository by now, where that is something else."""
    revision: str
    """What was asked for: a commit, branch or tag."""
    commit: str
    """What that was when it was fetched: 40 hexadecimal digits."""
    variants: tuple[str, ...]
    """The formats, with their quantizations, that the files are for: ``gguf-q8_0``."""
    derived: tuple[str, ...] = ()
    """Those of them that no repository has files of, and that are made of these in a run."""
    files: tuple[ModelFile, ...]


class AbsentModel(WireModel, frozen=True, kw_only=True):
    """What could not be fetched; that says nothing of the model."""

    repo: str
    revision: str
    variant: str
    reason: str


class Models(WireModel, frozen=True, kw_only=True):
    """Everything that one plan, or one shard of it, needed of the hub."""

    schema: Literal["aprqa-models/1"] = MODELS_SCHEMA
    plan: str | None = None
    """The digest of the plan that the files are for."""
    models: tuple[FetchedModel, ...] = ()
    absent: tuple[AbsentModel, ...] = ()

    def reason_for(self, repo: str, variant: str) -> str | None:
        """Return why a variant of the playbook's repository could not be fetched, if that is so."""
        for each in self.absent:
            if (each.repo, each.variant) == (repo, variant):
                return each.reason
        return None

    def fetched(self, repo: str) -> tuple[FetchedModel, ...]:
        """Return what was fetched of a repository; several commits where playbooks differ."""
        return tuple(each for each in self.models if each.repo == repo)
