# SPDX-License-Identifier: Apache-2.0
"""A CA on this machine's disk that signs the certificates of amphorae and of the controller.

Two authorities, so that no amphora can pass for a controller: one signs what amphorae show, the
other what controllers show. An operator brings both as files (``[certificates]``); standalone makes
them at its first start. Tenants' certificates are not here.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from oslo_config import cfg

from octavia.domain.clock import Clock, SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers.certificates.contract import IssuedCertificate
from octavia.drivers.local.storage import locked, make_private_directory, write_private

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_OWN_LIFE: Final = timedelta(days=3650)  # of what this module makes for itself
_Digest = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_DIGESTS: Final[dict[str, _Digest]] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class KeyType(StrEnum):
    """What kind of key an amphora gets. An RSA key costs about 100 ms of CPU, the other none."""

    EC_P256 = "EC_P256"
    RSA_2048 = "RSA_2048"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """Section ``[certificates]`` of octavia.conf, as far as amphorae are concerned.

    :param ca_private_key_passphrase: None for a key in plain text.
    :param client_ca: PEM file of the CA of the controllers' certificates
        (``[controller_worker] client_ca``).
    """

    ca_certificate: Path
    ca_private_key: Path
    client_ca: Path
    ca_private_key_passphrase: str | None = None
    signing_digest: str = "sha256"
    cert_validity_time: timedelta = timedelta(days=30)
    key_type: KeyType = KeyType.EC_P256

    def __repr__(self) -> str:
        """Without the passphrase: this may reach a log."""
        return f"CertificateSettings(ca_certificate={self.ca_certificate})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAuthority:
    """What standalone makes for itself.

    :param settings: for :class:`LocalCertificates`.
    :param client_certificate: PEM file, certificate then key, that the controller shows to amphorae.
    """

    settings: CertificateSettings
    client_certificate: Path


def ensure_authority(directory: Path, clock: Clock | None = None) -> LocalAuthority:
    """Make both authorities and the controller's certificate in ``directory``, or find them there."""
    now = (clock or SystemClock()).now()
    make_private_directory(directory)
    with locked(directory / "lock"):
        ca_certificate, ca_private_key = _ensure_ca(directory, "server_ca", "Octavia amphorae CA", now)
        client_ca, client_ca_key = _ensure_ca(directory, "client_ca", "Octavia controllers CA", now)
        client_certificate = directory / "client.pem"
        if not client_certificate.exists():
            signer = _Signer.load(client_ca, client_ca_key, None, "sha256")
            key = _new_key(KeyType.EC_P256)
            certificate = signer.sign(
                "octavia-controller", key, now, _OWN_LIFE, [ExtendedKeyUsageOID.CLIENT_AUTH]
            )
            write_private(client_certificate, _certificate_pem(certificate) + _key_pem(key))
    return LocalAuthority(
        settings=CertificateSettings(
            ca_certificate=ca_certificate, ca_private_key=ca_private_key, client_ca=client_ca
        ),
        client_certificate=client_certificate,
    )


def from_config(conf: cfg.ConfigOpts) -> "LocalCertificates":
    """``local_cert_generator``, of an octavia.conf.

    :raises Terminal: a file cannot be used; with what to change.
    """
    options = conf.certificates
    settings = CertificateSettings(
        ca_certificate=Path(options.ca_certificate),
        ca_private_key=Path(options.ca_private_key),
        ca_private_key_passphrase=options.ca_private_key_passphrase,
        client_ca=Path(conf.controller_worker.client_ca),
        signing_digest=options.signing_digest,
        cert_validity_time=timedelta(seconds=options.cert_validity_time),
    )
    return LocalCertificates(settings, SystemClock())


class LocalCertificates:
    """Implements :class:`octavia.drivers.certificates.contract.AmphoraCertificates`.

    Files are read once, here.

    :raises Terminal: a file cannot be read, or does not hold what it should.
    """

    def __init__(self, settings: CertificateSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._signer = _Signer.load(
            settings.ca_certificate,
            settings.ca_private_key,
            settings.ca_private_key_passphrase,
            settings.signing_digest,
        )
        self._client_ca = _read(settings.client_ca)

    @property
    def client_ca(self) -> bytes:
        """See the contract."""
        return self._client_ca

    @property
    def server_ca(self) -> bytes:
        """PEM of the CA that signs what amphorae show."""
        return _certificate_pem(self._signer.certificate)

    def issue(self, amphora_id: str) -> IssuedCertificate:
        """See the contract."""
        key = _new_key(self._settings.key_type)
        certificate = self._signer.sign(
            amphora_id,
            key,
            self._clock.now(),
            self._settings.cert_validity_time,
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        )
        return IssuedCertificate(
            certificate=_certificate_pem(certificate),
            private_key=_key_pem(key),
            expires_at=certificate.not_valid_after_utc.replace(tzinfo=None),
        )


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: _PrivateKey
    digest: _Digest

    @classmethod
    def load(cls, certificate: Path, key: Path, passphrase: str | None, digest: str) -> "_Signer":
        if digest.lower() not in _DIGESTS:
            raise Terminal(f"signing_digest {digest} is unknown; use one of {', '.join(_DIGESTS)}.")
        try:
            loaded = serialization.load_pem_private_key(
                _read(key), passphrase.encode() if passphrase else None
            )
            parsed = x509.load_pem_x509_certificate(_read(certificate))
        except (ValueError, TypeError) as why:
            raise Terminal(f"{certificate} or {key} does not hold what it should: {why}.") from why
        if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise Terminal(f"{key} is neither an RSA nor an elliptic curve key.")
        if loaded.public_key() != parsed.public_key():
            raise Terminal(f"{key} is not the key of {certificate}.")
        return cls(parsed, loaded, _DIGESTS[digest.lower()])

    def sign(
        self,
        name: str,
        key: _PrivateKey,
        now: datetime,
        validity: timedelta,
        purposes: Sequence[ObjectIdentifier],
    ) -> x509.Certificate:
        """Contract: drivers.md section 7."""
        builder = (
            _builder(name, self.certificate.subject, key, now, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
            .add_extension(self._authority_key(), critical=False)
        )
        return builder.sign(self.key, self.digest)

    def _authority_key(self) -> x509.AuthorityKeyIdentifier:
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def _ensure_ca(directory: Path, stem: str, name: str, now: datetime) -> tuple[Path, Path]:
    certificate_file, key_file = directory / f"{stem}.pem", directory / f"{stem}.key"
    # The certificate is written last: where there is one, its key is there too.
    if not certificate_file.exists():
        key = _new_key(KeyType.EC_P256)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(name, subject, key, now, _OWN_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(key_file, _key_pem(key))
        write_private(certificate_file, _certificate_pem(certificate))
    return certificate_file, key_file


def _builder(
    name: str, issuer: x509.Name, key: _PrivateKey, now: datetime, validity: timedelta
) -> x509.CertificateBuilder:
    from_ = now.replace(tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(uuid.uuid4().int)
        .not_valid_before(from_)
        .not_valid_after(from_ + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=not signs_certificates,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key(kind: KeyType) -> _PrivateKey:
    if kind is KeyType.RSA_2048:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise Terminal(f"{path} cannot be read: {why.strerror}.") from why
