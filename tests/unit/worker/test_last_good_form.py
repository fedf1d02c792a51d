# SPDX-License-Identifier: Apache-2.0
"""An object that was changed into something bad goes on as it was, and everything else as it is wanted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from octavia.db import forms
from octavia.domain import rules
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import (
    CompareType,
    HealthMonitor,
    L7Action,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    RuleType,
    SessionPersistence,
    Topology,
)
from octavia.drivers.amphora.contract import Configuration
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.unit.worker.world import START, Controller, controller, load_balancer, new_id

CA = pki.Ca("CA")
SOON = timedelta(seconds=5)
BAD = "BAD"  # HAProxy refuses every line with this


@pytest.fixture
def kept() -> MemoryTenantCertificates:
    made = MemoryTenantCertificates()
    made.keep(pki.tenant(CA.issue("www.example.org")), "site")
    return made


@pytest.fixture
def world(kept: MemoryTenantCertificates) -> Iterator[Controller]:
    with controller(tenant_certificates=kept) as made:
        made.agents.refuses = refusing(BAD)
        yield made


def refusing(word: str) -> Callable[[Configuration], str | None]:
    def refuse(configuration: Configuration) -> str | None:
        for number, line in enumerate((configuration.haproxy or "").splitlines(), start=1):
            if word in line:
                return f"[ALERT] (1) : config : parsing [/x:{number}] : no SSL like '{word}'."
        return None

    return refuse


def settled(world: Controller, topology: Topology = Topology.SINGLE) -> LoadBalancer:
    """One of everything: a plain listener with a policy, one with TLS, a monitored pool that speaks TLS."""
    lb = load_balancer(world.network, topology)
    (plain,), (pool,) = lb.listeners, lb.pools
    monitor = HealthMonitor(
        id=new_id(),
        type=MonitorType.HTTP,
        delay=5,
        timeout=3,
        max_retries=2,
        url_path="/ok",
        created_at=START,
    )
    rule = L7Rule(id=new_id(), type=RuleType.PATH, compare_type=CompareType.REGEX, value="^/old")
    policy = L7Policy(
        id=new_id(), action=L7Action.REDIRECT_TO_URL, redirect_url="http://old/", position=1, rules=(rule,)
    )
    site = Listener(
        id=new_id(),
        protocol=Protocol.TERMINATED_HTTPS,
        protocol_port=443,
        default_pool_id=pool.id,
        default_tls_container_ref="site",
        created_at=START + timedelta(seconds=1),
    )
    secured = replace(
        pool,
        tls_enabled=True,
        tls_ciphers="OLD",
        health_monitor=monitor,
        session_persistence=SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name="old"),
    )
    lb = replace(lb, listeners=(replace(plain, l7_policies=(policy,)), site), pools=(secured,))
    world.create(lb)
    world.passes(within=SOON)
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}
    return world.lb(lb.id)


def changed(lb: LoadBalancer, object_id: str, change: Callable[[Any], Resource]) -> LoadBalancer:
    """The tree with one object changed, and everything marked as the API marks it."""

    def at(one: Any) -> Any:
        return rules.touched(lb, change(one)) if one.id == object_id else one

    def in_policy(policy: L7Policy) -> L7Policy:
        inner = replace(policy, rules=tuple(at(rule) for rule in policy.rules))
        return at(rules.touched(lb, inner) if inner.rules != policy.rules else policy)  # type: ignore[no-any-return]

    def in_listener(listener: Listener) -> Listener:
        policies = tuple(in_policy(one) for one in listener.l7_policies)
        return at(rules.touched(lb, replace(listener, l7_policies=policies)))  # type: ignore[no-any-return]

    def in_pool(pool: Pool) -> Pool:
        monitor = pool.health_monitor and at(pool.health_monitor)
        members = tuple(at(one) for one in pool.members)
        return at(rules.touched(lb, replace(pool, members=members, health_monitor=monitor)))  # type: ignore[no-any-return]

    return replace(
        lb,
        listeners=tuple(in_listener(one) for one in lb.listeners),
        pools=tuple(in_pool(one) for one in lb.pools),
    )


def edit(world: Controller, lb: LoadBalancer, object_id: str, **values: Any) -> None:
    """A tenant's write, and the passes that follow."""
    write(world, lb, object_id, **values)
    world.passes(within=SOON)


def write(world: Controller, lb: LoadBalancer, object_id: str, **values: Any) -> None:
    world.change(lb.id, lambda tree: changed(tree, object_id, lambda one: replace(one, **values)))


def text(world: Controller, lb: LoadBalancer) -> str:
    """What every amphora's HAProxy runs."""
    (found,) = {running(world, row.id) for row in world.amphorae(lb.id)}
    return found


