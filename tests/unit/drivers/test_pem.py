# SPDX-License-Identifier: Apache-2.0
"""What tenants put into secrets is read in every usual form, and refused with a reason otherwise."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from hypothesis import given
from hypothesis import strategies as st

from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificate, Unusable
from tests import pki

ROOT = pki.Ca("root")
OUTER = pki.Ca("outer", issuer=ROOT)
INNER = pki.Ca("inner", issuer=OUTER)
LEAF = INNER.issue("WWW.example.org", "shop.example.org")
CHAIN = (INNER.pem, OUTER.pem)
PASS = b"open sesame"


def bundle(passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    others = [OUTER.certificate, INNER.certificate]
    return pkcs12.serialize_key_and_certificates(b"site", LEAF.key, LEAF.certificate, others, encryption)


def old_form(passphrase: bytes | None = None) -> bytes:
    """OpenSSL's traditional form, encrypted in its own way."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return LEAF.key.private_bytes(pki.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)


FORMS: dict[str, Callable[[], TenantCertificate]] = {
    "parts": lambda: pem.from_parts(LEAF.pem, LEAF.key_pem, b"".join(CHAIN)),
    "in any order": lambda: pem.from_parts(OUTER.pem + LEAF.pem + INNER.pem, LEAF.key_pem),
    "one text": lambda: pem.from_parts(whole(), whole()),
    "encrypted key": lambda: pem.from_parts(LEAF.pem, pki.key_pem(LEAF.key, PASS), CHAIN[1] + CHAIN[0], PASS),
    "traditional": lambda: pem.from_parts(LEAF.pem, old_form(), b"".join(CHAIN)),
    "traditional, encrypted": lambda: pem.from_parts(LEAF.pem, old_form(PASS), b"".join(CHAIN), PASS),
    "PKCS#7": lambda: pem.from_parts(LEAF.pem, LEAF.key_pem, seven(serialization.Encoding.PEM)),
    "PKCS#7, binary": lambda: pem.from_parts(LEAF.pem, LEAF.key_pem, seven(serialization.Encoding.DER)),
    "PKCS#12": lambda: pem.from_pkcs12(bundle()),
    "PKCS#12, encrypted": lambda: pem.from_pkcs12(bundle(PASS), PASS),
    "with the line ends of Windows": lambda: pem.from_parts(
        LEAF.pem.replace(b"\n", b"\r\n"), LEAF.key_pem.replace(b"\n", b"\r\n"), b"".join(CHAIN)
    ),
}


def whole() -> bytes:
    return b"Some words\n" + LEAF.pem + LEAF.key_pem + b"".join(CHAIN)


