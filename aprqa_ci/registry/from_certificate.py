"""From a certificate to the row of the registry that it changes."""

from aprqa_ci.registry.row_update import RowUpdate, parameters_of
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import Gateway, GatewayState, Status

__all__ = ["update_from_certificate"]


def update_from_certificate(certificate: Certificate) -> RowUpdate | None:
    """Return what the certificate says about its model's row.

    A PROVISIONAL result of a tier that does not certify is written as PROVISIONAL with the tier
    ``none``.

    Returns:
        The update, or nothing when the certificate says nothing about the model: it is
        INCONCLUSIVE, or there is no record behind it.
    """
    if certificate.status is Status.INCONCLUSIVE or certificate.finished is None:
        return None
    passed = {
        gateway
        for gateway, result in certificate.gateways.items()
        if result.state is GatewayState.PASSED
    }
    model = certificate.model
    return RowUpdate(
        model_id=model.hf_repo,
        status=certificate.status,
        mqs_score=certificate.mqs,
        grade=certificate.grade,
        certified_tier=certificate.certified_tier,
        last_certified=certificate.finished,
        g1=Gateway.G1 in passed,
        g2=Gateway.G2 in passed,
        g3=Gateway.G3 in passed,
        g4=Gateway.G4 in passed,
        throughput={
            (each.format, each.backend): each.tokens_per_second for each in certificate.throughput
        },
        family=model.family or "",
        parameters=parameters_of(model.hf_repo),
        size_category=model.size_category,
    )
