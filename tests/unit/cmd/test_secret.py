# SPDX-License-Identifier: Apache-2.0
"""``octavia-standalone secret``: what it takes, what it refuses, and what it never shows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from octavia.cmd import standalone
from octavia.cmd.standalone.configuration import configuration
from octavia.cmd.standalone.state import State
from octavia.db import schema, work
from octavia.db.engine import Database, create_engine
from octavia.db.tree import loading, saving
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import Listener, LoadBalancer, Protocol, Vip
from octavia.drivers.certificates import local_store
from tests import pki

CA = pki.Ca("CA")
SITE = CA.issue("www.example.org")
RENEWED = CA.issue("www.example.org")
PASS = b"open sesame"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = standalone.main(["--state-dir", str(tmp_path / "state"), "secret", *words])
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert "PRIVATE KEY" not in text
            assert SITE.key_pem.decode().splitlines()[1] not in text
        return code, said.out.strip(), said.err.strip()

    return run


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str, bytes], str]:
    def file(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return file


File = Callable[[str, bytes], str]


def stored(tmp_path: Path) -> local_store.LocalSecrets:
    return local_store.from_config(configuration(State(tmp_path / "state")))


def test_what_is_added_can_be_used_by_its_reference(run: Run, files: File, tmp_path: Path) -> None:
    encrypted = pki.key_pem(SITE.key, PASS)
    bundle = pkcs12.serialize_key_and_certificates(
        None, SITE.key, SITE.certificate, None, serialization.BestAvailableEncryption(PASS)
    )
    secret = files("secret", PASS + b"\n")
    for words in (
        ("add", files("cert.pem", SITE.pem), files("key.pem", SITE.key_pem)),
        ("add", files("both.pem", SITE.bundle), "--intermediates", files("ca.pem", CA.pem)),
        ("add", files("cert.pem", SITE.pem), files("locked.pem", encrypted), "--passphrase-file", secret),
        ("add", "--pkcs12", files("site.p12", bundle), "--passphrase-file", secret),
    ):
        code, ref, said = run(*words)
        assert code == 0, said
        assert "www.example.org" in said
        assert "expires" in said
        assert stored(tmp_path).get_certificate(ref).certificate == SITE.pem
    code, ref, _ = run("add", files("ca.pem", CA.pem), "--name", "our CA")
    assert stored(tmp_path).get_secret(ref) == CA.pem
    code, ref, _ = run("add", files("crl.pem", CA.revoke(SITE)))
    listed = run("list")[1].splitlines()
    assert [line.split()[1] for line in listed[1:]] == ["certificate"] * 4 + ["CA", "CRL"]
    assert "our CA" in listed[5]
    assert "never" in listed[6]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add",), "--pkcs12"),
        (("add", "nowhere.pem"), "nowhere.pem cannot be read"),
        (("add", "junk.pem"), "holds no CA"),
        (("add", "cert.pem", "other.pem"), "does not belong"),
        (("add", "late.pem"), "expired on"),
        (("add", "cert.pem", "locked.pem"), "needs its pass phrase"),
        (("add", "cert.pem", "--pkcs12", "junk.pem"), "leave out"),
        (("show", "00000000-0000-4000-8000-000000000000"), "There is no secret"),
        (("show", "../octavia.db"), "There is no secret"),
        (("update", "nothing", "both.pem"), "There is no secret"),
        (("rm", "nothing"), "There is no secret"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    words: tuple[str, ...], said: str, run: Run, files: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files("junk.pem", b"junk")
    files("cert.pem", SITE.pem)
    files("both.pem", SITE.bundle)
    files("other.pem", pki.key_pem(pki.new_key()))
    files("locked.pem", pki.key_pem(SITE.key, PASS))
    files("late.pem", CA.issue("late", life=timedelta(hours=-1)).bundle)
    monkeypatch.chdir(tmp_path)
    State(tmp_path / "state").make()
    code, _, error = run(*words)
    assert code == 1
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_status_names_what_expires_soon(
    run: Run, files: File, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soon, later = (CA.issue(f"{days}.example.org", life=timedelta(days=days, hours=1)) for days in (5, 40))
    for one in (soon, later):
        assert run("add", files("both.pem", one.bundle))[0] == 0
    standalone.main(["--state-dir", str(tmp_path / "state"), "status"])
    said = capsys.readouterr().out
    assert "5.example.org expires in 5 days" in said
    assert "40.example.org" not in said


def test_before_anything_is_kept_there_is_nothing(run: Run) -> None:
    code, _, error = run("list")
    assert code == 1
    assert "nothing is kept yet" in error


def test_an_update_queues_who_uses_it_and_nobody_else(run: Run, files: File, tmp_path: Path) -> None:
    _, ref, _ = run("add", files("both.pem", SITE.bundle))
    conf = configuration(State(tmp_path / "state"))
    database = Database(create_engine(conf.database.connection))
    schema.upgrade(database.engine)
    lbs = [load_balancer(number, ref if number == 1 else "other") for number in (1, 2)]
    for lb in lbs:
        database.write(partial(saving.insert, lb=lb))
    code, said, error = run("update", ref, files("new.pem", RENEWED.bundle))
    assert code == 0, error
    assert "load balancer lb1 takes it over" in said
    assert "lb2" not in said
    assert stored(tmp_path).get_certificate(ref).certificate == RENEWED.pem
    with database.read() as tx:
        assert list(work.due(tx, max_time())) == [lbs[0].id]
        after = loading.load(tx, lbs[0].id)
    assert after
    assert after.generation == lbs[0].generation + 1
    assert after.listeners[0].provisioning_status is P.PENDING_UPDATE
    assert "used by  listener l1" in run("show", ref)[1]
    code, _, error = run("rm", ref)
    assert code == 1
    assert f"is in use by listener {lbs[0].listeners[0].id}" in error
    _, unused, _ = run("add", files("ca.pem", CA.pem))
    assert run("rm", unused)[0] == 0


def load_balancer(number: int, ref: str) -> LoadBalancer:
    ident = f"{number:08d}-0000-4000-8000-000000000000"
    listener = Listener(
        id=ident[:-1] + "1",
        name=f"l{number}",
        protocol=Protocol.TERMINATED_HTTPS,
        protocol_port=443,
        sni_container_refs=(ref,),
        provisioning_status=P.ACTIVE,
        created_at=START,
    )
    lb = LoadBalancer(id=ident, name=f"lb{number}", vip=Vip(), listeners=(listener,), created_at=START)
    return replace(lb, provisioning_status=P.ACTIVE, generation=5)


START = SITE.certificate.not_valid_before_utc.replace(tzinfo=None)


def max_time() -> datetime:
    return START + timedelta(days=3650)
