"""The last step of a certification: the model's row, unless better evidence stands there."""

from pathlib import Path

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.registry.better_evidence import Standing, row_of, why_not_better
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.models_csv import Registry
from aprqa_ci.registry.update_file import RegistryChange, update_file

__all__ = ["register_bundle"]


def register_bundle(
    bundle: Bundle, *, registry: Path, readme: Path | None, replace_better: bool = False
) -> RegistryChange | None:
    """Update the model's row in the registry and the table in the README.

    A README without the markers is left alone.

    Args:
        bundle: the certification.
        registry: the models.csv; it is made if it is missing.
        readme: whose table follows; absent, none does.
        replace_better: write the row also where what stands is better evidence: newer, of a higher
            tier, a whole result for one with cells left out, a certificate for one that could not
            certify.

    Returns:
        What changed; ``declined`` says why nothing did where better evidence stands. Nothing when
        the certificate says nothing about the model: an inconclusive run changes nothing.

    Raises:
        InputError: the registry cannot be read, is locked, or cannot be written.
    """
    update = update_from_certificate(bundle.certificate)
    if update is None:
        return None
    new = bundle.certificate

    def why_not(registered: Registry) -> str | None:
        standing = Standing(certificate=None, row=row_of(registered, new.model.hf_repo))
        return None if replace_better else why_not_better(new, standing, verified=True)

    return update_file(registry, update, create=True, readme=readme, why_not=why_not)
