# SPDX-License-Identifier: Apache-2.0
"""The tables.

Names of tables and columns follow contract/control-plane.md section 9 where a thing exists there,
so that operators' SQL habits carry over. Ours in addition: ``generation`` columns, ``work``,
``status_reason``, ``settled_form``, ``event``, ``reservation``. What upstream keeps in lookup tables of
enumerated names are plain strings here: their values come from :mod:`octavia.domain`, which checks them.

No unique key forbids delete-then-create of the same port, address or monitor: the rules check
clashes and ignore what is on its way out (``docs/decisions/0005-concurrent-updates.md``).
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect

# Microseconds everywhere: MySQL's DATETIME has whole seconds unless told otherwise, and leases
# and the order of creation need finer ones.
Moment: Final = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

metadata: Final = MetaData()


class Words(TypeDecorator[tuple[str, ...]]):
    """A sequence of words without commas, kept as one text with commas between them."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """A text is what a filter compares with."""
        del dialect
        return value if value is None or isinstance(value, str) else ",".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """The words again."""
        del dialect
        return None if value is None else tuple(filter(None, value.split(",")))


def _table(name: str, *columns: Any) -> Table:
    # Names may hold any Unicode, and filters compare them exactly: MySQL's defaults do neither.
    return Table(name, metadata, *columns, mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def _id() -> Column[str]:
    return Column("id", String(36), primary_key=True)


def _project() -> Column[str]:
    return Column("project_id", String(36), index=True)


def _statuses() -> tuple[Column[str], Column[str]]:
    return (
        Column("provisioning_status", String(16), nullable=False),
        Column("operating_status", String(16), nullable=False),
    )


def _enabled() -> Column[bool]:
    return Column("enabled", Boolean, nullable=False)


def _times() -> tuple[Column[object], Column[object]]:
    return Column("created_at", Moment), Column("updated_at", Moment)


def _generation() -> Column[int]:
    return Column("generation", BigInteger, nullable=False, server_default=text("0"))


def _tls() -> tuple[Column[Any], ...]:
    return (
        Column("tls_certificate_id", String(255)),
        Column("tls_ciphers", String(2048)),
        Column("tls_versions", Words(512)),
        Column("alpn_protocols", Words(512)),
    )


def _delete_requested() -> Column[bool]:
    # A failed delete shows ERROR and stays wanted, so the status alone does not tell.
    return Column("delete_requested", Boolean, nullable=False, server_default=false())


load_balancer = _table(
    "load_balancer",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("description", String(255)),
    *_statuses(),
    Column("topology", String(36)),
    _enabled(),
    Column("server_group_id", String(36)),
    Column("provider", String(64)),
    Column("flavor_id", String(36)),
    Column("availability_zone", String(255)),
    *_times(),
    _generation(),
    _delete_requested(),
    # The newest generation that is live on the amphorae.
    Column("observed_generation", BigInteger, nullable=False, server_default=text("0")),
    # Rises with every lease; kept here and not in the work row, which comes and goes.
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    # Rises when an operating status below is written: what a health manager remembers is of a number.
    Column("operating_version", BigInteger, nullable=False, server_default=text("0")),
)

vip = _table(
    "vip",
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), primary_key=True),
    Column("ip_address", String(64)),
    Column("port_id", String(36)),
    Column("subnet_id", String(36)),
    Column("network_id", String(36)),
    Column("qos_policy_id", String(36)),
    Column("octavia_owned", Boolean),
    Column("vnic_type", String(64), nullable=False, server_default="normal"),
)

additional_vip = _table(
    "additional_vip",
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), primary_key=True),
    Column("subnet_id", String(36), primary_key=True),
    Column("ip_address", String(64)),
    Column("port_id", String(36)),
    Column("network_id", String(36)),
)

vip_security_group = _table(
    "vip_security_group",
    Column("load_balancer_id", String(36), ForeignKey("vip.load_balancer_id"), primary_key=True),
    Column("sg_id", String(36), primary_key=True),
)

vrrp_group = _table(
    "vrrp_group",
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), primary_key=True),
    Column("vrrp_group_name", String(36)),
    Column("vrrp_auth_type", String(16)),
    Column("vrrp_auth_pass", String(36)),
    # Seconds; a float, since VRRPv3 advertises in hundredths of a second.
    Column("advert_int", Float),
    Column("vrrp_version", Integer, nullable=False, server_default=text("2")),
)

listener = _table(
    "listener",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("protocol", String(16), nullable=False),
    Column("protocol_port", Integer, nullable=False),
    Column("connection_limit", Integer),
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), index=True),
    Column("default_pool_id", String(36), ForeignKey("pool.id"), index=True),
    *_statuses(),
    _enabled(),
    Column("peer_port", Integer),
    Column("insert_headers", JSON),
    Column("timeout_client_data", Integer),
    Column("timeout_member_connect", Integer),
    Column("timeout_member_data", Integer),
    Column("timeout_tcp_inspect", Integer),
    *_tls(),
    Column("client_ca_tls_certificate_id", String(255)),
    Column("client_authentication", String(10), nullable=False, server_default="NONE"),
    Column("client_crl_container_id", String(255)),
    Column("hsts_max_age", Integer),
    Column("hsts_include_subdomains", Boolean, nullable=False, server_default=false()),
    Column("hsts_preload", Boolean, nullable=False, server_default=false()),
    *_times(),
    _generation(),
    _delete_requested(),
)

listener_cidr = _table(
    "listener_cidr",
    Column("listener_id", String(36), ForeignKey("listener.id"), primary_key=True),
    Column("cidr", String(64), primary_key=True),
)

sni = _table(
    "sni",
    Column("listener_id", String(36), ForeignKey("listener.id"), primary_key=True),
    # The first one is for clients that name no server, where the listener has no default.
    Column("position", Integer, primary_key=True),
    Column("tls_container_id", String(255), nullable=False),
)

pool = _table(
    "pool",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("protocol", String(16), nullable=False),
    Column("lb_algorithm", String(255), nullable=False),
    *_tls(),
    Column("ca_tls_certificate_id", String(255)),
    Column("crl_container_id", String(255)),
    Column("tls_enabled", Boolean, nullable=False, server_default=false()),
    *_statuses(),
    _enabled(),
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), index=True),
    *_times(),
    _generation(),
    _delete_requested(),
)

session_persistence = _table(
    "session_persistence",
    Column("pool_id", String(36), ForeignKey("pool.id"), primary_key=True),
    Column("type", String(36), nullable=False),
    Column("cookie_name", String(255)),
    Column("persistence_timeout", Integer),
    Column("persistence_granularity", String(64)),
)

health_monitor = _table(
    "health_monitor",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("type", String(36), nullable=False),
    Column("pool_id", String(36), ForeignKey("pool.id"), index=True),
    Column("delay", Integer, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("fall_threshold", Integer, nullable=False),
    Column("rise_threshold", Integer, nullable=False),
    Column("http_method", String(16)),
    Column("url_path", String(2048)),
    Column("expected_codes", String(64)),
    _enabled(),
    *_statuses(),
    Column("http_version", Float),
    Column("domain_name", String(255)),
    *_times(),
    _generation(),
    _delete_requested(),
)

member = _table(
    "member",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("pool_id", String(36), ForeignKey("pool.id"), index=True),
    Column("subnet_id", String(36)),
    Column("ip_address", String(64), nullable=False),
    Column("protocol_port", Integer, nullable=False),
    Column("weight", Integer),
    Column("backup", Boolean, nullable=False),
    Column("monitor_address", String(64)),
    Column("monitor_port", Integer),
    *_statuses(),
    _enabled(),
    Column("vnic_type", String(64), nullable=False, server_default="normal"),
    *_times(),
    _generation(),
    _delete_requested(),
)

l7policy = _table(
    "l7policy",
    _id(),
    _project(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("listener_id", String(36), ForeignKey("listener.id"), index=True),
    Column("action", String(36), nullable=False),
    Column("redirect_pool_id", String(36), ForeignKey("pool.id"), index=True),
    Column("redirect_url", String(255)),
    Column("redirect_prefix", String(255)),
    Column("redirect_http_code", Integer),
    # 1-based, without gaps; no unique key, since renumbering passes through doubles.
    Column("position", Integer, nullable=False),
    _enabled(),
    *_statuses(),
    *_times(),
    _generation(),
    _delete_requested(),
)

l7rule = _table(
    "l7rule",
    _id(),
    _project(),
    Column("l7policy_id", String(36), ForeignKey("l7policy.id"), index=True),
    Column("type", String(36), nullable=False),
    Column("compare_type", String(36), nullable=False),
    Column("key", String(255)),
    Column("value", String(255), nullable=False),
    Column("invert", Boolean, nullable=False, server_default=false()),
    _enabled(),
    *_statuses(),
    *_times(),
    _generation(),
    _delete_requested(),
)

tags = _table(
    "tags",
    Column("resource_id", String(36), primary_key=True),
    Column("tag", String(255), primary_key=True),
    Index("ix_tags_tag", "tag"),
)

amphora = _table(
    "amphora",
    _id(),
    # No foreign key: the row of a deleted amphora may outlive its load balancer's.
    Column("load_balancer_id", String(36), index=True),
    Column("compute_id", String(255)),
    Column("lb_network_ip", String(64)),
    Column("vrrp_ip", String(64)),
    Column("ha_ip", String(64)),
    Column("vrrp_port_id", String(36)),
    Column("ha_port_id", String(36)),
    Column("cert_expiration", Moment),
    Column("cert_busy", Boolean, nullable=False, server_default=false()),
    Column("role", String(36)),
    Column("status", String(36), nullable=False),
    Column("vrrp_interface", String(16)),
    Column("vrrp_id", Integer),
    Column("vrrp_priority", Integer),
    Column("cached_zone", String(255)),
    Column("image_id", String(36)),
    Column("compute_flavor", String(255)),
    *_times(),
    _generation(),
    Column("config_digest", String(64)),
    Column("replace_requested", Moment),
    Column("unreachable_since", Moment),
    Column("config_requested", Moment),
    # When silence was judged to be death; counts towards the healer's velocity limit.
    Column("failed_at", Moment, index=True),
)

amphora_member_port = _table(
    "amphora_member_port",
    Column("port_id", String(36), primary_key=True),
    Column("amphora_id", String(36), ForeignKey("amphora.id"), index=True),
    Column("network_id", String(36)),
    *_times(),
)

amphora_health = _table(
    "amphora_health",
    Column("amphora_id", String(36), primary_key=True),
    Column("last_update", Moment),
    Column("busy", Boolean, nullable=False, server_default=false()),
    # What our own agents say beyond liveness; null for others.
    Column("vrrp_state", String(16)),
    Column("generation", BigInteger),
)

listener_statistics = _table(
    "listener_statistics",
    Column("listener_id", String(36), primary_key=True),
    Column("amphora_id", String(36), primary_key=True),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("active_connections", Integer, nullable=False),
    Column("total_connections", BigInteger, nullable=False),
    Column("request_errors", BigInteger, nullable=False),
)

quotas = _table(
    "quotas",
    Column("project_id", String(36), primary_key=True),
    *(
        Column(prefix + name, Integer)
        for prefix in ("", "in_use_")
        for name in (
            "health_monitor",
            "listener",
            "load_balancer",
            "member",
            "pool",
            "l7policy",
            "l7rule",
        )
    ),
)

# Load balancers that are DELETED are re-pointed to PLACEHOLDER when what they name is deleted.
PLACEHOLDER: Final = "00000000-0000-0000-0000-000000000000"

flavor_profile = _table(
    "flavor_profile",
    _id(),
    Column("name", String(255), nullable=False),
    Column("provider_name", String(255), nullable=False),
    Column("flavor_data", String(4096), nullable=False),
)

flavor = _table(
    "flavor",
    _id(),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    _enabled(),
    Column("flavor_profile_id", String(36), ForeignKey("flavor_profile.id"), nullable=False, index=True),
)

availability_zone_profile = _table(
    "availability_zone_profile",
    _id(),
    Column("name", String(255), nullable=False),
    Column("provider_name", String(255), nullable=False),
    Column("availability_zone_data", String(4096), nullable=False),
)

availability_zone = _table(
    "availability_zone",
    Column("name", String(255), primary_key=True),
    Column("description", String(255)),
    _enabled(),
    Column(
        "availability_zone_profile_id",
        String(36),
        ForeignKey("availability_zone_profile.id"),
        nullable=False,
        index=True,
    ),
)

# One row a load balancer that has something to do (docs/decisions/0002-queue-in-the-database.md).
work = _table(
    "work",
    Column("load_balancer_id", String(36), primary_key=True),
    Column("due_at", Moment, nullable=False, index=True),
    Column("lease_owner", String(255)),
    Column("lease_until", Moment),
    # Passes since the last one that got further; sets the back-off.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Time of the oldest write that is not live yet; the deadline runs from here.
    Column("wanted_since", Moment, nullable=False),
    # Rises with every announcement, so that one made during a pass is not taken for done.
    Column("announced", BigInteger, nullable=False, server_default=text("0")),
)

# Why an object is not what its owner asked for (SEMANTICS: "Where the reason is read").
status_reason = _table(
    "status_reason",
    Column("object_id", String(36), primary_key=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("code", String(64), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try", Moment),
)

# What an object was when it last settled, until it has become something else: if it cannot, it goes on so.
settled_form = _table(
    "settled_form",
    Column("object_id", String(36), primary_key=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("form", JSON, nullable=False),
)

event = _table(
    "event",
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("text", Text, nullable=False),
)

# Holds the place of a load balancer between the two transactions of its creation.
reservation = _table(
    "reservation",
    _id(),
    _project(),
    Column("expires_at", Moment, nullable=False, index=True),
)

# A change that a third-party provider has not answered yet.
provider_call = _table(
    "provider_call",
    _id(),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    # Of the load balancer, with this change.
    Column("generation", BigInteger, nullable=False),
    Column("method", String(64), nullable=False),
    Column("since", Moment, nullable=False, index=True),
)

# What only one process at a time may do, and which one does it.
duty = _table(
    "duty",
    Column("name", String(36), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("until", Moment, nullable=False),
)

# The children of the tree in an order in which they can be deleted.
CHILDREN: Final = (l7rule, l7policy, member, health_monitor, listener, pool)
