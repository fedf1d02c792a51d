# SPDX-License-Identifier: Apache-2.0
"""Who of a pair owns the VIP, as keepalived's configuration (contract: data-plane.md section 8).

Pure: values in, text out. No string of a tenant gets in: names are made of ids, everything else
is a number or an address that has been parsed. The text is made in :mod:`octavia.dataplane.keepalived.model`.

Beyond the contract there is a tracked file: the agent writes ``1`` there when HAProxy has died and
``0`` when it is back. keepalived watches it with inotify and gives the VIP up at once, whereas the
check script only asks every few seconds.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from octavia.dataplane.keepalived.model import Block, block, serialize
from octavia.domain.tree import Amphora, LoadBalancer, Role, Topology, VrrpGroup

ROUTE_TABLE: Final = 1
RULE_PRIORITY: Final = 100

_PRIORITY: Final = {Role.MASTER: 100, Role.BACKUP: 90}
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
_AUTH_PASS = re.compile(r"[A-Za-z0-9]{1,8}")
_ROUTER_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_INSTANCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepalivedSettings:
    """The operator's choices (contract: config.md section 7).

    :param fail_count: failures of the check script until the amphora gives up the VIP.
    :param garp_refresh_interval_s: between two repetitions of the owner's gratuitous ARPs.
    :param track_file: does the agent keep the tracked file? Not with an upstream agent.
    """

    base_path: str = "/var/lib/octavia"
    check_interval_s: int = 5
    fail_count: int = 2
    success_count: int = 2
    garp_refresh_interval_s: int = 5
    garp_refresh_count: int = 2
    track_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VipSubnet:
    """Where one VIP lives.

    :param host_routes: pairs of destination and next hop.
    """

    vip_address: str
    cidr: str
    gateway: str | None = None
    host_routes: tuple[tuple[str, str], ...] = ()


def check_script(base_path: str) -> str:
    """The script that keepalived runs; it fails when HAProxy does not answer."""
    return f"{base_path}/vrrp/check_script.sh"


def tracked_file(base_path: str) -> str:
    """The file whose content says whether HAProxy is down: ``1``, or ``0``."""
    return f"{base_path}/vrrp/haproxy_down"


def render(
    lb: LoadBalancer,
    amphora: Amphora,
    amphorae: Sequence[Amphora],
    settings: KeepalivedSettings,
    vip_subnets: Sequence[VipSubnet],
) -> str | None:
    """The configuration of one amphora's keepalived; None where no VIP is shared.

    :param amphora: for whom this is; its ``vrrp_ip`` and ``vrrp_interface`` must be known.
    :param amphorae: of this load balancer; the others with an address are its peers.
    :param vip_subnets: one for each VIP that needs routes of its own.
    :raises ValueError: a value is no address, interface name, number or path.
    """
    if lb.topology != Topology.ACTIVE_STANDBY:
        return None
    group = lb.vrrp_group or VrrpGroup(name=lb.id.replace("-", ""))
    instance = _matching(_INSTANCE, lb.id.replace("-", ""), "instance name")
    own = _address(amphora.vrrp_ip)
    # keepalived speaks version 3 on IPv6 whatever it is told, and then takes no password.
    version = 3 if group.version == 3 or own.version == 6 else 2
    blocks: list[Block] = [_globals(amphora), _script(settings)]
    if settings.track_file:
        blocks.append(_file(settings))
    body = [
        *_identity(group, version, amphora),
        *_announcements(settings),
        *_authentication(group, version),
        *_peers(own, amphora, amphorae),
        *_addresses(lb, own),
        *_routes(vip_subnets, _interface(amphora)),
        block("track_script", "octavia_check_script"),
    ]
    if settings.track_file:
        body.append(block("track_file", "octavia_haproxy_down"))
    blocks.append(block(f"vrrp_instance {instance}", *body))
    return serialize(tuple(blocks))


def _globals(amphora: Amphora) -> Block:
    # Without a name keepalived looks up the host's, and where no DNS server answers that takes ten
    # seconds of every start. Only root may change the script, and root is who HAProxy's socket answers.
    name = _matching(_ROUTER_ID, amphora.id, "amphora id")
    return block("global_defs", f"router_id {name}", "script_user root", "enable_script_security")


def _script(settings: KeepalivedSettings) -> Block:
    return block(
        "vrrp_script octavia_check_script",
        f'script "{_matching(_PATH, check_script(settings.base_path), "path")}"',
        f"interval {settings.check_interval_s:d}",
        f"fall {settings.fail_count:d}",
        f"rise {settings.success_count:d}",
    )


def _file(settings: KeepalivedSettings) -> Block:
    # Weight 0: anything but 0 in the file is a FAULT, whatever the priorities.
    path = _matching(_PATH, tracked_file(settings.base_path), "path")
    return block("track_file octavia_haproxy_down", f'file "{path}"', "weight 0", "init_file 0")


def _identity(group: VrrpGroup, version: int, amphora: Amphora) -> Iterator[str]:
    interface = _interface(amphora)
    priority = amphora.vrrp_priority or _PRIORITY.get(amphora.role, _PRIORITY[Role.BACKUP])
    yield f"interface {interface}"
    yield f"version {version}"
    yield f"virtual_router_id {_within(amphora.vrrp_id or 1, 1, 255, 'virtual router id')}"
    yield f"priority {_within(priority, 1, 254, 'priority')}"
    yield f"advert_int {_advert_int(group, version)}"
    yield "nopreempt"
    yield "accept"


def _advert_int(group: VrrpGroup, version: int) -> str:
    """Seconds; hundredths in version 3 (RFC 5798 section 5.2.7), whole ones in version 2."""
    if version == 2 and not (float(group.advert_int).is_integer() and 1 <= group.advert_int <= 255):
        raise ValueError(
            f"VRRPv2 advertises every 1 to 255 whole seconds, not {group.advert_int}; use version 3"
        )
    if not 0.01 <= group.advert_int <= (255 if version == 2 else 40.95):
        raise ValueError(f"advertisements every {group.advert_int} s are out of range")
    return f"{group.advert_int:.2f}".rstrip("0").rstrip(".")


def _announcements(settings: KeepalivedSettings) -> Iterator[str]:
    yield f"garp_master_refresh {settings.garp_refresh_interval_s:d}"
    yield f"garp_master_refresh_repeat {settings.garp_refresh_count:d}"


def _authentication(group: VrrpGroup, version: int) -> Iterator[Block]:
    if version == 2 and group.auth_pass:
        password = _matching(_AUTH_PASS, group.auth_pass, "VRRP password", secret=True)
        yield block("authentication", "auth_type PASS", f"auth_pass {password}")


def _peers(
    own: IPv4Address | IPv6Address, amphora: Amphora, amphorae: Iterable[Amphora]
) -> Iterator["str | Block"]:
    peers = sorted(
        (_address(one.vrrp_ip) for one in amphorae if one.id != amphora.id and one.is_peer),
        key=lambda address: (address.version, int(address)),
    )
    # Without a peer keepalived would fall back to multicast and complain about the source.
    if peers:
        yield f"unicast_src_ip {own}"
        yield block("unicast_peer", *map(str, peers))


def _addresses(lb: LoadBalancer, own: IPv4Address | IPv6Address) -> Iterator[Block]:
    if not lb.vip_addresses:
        raise ValueError("the load balancer has no VIP yet")
    primary, *additional = map(_address, lb.vip_addresses)
    every = [primary, *sorted(additional, key=lambda vip: (vip.version, int(vip)))]
    yield block("virtual_ipaddress", *(str(vip) for vip in every if vip.version == own.version))
    if others := [str(vip) for vip in every if vip.version != own.version]:
        yield block("virtual_ipaddress_excluded", *others)


def _routes(subnets: Sequence[VipSubnet], interface: str) -> Iterator[Block]:
    routes: list[str] = []
    rules: list[str] = []
    for subnet in subnets:
        vip = _address(subnet.vip_address)
        table = f"dev {interface} table {ROUTE_TABLE}"
        routes.append(f"{ip_network(subnet.cidr, strict=False)} src {vip} scope link {table}")
        if subnet.gateway:
            everything = "0.0.0.0/0" if vip.version == 4 else "::/0"
            routes.append(f"{everything} via {_address(subnet.gateway)} onlink {table}")
        for destination, nexthop in subnet.host_routes:
            routes.append(f"{ip_network(destination, strict=False)} via {_address(nexthop)} onlink {table}")
        rules.append(f"from {vip}/{vip.max_prefixlen} table {ROUTE_TABLE} priority {RULE_PRIORITY}")
    if routes:
        yield block("virtual_routes", *routes)
        yield block("virtual_rules", *rules)


def _interface(amphora: Amphora) -> str:
    return _matching(_INTERFACE, amphora.vrrp_interface or "", "interface name")


def _address(value: str | None) -> IPv4Address | IPv6Address:
    address = ip_address(value or "")
    if "%" in str(address):
        raise ValueError(f"{value!r} names an interface, which means nothing here")
    return address


def _within(value: int, low: int, high: int, noun: str) -> int:
    if not low <= value <= high:
        raise ValueError(f"the {noun} {value} is not between {low} and {high}")
    return value


def _matching(pattern: re.Pattern[str], value: str, noun: str, *, secret: bool = False) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"the {noun} {'' if secret else repr(value)} cannot be given to keepalived")
    return value
