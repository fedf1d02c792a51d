# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests: CAs, what they issue and revoke. Elliptic curves, since those keys are cheap."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from octavia.dataplane.haproxy.render import Rendered
from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificate, TenantCertificates
from octavia.worker.steps import certificates

_serials = count(1000)
PEM = serialization.Encoding.PEM


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    @property
    def bundle(self) -> bytes:
        return self.pem + self.key_pem

    @property
    def serial(self) -> str:
        """As a client sees it."""
        number = format(self.certificate.serial_number, "X")
        return number if len(number) % 2 == 0 else f"0{number}"


@dataclass(frozen=True)
class Ca:
    """An authority; an intermediate one if it has an issuer."""

    name: str
    issuer: "Ca | None" = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        signer = self.issuer or self
        subject = _named(self.name)
        issuer = self.issuer.certificate.subject if self.issuer else subject
        made = _build(subject, issuer, self.key, timedelta(days=30), is_ca=True).sign(
            signer.key, hashes.SHA256()
        )
        object.__setattr__(self, "certificate", made)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def issue(
        self, name: str, *more: str, life: timedelta = timedelta(days=20), key: object = None
    ) -> Issued:
        own = key if isinstance(key, ec.EllipticCurvePrivateKey) else new_key()
        builder = _build(_named(name), self.certificate.subject, own, life, is_ca=False)
        names = [x509.DNSName(one) for one in (name, *more)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), own)

    def revoke(self, *issued: Issued) -> bytes:
        """PEM of the list of those."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=30))
        for one in issued:
            revoked = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            builder = builder.add_revoked_certificate(
                revoked.revocation_date(now - timedelta(hours=1)).build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)


def tenant(issued: Issued, *intermediates: Ca) -> TenantCertificate:
    """As a store of secrets gives it."""
    return pem.from_parts(issued.pem, issued.key_pem, b"".join(one.pem for one in intermediates))


def files(made: Rendered, store: TenantCertificates) -> dict[str, bytes]:
    """What the worker sends with a configuration."""
    secret = {one.name: certificates.content(store, one) for one in made.secret_files}
    return secret | {name: text.encode() for name, text in made.crt_lists.items()}


def write(directory: Path, content: Mapping[str, bytes]) -> None:
    """Put files where a configuration names them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (directory / name).write_bytes(data)


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _build(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(next(_serials))
        .not_valid_before(min(now, now + life) - timedelta(days=1))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
