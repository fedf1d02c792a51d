# SPDX-License-Identifier: Apache-2.0
"""The tables of amphorae: the hosts, their ports, and what they say of themselves and of listeners."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, false

from octavia.db.tables import columns

amphora = columns.table(
    "amphora",
    columns.identity(),
    # No foreign key: the row of a deleted amphora may outlive its load balancer's.
    Column("load_balancer_id", String(36), index=True),
    Column("compute_id", String(255)),
    Column("lb_network_ip", String(64)),
    Column("vrrp_ip", String(64)),
    Column("ha_ip", String(64)),
    Column("vrrp_port_id", String(36)),
    Column("ha_port_id", String(36)),
    Column("cert_expiration", columns.Moment),
    Column("cert_busy", Boolean, nullable=False, server_default=false()),
    Column("role", String(36)),
    Column("status", String(36), nullable=False),
    Column("vrrp_interface", String(16)),
    Column("vrrp_id", Integer),
    Column("vrrp_priority", Integer),
    Column("cached_zone", String(255)),
    Column("image_id", String(36)),
    Column("compute_flavor", String(255)),
    *columns.times(),
    columns.generation(),
    Column("config_digest", String(64)),
    Column("replace_requested", columns.Moment),
    Column("unreachable_since", columns.Moment),
    Column("config_requested", columns.Moment),
    # When silence was judged to be death; counts towards the healer's velocity limit.
    Column("failed_at", columns.Moment, index=True),
    # Its machine, as its agent said once, when it was ready (docs/decisions/0020-one-look-at-the-machine.md).
    Column("memory_kb", BigInteger),
    Column("isolated_cpus", Integer),
)

amphora_member_port = columns.table(
    "amphora_member_port",
    Column("port_id", String(36), primary_key=True),
    Column("amphora_id", String(36), ForeignKey("amphora.id"), index=True),
    Column("network_id", String(36)),
    *columns.times(),
)

amphora_health = columns.table(
    "amphora_health",
    Column("amphora_id", String(36), primary_key=True),
    Column("last_update", columns.Moment),
    Column("busy", Boolean, nullable=False, server_default=false()),
    # What our own agents say beyond liveness; null for others.
    Column("vrrp_state", String(16)),
    Column("generation", BigInteger),
)

listener_statistics = columns.table(
    "listener_statistics",
    Column("listener_id", String(36), primary_key=True),
    Column("amphora_id", String(36), primary_key=True),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("active_connections", Integer, nullable=False),
    Column("total_connections", BigInteger, nullable=False),
    Column("request_errors", BigInteger, nullable=False),
)
