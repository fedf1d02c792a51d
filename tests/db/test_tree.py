# SPDX-License-Identifier: Apache-2.0
"""Trees go in and come out the same, on every database."""

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.db import tables as t
from octavia.db.engine import Database
from octavia.db.tree import loading, mapping, saving
from octavia.domain.errors import NotFound
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus
from octavia.domain.tls import TLS_LISTENERS
from octavia.domain.tree import (
    NO_HEADERS,
    AdditionalVip,
    Algorithm,
    ClientAuthentication,
    HealthMonitor,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    SessionPersistence,
    Topology,
    Vip,
    VrrpGroup,
)
from tests.fleet import NOW, load_balancer, uuid

SHARED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Anything that JSON can carry and a column can keep: PostgreSQL keeps no NUL, nobody keeps half characters.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
# MariaDB's keys take "a" and "a " for the same (PAD SPACE), so tags are told apart by more than that.
TAGS = st.lists(TEXTS.map(str.rstrip).filter(bool), unique=True, max_size=3).map(
    lambda tags: tuple(sorted(tags, key=lambda tag: tag.encode()))
)
BIG = st.integers(0, 2**63 - 1)
PORTS = st.integers(1, 65535)
OPTIONAL = st.none() | st.integers(0, 2**31 - 1)


def resource(number: st.SearchStrategy[int]) -> dict[str, st.SearchStrategy[object]]:
    return {
        "id": number.map(uuid),
        "project_id": st.none() | st.just("p" * 32),
        "name": TEXTS,
        "admin_state_up": st.booleans(),
        "provisioning_status": st.sampled_from([one for one in ProvisioningStatus if one != "DELETED"]),
        "operating_status": st.sampled_from(list(OperatingStatus)),
        "updated_at": st.none() | st.just(NOW + timedelta(microseconds=123456)),
        "generation": BIG,
        "delete_requested": st.booleans(),
        "tags": TAGS,
    }


