# SPDX-License-Identifier: Apache-2.0
"""What whoever signs amphorae's certificates promises; and what the CA on disk does beyond that."""

import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from octavia.domain.errors import Terminal, Transient
from octavia.drivers.certificates.contract import AmphoraCertificates
from octavia.drivers.certificates.local_ca import (
    CertificateSettings,
    KeyType,
    LocalAuthority,
    LocalCertificates,
    ensure_authority,
)
from octavia.drivers.certificates.memory import MemoryCertificates
from tests.unit.drivers.clock import StoppedClock

AMPHORA = "6f637461-0000-4000-8000-000000000001"


class CertificatesContract:
    @pytest.fixture
    def certificates(self) -> AmphoraCertificates:
        raise NotImplementedError

    def test_each_certificate_is_fresh(self, certificates: AmphoraCertificates) -> None:
        one, two = certificates.issue(AMPHORA), certificates.issue(AMPHORA)
        assert one.certificate != two.certificate
        assert one.private_key != two.private_key

    def test_it_lives_for_thirty_days(self, certificates: AmphoraCertificates) -> None:
        assert certificates.issue(AMPHORA).expires_at == StoppedClock().now() + timedelta(days=30)

    def test_the_bundle_is_certificate_then_key(self, certificates: AmphoraCertificates) -> None:
        issued = certificates.issue(AMPHORA)
        assert issued.bundle == issued.certificate + issued.private_key
        assert issued.private_key.decode() not in repr(issued)

    def test_the_controllers_ca_stays_the_same(self, certificates: AmphoraCertificates) -> None:
        assert certificates.client_ca == certificates.client_ca != b""


class TestInMemory(CertificatesContract):
    @pytest.fixture
    def certificates(self) -> AmphoraCertificates:
        return MemoryCertificates(StoppedClock())


class TestOnDisk(CertificatesContract):
    @pytest.fixture
    def certificates(self, tmp_path: Path) -> AmphoraCertificates:
        return LocalCertificates(ensure_authority(tmp_path, StoppedClock()).settings, StoppedClock())


@pytest.fixture
def authority(tmp_path: Path) -> LocalAuthority:
    return ensure_authority(tmp_path / "certificates")


