"""A signing service of our own: an authority and two logs, with keys that are made here.

Everything is in the form of the public instance, and the sigstore library judges it as it would
that one's. What it does not prove: that GitHub's action and the public service leave what is made
here (``docs/design/attestation.md``).
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from aprqa_ci.certification.attestation import ISSUER
from tests.records import NOON

__all__ = ["LocalSigstore", "Signing"]

SHA256 = ec.ECDSA(hashes.SHA256())
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_FULCIO = "1.3.6.1.4.1.57264.1."
_START = datetime(2020, 1, 1, tzinfo=UTC)
_END = datetime(2040, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Signing:
    """What one signature is made of; the defaults are a good one."""

    repository: str = "https://github.com/octo/models"
    workflow: str = "https://github.com/octo/models/.github/workflows/attest.yml@refs/heads/main"
    ref: str = "refs/heads/main"
    issuer: str = ISSUER
    signed: datetime = NOON
    """When the log of signatures took it in."""
    valid_from: datetime = NOON - timedelta(minutes=5)
    """Of the signer's certificate, for ten minutes."""
    payload_type: str = PAYLOAD_TYPE


class LocalSigstore:
    """An authority for certificates, a log of certificates and a log of signatures."""

    def __init__(self) -> None:
        self._authority = _key()
        self._certificates = _key()
        self._signatures = _key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local authority")])
        public = self._authority.public_key()
        self._root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(1)
            .not_valid_before(_START)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._authority, hashes.SHA256())
        )

    def write_root(self, path: Path) -> Path:
        """Write the root of trust as sigstore's clients read it."""
        valid = {"start": "2020-01-01T00:00:00Z"}

        def log(key: ec.EllipticCurvePrivateKey, name: str) -> dict[str, Any]:
            return {
                "baseUrl": f"https://{name}.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": _text(_public(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": _text(_key_id(key))},
            }

        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self._signatures, "signatures")],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "tests", "commonName": "local authority"},
                    "uri": "https://authority.example",
                    "certChain": {"certificates": [{"rawBytes": _text(_der(self._root))}]},
                    "validFor": valid,
                }
            ],
            "ctlogs": [log(self._certificates, "certificates")],
            "timestampAuthorities": [],
        }
        path.write_text(json.dumps(root), encoding="utf-8")
        return path

    def attest(self, payload: bytes, signing: Signing | None = None, **changes: Any) -> Any:
        """Sign a payload, and return the attestation as JSON values, to be spoilt."""
        signing = replace(signing or Signing(), **changes)
        key = _key()
        certificate = self._certificate(key, signing)
        kind = signing.payload_type.encode()
        signature = key.sign(
            b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload), SHA256
        )
        envelope = {
            "payload": _text(payload),
            "payloadType": signing.payload_type,
            "signatures": [{"sig": _text(signature)}],
        }
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": _sha256(json.dumps(envelope).encode()),
                "payloadHash": _sha256(payload),
                "signatures": [{"signature": _text(signature), "verifier": _text(pem)}],
            },
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _text(_der(certificate))},
                "tlogEntries": [self._entry(_canonical(body), signing.signed)],
            },
            "dsseEnvelope": envelope,
        }

    def _certificate(self, key: ec.EllipticCurvePrivateKey, signing: Signing) -> x509.Certificate:
        """Return a certificate with the proof that it is in the log of certificates."""
        authority = self._authority.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(signing.valid_from)
            .not_valid_after(signing.valid_from + timedelta(minutes=10))
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(signing.workflow)]),
                critical=True,
            )
        )
        for number, text in (
            (8, signing.issuer),
            (9, signing.workflow),
            (12, signing.repository),
            (14, signing.ref),
        ):
            value = b"\x0c" + _length(len(text.encode())) + text.encode()
            oid = ObjectIdentifier(f"{_FULCIO}{number}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        precertificate = builder.sign(self._authority, hashes.SHA256()).tbs_certificate_bytes
        time = int(signing.valid_from.timestamp() * 1000)
        entry = _key_id(self._authority) + len(precertificate).to_bytes(3, "big") + precertificate
        told = struct.pack("!BBQH", 0, 0, time, 1) + entry + struct.pack("!H", 0)
        signature = self._certificates.sign(told, SHA256)
        # RFC 6962: version, log, time, no extensions, SHA-256 with ECDSA, signature.
        proof = b"\0" + _key_id(self._certificates) + struct.pack("!QH", time, 0)
        proof += struct.pack("!BBH", 4, 3, len(signature)) + signature
        proofs = struct.pack("!HH", len(proof) + 2, len(proof)) + proof
        value = b"\x04" + _length(len(proofs)) + proofs
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_LIST, value), critical=False
        ).sign(self._authority, hashes.SHA256())

    def _entry(self, body: bytes, time: datetime) -> Any:
        """Return the entry of the log of signatures, the second of two."""
        log = _key_id(self._signatures)
        before = hashlib.sha256(b"\0another entry").digest()
        leaf = hashlib.sha256(b"\0" + body).digest()
        root = hashlib.sha256(b"\1" + before + leaf).digest()
        note = f"signatures.example - 1\n2\n{_text(root)}\n"
        signature = log[:4] + self._signatures.sign(note.encode(), SHA256)
        promise = {
            "body": _text(body),
            "integratedTime": int(time.timestamp()),
            "logID": log.hex(),
            "logIndex": 7,
        }
        return {
            "logIndex": "7",
            "logId": {"keyId": _text(log)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(int(time.timestamp())),
            "inclusionPromise": {
                "signedEntryTimestamp": _text(self._signatures.sign(_canonical(promise), SHA256))
            },
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": _text(root),
                "treeSize": "2",
                "hashes": [_text(before)],
                "checkpoint": {
                    "envelope": f"{note}\n\N{EM DASH} signatures.example {_text(signature)}\n"
                },
            },
            "canonicalizedBody": _text(body),
        }


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _length(count: int) -> bytes:
    """A length as DER has it."""
    if count < 128:
        return bytes([count])
    digits = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([128 + len(digits)]) + digits


def _sha256(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _canonical(value: object) -> bytes:
    """JSON as RFC 8785 has it, of ASCII texts and whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
