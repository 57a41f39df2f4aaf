"""Verifying what was signed about a bundle: who signed it, and that it is about this one.

The signature, the signer's certificate and the transparency log are the sigstore library's to
judge, an extra of ours (``aprqa-ci[attest]``). Whom to trust, and that the statement is the one
this bundle gives, is said here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import BrokenLink, Link
from aprqa_ci.certification.provenance import VerifiedAttestation
from aprqa_ci.certification.statement import Statement, statement_of
from aprqa_ci.errors import AprqaError, InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.plain_text import one_line
from aprqa_ci.wire import decode_wire

if TYPE_CHECKING:
    from cryptography.x509 import Certificate as SigningCertificate
    from sigstore.verify import Verifier

__all__ = ["ISSUER", "ExpectedSigner", "check_attestation", "load_verifier"]

ISSUER = "https://token.actions.githubusercontent.com"
"""Who says which workflow asked for the signing certificate."""
WORKFLOW = ".github/workflows/attest.yml"
"""The workflow that is expected to have signed, unless another is named."""

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_BYTES = 8 << 20
_MOST_ATTESTATIONS = 100
"""`gh attestation download` writes all of an artifact into one file, one a line."""
_LONGEST_REASON = 500
_MOST_REASONS = 5
_SOURCE = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}")
_IDENTITY = re.compile(
    r"(?P<workflow>[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}/\.github/workflows/[\w.-]{1,100})"
    r"(?:@(?P<ref>\S{1,255}))?"
)


@dataclass(frozen=True, kw_only=True)
class ExpectedSigner:
    """Whose signature counts."""

    source: str
    """The repository whose run it was, ``owner/name``."""
    identity: str = ""
    """The workflow that signed, ``owner/name/.github/workflows/file``, with ``@ref`` for one
    version of it alone; absent, ``attest.yml`` of the source. A reusable workflow signs as itself,
    in the run of whoever called it."""
    source_ref: str = "refs/heads/main"
    """What the run was of. Code of a pull request signs with the rights of the repository, too."""
    server: str = "https://github.com"

    def __post_init__(self) -> None:
        problems = []
        if not _SOURCE.fullmatch(self.source):
            problems.append(Problem(what=f"not a repository: {self.source!r}", hint="OWNER/NAME"))
        if self.identity and not _IDENTITY.fullmatch(self.identity):
            hint = "OWNER/NAME/.github/workflows/FILE, perhaps with @REF"
            problems.append(Problem(what=f"not a workflow: {self.identity!r}", hint=hint))
        if problems:
            raise InputError(problems)

    @property
    def workflow(self) -> str:
        """The beginning of the signer's name, up to the version."""
        return f"{self.server}/{self._identity.partition('@')[0]}@"

    @property
    def version(self) -> str:
        """The version of the workflow; empty for any."""
        return self._identity.partition("@")[2]

    @property
    def repository(self) -> str:
        """The address of the source."""
        return f"{self.server}/{self.source}"

    @property
    def _identity(self) -> str:
        return self.identity or f"{self.source}/{WORKFLOW}"


def load_verifier(trust_root: Path | None = None) -> "Verifier":
    """Return what judges signatures.

    Args:
        trust_root: a sigstore trusted root; absent, that of the public instance is fetched.

    Raises:
        InputError: the extra is not installed, or there is no such root.
    """
    try:
        from sigstore.errors import Error  # noqa: PLC0415 - an extra
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - an extra
        from sigstore.verify import Verifier  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = "pip install 'aprqa-ci[attest]'"
        what = f"verifying an attestation needs {error.name}"
        raise InputError(Problem(what=what, hint=hint)) from error
    try:
        if trust_root is None:
            return Verifier.production()
        return Verifier(trusted_root=TrustedRoot.from_file(str(trust_root)))
    except (Error, ValueError, OSError) as error:
        what = f"there is no root of trust: {_reason(error)}"
        hint = "" if trust_root else "the public one is fetched; name a saved one with --trust-root"
        raise InputError(Problem(what=what, path=trust_root, hint=hint)) from error