def running(world: Controller, amphora_id: str) -> str:
    configuration = world.agents.state(amphora_id).configuration
    assert configuration
    return configuration.haproxy or ""


def in_error(world: Controller, lb: LoadBalancer) -> set[str]:
    found = world.lb(lb.id)
    assert found.provisioning_status is P.ACTIVE
    assert found.observed_generation == found.generation
    assert not any(one.provisioning_status.pending for one in found.walk())
    return {one.id for one in found.walk() if one.provisioning_status is P.ERROR}


def kept_forms(world: Controller, lb: LoadBalancer) -> set[str]:
    with world.database.read() as tx:
        return set(forms.of_load_balancer(tx, lb.id))


def cookie(name: str) -> SessionPersistence:
    return SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name=name)


CHANGES: dict[str, tuple[Callable[[LoadBalancer], str], dict[str, Any], dict[str, Any], str]] = {
    "a listener's ciphers": (
        lambda lb: lb.listeners[1].id,
        {"tls_ciphers": BAD},
        {"tls_ciphers": "NEW"},
        "NEW",
    ),
    "a pool's ciphers": (lambda lb: lb.pools[0].id, {"tls_ciphers": BAD}, {"tls_ciphers": "NEW"}, "NEW"),
    "the name of a cookie": (
        lambda lb: lb.pools[0].id,
        {"session_persistence": cookie("a b")},
        {"session_persistence": cookie("NEW")},
        "req.cook(NEW)",
    ),
    "the regular expression of a rule": (
        lambda lb: lb.listeners[0].l7_policies[0].rules[0].id,
        {"value": BAD},
        {"value": "^/NEW"},
        "^/NEW",
    ),
    "the address that a policy redirects to": (
        lambda lb: lb.listeners[0].l7_policies[0].id,
        {"redirect_url": "http://a b/"},
        {"redirect_url": "http://NEW/"},
        "http://NEW/",
    ),
    "a member's weight": (lambda lb: lb.pools[0].members[0].id, {"weight": 300}, {"weight": 7}, "weight 7"),
    "what a monitor asks for": (
        lambda lb: lb.pools[0].health_monitor.id if lb.pools[0].health_monitor else "",
        {"url_path": "no path"},
        {"url_path": "/NEW"},
        "GET /NEW",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_for_the_worse_goes_on_as_it_was(name: str, world: Controller) -> None:
    who, bad, good, sign = CHANGES[name]
    lb = settled(world)
    before = text(world, lb)
    edit(world, lb, who(lb), **bad)
    assert in_error(world, lb) == {who(lb)}
    assert text(world, lb) == before
    (reason,) = world.why(lb.id).reasons
    assert (reason.object_id, reason.code) == (who(lb), "REFUSED")
    assert reason.sentence.endswith("Its last good form goes on.")
    # Others do change meanwhile.
    other = lb.pools[0].members[1]
    server = f"server {other.id} {other.address}:80 weight"
    edit(world, lb, other.id, weight=9)
    assert in_error(world, lb) == {who(lb)}
    assert text(world, lb) == before.replace(f"{server} 1", f"{server} 9")
    edit(world, lb, who(lb), **good)
    assert in_error(world, lb) == set()
    assert sign in text(world, lb)
    assert world.why(lb.id).reasons == ()
    assert kept_forms(world, lb) == set()


def test_each_good_form_is_the_one_that_goes_on(world: Controller) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    edit(world, lb, site, tls_ciphers="FIRST")
    edit(world, lb, site, tls_ciphers="SECOND")
    edit(world, lb, site, tls_ciphers=BAD)
    edit(world, lb, site, tls_ciphers=f"{BAD}:WORSE")
    assert "ciphers SECOND" in text(world, lb)
    assert in_error(world, lb) == {site}


def test_a_form_that_was_live_before_the_next_write_is_the_last_good_one(world: Controller) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    refuse = world.agents.refuses

    def write_meanwhile(configuration: Configuration) -> str | None:
        if "ciphers FIRST" in (configuration.haproxy or ""):
            world.agents.refuses = refuse
            write(world, lb, site, tls_ciphers=BAD)
        return None

    world.agents.refuses = write_meanwhile
    edit(world, lb, site, tls_ciphers="FIRST")
    assert in_error(world, lb) == {site}
    assert "ciphers FIRST" in text(world, lb)


@pytest.mark.parametrize("topology", Topology)
def test_amphorae_that_come_later_serve_the_last_good_form_too(topology: Topology, world: Controller) -> None:
    lb = settled(world, topology)
    site = lb.listeners[1].id
    edit(world, lb, site, tls_ciphers="OLDER")
    edit(world, lb, site, tls_ciphers=BAD)
    former = {row.id for row in world.amphorae(lb.id)}
    world.fail_over(lb.id)
    world.passes(within=timedelta(minutes=2))
    assert former.isdisjoint(row.id for row in world.amphorae(lb.id))
    assert in_error(world, lb) == {site}
    assert "ciphers OLDER" in text(world, lb)


def test_a_new_object_that_is_bad_is_absent(world: Controller) -> None:
    lb = settled(world)
    (member, _) = lb.pools[0].members
    new = replace(member, id=new_id(), weight=300, updated_at=None, provisioning_status=P.PENDING_CREATE)

    def add(tree: LoadBalancer) -> LoadBalancer:
        born = replace(new, generation=tree.generation)
        return changed(tree, lb.pools[0].id, lambda pool: replace(pool, members=(*pool.members, born)))

    before = text(world, lb)
    world.change(lb.id, add)
    world.passes(within=SOON)
    assert in_error(world, lb) == {new.id}
    assert text(world, lb) == before
    (reason,) = world.why(lb.id).reasons
    assert reason.sentence.endswith("It is not served until that is mended.")
    # A change of what was never live leaves nothing to go back to.
    edit(world, lb, new.id, weight=400)
    assert in_error(world, lb) == {new.id}
    assert kept_forms(world, lb) == set()


def test_a_bad_rule_more_leaves_its_policy_with_the_rules_that_it_had(world: Controller) -> None:
    lb = settled(world)
    (policy,) = lb.listeners[0].l7_policies
    before = text(world, lb)
    new = replace(
        policy.rules[0], id=new_id(), value=BAD, updated_at=None, provisioning_status=P.PENDING_CREATE
    )

    def add(tree: LoadBalancer) -> LoadBalancer:
        born = replace(new, generation=tree.generation)
        return changed(tree, policy.id, lambda one: replace(one, rules=(*one.rules, born)))

    world.change(lb.id, add)
    world.passes(within=SOON)
    assert in_error(world, lb) == {new.id, policy.id}
    assert text(world, lb) == before
    # Without the rule that it had it would match more than it ever did.
    world.change(
        lb.id,
        lambda tree: changed(tree, policy.rules[0].id, lambda one: rules.leaving(tree, one)),
    )
    world.passes(within=SOON)
    assert in_error(world, lb) == {new.id, policy.id}
    assert "http://old/" not in text(world, lb)
    edit(world, lb, new.id, value="^/new")
    assert in_error(world, lb) == set()
    assert "^/new" in text(world, lb)


def test_a_form_is_of_no_use_without_its_pool(world: Controller) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    other = replace(lb.pools[0], id=new_id(), members=(), health_monitor=None, updated_at=None)
    world.change(lb.id, lambda tree: replace(tree, pools=(*tree.pools, other)))
    edit(world, lb, site, default_pool_id=other.id)
    edit(world, lb, site, default_pool_id=lb.pools[0].id, tls_ciphers=BAD)
    assert f"default_backend {other.id}:{site}" in text(world, lb)
    world.change(lb.id, lambda tree: changed(tree, other.id, lambda one: rules.leaving(tree, one)))
    world.passes(within=SOON)
    assert in_error(world, lb) == {site}
    assert site not in text(world, lb)


def test_what_is_refused_in_its_former_form_too_is_absent(world: Controller) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    edit(world, lb, site, tls_ciphers="OLDER")
    write(world, lb, site, tls_ciphers=BAD)
    world.agents.refuses = refusing("crt-list")
    world.passes(within=SOON)
    assert in_error(world, lb) == {site}
    assert site not in text(world, lb)
    assert lb.listeners[0].id in text(world, lb)
    world.agents.refuses = refusing(BAD)
    world.passes(within=timedelta(minutes=2), limit=20)
    assert "ciphers OLDER" in text(world, lb)


def test_a_certificate_that_cannot_be_had_leaves_the_former_form(
    world: Controller, kept: MemoryTenantCertificates
) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    before = text(world, lb)
    edit(world, lb, site, sni_container_refs=("nowhere",))
    assert in_error(world, lb) == {site}
    assert text(world, lb) == before
    (reason,) = world.why(lb.id).reasons
    assert reason.code == "CERTIFICATE"
    assert "nowhere" in reason.sentence
    kept.keep(pki.tenant(CA.issue("sni.example.org")), "nowhere")
    world.passes()
    assert in_error(world, lb) == set()


def test_a_deleted_object_does_not_go_on(world: Controller) -> None:
    lb = settled(world)
    site = lb.listeners[1].id
    edit(world, lb, site, tls_ciphers="OLDER")
    edit(world, lb, site, tls_ciphers=BAD)
    world.change(lb.id, lambda tree: changed(tree, site, lambda one: rules.leaving(tree, one)))
    world.passes()
    assert site not in text(world, lb)
    assert world.lb(lb.id).listener(site) is None
    assert kept_forms(world, lb) == set()
