# SPDX-License-Identifier: Apache-2.0
"""What tenants put into secrets: PEM, PKCS#12 and PKCS#7, read, checked and written in one form.

Everything here is hostile until it was parsed; what leaves was written by us. No message repeats content.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import NameOID

from octavia.drivers.certificates.tenant import TenantCertificate, Unusable

MAX_BYTES: Final = 256 * 1024  # of one part of a secret; the largest bundles of public CAs have 230 KiB

_Key: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
_PublicCa: TypeAlias = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | dsa.DSAPublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
)
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----\r?\n?")


def from_parts(
    certificate: bytes, private_key: bytes, intermediates: bytes = b"", passphrase: bytes | None = None
) -> TenantCertificate:
    """The certificate of a PEM, of a key of its own or in the same text, and of what leads to its CA.

    :param certificate: PEM; certificates beside the one that the key belongs to count as intermediates.
    :param intermediates: PEM, or PKCS#7 as PEM or DER.
    :param passphrase: of an encrypted key.
    :raises Unusable: a part cannot be read, or the key belongs to none of the certificates.
    """
    key = _key(private_key, passphrase)
    found = _certificates(certificate, "certificate")
    if not found:
        raise Unusable("The certificate is no PEM: it has no BEGIN CERTIFICATE.")
    others = _intermediates(intermediates) if intermediates.strip() else []
    return _assembled(key, found, others)


def from_pkcs12(data: bytes, passphrase: bytes | None = None) -> TenantCertificate:
    """The certificate of a PKCS#12 bundle.

    :raises Unusable: it cannot be read, or has no key or no certificate.
    """
    _check_size(data, "PKCS12 bundle")
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable(
            "The PKCS12 bundle cannot be read: it is damaged, or has another pass phrase."
        ) from error
    if leaf is None or key is None:
        raise Unusable("The PKCS12 bundle has no certificate with its private key.")
    return _assembled(_of_known_kind(key), [leaf], others)


def authorities(payload: bytes, field: str) -> bytes:
    """The certificates of CAs in a PEM, written anew.

    :param field: what the message calls it.
    :raises Unusable: there are none, or one cannot be read.
    """
    found = _certificates(payload, field)
    if not found:
        raise Unusable(f"{field} holds no CA: it has to be X.509 certificates in PEM.")
    return b"".join(_pem(one) for one in found)


def revocations(payload: bytes, signed_by: bytes, field: str) -> bytes:
    """The lists of revoked certificates in a PEM, written anew.

    :param signed_by: PEM of the CAs; each list has to be signed by one of them.
    :raises Unusable: there are none, one cannot be read, or a stranger signed it.
    """
    lists, cas = _lists(payload, field), _certificates(signed_by, "CA")
    for one in lists:
        if not any(_signed(one, ca) for ca in cas):
            raise Unusable(f"{field} holds a CRL that is not signed by the CA.")
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in lists)


def lists_of_revoked(payload: bytes, field: str) -> bytes:
    """The lists of revoked certificates in a PEM, whoever signed them, written anew.

    :raises Unusable: there are none, or one cannot be read.
    """
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in _lists(payload, field))


def _lists(payload: bytes, field: str) -> list[x509.CertificateRevocationList]:
    lists = []
    for kind, block in _blocks(payload, field):
        if kind == b"X509 CRL":
            try:
                lists.append(x509.load_pem_x509_crl(block))
            except (ValueError, UnsupportedAlgorithm) as error:
                raise Unusable(f"{field} holds a CRL that cannot be read.") from error
    if not lists:
        raise Unusable(f"{field} holds no CRL: it has to be lists of revoked certificates in PEM.")
    return lists


def holds_private_key(payload: bytes) -> bool:
    """Is there something like a private key in a PEM?"""
    return b"PRIVATE KEY-----" in payload


def expiry_of_authorities(payload: bytes) -> datetime | None:
    """When the last certificate in a PEM expires, naive UTC; None if there is none."""
    found = _certificates(payload, "CA")
    return max((_expiry(one) for one in found), default=None)


def _check_size(data: bytes, noun: str) -> None:
    if len(data) > MAX_BYTES:
        raise Unusable(f"The {noun} has more than {MAX_BYTES // 1024} KiB.")


def _blocks(payload: bytes, noun: str) -> list[tuple[bytes, bytes]]:
    _check_size(payload, noun)
    return [(match[1], match[0]) for match in _BLOCK.finditer(payload)]


def _certificates(payload: bytes, noun: str) -> list[x509.Certificate]:
    try:
        return [
            x509.load_pem_x509_certificate(block)
            for kind, block in _blocks(payload, noun)
            if kind in (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
        ]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{noun} holds a certificate that cannot be read.") from error


def _intermediates(payload: bytes) -> list[x509.Certificate]:
    found = _certificates(payload, "intermediates")
    if found:
        return found
    try:
        if payload.lstrip().startswith(b"-----BEGIN PKCS7-----"):
            return list(pkcs7.load_pem_pkcs7_certificates(payload))
        return list(pkcs7.load_der_pkcs7_certificates(payload))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("The intermediates are neither PEM nor PKCS7.") from error


def _key(payload: bytes, passphrase: bytes | None) -> _Key:
    keys = [block for kind, block in _blocks(payload, "private key") if kind.endswith(b"PRIVATE KEY")]
    # An encrypted key of OpenSSL's traditional form has headers with hyphens in its block.
    candidate = keys[0] if keys else payload
    try:
        return _of_known_kind(serialization.load_pem_private_key(candidate, passphrase or None))
    except TypeError as error:
        wanted = "is encrypted and needs its pass phrase" if passphrase is None else "needs no pass phrase"
        raise Unusable(f"The private key {wanted}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("The private key cannot be read: no PEM, damaged, or another pass phrase.") from error


def _of_known_kind(key: object) -> _Key:
    if not isinstance(
        key,
        rsa.RSAPrivateKey
        | ec.EllipticCurvePrivateKey
        | dsa.DSAPrivateKey
        | ed25519.Ed25519PrivateKey
        | ed448.Ed448PrivateKey,
    ):
        raise Unusable("The private key is of a kind that TLS has no use for.")
    return key


def _assembled(
    key: _Key, found: Sequence[x509.Certificate], others: Sequence[x509.Certificate]
) -> TenantCertificate:
    leaf = next((one for one in found if _public(one) == _public_of(key)), None)
    if leaf is None:
        raise Unusable("The private key does not belong to the certificate.")
    rest = [one for one in (*found, *others) if one != leaf]
    names = _names(leaf)
    if not names:
        raise Unusable("The certificate has neither a common name nor a DNS name.")
    _check_strength(key)
    return TenantCertificate(
        certificate=_pem(leaf),
        private_key=_key_pem(key),
        intermediates=tuple(_pem(one) for one in _chained(leaf, rest)),
        names=names,
        expires_at=_expiry(leaf),
    )


def _check_strength(key: _Key) -> None:
    """OpenSSL takes no weaker ones, and one would keep the whole listener back."""
    bits = getattr(key, "key_size", None)
    least = 224 if isinstance(key, ec.EllipticCurvePrivateKey) else 2048
    if bits is not None and bits < least:
        raise Unusable(f"The private key has {bits} bits; it has to have {least} at least.")


def _public(certificate: x509.Certificate) -> bytes | None:
    try:
        return _spki(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return None


def _public_of(key: _Key) -> bytes:
    return _spki(key.public_key())


def _spki(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _chained(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The issuer first, then that one's; what belongs to nobody comes last, in its order."""
    left = list(dict.fromkeys(others))
    chain, last = [], leaf
    while issuer := next((one for one in left if one.subject == last.issuer), None):
        left.remove(issuer)
        chain.append(issuer)
        last = issuer
    return [*chain, *left]


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names += extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        pass
    except ValueError as error:
        raise Unusable("The names in the certificate cannot be read.") from error
    return tuple(dict.fromkeys(name.lower() for name in names if name))


def _expiry(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc.replace(tzinfo=None)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    modern = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    form = serialization.PrivateFormat.PKCS8 if modern else serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _signed(crl: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    try:
        key = ca.public_key()
        return isinstance(key, _PublicCa) and crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
