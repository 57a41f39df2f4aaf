"""Reading the data files that come with the package: gates, tiers, suites, policies."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import yaml

from aprqa_ci.errors import AprqaError

__all__ = ["BUNDLED", "BUNDLED_REPO", "bundled_model", "data_directory", "load_data"]

BUNDLED: Final = "bundled"
"""What users call the model that comes with the package."""
BUNDLED_REPO: Final = "aprqa/aprqa-tiny"
"""What playbooks call it; no hub has a repository of that name."""

ModelT = TypeVar("ModelT")


def data_directory() -> Traversable:
    """Return the folder of data files inside the package."""
    return files("aprqa_ci").joinpath("data")


def bundled_model() -> Path:
    """Return the directory of the model that comes with the package."""
    return Path(str(data_directory().joinpath("models", "aprqa-tiny")))


def load_data(name: str, model: type[ModelT]) -> ModelT:
    """Load one YAML data file of the package into its model.

    Args:
        name: the path below the data folder, for example ``gates.yaml``.
        model: the wire model that describes the file.

    Raises:
        AprqaError: the installation is damaged; the file is missing or does not fit its model.
    """
    try:
        return msgspec.convert(_parsed(name), type=model)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        what = f"the data file {name} of this installation is damaged: {error}"
        raise AprqaError(what) from error


@cache
def _parsed(name: str) -> object:
    text = data_directory().joinpath(name).read_text(encoding="utf-8")
    # CSafeLoader reads the same language and is about ten times as fast as SafeLoader.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
