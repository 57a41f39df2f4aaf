"""What a certification says to other tools: an in-toto Statement with the test-result predicate.

The format is https://github.com/in-toto/attestation, ``spec/v1/statement.md`` and
``spec/predicates/test-result.md``. The statement is made of a bundle alone, so whoever has the
bundle makes the same bytes; who says so is the business of whoever signs it.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Literal

import msgspec

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME, PLAN_NAME, Bundle
from aprqa_ci.errors import InconclusiveError, InputError, Problem
from aprqa_ci.files import sha256_file
from aprqa_ci.plain_text import visible
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.certificate_parts import CertifiedTally
from aprqa_ci.vocabulary import GatewayState, Outcome, Status
from aprqa_ci.wire import WireModel, pretty_json

__all__ = [
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "ResourceDescriptor",
    "Statement",
    "TestResult",
    "TestVerdict",
    "checksums_of",
    "statement_bytes",
    "statement_of",
    "subjects_of",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"

_MOST_SUBJECTS = 1024
"""What GitHub's attestation action takes."""


class TestVerdict(StrEnum):
    """The result of a run in the words of the predicate."""

    __test__ = False  # its name is the predicate's; pytest collects none of it

    PASSED = "PASSED"
    WARNED = "WARNED"
    FAILED = "FAILED"


_VERDICTS = {
    Status.CERTIFIED: TestVerdict.PASSED,
    Status.PROVISIONAL: TestVerdict.WARNED,
    Status.BLOCKED: TestVerdict.FAILED,
}
"""INCONCLUSIVE has none: nothing passed, and no test has failed either."""


class ResourceDescriptor(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """A thing that a statement names."""

    name: str = ""
    uri: str = ""
    digest: dict[str, str] = msgspec.field(default_factory=dict)
    """By algorithm, in hexadecimal digits; ours are of ``sha256``."""


class TestResult(WireModel, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The predicate: the names of what was tested, by how it ended.

    A name is ``gateway:G1``, ``category:QUAL`` or ``gate:NAME`` of the playbook's own, never a
    scenario: of those there are thousands, and the certificate, which is a subject, has them. What
    was not tested in full is in none of the lists.
    """

    __test__ = False  # its name is the predicate's; pytest collects none of it

    result: TestVerdict
    configuration: tuple[ResourceDescriptor, ...]
    """The playbook, the plan and the tool."""
    url: str = ""
    """The workflow run."""
    passed_tests: tuple[str, ...] = ()
    """Everything that was planned for it was corroborated."""
    warned_tests: tuple[str, ...] = ()
    """Part of it spoke against the model, and by the rules the certificate stands."""
    failed_tests: tuple[str, ...] = ()
    """It, or part of it, spoke against the model."""


class Statement(
    WireModel,
    frozen=True,
    kw_only=True,
    rename={"type": "_type", "predicate_type": "predicateType"},
):
    """Who signs it says: of these files, this holds."""

    type: Literal["https://in-toto.io/Statement/v1"] = STATEMENT_TYPE
    subject: tuple[ResourceDescriptor, ...]
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = PREDICATE_TYPE
    predicate: TestResult


def statement_of(bundle: Bundle, *, url: str = "") -> Statement:
    """Return the statement about a bundle; its files are read for their digests.

    Args:
        bundle: the certification.
        url: the workflow run that made it.

    Raises:
        InconclusiveError: there is no verdict, so there is nothing to state.
        InputError: a file is gone, or more files are to be named than a statement takes.
    """
    certificate = bundle.certificate
    if certificate.status not in _VERDICTS:
        msg = "there is no verdict, and a test result cannot say that: nothing is attested"
        raise InconclusiveError(msg)
    subjects = subjects_of(bundle)
    playbook = bundle.plan.playbooks[0]
    return Statement(
        subject=subjects,
        predicate=TestResult(
            result=_VERDICTS[certificate.status],
            configuration=(
                _file(playbook.path, certificate.playbook.digest),
                next(each for each in subjects if each.name == PLAN_NAME),
                ResourceDescriptor(uri=f"pkg:generic/aprqa-ci@{certificate.tool_version}"),
            ),
            url=url,
            **_tests(certificate),
        ),
    )


def subjects_of(bundle: Bundle) -> tuple[ResourceDescriptor, ...]:
    """Return the files that a statement about a bundle is about, by name.

    They are the files of the bundle, and those of the model as ``<format>/<file>``.

    Raises:
        InputError: a file is gone, there are too many, or a name would not be one line.
    """
    names = (CERTIFICATE_NAME, EVIDENCE_NAME, PLAN_NAME)
    try:
        own = [_file(name, sha256_file(bundle.directory / name)) for name in names]
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise InputError(Problem(what=what, path=bundle.directory)) from error
    models = [
        _file(f"{variant}/{name}", digest)
        for variant, files in bundle.certificate.model.files.items()
        for name, digest in files.items()
    ]
    if len(models) + len(own) > _MOST_SUBJECTS:
        what = f"the model has {len(models)} files; a statement names at most {_MOST_SUBJECTS}"
        raise InputError(Problem(what=what, path=bundle.directory / CERTIFICATE_NAME))
    for each in models:
        if visible(each.name) != each.name or "\n" in each.name:
            what = f"the name of a file of the model is not one line of text: {each.name!r}"
            raise InputError(Problem(what=what, path=bundle.directory / CERTIFICATE_NAME))
    return (*own, *sorted(models, key=lambda each: each.name))


def statement_bytes(statement: Statement) -> bytes:
    """Return the one spelling of a statement."""
    return pretty_json(statement)


def checksums_of(statement: Statement) -> bytes:
    """Return the subjects as ``sha256sum`` writes and checks them."""
    lines = (f"{each.digest['sha256']}  {each.name}\n" for each in statement.subject)
    return "".join(lines).encode()


def _file(name: str, digest: str) -> ResourceDescriptor:
    return ResourceDescriptor(name=name, digest={"sha256": digest})


def _tests(certificate: Certificate) -> dict[str, tuple[str, ...]]:
    """Return the names of what was tested, by the list of the predicate they belong to."""
    stands = certificate.status is Status.CERTIFIED
    found: dict[str, list[str]] = {"passed_tests": [], "warned_tests": [], "failed_tests": []}
    for name, good in _ends(certificate):
        if good:
            found["passed_tests"].append(name)
        else:
            found["warned_tests" if stands else "failed_tests"].append(name)
    return {name: tuple(names) for name, names in found.items()}


def _ends(certificate: Certificate) -> Iterator[tuple[str, bool]]:
    """Yield what was tested and whether it is good; what was not tested in full is left out."""
    for gateway, state in certificate.gateways.items():
        if state.state is not GatewayState.NOT_EVALUATED:
            yield f"gateway:{gateway}", state.state is GatewayState.PASSED
    for name, category in certificate.categories.items():
        if (good := _end_of(category.tally)) is not None:
            yield f"category:{name}", good
    for gate in () if certificate.gates is msgspec.UNSET else certificate.gates:
        if gate.outcome is not Outcome.SKIPPED:
            yield f"gate:{gate.id}", gate.outcome is Outcome.CORROBORATED


def _end_of(tally: CertifiedTally) -> bool | None:
    if tally.falsified or tally.timeout or tally.crashed:
        return False
    return True if 0 < tally.planned == tally.corroborated else None
