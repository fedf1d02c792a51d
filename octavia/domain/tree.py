# SPDX-License-Identifier: Apache-2.0
"""The load balancer tree: frozen values, read whole and replaced, never patched in passing.

Attributes carry the names of the REST API (contract: api.md); the database's older names are
translated in one table of :mod:`octavia.db.tree.mapping`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, TypeVar

from octavia.domain.statuses import AmphoraStatus, OperatingStatus, ProvisioningStatus

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

AMPHORA_PROVIDERS: Final = ("amphora", "amphorav2", "octavia")
"""Names of the provider that is ours: the worker makes its load balancers real."""


class Protocol(StrEnum):
    """What a listener or a pool speaks."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TCP = "TCP"
    TERMINATED_HTTPS = "TERMINATED_HTTPS"
    PROXY = "PROXY"
    PROXYV2 = "PROXYV2"
    UDP = "UDP"
    SCTP = "SCTP"
    PROMETHEUS = "PROMETHEUS"


class Algorithm(StrEnum):
    """How a pool chooses a member."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_CONNECTIONS = "LEAST_CONNECTIONS"
    SOURCE_IP = "SOURCE_IP"
    SOURCE_IP_PORT = "SOURCE_IP_PORT"


class Topology(StrEnum):
    """How many amphorae a load balancer has, and how they share the VIP."""

    SINGLE = "SINGLE"
    ACTIVE_STANDBY = "ACTIVE_STANDBY"


class Role(StrEnum):
    """The part of an amphora in its topology; fixed at its creation."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    STANDALONE = "STANDALONE"


class MonitorType(StrEnum):
    """How a health monitor asks a member."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TCP = "TCP"
    PING = "PING"
    TLS_HELLO = "TLS-HELLO"
    UDP_CONNECT = "UDP-CONNECT"
    SCTP = "SCTP"


class PersistenceType(StrEnum):
    """What ties a client to a member."""

    SOURCE_IP = "SOURCE_IP"
    HTTP_COOKIE = "HTTP_COOKIE"
    APP_COOKIE = "APP_COOKIE"


class ClientAuthentication(StrEnum):
    """Whether clients of a listener have to show a certificate."""

    NONE = "NONE"
    OPTIONAL = "OPTIONAL"
    MANDATORY = "MANDATORY"


class L7Action(StrEnum):
    """What becomes of a request that a policy matches."""

    REJECT = "REJECT"
    REDIRECT_TO_POOL = "REDIRECT_TO_POOL"
    REDIRECT_TO_URL = "REDIRECT_TO_URL"
    REDIRECT_PREFIX = "REDIRECT_PREFIX"


class RuleType(StrEnum):
    """Which part of a request a rule looks at."""

    COOKIE = "COOKIE"
    FILE_TYPE = "FILE_TYPE"
    HEADER = "HEADER"
    HOST_NAME = "HOST_NAME"
    PATH = "PATH"
    SSL_CONN_HAS_CERT = "SSL_CONN_HAS_CERT"
    SSL_VERIFY_RESULT = "SSL_VERIFY_RESULT"
    SSL_DN_FIELD = "SSL_DN_FIELD"


class CompareType(StrEnum):
    """How a rule compares."""

    CONTAINS = "CONTAINS"
    ENDS_WITH = "ENDS_WITH"
    EQUAL_TO = "EQUAL_TO"
    REGEX = "REGEX"
    STARTS_WITH = "STARTS_WITH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What every object of the tree has.

    :param id: lower-case dashed UUID.
    :param generation: the load balancer's generation of the last write that touched this object.
    :param created_at: naive UTC.
    :param updated_at: naive UTC; None until the first change after the creation has settled.
    """

    id: str
    project_id: str | None = None
    name: str = ""
    admin_state_up: bool = True
    provisioning_status: ProvisioningStatus = ProvisioningStatus.PENDING_CREATE
    operating_status: OperatingStatus = OperatingStatus.OFFLINE
    created_at: datetime | None = None
    updated_at: datetime | None = None
    generation: int = 0
    # A failed delete shows ERROR and stays wanted, so the status alone does not tell.
    delete_requested: bool = False
    tags: tuple[str, ...] = ()

    @property
    def leaving(self) -> bool:
        """Is it on its way out? It is not rendered, and its port, address or place is free."""
        return self.delete_requested


