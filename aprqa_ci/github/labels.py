"""Labels that are ours on issues and pull requests; those of others stay."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.client import Client

__all__ = ["deliver_labels"]


def deliver_labels(
    client: "Client",
    number: int,
    there: Collection[str],
    wanted: Collection[str],
    *,
    own: tuple[str, ...],
) -> None:
    """Have the wanted labels on an issue or a pull request, and no others of ours.

    Args:
        client: the repository.
        number: of the issue or pull request.
        there: the labels that it has.
        wanted: those that it is to have.
        own: what the names of our labels begin with.

    Raises:
        DeliveryError: GitHub did not take it.
    """
    for name in sorted(set(there) - set(wanted)):
        if name.startswith(own):
            client.remove_label(number, name)
    if missing := [name for name in wanted if name not in there]:
        client.add_labels(number, missing)