def check_attestation(
    paths: Sequence[Path], bundle: Bundle, expected: ExpectedSigner, verifier: "Verifier"
) -> VerifiedAttestation | BrokenLink:
    """Verify the saved attestations of a bundle, of which one must hold.

    Args:
        paths: files with a sigstore bundle, or with several of them, one a line.
        bundle: what it is to be about, checked before.
        expected: whose signature counts.
        verifier: what judges signatures.

    Returns:
        What was signed; or why none of it holds.

    Raises:
        InputError: a file cannot be read.
    """
    whys: list[str] = []
    for text in (text for path in paths for text in _attestations(path)):
        try:
            signer, payload = _signed(text, expected, verifier)
            statement = decode_wire(payload, Statement, source="the signed statement")
            faults = tuple(_differences(statement, bundle))
            if not faults:
                digests = frozenset(each.digest["sha256"] for each in statement.subject)
                return VerifiedAttestation(signer=signer, digests=digests)
            why = faults[0]
        except AprqaError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - what hostile bytes make four libraries raise has no common class, and nothing of it verifies
            why = _reason(error)
        if why not in whys:
            whys.append(why)
    what = "; ".join(whys[:_MOST_REASONS])
    return BrokenLink(link=Link.ATTESTATION, what=what, path=", ".join(map(str, paths)))


def _attestations(path: Path) -> Iterator[str]:
    try:
        text = read_bounded(path, _MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise InputError(Problem(what="not UTF-8 text", path=path)) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(Problem(what="there is no attestation in it", path=path))
    if len(lines) == 1 or lines[0].strip() == "{":
        yield text
        return
    if len(lines) > _MOST_ATTESTATIONS:
        what = f"{len(lines)} attestations, at most {_MOST_ATTESTATIONS} are looked at"
        raise InputError(Problem(what=what, path=path))
    yield from lines


def _signed(text: str, expected: ExpectedSigner, verifier: "Verifier") -> tuple[str, bytes]:
    """Return who signed and what, of one attestation whose signature holds."""
    from sigstore.models import Bundle as SigstoreBundle  # noqa: PLC0415 - an extra
    from sigstore.verify import policy  # noqa: PLC0415 - an extra

    attested = SigstoreBundle.from_json(text)
    signer = _Workflow(expected)
    rules = policy.AllOf(
        [
            policy.OIDCIssuerV2(ISSUER),
            signer,
            policy.OIDCSourceRepositoryURI(expected.repository),
            policy.OIDCSourceRepositoryRef(expected.source_ref),
        ]
    )
    payload_type, payload = verifier.verify_dsse(attested, rules)
    if payload_type != _PAYLOAD_TYPE:
        what = f"what was signed is no statement, but {payload_type!r}"
        raise InputError(what)
    return signer.found, payload


class _Workflow:
    """The rule that the signer is the expected workflow, at any or at one version."""

    def __init__(self, expected: ExpectedSigner) -> None:
        self._expected = expected
        self.found = ""

    def verify(self, cert: "SigningCertificate") -> None:
        """Raise unless the certificate is the workflow's."""
        from cryptography.x509 import (  # noqa: PLC0415 - an extra
            SubjectAlternativeName,
            UniformResourceIdentifier,
        )
        from sigstore.errors import VerificationError  # noqa: PLC0415 - an extra

        names = cert.extensions.get_extension_for_class(SubjectAlternativeName).value
        found = names.get_values_for_type(UniformResourceIdentifier)
        wanted = self._expected.workflow + self._expected.version
        if len(found) != 1 or not (
            found[0] == wanted if self._expected.version else found[0].startswith(wanted)
        ):
            msg = f"signed by {', '.join(found) or 'nobody'}, not by {wanted}"
            raise VerificationError(msg)
        (self.found,) = found


def _differences(signed: Statement, bundle: Bundle) -> Iterator[str]:
    """Yield what was signed otherwise than this bundle gives."""
    own = statement_of(bundle)
    theirs = {each.name: each.digest for each in signed.subject}
    for each in own.subject:
        if each.name not in theirs:
            yield f"the signed statement does not name {each.name}"
        elif theirs[each.name] != each.digest:
            yield f"the signed statement is about another {each.name}"
    if len(signed.subject) != len(own.subject):
        yield "the signed statement is about other files, too"
    if signed.predicate.result != own.predicate.result:
        yield f"{signed.predicate.result} was signed, the bundle gives {own.predicate.result}"
    # Another version may list its tests otherwise; the certificate is a subject in any case.
    same = msgspec.structs.replace(signed.predicate, url="")
    if bundle.certificate.tool_version == __version__ and same != own.predicate:
        yield "another test result was signed than the bundle gives"


def _reason(error: BaseException) -> str:
    return one_line(str(error) or type(error).__name__)[:_LONGEST_REASON]
