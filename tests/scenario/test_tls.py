# SPDX-License-Identifier: Apache-2.0
"""A TLS site as a tenant makes one: secrets on the command line, the real client, curl."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import pki
from tests.scenario.test_up import Machine, eventually, machine, vip

__all__ = ["machine"]  # a fixture

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(
        not all(
            shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
            for program in ("haproxy", "keepalived")
        ),
        reason="needs haproxy and keepalived",
    ),
]

SITE, SHOP = "www.example.org", "shop.example.org"


class Tenant:
    """Files and commands of somebody with a site."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.directory = directory
        self.ca = pki.Ca("the tenant's CA")
        self.address = ""
        self.file("ca.pem", self.ca.pem)

    def file(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def files(self, issued: pki.Issued) -> tuple[str, str]:
        return self.file("cert.pem", issued.pem), self.file("key.pem", issued.key_pem)

    def secret(self, *words: str) -> str:
        done = self.machine.standalone("secret", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refused(self, *words: str) -> str:
        done = self.machine.standalone("secret", *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def curl(self, name: str, *options: str) -> str | None:
        """What was asked for with ``-w``; None if there is no such site."""
        where = ("--connect-to", f"{name}:443:{self.address}:443", f"https://{name}/")
        always = ("curl", "-sS", "-o", "/dev/null", "--max-time", "5", "--cacert", f"{self.directory}/ca.pem")
        done = self.machine.run(*always, *options, *where)
        return done.stdout if done.returncode == 0 else None

    def serial(self, name: str) -> str | None:
        """Of the certificate that clients of that name are shown."""
        connect = ("-connect", f"{self.address}:443", "-servername", name)
        shown = self.machine.run("openssl", "s_client", *connect)
        if shown.returncode != 0:
            return None
        certificate = self.file("shown.pem", shown.stdout.encode())
        found = self.machine.run("openssl", "x509", "-noout", "-serial", "-in", certificate)
        return found.stdout.strip().removeprefix("serial=")


@pytest.fixture
def tenant(machine: Machine, tmp_path: Path) -> Tenant:
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    made = Tenant(machine, tmp_path)
    made.address = vip(machine)
    return made


def test_a_tenant_makes_a_site_with_two_names_and_renews_its_certificate(tenant: Tenant) -> None:
    machine, site, shop = tenant.machine, tenant.ca.issue(SITE), tenant.ca.issue(SHOP)
    assert "key does not belong" in tenant.refused(
        "add", tenant.files(site)[0], tenant.file("k", shop.key_pem)
    )
    site_ref = tenant.secret("add", *tenant.files(site))
    shop_ref = tenant.secret("add", "--name", "shop", tenant.file("bundle.pem", shop.bundle))
    listener = machine.openstack(
        *("loadbalancer", "listener", "create", "--name", "site", "--protocol", "TERMINATED_HTTPS"),
        *("--protocol-port", "443", "--default-tls-container-ref", site_ref),
        *("--sni-container-refs", site_ref, shop_ref, "--default-pool", "demo-pool", "--hsts-max-age", "600"),
        *("--wait", "demo"),
    )
    assert listener["default_tls_container_ref"] == site_ref
    ok = ("-w", "%{http_code} %{http_version}")
    assert eventually(lambda: tenant.curl(SITE, *ok) == "200 2", within=20)
    assert tenant.curl(SHOP, *ok) == "200 2"
    assert tenant.serial(SITE) == site.serial
    assert tenant.serial(SHOP) == shop.serial
    assert tenant.serial("nobody.example.org") == site.serial

    shown = tenant.secret("show", site_ref)
    assert f"for      {SITE}" in shown
    assert "used by  listener site" in shown
    assert "PRIVATE KEY" not in shown
    assert "in use" in tenant.refused("rm", site_ref)
    renewed = tenant.ca.issue(SITE)
    said = tenant.secret("update", site_ref, *tenant.files(renewed))
    assert "load balancer demo takes it over" in said
    assert eventually(lambda: tenant.serial(SITE) == renewed.serial, within=20)
    assert tenant.serial(SHOP) == shop.serial

    # Both amphorae have it, and the store says nothing to who reads its files.
    keys = renewed.key_pem.decode().splitlines()[1]
    for path in machine.state.rglob("*.secret"):
        assert keys.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    log = (machine.state / "controller.log").read_text()
    assert "PRIVATE KEY" not in log
    assert keys not in log

    machine.openstack_plainly("loadbalancer", "listener", "unset", "--sni-container-refs", "site", "--wait")
    assert eventually(lambda: tenant.serial(SHOP) == renewed.serial, within=20)
    tenant.secret("rm", shop_ref)
    assert (
        json.loads(
            machine.run("curl", "-s", f"http://127.0.0.1:9876/v2.0/lbaas/listeners/{listener['id']}").stdout
        )["listener"]["sni_container_refs"]
        == []
    )


def test_a_tenant_asks_clients_for_certificates(tenant: Tenant) -> None:
    machine = tenant.machine
    people = pki.Ca("people's CA")
    alice, mallory = people.issue("alice"), people.issue("mallory")
    site_ref = tenant.secret("add", *tenant.files(tenant.ca.issue(SITE)))
    ca_ref = tenant.secret("add", tenant.file("people.pem", people.pem))
    crl_ref = tenant.secret("add", tenant.file("gone.pem", people.revoke(mallory)))
    assert [line.split()[1] for line in tenant.secret("list").splitlines()[-3:]] == [
        "certificate",
        "CA",
        "CRL",
    ]
    machine.openstack(
        *("loadbalancer", "listener", "create", "--name", "members-only", "--protocol", "TERMINATED_HTTPS"),
        *("--protocol-port", "8443", "--default-tls-container-ref", site_ref, "--default-pool", "demo-pool"),
        *("--client-ca-tls-container-ref", ca_ref, "--client-authentication", "MANDATORY"),
        *("--client-crl-container-ref", crl_ref, "--wait", "demo"),
    )

    def admitted(who: pki.Issued | None) -> bool:
        shows = ("--cert", tenant.file("client.pem", who.bundle)) if who else ()
        where = ("--connect-to", f"{SITE}:443:{tenant.address}:8443")
        return tenant.curl(SITE, *shows, *where, "-w", "%{http_code}") == "200"

    assert eventually(lambda: admitted(alice), within=20)
    assert not admitted(None)
    assert not admitted(mallory)