def seven(encoding: serialization.Encoding) -> bytes:
    return pkcs7.serialize_certificates([OUTER.certificate, INNER.certificate], encoding)


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_makes_the_same_certificate(form: str) -> None:
    made = FORMS[form]()
    assert made.certificate == LEAF.pem
    assert made.intermediates == CHAIN
    assert made.names == ("www.example.org", "shop.example.org")
    assert made.bundle.index(b"PRIVATE KEY") > made.bundle.index(b"BEGIN CERTIFICATE")
    assert b"\n\n" not in made.bundle
    assert made.private_key.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pem.from_parts(LEAF.pem, pki.key_pem(pki.new_key())), "does not belong"),
        (lambda: pem.from_parts(b"", LEAF.key_pem), "no BEGIN CERTIFICATE"),
        (lambda: pem.from_parts(LEAF.pem, b"nothing"), "cannot be read"),
        (lambda: pem.from_parts(LEAF.pem, pki.key_pem(LEAF.key, PASS)), "needs its pass phrase"),
        (lambda: pem.from_parts(LEAF.pem, pki.key_pem(LEAF.key, PASS), b"", b"wrong"), "another pass phrase"),
        (lambda: pem.from_parts(LEAF.pem, LEAF.key_pem, b"", PASS), "needs no pass phrase"),
        (lambda: pem.from_parts(LEAF.pem, LEAF.key_pem, b"junk"), "neither PEM nor PKCS7"),
        (lambda: pem.from_parts(LEAF.pem[:60] + LEAF.pem[90:], LEAF.key_pem), "cannot be read"),
        (lambda: pem.from_parts(b"x" * (pem.MAX_BYTES + 1), LEAF.key_pem), "KiB"),
        (lambda: pem.from_pkcs12(b"junk"), "PKCS12"),
        (lambda: pem.from_pkcs12(bundle(PASS)), "pass phrase"),
        (lambda: pem.from_pkcs12(bundle(PASS), b"wrong"), "pass phrase"),
        (lambda: pem.authorities(b"junk", "that field"), "that field holds no CA"),
        (lambda: pem.revocations(ROOT.pem, ROOT.pem, "that field"), "that field holds no CRL"),
        (lambda: pem.revocations(INNER.revoke(), ROOT.pem, "that field"), "not signed by the CA"),
        (lambda: pem.lists_of_revoked(b"junk", "that field"), "holds no CRL"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(make: Callable[[], object], said: str) -> None:
    with pytest.raises(Unusable, match=said) as refusal:
        make()
    assert "BEGIN" not in refusal.value.why.replace("BEGIN CERTIFICATE", "")


def test_a_certificate_without_any_name_is_refused() -> None:
    key = pki.new_key()
    nobody = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(LEAF.certificate.not_valid_before_utc)
        .not_valid_after(LEAF.certificate.not_valid_after_utc)
        .sign(key, LEAF.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    with pytest.raises(Unusable, match="neither a common name"):
        pem.from_parts(made.public_bytes(pki.PEM), pki.key_pem(key))


def test_keys_of_other_kinds_are_written_as_haproxy_reads_them() -> None:
    for key, form in (
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), b"BEGIN RSA PRIVATE KEY"),
        (ed25519.Ed25519PrivateKey.generate(), b"BEGIN PRIVATE KEY"),
    ):
        builder = (
            x509.CertificateBuilder()
            .subject_name(LEAF.certificate.subject)
            .issuer_name(ROOT.certificate.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(LEAF.certificate.not_valid_before_utc)
            .not_valid_after(LEAF.certificate.not_valid_after_utc)
        )
        issued = builder.sign(ROOT.key, LEAF.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
        plain = key.private_bytes(pki.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        assert form in pem.from_parts(issued.public_bytes(pki.PEM), plain).private_key


def test_keys_that_openssl_finds_too_weak_are_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    weak = (
        x509.CertificateBuilder()
        .subject_name(LEAF.certificate.subject)
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(LEAF.certificate.not_valid_before_utc)
        .not_valid_after(LEAF.certificate.not_valid_after_utc)
        .sign(ROOT.key, LEAF.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    plain = key.private_bytes(pki.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(Unusable, match="1024 bits"):
        pem.from_parts(weak.public_bytes(pki.PEM), plain)


def test_only_what_was_read_is_written_again() -> None:
    dirty = b"# injected\nserver evil\n" + ROOT.pem + b"\n\nmore\n"
    assert pem.authorities(dirty, "CA") == ROOT.pem
    revoked = ROOT.revoke(LEAF)
    assert pem.revocations(b"x\n" + revoked + b"y", ROOT.pem, "CRL") == revoked
    assert pem.holds_private_key(LEAF.key_pem)
    assert pem.holds_private_key(old_form(PASS))
    assert not pem.holds_private_key(ROOT.pem)


def test_a_bundle_with_bytes_behind_it_is_read_as_openssl_reads_it() -> None:
    """Some tools pad what they write; the strict reader of DER refuses that, the one of BER does not."""
    assert pem.from_pkcs12(bundle() + b"\x00") == pem.from_pkcs12(bundle())


hostile = st.binary(max_size=300) | st.sampled_from([LEAF.pem, LEAF.key_pem, ROOT.pem, bundle()]).flatmap(
    lambda good: st.tuples(st.integers(0, len(good)), st.binary(max_size=20)).map(
        lambda cut: good[: cut[0]] + cut[1] + good[cut[0] + len(cut[1]) :]
    )
)


@given(hostile, hostile, hostile)
def test_whatever_is_read_is_either_good_or_refused(one: bytes, two: bytes, three: bytes) -> None:
    for read in (
        lambda: pem.from_parts(one, two, three),
        lambda: pem.from_pkcs12(one),
        lambda: pem.authorities(one, "field"),
        lambda: pem.lists_of_revoked(one, "field"),
    ):
        try:
            read()
        except Unusable:
            continue
