"""The options that say which attestations to verify, and whose signature counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from aprqa_ci.certification.attestation import ExpectedSigner, check_attestation, load_verifier
from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import BrokenLink, Link, Links
from aprqa_ci.certification.provenance import VerifiedAttestation
from aprqa_ci.certification.verifying import Verification

__all__ = ["Attestations", "attestation_options"]

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, kw_only=True)
class Attestations:
    """Saved attestations, ready to be verified."""

    check: Callable[[Bundle], VerifiedAttestation | BrokenLink]

    def verified(self, bundle: Bundle) -> VerifiedAttestation | None:
        """Return what was signed about a bundle, if the signature holds."""
        found = self.check(bundle)
        return found if isinstance(found, VerifiedAttestation) else None

    def added(self, verification: Verification, bundle: Bundle | None) -> Verification:
        """Return what came of checking a bundle, with its attestation."""
        if bundle is None:
            why = "the evidence cannot be scored"
            return verification.amended(Links.not_checked(Link.ATTESTATION, why))
        found = self.check(bundle)
        if isinstance(found, BrokenLink):
            return verification.amended(Links(broken=(found,)))
        return verification.amended(Links(held=(Link.ATTESTATION,)), signer=found.signer)


def attestation_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add them; the command gets ``attestations``, nothing where none was named."""

    @wraps(function)
    def with_attestations(
        *,
        attestation: tuple[Path, ...],
        source: str | None,
        identity: str | None,
        source_ref: str | None,
        trust_root: Path | None,
        **others: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        if not attestation:
            if source or identity or source_ref or trust_root:
                msg = "--source, --identity, --source-ref and --trust-root go with --attestation"
                raise click.UsageError(msg)
            function(attestations=None, **others)
            return
        if source is None:
            msg = "--attestation needs --source: whose run it must be, or anybody's would do"
            raise click.UsageError(msg)
        expected = ExpectedSigner(
            source=source,
            identity=identity or "",
            source_ref=source_ref or ExpectedSigner.source_ref,
        )
        verifier = load_verifier(trust_root)
        made = Attestations(
            check=lambda bundle: check_attestation(attestation, bundle, expected, verifier)
        )
        function(attestations=made, **others)

    command: Callable[..., None] = with_attestations
    for option in reversed(
        (
            click.option(
                "--attestation",
                multiple=True,
                type=_file,
                help="A saved attestation (sigstore bundle); may be repeated. One of them must "
                "hold for each bundle. Needs aprqa-ci[attest].",
            ),
            click.option(
                "--source",
                metavar="OWNER/NAME",
                help="The repository whose workflow run it must have been.",
            ),
            click.option(
                "--identity",
                metavar="WORKFLOW",
                help="The workflow that must have signed, OWNER/NAME/.github/workflows/FILE, with "
                "@REF at one version.  [default: attest.yml of the source]",
            ),
            click.option(
                "--source-ref",
                metavar="REF",
                help="What the run must have been of.  [default: refs/heads/main]",
            ),
            click.option(
                "--trust-root",
                type=_file,
                help="A saved root of trust; absent, the public one is fetched.",
            ),
        )
    ):
        command = option(command)
    return command