ANY_NUMBER = st.integers(10, 2**100)
MEMBERS = st.builds(
    Member,
    **resource(ANY_NUMBER),
    address=st.sampled_from(["10.0.0.1", "FD00::1", "2001:db8:0:0:0:0:0:1"]),
    protocol_port=PORTS,
    weight=st.integers(0, 256),
    backup=st.booleans(),
    subnet_id=st.none() | st.just(uuid(1)),
    monitor_address=st.none() | st.just("10.0.0.2"),
    monitor_port=st.none() | PORTS,
)
MONITORS = st.builds(
    HealthMonitor,
    **resource(ANY_NUMBER),
    type=st.sampled_from(MonitorType),
    delay=PORTS,
    timeout=PORTS,
    max_retries=st.integers(1, 10),
    max_retries_down=st.integers(1, 10),
    http_method=st.none() | st.just("GET"),
    url_path=st.none() | st.just("/" + "x" * 2000),
    expected_codes=st.none() | st.just("200-204"),
    http_version=st.none() | st.sampled_from([1.0, 1.1]),
    domain_name=st.none() | st.just("example.org"),
)
# A reference is whatever its store calls a secret.
REFS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255)
WORDS = st.none() | st.lists(st.sampled_from(["TLSv1.2", "h2", "http/1.1"]), unique=True).map(tuple)
PERSISTENCES = st.builds(
    SessionPersistence,
    type=st.sampled_from(PersistenceType),
    cookie_name=st.none() | st.just("chocolate"),
    persistence_timeout=OPTIONAL,
    persistence_granularity=st.none() | st.just("255.255.255.0"),
)
POOLS = st.builds(
    Pool,
    **resource(ANY_NUMBER),
    description=TEXTS,
    protocol=st.sampled_from(Protocol),
    lb_algorithm=st.sampled_from(Algorithm),
    session_persistence=st.none() | PERSISTENCES,
    tls_enabled=st.booleans(),
    tls_container_ref=REFS,
    ca_tls_container_ref=REFS,
    crl_container_ref=REFS,
    tls_ciphers=st.none() | st.just("A" * 2048),
    tls_versions=WORDS,
    alpn_protocols=WORDS,
    members=st.lists(MEMBERS, max_size=2).map(tuple),
    health_monitor=st.none() | MONITORS,
)
LISTENERS = st.builds(
    Listener,
    **resource(ANY_NUMBER),
    description=TEXTS,
    protocol=st.sampled_from(Protocol),
    protocol_port=PORTS,
    connection_limit=st.none() | st.integers(-1, 2**31 - 1),
    insert_headers=st.sampled_from([NO_HEADERS, MappingProxyType({"X-Forwarded-For": "true", "a": "b"})]),
    timeout_client_data=OPTIONAL,
    timeout_member_connect=OPTIONAL,
    timeout_member_data=OPTIONAL,
    timeout_tcp_inspect=OPTIONAL,
    allowed_cidrs=st.sampled_from([(), ("10.0.0.0/8",), ("10.0.0.0/8", "fd00::/8")]),
    peer_port=st.none() | PORTS,
    default_tls_container_ref=REFS,
    sni_container_refs=st.lists(REFS.filter(bool), max_size=3).map(tuple),
    client_ca_tls_container_ref=REFS,
    client_authentication=st.sampled_from(ClientAuthentication),
    client_crl_container_ref=REFS,
    tls_ciphers=st.none() | st.just("A" * 2048),
    tls_versions=WORDS,
    alpn_protocols=WORDS,
    hsts_max_age=OPTIONAL,
    hsts_include_subdomains=st.booleans(),
    hsts_preload=st.booleans(),
).map(lambda one: one if one.protocol in TLS_LISTENERS else replace(one, sni_container_refs=()))
LOAD_BALANCERS = st.builds(
    LoadBalancer,
    **resource(ANY_NUMBER),
    description=TEXTS,
    topology=st.sampled_from(Topology),
    flavor_id=st.none() | st.just(uuid(3)),
    availability_zone=st.none() | TEXTS,
    vip=st.builds(Vip, ip_address=st.none() | st.just("10.1.0.1"), octavia_owned=st.booleans()),
    additional_vips=st.sampled_from([(), (AdditionalVip(subnet_id=uuid(2), ip_address="fd00::5"),)]),
    vrrp_group=st.none()
    | st.builds(VrrpGroup, name=st.just("g"), advert_int=st.sampled_from([1.0, 0.25, 0.1])),
    listeners=st.lists(LISTENERS, max_size=2).map(tuple),
    pools=st.lists(POOLS, max_size=2).map(tuple),
    observed_generation=BIG,
)


def ordered(lb: LoadBalancer, id_: str | None = None) -> LoadBalancer:
    """Times of creation in the order of the sequences, ids that clash with no other example's."""
    moments = (NOW + timedelta(microseconds=one) for one in range(1, 1000))
    return replace(
        lb,
        id=id_ or lb.id,
        created_at=NOW,
        listeners=tuple(
            replace(one, created_at=next(moments), default_pool_id=lb.pools[0].id if lb.pools else None)
            for one in lb.listeners
        ),
        pools=tuple(
            replace(
                pool,
                created_at=next(moments),
                members=tuple(replace(one, created_at=next(moments)) for one in pool.members),
                health_monitor=pool.health_monitor and replace(pool.health_monitor, created_at=next(moments)),
            )
            for pool in lb.pools
        ),
    )


def distinct(*lbs: LoadBalancer) -> bool:
    ids = [one.id for lb in lbs for one in lb.walk()]
    return len(ids) == len(set(ids))


class Undo(Exception):
    """Ends a transaction without leaving anything."""


@SHARED
@given(made=LOAD_BALANCERS.map(ordered).filter(distinct))
def test_a_tree_comes_back_as_it_was_stored(database: Database, made: LoadBalancer) -> None:
    def round_trip(tx: sa.Connection) -> None:
        saving.insert(tx, made)
        assert loading.load(tx, made.id) == made
        assert loading.lock(tx, made.id) == made
        raise Undo

    with pytest.raises(Undo):
        database.write(round_trip)