def test_the_certificate_is_as_agents_and_controllers_expect(authority: LocalAuthority) -> None:
    certificates = LocalCertificates(authority.settings)
    certificate = x509.load_pem_x509_certificate(certificates.issue(AMPHORA).certificate)
    ca = x509.load_pem_x509_certificate(certificates.server_ca)

    def extension(kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
        return certificate.extensions.get_extension_for_class(kind)

    certificate.verify_directly_issued_by(ca)
    assert certificate.version is x509.Version.v3
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == AMPHORA
    assert extension(x509.SubjectAlternativeName).value == x509.SubjectAlternativeName(
        [x509.DNSName(AMPHORA)]
    )
    constraints = extension(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    purposes = extension(x509.ExtendedKeyUsage)
    assert purposes.critical
    assert set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert usage.value.data_encipherment
    assert usage.value.key_agreement
    assert not usage.value.key_cert_sign
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == own.digest
    assert extension(x509.SubjectKeyIdentifier)


@pytest.mark.parametrize(
    ("kind", "type_"), [(KeyType.EC_P256, ec.EllipticCurvePrivateKey), (KeyType.RSA_2048, rsa.RSAPrivateKey)]
)
def test_the_kind_of_key_is_a_setting(authority: LocalAuthority, kind: KeyType, type_: type) -> None:
    certificates = LocalCertificates(replace(authority.settings, key_type=kind))
    issued = certificates.issue(AMPHORA)
    key = serialization.load_pem_private_key(issued.private_key, None)
    assert isinstance(key, type_)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    assert certificate.public_key() == key.public_key()


def test_both_sides_accept_each_other_and_nobody_else(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority.settings)
    server_pem = tmp_path / "server.pem"
    server_pem.write_bytes(certificates.issue(AMPHORA).bundle)

    def handshake(client_pem: Path, name: str) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(server_pem)
        server.load_verify_locations(authority.settings.client_ca)
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.create_default_context(cafile=str(authority.settings.ca_certificate))
        client.load_cert_chain(client_pem)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        one = server.wrap_bio(to_server, to_client, server_side=True)
        two = client.wrap_bio(to_client, to_server, server_hostname=name)
        done: set[ssl.SSLObject] = set()
        while len(done) < 2:
            for end in (two, one):
                if end not in done:
                    try:
                        end.do_handshake()
                        done.add(end)
                    except ssl.SSLWantReadError:
                        continue
        # TLS 1.3: the client is done before the server has looked at its certificate.
        with pytest.raises(ssl.SSLWantReadError):
            one.read(1)

    handshake(authority.client_certificate, AMPHORA)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        handshake(authority.client_certificate, "6f637461-0000-4000-8000-000000000002")
    with pytest.raises(ssl.SSLError):
        handshake(server_pem, AMPHORA)  # an amphora is no controller


def test_the_authority_is_made_once(tmp_path: Path) -> None:
    first = ensure_authority(tmp_path)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ensure_authority(tmp_path) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


@pytest.mark.parametrize("lost", ["server_ca.pem", "client_ca.pem", "client.pem"])
def test_a_first_start_that_was_killed_is_finished_by_the_next(tmp_path: Path, lost: str) -> None:
    ensure_authority(tmp_path)
    (tmp_path / lost).unlink()
    if lost == "client_ca.pem":  # the client's certificate comes after its CA
        (tmp_path / "client.pem").unlink()
    authority = ensure_authority(tmp_path)
    LocalCertificates(authority.settings).issue(AMPHORA)
    ca = x509.load_pem_x509_certificate(authority.settings.client_ca.read_bytes())
    x509.load_pem_x509_certificate(authority.client_certificate.read_bytes()).verify_directly_issued_by(ca)


def test_keys_are_for_root_alone(authority: LocalAuthority) -> None:
    directory = authority.client_certificate.parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_an_operators_encrypted_key_is_used(authority: LocalAuthority, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(authority.settings.ca_private_key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret words"),
        )
    )
    settings = replace(authority.settings, ca_private_key=encrypted, ca_private_key_passphrase="secret words")
    assert "secret words" not in repr(settings)
    LocalCertificates(replace(settings, signing_digest="sha512")).issue(AMPHORA)
    for passphrase in (None, "wrong words"):
        with pytest.raises(Terminal, match=r"encrypted\.key"):
            LocalCertificates(replace(settings, ca_private_key_passphrase=passphrase))


def test_wrong_settings_are_named(authority: LocalAuthority, tmp_path: Path) -> None:
    def refused(**changes: object) -> str:
        with pytest.raises(Terminal) as refusal:
            LocalCertificates(replace(authority.settings, **changes))  # type: ignore[arg-type]
        return refusal.value.why

    assert "nowhere" in refused(ca_certificate=tmp_path / "nowhere")
    assert "md5" in refused(signing_digest="md5")
    assert "is not the key of" in refused(ca_certificate=authority.settings.client_ca)
    assert "does not hold" in refused(ca_certificate=authority.settings.ca_private_key)


def test_faults_can_be_asked_for() -> None:
    certificates = MemoryCertificates(StoppedClock())
    certificates.faults.fail("issue", Transient("the CA is away"))
    with pytest.raises(Transient):
        certificates.issue(AMPHORA)
    assert certificates.issue(AMPHORA).certificate


def test_settings_are_plain_values(tmp_path: Path) -> None:
    settings = CertificateSettings(
        ca_certificate=tmp_path / "a", ca_private_key=tmp_path / "b", client_ca=tmp_path / "c"
    )
    assert settings.signing_digest == "sha256"
    assert settings.cert_validity_time == timedelta(days=30)
