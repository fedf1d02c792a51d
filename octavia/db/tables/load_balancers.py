# SPDX-License-Identifier: Apache-2.0
"""The tables of what tenants ask for: load balancers and everything below them.

No unique key forbids delete-then-create of the same port, address or monitor: the rules check
clashes and ignore what is on its way out (``docs/decisions/0005-concurrent-updates.md``).
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    false,
    text,
)

from octavia.db.tables import columns

load_balancer = columns.table(
    "load_balancer",
    columns.identity(),
    columns.project(),
    Column("name", String(255)),
    Column("description", String(255)),
    *columns.statuses(),
    Column("topology", String(36)),
    columns.enabled(),
    Column("server_group_id", String(36)),
    Column("provider", String(64)),
    Column("flavor_id", String(36)),
    Column("availability_zone", String(255)),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
    # The newest generation that is live on the amphorae.
    Column("observed_generation", BigInteger, nullable=False, server_default=text("0")),
    # Rises with every lease; kept here and not in the work row, which comes and goes.
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    # Rises when an operating status below is written: what a health manager remembers is of a number.
    Column("operating_version", BigInteger, nullable=False, server_default=text("0")),
)

vip = columns.table(
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

additional_vip = columns.table(
    "additional_vip",
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), primary_key=True),
    Column("subnet_id", String(36), primary_key=True),
    Column("ip_address", String(64)),
    Column("port_id", String(36)),
    Column("network_id", String(36)),
)

vip_security_group = columns.table(
    "vip_security_group",
    Column("load_balancer_id", String(36), ForeignKey("vip.load_balancer_id"), primary_key=True),
    Column("sg_id", String(36), primary_key=True),
)

vrrp_group = columns.table(
    "vrrp_group",
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), primary_key=True),
    Column("vrrp_group_name", String(36)),
    Column("vrrp_auth_type", String(16)),
    Column("vrrp_auth_pass", String(36)),
    # Seconds; a float, since VRRPv3 advertises in hundredths of a second.
    Column("advert_int", Float),
    Column("vrrp_version", Integer, nullable=False, server_default=text("2")),
)

listener = columns.table(
    "listener",
    columns.identity(),
    columns.project(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("protocol", String(16), nullable=False),
    Column("protocol_port", Integer, nullable=False),
    Column("connection_limit", Integer),
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), index=True),
    Column("default_pool_id", String(36), ForeignKey("pool.id"), index=True),
    *columns.statuses(),
    columns.enabled(),
    Column("peer_port", Integer),
    Column("insert_headers", JSON),
    Column("timeout_client_data", Integer),
    Column("timeout_member_connect", Integer),
    Column("timeout_member_data", Integer),
    Column("timeout_tcp_inspect", Integer),
    *columns.tls(),
    Column("client_ca_tls_certificate_id", String(255)),
    Column("client_authentication", String(10), nullable=False, server_default="NONE"),
    Column("client_crl_container_id", String(255)),
    Column("hsts_max_age", Integer),
    Column("hsts_include_subdomains", Boolean, nullable=False, server_default=false()),
    Column("hsts_preload", Boolean, nullable=False, server_default=false()),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

listener_cidr = columns.table(
    "listener_cidr",
    Column("listener_id", String(36), ForeignKey("listener.id"), primary_key=True),
    Column("cidr", String(64), primary_key=True),
)

sni = columns.table(
    "sni",
    Column("listener_id", String(36), ForeignKey("listener.id"), primary_key=True),
    # The first one is for clients that name no server, where the listener has no default.
    Column("position", Integer, primary_key=True),
    Column("tls_container_id", String(255), nullable=False),
)

pool = columns.table(
    "pool",
    columns.identity(),
    columns.project(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("protocol", String(16), nullable=False),
    Column("lb_algorithm", String(255), nullable=False),
    *columns.tls(),
    Column("ca_tls_certificate_id", String(255)),
    Column("crl_container_id", String(255)),
    Column("tls_enabled", Boolean, nullable=False, server_default=false()),
    *columns.statuses(),
    columns.enabled(),
    Column("load_balancer_id", String(36), ForeignKey("load_balancer.id"), index=True),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

session_persistence = columns.table(
    "session_persistence",
    Column("pool_id", String(36), ForeignKey("pool.id"), primary_key=True),
    Column("type", String(36), nullable=False),
    Column("cookie_name", String(255)),
    Column("persistence_timeout", Integer),
    Column("persistence_granularity", String(64)),
)

health_monitor = columns.table(
    "health_monitor",
    columns.identity(),
    columns.project(),
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
    columns.enabled(),
    *columns.statuses(),
    Column("http_version", Float),
    Column("domain_name", String(255)),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

member = columns.table(
    "member",
    columns.identity(),
    columns.project(),
    Column("name", String(255)),
    Column("pool_id", String(36), ForeignKey("pool.id"), index=True),
    Column("subnet_id", String(36)),
    Column("ip_address", String(64), nullable=False),
    Column("protocol_port", Integer, nullable=False),
    Column("weight", Integer),
    Column("backup", Boolean, nullable=False),
    Column("monitor_address", String(64)),
    Column("monitor_port", Integer),
    *columns.statuses(),
    columns.enabled(),
    Column("vnic_type", String(64), nullable=False, server_default="normal"),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

l7policy = columns.table(
    "l7policy",
    columns.identity(),
    columns.project(),
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
    columns.enabled(),
    *columns.statuses(),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

l7rule = columns.table(
    "l7rule",
    columns.identity(),
    columns.project(),
    Column("l7policy_id", String(36), ForeignKey("l7policy.id"), index=True),
    Column("type", String(36), nullable=False),
    Column("compare_type", String(36), nullable=False),
    Column("key", String(255)),
    Column("value", String(255), nullable=False),
    Column("invert", Boolean, nullable=False, server_default=false()),
    columns.enabled(),
    *columns.statuses(),
    *columns.times(),
    columns.generation(),
    columns.delete_requested(),
)

tags = columns.table(
    "tags",
    Column("resource_id", String(36), primary_key=True),
    Column("tag", String(255), primary_key=True),
    Index("ix_tags_tag", "tag"),
)

CHILDREN: Final = (l7rule, l7policy, member, health_monitor, listener, pool)
