# SPDX-License-Identifier: Apache-2.0
"""Stores of tenants' certificates: one contract for all, and what the local one promises besides."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from octavia.domain.errors import Terminal
from octavia.drivers.certificates import pem
from octavia.drivers.certificates.local_store import LocalSecrets
from octavia.drivers.certificates.noop import NoopTenantCertificates
from octavia.drivers.certificates.tenant import (
    NoStore,
    TenantCertificate,
    TenantCertificates,
    Unretrievable,
    Unusable,
)
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki

CA = pki.Ca("CA")
LEAF = CA.issue("www.example.org", "Example.org")

Keep = Callable[[TenantCertificate | bytes], str]
Store = tuple[TenantCertificates, Keep]


def local(tmp_path: Path) -> Store:
    store = LocalSecrets(tmp_path / "tenants")

    def keep(content: TenantCertificate | bytes) -> str:
        if isinstance(content, bytes):
            return store.add("a name", payload=content).ref
        return store.add("a name", certificate=content).ref

    return store, keep


def memory(_tmp_path: Path) -> Store:
    store = MemoryTenantCertificates()
    return store, store.keep


def noop(_tmp_path: Path) -> Store:
    return NoopTenantCertificates(), lambda _content: "whatever"


@pytest.fixture(params=[local, memory, noop])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


@pytest.fixture(params=[local, memory])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


def test_a_certificate_comes_with_its_own_key(store: Store) -> None:
    kept, keep = store
    found = kept.get_certificate(keep(pki.tenant(LEAF, CA)))
    again = pem.from_parts(found.bundle, found.private_key)
    assert (again.certificate, again.names, again.expires_at) == (
        found.certificate,
        found.names,
        found.expires_at,
    )


def test_cas_and_revocations_come_as_secrets(store: Store) -> None:
    kept, keep = store
    authorities = pem.authorities(kept.get_secret(keep(CA.pem)), "CA")
    assert pem.revocations(kept.get_secret(keep(CA.revoke(LEAF))), authorities, "CRL")


def test_what_is_kept_comes_back(real: Store) -> None:
    kept, keep = real
    certificate = pki.tenant(LEAF, CA)
    assert kept.get_certificate(keep(certificate)) == certificate
    assert kept.get_secret(keep(CA.pem)) == CA.pem


def test_a_key_never_comes_as_a_secret(real: Store) -> None:
    kept, keep = real
    assert b"PRIVATE" not in kept.get_secret(keep(pki.tenant(LEAF)))


def test_what_is_no_certificate_is_unusable_as_one(real: Store) -> None:
    kept, keep = real
    with pytest.raises(Unusable):
        kept.get_certificate(keep(CA.pem))


@pytest.mark.parametrize(
    "ref", ["", "nothing", "../../etc/passwd", "00000000-0000-4000-8000-000000000000", "\x00"]
)
def test_what_is_not_there_cannot_be_retrieved(real: Store, ref: str) -> None:
    kept, _ = real
    with pytest.raises(Unretrievable):
        kept.get_certificate(ref)
    with pytest.raises(Unretrievable):
        kept.get_secret(ref)


def test_without_a_store_nothing_can_be_retrieved() -> None:
    with pytest.raises(Unretrievable):
        NoStore().get_certificate("x")
    with pytest.raises(Unretrievable):
        NoStore().get_secret("x")


def test_processes_agree_about_what_the_noop_store_has() -> None:
    program = (
        "from octavia.drivers.certificates.noop import NoopTenantCertificates as N; import sys;"
        "sys.stdout.buffer.write(N().get_certificate('a').bundle + N().get_secret('b'))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert elsewhere == NoopTenantCertificates().get_certificate(
        "c"
    ).bundle + NoopTenantCertificates().get_secret("d")


# --- on the disk


@pytest.fixture
def disk(tmp_path: Path) -> LocalSecrets:
    return LocalSecrets(tmp_path / "tenants")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_disk_tells_nothing_and_is_roots_alone(disk: LocalSecrets, tmp_path: Path) -> None:
    disk.add("the name", certificate=pki.tenant(LEAF))
    for path in files(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        assert b"the name" not in content
        assert b"example.org" not in content
        assert LEAF.key_pem.splitlines()[1] not in content
    assert stat.S_IMODE((tmp_path / "tenants").stat().st_mode) == 0o700


def test_another_process_with_the_key_reads_it_and_nobody_without(disk: LocalSecrets, tmp_path: Path) -> None:
    ref = disk.add("x", certificate=pki.tenant(LEAF)).ref
    assert LocalSecrets(tmp_path / "tenants").get_certificate(ref) == pki.tenant(LEAF)
    (tmp_path / "tenants.key").write_bytes(os.urandom(32))
    with pytest.raises(Unretrievable, match="cannot be decrypted"):
        disk.get_certificate(ref)
    (tmp_path / "tenants.key").unlink()
    with pytest.raises(Unretrievable):
        disk.get_certificate(ref)
    # A new key would make the loss final.
    with pytest.raises(Terminal, match=r"tenants\.key is gone"):
        disk.add("y", payload=CA.pem)


def test_files_cannot_change_places_or_be_changed(disk: LocalSecrets, tmp_path: Path) -> None:
    one, two = disk.add("1", payload=CA.pem).ref, disk.add("2", payload=CA.pem).ref
    first, second = (tmp_path / "tenants" / f"{ref}.secret" for ref in (one, two))
    second.write_bytes(first.read_bytes())
    with pytest.raises(Unretrievable):
        disk.get_secret(two)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(Unretrievable):
        disk.get_secret(one)
    first.write_bytes(b"")
    with pytest.raises(Unretrievable):
        disk.get_secret(one)


def test_replacing_keeps_the_reference_and_the_kind(disk: LocalSecrets) -> None:
    secret = disk.add("site", certificate=pki.tenant(LEAF))
    renewed = CA.issue("www.example.org")
    disk.replace(secret.ref, certificate=pki.tenant(renewed))
    assert disk.get_certificate(secret.ref) == pki.tenant(renewed)
    (listed,) = disk.list()
    assert (listed.name, listed.created_at, listed.kind) == ("site", secret.created_at, "certificate")
    assert listed.updated_at
    with pytest.raises(Unusable, match="cannot become a CA"):
        disk.replace(secret.ref, payload=CA.pem)
    disk.remove(secret.ref)
    assert disk.list() == []
    with pytest.raises(Unretrievable):
        disk.remove(secret.ref)


def test_what_has_expired_is_not_kept(disk: LocalSecrets) -> None:
    late = CA.issue("late", life=timedelta(seconds=-5))
    with pytest.raises(Unusable, match="expired on"):
        disk.add("late", certificate=pki.tenant(late))
    assert disk.list() == []