_R = TypeVar("_R", bound=Resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Resource):
    """One server of a pool.

    :param address: IPv4 or IPv6, character for character as the tenant wrote it.
    :param weight: 0-256; 0 drains: no new sessions except by persistence.
    """

    address: str
    protocol_port: int
    weight: int = 1
    backup: bool = False
    subnet_id: str | None = None
    monitor_address: str | None = None
    monitor_port: int | None = None
    vnic_type: str = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthMonitor(Resource):
    """How the members of a pool are asked whether they are well.

    :param delay: seconds between two probes of one member.
    :param timeout: seconds until a probe has failed.
    :param max_retries: successes until a member is ONLINE (HAProxy's rise).
    :param max_retries_down: failures until a member is in ERROR (HAProxy's fall).
    """

    type: MonitorType
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int = 3
    http_method: str | None = None
    url_path: str | None = None
    expected_codes: str | None = None
    http_version: float | None = None
    domain_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPersistence:
    """What ties a client to a member; timeout (seconds) and granularity are for UDP and SCTP."""

    type: PersistenceType
    cookie_name: str | None = None
    persistence_timeout: int | None = None
    persistence_granularity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Resource):
    """Members that serve the same thing.

    :param tls_enabled: the load balancer speaks TLS to them.
    :param tls_container_ref: the secret with the certificate that it shows; empty means none, like below.
    :param ca_tls_container_ref: the secret with the CAs that members' certificates are checked with.
    """

    description: str = ""
    protocol: Protocol
    lb_algorithm: Algorithm
    session_persistence: SessionPersistence | None = None
    tls_enabled: bool = False
    tls_container_ref: str | None = None
    ca_tls_container_ref: str | None = None
    crl_container_ref: str | None = None
    tls_ciphers: str | None = None
    tls_versions: tuple[str, ...] | None = None
    alpn_protocols: tuple[str, ...] | None = None
    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class L7Rule(Resource):
    """One condition of a policy; it has no name of its own.

    :param key: name of the header, the cookie or the field of the subject.
    :param invert: it matches what it otherwise would not.
    """

    type: RuleType
    compare_type: CompareType
    key: str | None = None
    value: str
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class L7Policy(Resource):
    """What becomes of requests that match all of its rules; without rules it matches none.

    :param position: 1-based among the policies of the listener, without gaps.
    :param redirect_http_code: 301, 302, 303, 307 or 308.
    """

    description: str = ""
    action: L7Action
    position: int
    redirect_pool_id: str | None = None
    redirect_url: str | None = None
    redirect_prefix: str | None = None
    redirect_http_code: int | None = None
    rules: tuple[L7Rule, ...] = ()

    @property
    def matches_something(self) -> bool:
        """Is it enabled, and does it have a rule that stays?"""
        return self.admin_state_up and not self.leaving and any(not rule.leaving for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener(Resource):
    """One port of the VIP.

    :param connection_limit: concurrent connections; -1 or None means no limit of its own.
    :param timeout_client_data: milliseconds, like the other timeouts.
    :param peer_port: number in security group rules for the peers' stick tables.
    :param default_tls_container_ref: the secret with the certificate for clients that name no server.
    :param sni_container_refs: secrets with further certificates, chosen by the names in them.
    :param client_ca_tls_container_ref: the secret with the CAs that clients' certificates are checked with.
    :param hsts_max_age: seconds; None sends no such header.
    :param l7_policies: in order of their positions.
    """

    description: str = ""
    protocol: Protocol
    protocol_port: int
    connection_limit: int | None = -1
    default_pool_id: str | None = None
    insert_headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    timeout_client_data: int | None = None
    timeout_member_connect: int | None = None
    timeout_member_data: int | None = None
    timeout_tcp_inspect: int | None = None
    allowed_cidrs: tuple[str, ...] = ()
    default_tls_container_ref: str | None = None
    sni_container_refs: tuple[str, ...] = ()
    client_ca_tls_container_ref: str | None = None
    client_authentication: ClientAuthentication = ClientAuthentication.NONE
    client_crl_container_ref: str | None = None
    tls_ciphers: str | None = None
    tls_versions: tuple[str, ...] | None = None
    alpn_protocols: tuple[str, ...] | None = None
    hsts_max_age: int | None = None
    hsts_include_subdomains: bool = False
    hsts_preload: bool = False
    peer_port: int | None = None
    l7_policies: tuple[L7Policy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vip:
    """The address that the tenant's clients use.

    :param ip_address: IPv4 or IPv6, character for character as the tenant wrote it, if it did.
    :param octavia_owned: the port was made by us and goes with the load balancer.
    :param sg_ids: security groups of the tenant's on its port, in place of ours; sorted.
    """

    ip_address: str | None = None
    port_id: str | None = None
    subnet_id: str | None = None
    network_id: str | None = None
    qos_policy_id: str | None = None
    octavia_owned: bool = False
    vnic_type: str = "normal"
    sg_ids: tuple[str, ...] = ()

    @property
    def address(self) -> str | None:
        """The address in the one spelling that everything but the API uses."""
        return _canonical(self.ip_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionalVip:
    """A further address, on another subnet of the VIP's network."""

    ip_address: str | None = None
    port_id: str | None = None
    subnet_id: str
    network_id: str | None = None

    @property
    def address(self) -> str | None:
        """As a VIP's."""
        return _canonical(self.ip_address)


def _canonical(address: str | None) -> str | None:
    return str(ip_address(address)) if address else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VrrpGroup:
    """How a pair settles who owns the VIP. Of the load balancer, never of one amphora:
    two versions in one pair are two masters.

    :param version: 2 or 3; sub-second advertisements need 3 (RFC 5798).
    :param advert_int: seconds between two advertisements of the master.
    :param auth_pass: VRRPv2's PASS, at most 8 characters; unused in version 3.
    """

    name: str
    version: int = 2
    advert_int: float = 1.0
    auth_pass: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer(Resource):
    """The root of the tree.

    :param observed_generation: the newest generation that is live on the amphorae.
    :param listeners: in order of creation, like the other sequences.
    """

    description: str = ""
    provider: str = "amphora"
    topology: Topology = Topology.SINGLE
    flavor_id: str | None = None
    availability_zone: str | None = None
    server_group_id: str | None = None
    vip: Vip
    additional_vips: tuple[AdditionalVip, ...] = ()
    vrrp_group: VrrpGroup | None = None
    listeners: tuple[Listener, ...] = ()
    pools: tuple[Pool, ...] = ()
    observed_generation: int = 0

    @property
    def third_party(self) -> bool:
        """Does somebody else's provider make it real? It has no amphorae, and reports its own statuses."""
        return self.provider not in AMPHORA_PROVIDERS

    @property
    def vip_addresses(self) -> tuple[str, ...]:
        """The primary address and then the additional ones."""
        every = (self.vip.address, *(vip.address for vip in self.additional_vips))
        return tuple(address for address in every if address)

    def listener(self, listener_id: str) -> Listener | None:
        """The listener of that id, if it is in this tree."""
        return next((one for one in self.listeners if one.id == listener_id), None)

    def pool(self, pool_id: str | None) -> Pool | None:
        """The pool of that id, if it is in this tree."""
        return next((one for one in self.pools if one.id == pool_id), None)

    def pools_used_by(self, listener: Listener) -> tuple[Pool, ...]:
        """The default pool, then redirect pools by position (contract: data-plane.md section 4)."""
        wanted = [listener.default_pool_id]
        wanted += [one.redirect_pool_id for one in listener.l7_policies if one.matches_something]
        found = (self.pool(one) for one in dict.fromkeys(wanted) if one)
        return tuple(pool for pool in found if pool)

    def listeners_using(self, pool_id: str) -> tuple[Listener, ...]:
        """The listeners that send traffic to a pool, in order of creation."""
        return tuple(
            listener
            for listener in self.listeners
            if any(pool.id == pool_id for pool in self.pools_used_by(listener))
        )

    def walk(self) -> Iterator[Resource]:
        """Every object of the tree: itself, listeners, policies, rules, pools, monitors, members."""
        yield self
        for listener in self.listeners:
            yield listener
            for policy in listener.l7_policies:
                yield policy
                yield from policy.rules
        for pool in self.pools:
            yield pool
            if pool.health_monitor:
                yield pool.health_monitor
            yield from pool.members

    def bumped(self) -> "LoadBalancer":
        """This tree under the next generation; whoever writes to it begins here."""
        return replace(self, generation=self.generation + 1)

    def with_listener(self, listener: Listener) -> "LoadBalancer":
        """This tree with the listener of the same id replaced, or added at the end."""
        return replace(self, listeners=_put(self.listeners, listener))

    def with_pool(self, pool: Pool) -> "LoadBalancer":
        """This tree with the pool of the same id replaced, or added at the end."""
        return replace(self, pools=_put(self.pools, pool))


def _put(items: tuple[_R, ...], item: _R) -> tuple[_R, ...]:
    if any(one.id == item.id for one in items):
        return tuple(item if one.id == item.id else one for one in items)
    return (*items, item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amphora:
    """One host that runs HAProxy for a load balancer.

    :param lb_network_ip: its address on the management network.
    :param vrrp_ip: its own address on the VIP's subnet.
    :param ha_ip: the VIP.
    :param generation: the newest generation that it has acknowledged.
    :param config_digest: SHA-256 of what it has acknowledged, rendered; None when not known.
    :param replace_requested: when a failover was asked for; it is replaced, make before break.
    :param unreachable_since: when contact was lost; None while it answers.
    :param config_requested: when a new configuration of its agent was asked for; None once it has it.
    :param memory_kb: what was free, or would have been, when it was ready; None where nobody said.
    :param isolated_cpus: how many processors after the first one are HAProxy's alone; None: not said.
    """

    id: str
    load_balancer_id: str | None
    status: AmphoraStatus
    role: Role
    compute_id: str | None = None
    lb_network_ip: str | None = None
    vrrp_ip: str | None = None
    ha_ip: str | None = None
    vrrp_port_id: str | None = None
    ha_port_id: str | None = None
    vrrp_interface: str | None = None
    vrrp_id: int | None = None
    vrrp_priority: int | None = None
    cert_expiration: datetime | None = None
    cert_busy: bool = False
    cached_zone: str | None = None
    image_id: str | None = None
    compute_flavor: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    generation: int = 0
    config_digest: str | None = None
    plugged_networks: tuple[str, ...] = ()
    replace_requested: datetime | None = None
    unreachable_since: datetime | None = None
    config_requested: datetime | None = None
    memory_kb: int | None = None
    isolated_cpus: int | None = None

    @property
    def is_serving(self) -> bool:
        """Does it take configuration, and can it own the VIP?"""
        return self.status in (AmphoraStatus.ALLOCATED, AmphoraStatus.FAILOVER_STOPPED)

    @property
    def is_given_up(self) -> bool:
        """Is it failed, or on its way out?"""
        return self.status in (AmphoraStatus.ERROR, AmphoraStatus.PENDING_DELETE, AmphoraStatus.DELETED)

    @property
    def is_peer(self) -> bool:
        """Do the other amphorae of its load balancer talk to it? From its address on, before it serves:
        whoever serves already then learns of it once, and not while the two settle who owns the VIP."""
        return self.vrrp_ip is not None and not self.is_given_up
