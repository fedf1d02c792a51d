# SPDX-License-Identifier: Apache-2.0
"""Section ``[standalone]``: everything on one machine, without OpenStack; and the defaults that fit it.

Making the networks and running amphorae in them is not here: see :mod:`octavia.drivers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from oslo_config import cfg

GROUP: Final = "standalone"

STATE_DIR: Final = "/var/lib/octavia-standalone"

OPTIONS: Final = (
    cfg.StrOpt(
        "state_dir",
        default=STATE_DIR,
        help="Where the database, certificates, the address book, logs and amphorae's files live.",
    ),
    # 198.18.0.0/15 is set aside for tests between networks (RFC 2544): no site routes it, and of its two
    # halves the upper one is the one that VPN clients leave alone.
    cfg.StrOpt(
        "management_cidr",
        default="198.19.0.0/22",
        help="IPv4 network between the controller (its first address) and the agents of the amphorae.",
    ),
    cfg.ListOpt(
        "networks",
        default=[
            "demo=198.19.16.0/24",
            "demo/demo-v6=fd6f:6374:6176:10::/64",
            "backend=198.19.17.0/24",
        ],
        help="Networks for VIPs and members: name=CIDR makes a network with a subnet of that name,"
        " network/subnet=CIDR adds a subnet. The first address of each subnet is this machine's.",
    ),
)


@dataclass(frozen=True, slots=True)
class SubnetPlan:
    """One item of ``networks``."""

    network: str
    subnet: str
    cidr: IPv4Network | IPv6Network


def parse_networks(items: Sequence[str]) -> tuple[SubnetPlan, ...]:
    """The value of ``networks``, understood.

    Doubles and overlaps are for the network driver to refuse.

    :raises ValueError: an item is malformed.
    """
    return tuple(_parse_network(item) for item in items)


def _parse_network(item: str) -> SubnetPlan:
    names, equals, cidr = item.partition("=")
    network, slash, subnet = names.strip().partition("/")
    if not equals or not network or (slash and not subnet):
        raise ValueError(f"[standalone] networks: {item!r} is not name=CIDR or network/subnet=CIDR")
    return SubnetPlan(network, subnet or network, ip_network(cidr.strip()))


def controller_address(management_cidr: str) -> str:
    """The controller's address on the management network: the first one."""
    return str(ip_network(management_cidr)[1])


def defaults(state_dir: Path, management_cidr: str) -> Mapping[tuple[str, str], object]:
    """What standalone prefers to the tables' defaults; a configuration file still wins.

    The timers are for a pair of namespaces on one kernel: takeover within a second, replacement within 15.
    """
    certs = state_dir / "certificates"
    controller = controller_address(management_cidr)
    return {
        ("standalone", "state_dir"): str(state_dir),
        ("standalone", "management_cidr"): management_cidr,
        ("database", "connection"): f"sqlite:///{state_dir / 'octavia.db'}",
        ("api_settings", "auth_strategy"): "noauth",
        ("health_manager", "bind_ip"): controller,
        ("health_manager", "controller_ip_port_list"): [f"{controller}:5555"],
        ("health_manager", "heartbeat_interval"): 3,
        ("health_manager", "heartbeat_timeout"): 10,
        ("health_manager", "health_check_interval"): 1,
        ("house_keeping", "cleanup_interval"): 10,
        ("controller_worker", "compute_driver"): "compute_local_driver",
        ("controller_worker", "network_driver"): "network_local_driver",
        ("controller_worker", "image_driver"): "image_noop_driver",
        ("controller_worker", "loadbalancer_topology"): "ACTIVE_STANDBY",
        ("controller_worker", "client_ca"): str(certs / "client_ca.pem"),
        ("haproxy_amphora", "client_cert"): str(certs / "client.pem"),
        ("haproxy_amphora", "server_ca"): str(certs / "server_ca.pem"),
        ("certificates", "ca_certificate"): str(certs / "server_ca.pem"),
        ("certificates", "ca_private_key"): str(certs / "server_ca.key"),
        ("certificates", "cert_manager"): "local_cert_manager",
        ("certificates", "storage_path"): str(certs / "tenants"),
        ("keepalived_vrrp", "vrrp_version"): 3,
        ("keepalived_vrrp", "vrrp_advert_int"): 0.25,
        ("keepalived_vrrp", "vrrp_check_interval"): 1,
    }
