# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as keepalived's LVS files, one a listener, for amphorae whose kernel has IPVS.

Contract: data-plane.md section 9; amphora-agent.md section 7: the comments are parsed by agents, so their
shape and order count. keepalived has no quoting to rely on: what went through
:mod:`octavia.dataplane.l4.model` needs none, but for the path of an HTTP check, and
:mod:`octavia.dataplane.keepalived.model` lets nothing else pass.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from octavia.dataplane.keepalived.model import BLANK, Block, Comment, Item, serialize
from octavia.dataplane.l4.model import Check, L4Config, Listener, Member, Pool

NETNS: Final = "amphora-haproxy"
_ALGORITHM: Final = {"ROUND_ROBIN": "wrr", "LEAST_CONNECTIONS": "lc", "SOURCE_IP": "sh"}
_UNQUOTED: Final = "/._~%?&=+,:@;-"  # and letters and digits: nothing that ends a word, quotes or comments


def render(config: L4Config, *, base_path: str = "/var/lib/octavia") -> dict[str, str]:
    """Listener id to the text of its file.

    :param base_path: data directory in the amphora, where its check scripts are.
    :raises UnsafeWord: ``base_path`` cannot be written.
    """
    udp_check = f"{base_path}/lvs/check/udp_check.sh"
    return {one.id: serialize(tuple(_file(config, one, udp_check))) for one in config.listeners}


def _file(config: L4Config, listener: Listener, udp_check: str) -> Iterator[Item]:
    yield Comment(f"Configuration for Loadbalancer {config.load_balancer_id}")
    if not listener.enabled:
        yield Comment(f"Listener {listener.id} is disabled")
        return
    yield Comment(f"Configuration for Listener {listener.id}")
    yield BLANK
    yield ("net_namespace", NETNS)
    pool = next((one for one in config.pools if one.id == listener.pool_id), None)
    if pool is None:
        return
    yield BLANK
    for version in (4, 6):
        if vips := [vip for vip in config.vips if (":" in vip) == (version == 6)]:
            group = f"ipv{version}-group"
            yield Block(("virtual_server_group", group), tuple((vip, str(listener.port)) for vip in vips))
            yield Block(
                ("virtual_server", "group", group), tuple(_server(pool, listener, version, udp_check))
            )


def _server(pool: Pool, listener: Listener, version: int, udp_check: str) -> Iterator[Item]:
    yield ("lb_algo", _ALGORITHM[pool.algorithm])
    yield ("lb_kind", "NAT")
    yield ("protocol", listener.protocol)
    if pool.persistence:
        everything = "255.255.255.255" if version == 4 else "128"
        mask = pool.persistence.mask(version)
        granularity = _prefix(mask) if mask and version == 6 else mask or everything
        yield ("persistence_timeout", str(pool.persistence.timeout))
        yield ("persistence_granularity", str(granularity))
    if pool.check:
        yield ("delay_loop", str(pool.check.delay))
        yield ("delay_before_retry", str(pool.check.delay))
        yield ("retry", str(pool.check.fall))
    yield BLANK
    if not pool.enabled:
        yield Comment(f"Pool {pool.id} is disabled")
        return
    yield Comment(f"Configuration for Pool {pool.id}")
    if pool.check:
        yield Comment(f"Configuration for HealthMonitor {pool.check.id}")
    for member in pool.members:
        if member.version != version:
            continue
        if not member.enabled:
            yield Comment(f"Member {member.id} is disabled")
            continue
        yield Comment(f"Configuration for Member {member.id}")
        yield _real_server(member, pool.check, listener, udp_check)


def _real_server(member: Member, check: Check | None, listener: Listener, udp_check: str) -> Block:
    body: list[Item] = [("weight", str(member.weight))]
    if listener.connection_limit is not None:
        body.append(("uthreshold", str(listener.connection_limit)))
    if check:
        body.extend(_checker(member, check, udp_check))
    return Block(("real_server", member.address, str(member.port)), tuple(body))


def _checker(member: Member, check: Check, udp_check: str) -> Iterator[Block]:
    address, port = member.monitor_address or member.address, member.monitor_port or member.port
    if check.type == "UDP-CONNECT":
        yield _script(f"{udp_check} {address} {port}", check.timeout)
    elif check.type == "SCTP":
        yield _script(f"amphora-health-checker sctp -t {check.timeout} {address} {port}", check.timeout + 1)
    elif check.type == "TCP":
        yield Block(("TCP_CHECK",), _connection(address, port, check.timeout))
    elif check.type == "HTTP":
        path = quote(check.url_path, safe=_UNQUOTED)  # which means the same (RFC 3986 section 2.1)
        urls = (
            Block(("url",), (("path", path), ("status_code", str(code)))) for code in check.expected_codes
        )
        yield Block(("HTTP_GET",), (*urls, *_connection(address, port, check.timeout)))


def _script(command: str, timeout: int) -> Block:
    return Block(("MISC_CHECK",), (("misc_path", f'"{command}"'), ("misc_timeout", str(timeout))))


def _connection(address: str, port: int, timeout: int) -> tuple[Item, ...]:
    return (("connect_ip", address), ("connect_port", str(port)), ("connect_timeout", str(timeout)))


def _prefix(mask: str) -> int:
    """How many bits an IPv6 mask has set: keepalived takes a number for that family."""
    return int(ip_address(mask)).bit_count()
