"""Whether the commit that wrote a row of the registry holds the bundle that the row is of."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME, PLAN_NAME, Bundle
from aprqa_ci.certification.chain import BrokenLink, Link, Links
from aprqa_ci.certification.git_history import History, NoHistoryError, history_of
from aprqa_ci.errors import InputError
from aprqa_ci.files import sha256_bytes
from aprqa_ci.planning.plan import Plan
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.registry.survey import survey
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.wire import decode_wire

__all__ = ["row_commits"]

_PROVENANCE = "provenance_verified"
"""What may be written into a row later, and says nothing of the certification."""


def row_commits(
    root: Path,
    registry: str,
    rows: Mapping[str, Mapping[str, str]],
    environment: Mapping[str, str],
) -> Callable[[Bundle, str], Links]:
    """Return what checks the commit that wrote the row of a bundle's model.

    Args:
        root: the repository's root.
        registry: the ``models.csv``, from the root.
        rows: its rows as they are, by model.
        environment: of this process, for git.

    Returns:
        Takes a bundle and its place from the root; the bundle must be the one that gives the row.
    """
    try:
        history = history_of(root, environment)
    except NoHistoryError as error:
        why = str(error)
        return lambda bundle, place: Links.not_checked(Link.COMMIT, why)  # noqa: ARG005 - the same for all
    data = history.file(registry)
    committed = {row.model_id: row for row in survey(data, source=registry).rows} if data else {}
    commits = history.commits_by_line(registry)

    def check(bundle: Bundle, place: str) -> Links:
        model = bundle.certificate.model.hf_repo
        row = committed.get(model)
        if row is None or _measured(row.cells) != _measured(rows[model]):
            return Links.not_checked(Link.COMMIT, "the row as it is here is not committed")
        commit = commits.get(row.line)
        if commit is None:
            return Links.not_checked(Link.COMMIT, "git does not say which commit wrote the row")
        broken = tuple(
            BrokenLink(link=Link.COMMIT, what=f"commit {commit[:12]} {what}", path=path)
            for what, path in _not_held_by(history, commit, bundle, place)
        )
        return Links(broken=broken, held=() if broken else (Link.COMMIT,))

    return check


def _measured(cells: Mapping[str, str]) -> list[str]:
    return [cells[column] for column in COLUMNS if column != _PROVENANCE]


def _not_held_by(
    history: History, commit: str, bundle: Bundle, place: str
) -> Iterator[tuple[str, str]]:
    """Yield what the commit that wrote a row does not hold of its bundle, and where."""
    checks: dict[str, Callable[[bytes], bool]] = {
        PLAN_NAME: lambda data: decode_wire(data, Plan, source=PLAN_NAME) == bundle.plan,
        EVIDENCE_NAME: lambda data: sha256_bytes(data) == bundle.certificate.evidence_digest,
        CERTIFICATE_NAME: lambda data: _gives_the_same(data, bundle.certificate),
    }
    for name, is_same in checks.items():
        path = f"{place}/{name}"
        data = history.file(path, commit)
        try:
            same = data is not None and is_same(data)
        except InputError:
            same = False
        if not same:
            other = "no" if data is None else "another"
            yield f"wrote the row and holds {other} {name}", path


def _gives_the_same(data: bytes, now: Certificate) -> bool:
    """Whether a certificate says the same of its model; a newer version may word it otherwise."""
    committed = decode_wire(data, Certificate, source=CERTIFICATE_NAME)
    return (
        (committed.model, committed.playbook) == (now.model, now.playbook)
        and committed.evidence_digest == now.evidence_digest
        and update_from_certificate(committed) == update_from_certificate(now)
    )