@SHARED
@given(
    made=LOAD_BALANCERS.map(ordered).filter(distinct),
    other=LOAD_BALANCERS.map(ordered).filter(distinct),
)
def test_saving_a_changed_tree_writes_exactly_the_changes(
    database: Database, made: LoadBalancer, other: LoadBalancer
) -> None:
    after = _merged(made, other)

    def round_trip(tx: sa.Connection) -> None:
        saving.insert(tx, made)
        saving.save(tx, made, after)
        assert loading.load(tx, made.id) == after
        saving.save(tx, after, after)
        assert loading.load(tx, made.id) == after
        raise Undo

    if not distinct(after):
        return
    with pytest.raises(Undo):
        database.write(round_trip)


def _merged(made: LoadBalancer, other: LoadBalancer) -> LoadBalancer:
    """``made``, with the root of ``other``, its first listener and pool changed, and new ones added."""
    moments = (NOW + timedelta(seconds=1, microseconds=one) for one in range(1000))
    listeners = (
        tuple(
            replace(two, id=one.id, created_at=one.created_at, default_pool_id=one.default_pool_id)
            for one, two in zip(made.listeners, other.listeners, strict=False)
        )
        + made.listeners[len(other.listeners) :]
    )
    pools = (
        tuple(
            replace(
                two,
                id=one.id,
                created_at=one.created_at,
                members=one.members + tuple(replace(m, created_at=next(moments)) for m in two.members),
                health_monitor=one.health_monitor or two.health_monitor,
            )
            for one, two in zip(made.pools, other.pools, strict=False)
        )
        + made.pools[len(other.pools) :]
    )
    new = tuple(
        replace(one, created_at=next(moments), default_pool_id=None)
        for one in other.listeners[len(made.listeners) :]
    )
    return replace(
        other,
        id=made.id,
        created_at=made.created_at,
        vrrp_group=made.vrrp_group,
        listeners=listeners + new,
        pools=pools,
    )


def test_names_are_any_unicode_and_compared_exactly(database: Database) -> None:
    """MySQL's defaults keep three bytes a character, and take "Ä" and "a" for the same."""
    names = ["web", "Web", "wéb", "日本", "🐙 octavia", "ß", "ss", "%", "_"]

    def insert(tx: sa.Connection) -> None:
        for number, name in enumerate(names, start=1):
            saving.insert(tx, load_balancer(number, name=name, listeners=0, tags=(name, name + "!")))

    database.write(insert)
    with database.read() as tx:
        for number, name in enumerate(names, start=1):
            by_name = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.name == name)
            assert list(tx.execute(by_name).scalars()) == [uuid(number * 1000)], name
            by_tag = sa.select(t.tags.c.resource_id).where(t.tags.c.tag == name)
            assert list(tx.execute(by_tag).scalars()) == [uuid(number * 1000)], name


def test_tags_that_differ_in_case_or_in_spaces_at_the_end_do_not_clash(database: Database) -> None:
    lb = load_balancer(1, listeners=0, tags=("a", "A", "a ", "a  "))
    database.write(lambda tx: saving.insert(tx, lb))
    with database.read() as tx:
        found = loading.load(tx, lb.id)
    assert found is not None
    assert set(found.tags) == {"a", "A"}


def test_moments_keep_their_microseconds(database: Database) -> None:
    made = replace(load_balancer(), created_at=NOW + timedelta(microseconds=1))
    database.write(lambda tx: saving.insert(tx, made))
    with database.read() as tx:
        assert loading.load(tx, made.id) == made


def test_what_is_deleted_or_was_never_there_is_not_found(database: Database) -> None:
    gone = load_balancer(1, listeners=0, provisioning_status=ProvisioningStatus.DELETED)
    database.write(lambda tx: saving.insert(tx, gone))
    with database.read() as tx:
        assert loading.load(tx, gone.id) is None
        assert loading.load(tx, uuid(99)) is None
    for one in (gone.id, uuid(99)):
        with pytest.raises(NotFound):
            database.write(partial(loading.lock, load_balancer_id=one))


