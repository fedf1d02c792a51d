# SPDX-License-Identifier: Apache-2.0
"""``noop_cert_manager``: whatever the reference, the same valid certificate, made up by us.

Every process computes the same bytes, so that they agree without a store. Its key is no secret at all.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from oslo_config import cfg

from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificate

_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2120, 1, 1, tzinfo=UTC)
_NAME: Final = "noop.example.org"


class NoopTenantCertificates:
    """Implements :class:`octavia.drivers.certificates.tenant.TenantCertificates`."""

    def __init__(self, conf: cfg.ConfigOpts | None = None) -> None:
        del conf

    def get_certificate(self, ref: str) -> TenantCertificate:
        """See the contract."""
        del ref
        return self._certificate

    def get_secret(self, ref: str) -> bytes:
        """See the contract. It serves as a CA and, empty, as a list that this CA signed."""
        del ref
        return self._secret

    @cached_property
    def _certificate(self) -> TenantCertificate:
        return pem.from_parts(
            _self_signed(_key(1), is_ca=False).public_bytes(serialization.Encoding.PEM),
            _key(1).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    @cached_property
    def _secret(self) -> bytes:
        ca = _self_signed(_key(2), is_ca=True)
        revoked = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.subject)
            .last_update(_FROM)
            .next_update(_UNTIL)
            .sign(_key(2), None)
        )
        encoding = serialization.Encoding.PEM
        return ca.public_bytes(encoding) + revoked.public_bytes(encoding)


def _key(number: int) -> Ed25519PrivateKey:
    # Known to everybody; and signatures of this kind have nothing random in them.
    return Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))


def _self_signed(key: Ed25519PrivateKey, *, is_ca: bool) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {_NAME}" if is_ca else _NAME)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .sign(key, None)
    )
