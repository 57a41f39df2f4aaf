"""Connecting to GitHub with what the environment holds."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.github.workflow_commands import add_mask

if TYPE_CHECKING:
    from aprqa_ci.github.client import Client

__all__ = ["connect_to", "in_a_job"]


def in_a_job(environment: Mapping[str, str]) -> bool:
    """Whether this is a step of a GitHub Actions workflow, whose log takes orders."""
    return environment.get("GITHUB_ACTIONS") == "true"


def connect_to(repository: str, *, api_url: str, environment: Mapping[str, str]) -> "Client":
    """Connect with the token in ``GITHUB_TOKEN``.

    Args:
        repository: ``owner/name``.
        api_url: for example ``https://api.github.com``.
        environment: the environment's variables.

    Raises:
        InputError: there is no token, or the extra is not installed.
        DeliveryError: the repository cannot be read.
    """
    token = environment.get("GITHUB_TOKEN", "")
    if not token:
        hint = "give the step env: GITHUB_TOKEN: ${{ github.token }}"
        raise InputError(Problem(what="GITHUB_TOKEN is not set", hint=hint))
    try:
        from aprqa_ci.github.client import connect  # noqa: PLC0415 - PyGithub is an extra
    except ImportError as error:
        hint = "pip install 'aprqa-ci[github]'"
        raise InputError(Problem(what=f"publishing needs {error.name}", hint=hint)) from error
    if in_a_job(environment):
        add_mask(token, sys.stdout.write)
    return connect(repository, token=token, api_url=api_url)
