# SPDX-License-Identifier: Apache-2.0
"""Certificates on their way from the tenant's store to amphorae: what is wrong with one harms no other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.dataplane.haproxy.tls import crt_list_name
from octavia.db import work
from octavia.db.tree import loading, saving
from octavia.domain import rules
from octavia.domain.errors import Transient
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import Listener, LoadBalancer, Protocol, Topology
from octavia.drivers.amphora.contract import Configuration
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.unit.worker.world import START, Controller, controller, load_balancer, new_id

CA = pki.Ca("CA")


@pytest.fixture
def kept() -> MemoryTenantCertificates:
    made = MemoryTenantCertificates()
    made.keep(pki.tenant(CA.issue("www.example.org")), "site")
    return made


@pytest.fixture
def world(kept: MemoryTenantCertificates) -> Iterator[Controller]:
    with controller(tenant_certificates=kept) as made:
        yield made


def created(world: Controller, *, topology: Topology = Topology.SINGLE, **values: Any) -> LoadBalancer:
    """A plain listener and one with TLS."""
    lb = load_balancer(world.network, topology)
    site = Listener(
        id=new_id(),
        protocol=Protocol.TERMINATED_HTTPS,
        protocol_port=443,
        default_pool_id=lb.pools[0].id,
        created_at=START + timedelta(seconds=1),
        **{"default_tls_container_ref": "site"} | values,
    )
    world.create(replace(lb, listeners=(*lb.listeners, site)))
    world.passes(within=timedelta(seconds=5))
    return world.lb(lb.id)


def applied(world: Controller, lb: LoadBalancer) -> Configuration:
    (row,) = world.amphorae(lb.id)
    found = world.agents.state(row.id).configuration
    assert found is not None
    return found


def statuses(world: Controller, lb: LoadBalancer) -> list[P]:
    return [one.provisioning_status for one in world.lb(lb.id).listeners]


def touch(world: Controller, lb: LoadBalancer) -> None:
    """Another write of the tenant."""
    world.change(lb.id, lambda one: replace(one, name="renamed"))
    world.passes(within=timedelta(seconds=5))


def test_the_amphora_gets_the_certificate_with_its_key(
    world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = created(world)
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]
    files = dict(applied(world, lb).certificates)
    listed = files.pop(crt_list_name(lb.listeners[1]))
    assert list(files.values()) == [kept.get_certificate("site").bundle]
    assert listed
    assert listed.decode().strip().endswith(next(iter(files)))
    assert "PRIVATE" not in repr(applied(world, lb))


def test_a_secret_that_is_not_there_keeps_only_its_listener_back(
    world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = created(world, default_tls_container_ref="gone")
    assert statuses(world, lb) == [P.ACTIVE, P.ERROR]
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    (reason,) = world.why(lb.id).reasons
    assert (reason.object_id, reason.code) == (lb.listeners[1].id, "CERTIFICATE")
    assert "gone" in reason.sentence
    text = applied(world, lb).haproxy or ""
    assert lb.listeners[0].id in text
    assert lb.listeners[1].id not in text
    kept.keep(pki.tenant(CA.issue("www.example.org")), "gone")
    world.passes()
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]
    assert lb.listeners[1].id in (applied(world, lb).haproxy or "")
    assert world.why(lb.id).reasons == ()


@pytest.mark.parametrize("trouble", ["removed", "away", "unusable"])
def test_a_listener_goes_on_with_the_certificate_that_it_has(
    trouble: str, world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = created(world)
    before = applied(world, lb)
    secret = kept.get_certificate("site")
    if trouble == "removed":
        kept.forget("site")
    elif trouble == "unusable":
        kept.keep(b"junk", "site")
    else:
        kept.faults.fail("get_certificate", Transient("the store is away"), times=50)
    touch(world, lb)
    assert statuses(world, lb) == [P.ACTIVE, P.ERROR]
    assert world.lb(lb.id).observed_generation == world.lb(lb.id).generation
    assert applied(world, lb).certificates == before.certificates
    assert lb.listeners[1].id in (applied(world, lb).haproxy or "")
    kept.keep(secret, "site")
    world.passes()
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]


def test_a_pool_whose_ca_is_gone_takes_no_other_along(world: Controller) -> None:
    lb = created(world)
    secure = replace(lb.pools[0], tls_enabled=True, ca_tls_container_ref="nowhere")

    def encrypt(one: LoadBalancer) -> LoadBalancer:
        return rules.written(one).with_pool(replace(secure, generation=one.generation + 1))

    world.change(lb.id, encrypt)
    world.passes(within=timedelta(seconds=5))
    after = world.lb(lb.id)
    assert after.pools[0].provisioning_status is P.ERROR
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]


def test_a_renewed_secret_reaches_the_amphora_when_it_is_announced(
    world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = created(world, sni_container_refs=("site",))
    renewed = pki.tenant(CA.issue("www.example.org"))
    kept.keep(renewed, "site")

    def announce(tx: sa.Connection) -> None:
        before = loading.lock(tx, lb.id)
        saving.save(tx, before, rules.renew_secret(before, "site"))
        work.announce(tx, lb.id, world.clock.now())

    world.database.write(announce)
    assert statuses(world, lb) == [P.ACTIVE, P.PENDING_UPDATE]
    world.passes()
    assert renewed.bundle in applied(world, lb).certificates.values()
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]


def refusing(wanted: Callable[[Configuration], bool]) -> Callable[[Configuration], str | None]:
    """An HAProxy that points at the line of the listener with TLS."""

    def refuse(configuration: Configuration) -> str | None:
        for number, line in enumerate((configuration.haproxy or "").splitlines(), start=1):
            if "crt-list" in line and wanted(configuration):
                return f"[ALERT] (1) : config : parsing [/x:{number}] : 'bind' : no good"
        return None

    return refuse


def test_a_certificate_that_haproxy_refuses_leaves_the_old_one_in_service(
    world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = created(world)
    before = applied(world, lb)
    bad = pki.tenant(CA.issue("www.example.org"))
    kept.keep(bad, "site")
    world.agents.refuses = refusing(lambda given: bad.bundle in given.certificates.values())
    touch(world, lb)
    assert statuses(world, lb) == [P.ACTIVE, P.ERROR]
    assert applied(world, lb).certificates == before.certificates
    (reason,) = world.why(lb.id).reasons
    assert reason.sentence.startswith("HAProxy does not accept it: ")
    kept.keep(pki.tenant(CA.issue("www.example.org")), "site")
    world.passes()
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]
    assert applied(world, lb).certificates != before.certificates


@pytest.mark.parametrize("topology", Topology)
def test_what_haproxy_refuses_with_any_certificate_is_left_out(topology: Topology, world: Controller) -> None:
    lb = created(world, topology=topology)
    world.agents.refuses = refusing(lambda _: True)
    touch(world, lb)
    assert statuses(world, lb) == [P.ACTIVE, P.ERROR]
    for row in world.amphorae(lb.id):
        found = world.agents.state(row.id).configuration
        assert found
        assert lb.listeners[0].id in (found.haproxy or "")
        assert lb.listeners[1].id not in (found.haproxy or "")
    world.agents.refuses = lambda _: None
    world.passes()
    assert statuses(world, lb) == [P.ACTIVE, P.ACTIVE]