def test_additional_vips_have_the_same_order_at_every_look(database: Database) -> None:
    """PostgreSQL moves a row that is written; amphorae would be reloaded for another order of addresses."""
    vips = tuple(AdditionalVip(subnet_id=uuid(number), ip_address=f"10.0.{number}.1") for number in (1, 2))
    lb = replace(load_balancer(), additional_vips=vips)
    database.write(lambda tx: saving.insert(tx, lb))
    first = t.additional_vip.c.subnet_id == uuid(1)

    def befall(tx: sa.Connection) -> None:
        tx.execute(sa.update(t.additional_vip).where(first).values(port_id=None))
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql("ANALYZE additional_vip")  # it has no use for an index of so few rows

    database.write(befall)
    with database.read() as tx:
        assert loading.load(tx, lb.id) == lb


def test_of_two_monitors_the_one_that_stays_is_seen(database: Database) -> None:
    """Delete-then-create is accepted before the delete is live."""
    old = HealthMonitor(id=uuid(5), type=MonitorType.TCP, delay=5, timeout=3, max_retries=2, created_at=NOW)
    lb = load_balancer()
    with_old = lb.with_pool(replace(lb.pools[0], health_monitor=replace(old, delete_requested=True)))
    new = replace(old, id=uuid(6), delay=9)  # within the same microsecond
    with_new = with_old.with_pool(replace(lb.pools[0], health_monitor=new))

    def change(tx: sa.Connection) -> None:
        saving.insert(tx, with_old)
        saving.save(tx, with_old, with_new)

    database.write(change)
    with database.read() as tx:
        found = loading.load(tx, lb.id)
    assert found is not None
    assert found.pools[0].health_monitor == new
    older = replace(new, id=uuid(4), delay=11)
    with_older = with_new.with_pool(replace(lb.pools[0], health_monitor=older))
    database.write(lambda tx: saving.save(tx, with_new, with_older))
    database.write(lambda tx: tx.execute(sa.delete(t.health_monitor).where(t.health_monitor.c.id == new.id)))
    with database.read() as tx:
        found = loading.load(tx, lb.id)
    assert found is not None
    assert found.pools[0].health_monitor == older


def test_a_reader_never_sees_half_a_write(database: Database) -> None:
    lb = load_balancer(1, members=3)
    database.write(lambda tx: saving.insert(tx, lb))
    stop = threading.Event()
    torn: list[str] = []

    def read() -> None:
        while not stop.is_set():
            with database.read() as tx:
                found = loading.load(tx, lb.id)
            assert found is not None
            weights = {one.weight for one in found.pools[0].members}
            if len(weights) != 1 or found.listeners[0].name != str(weights.pop()):
                torn.append(repr(found))

    before = replace(lb, listeners=(replace(lb.listeners[0], name="1"),))
    database.write(lambda tx: saving.save(tx, lb, before))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for weight in range(2, 40):
        pool = before.pools[0]
        members = tuple(replace(one, weight=weight) for one in pool.members)
        after = replace(before.bumped(), listeners=(replace(before.listeners[0], name=str(weight)),))
        after = after.with_pool(replace(pool, members=members))
        database.write(partial(saving.save, before=before, after=after))
        before = after
    stop.set()
    for one in readers:
        one.join()
    assert torn == []


def test_an_object_leads_to_its_load_balancer(database: Database) -> None:
    lb = load_balancer()
    database.write(lambda tx: saving.insert(tx, lb))
    pool = lb.pools[0]
    with database.read() as tx:
        for kind, one in (
            (mapping.LISTENER, lb.listeners[0]),
            (mapping.POOL, pool),
            (mapping.MEMBER, pool.members[0]),
        ):
            assert loading.load_balancer_id_of(tx, kind, one.id) == lb.id
        assert loading.load_balancer_id_of(tx, mapping.MEMBER, uuid(99)) is None
