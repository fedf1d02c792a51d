# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as keepalived's LVS files, one a listener, for amphorae whose kernel has IPVS.

Contract: data-plane.md section 9; amphora-agent.md section 7: the comments are parsed by agents, so their
shape and order count. keepalived has no quoting to rely on: what went through
:mod:`octavia.dataplane.l4.model` needs none, but for the path of an HTTP check.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from octavia.dataplane.l4.model import Check, L4Config, Listener, Member, Pool

NETNS: Final = "amphora-haproxy"
_ALGORITHM: Final = {"ROUND_ROBIN": "wrr", "LEAST_CONNECTIONS": "lc", "SOURCE_IP": "sh"}
_UNQUOTED: Final = "/._~%?&=+,:@;-"  # and letters and digits: nothing that ends a word, quotes or comments
_BASE_PATH: Final = re.compile(r"/[A-Za-z0-9_./-]+")


class Unwritable(ValueError):
    """A value that keepalived's file format has no way to write; the text names it."""


def render(config: L4Config, *, base_path: str = "/var/lib/octavia") -> dict[str, str]:
    """Listener id to the text of its file.

    :param base_path: data directory in the amphora, where its check scripts are.
    :raises Unwritable: ``base_path`` cannot be written.
    """
    if not _BASE_PATH.fullmatch(base_path):
        raise Unwritable(f"base_path {base_path!r} cannot be written to keepalived's configuration")
    return {
        one.id: "\n".join(_lines(config, one, f"{base_path}/lvs/check/udp_check.sh")) + "\n"
        for one in config.listeners
    }


def _lines(config: L4Config, listener: Listener, udp_check: str) -> Iterator[str]:
    yield f"# Configuration for Loadbalancer {config.load_balancer_id}"
    if not listener.enabled:
        yield f"# Listener {listener.id} is disabled"
        return
    yield f"# Configuration for Listener {listener.id}"
    yield ""
    yield f"net_namespace {NETNS}"
    pool = next((one for one in config.pools if one.id == listener.pool_id), None)
    if pool is None:
        return
    for version in (4, 6):
        if vips := [vip for vip in config.vips if (":" in vip) == (version == 6)]:
            yield ""
            yield f"virtual_server_group ipv{version}-group {{"
            yield from (f"    {vip} {listener.port}" for vip in vips)
            yield "}"
            yield ""
            yield f"virtual_server group ipv{version}-group {{"
            yield from (f"    {line}" if line else "" for line in _server(pool, listener, version, udp_check))
            yield "}"


def _server(pool: Pool, listener: Listener, version: int, udp_check: str) -> Iterator[str]:
    yield f"lb_algo {_ALGORITHM[pool.algorithm]}"
    yield "lb_kind NAT"
    yield f"protocol {listener.protocol}"
    if pool.persistence:
        everything = "255.255.255.255" if version == 4 else "128"
        mask = pool.persistence.mask(version)
        yield f"persistence_timeout {pool.persistence.timeout}"
        yield f"persistence_granularity {_prefix(mask) if mask and version == 6 else mask or everything}"
    if pool.check:
        yield f"delay_loop {pool.check.delay}"
        yield f"delay_before_retry {pool.check.delay}"
        yield f"retry {pool.check.fall}"
    yield ""
    if not pool.enabled:
        yield f"# Pool {pool.id} is disabled"
        return
    yield f"# Configuration for Pool {pool.id}"
    if pool.check:
        yield f"# Configuration for HealthMonitor {pool.check.id}"
    for member in pool.members:
        if member.version == version:
            yield from _real_server(member, pool.check, listener, udp_check)


def _real_server(member: Member, check: Check | None, listener: Listener, udp_check: str) -> Iterator[str]:
    if not member.enabled:
        yield f"# Member {member.id} is disabled"
        return
    yield f"# Configuration for Member {member.id}"
    yield f"real_server {member.address} {member.port} {{"
    yield f"    weight {member.weight}"
    if listener.connection_limit is not None:
        yield f"    uthreshold {listener.connection_limit}"
    if check:
        yield from (f"    {line}" for line in _checker(member, check, udp_check))
    yield "}"


def _checker(member: Member, check: Check, udp_check: str) -> Iterator[str]:
    address, port = member.monitor_address or member.address, member.monitor_port or member.port
    if check.type == "UDP-CONNECT":
        yield from _script(f"{udp_check} {address} {port}", check.timeout)
    elif check.type == "SCTP":
        command = f"amphora-health-checker sctp -t {check.timeout} {address} {port}"
        yield from _script(command, check.timeout + 1)
    elif check.type == "TCP":
        yield "TCP_CHECK {"
        yield from (f"    {line}" for line in _connection(address, port, check.timeout))
        yield "}"
    elif check.type == "HTTP":
        path = quote(check.url_path, safe=_UNQUOTED)  # which means the same (RFC 3986 section 2.1)
        yield "HTTP_GET {"
        for code in check.expected_codes:
            yield "    url {"
            yield f"        path {path}"
            yield f"        status_code {code}"
            yield "    }"
        yield from (f"    {line}" for line in _connection(address, port, check.timeout))
        yield "}"


def _script(command: str, timeout: int) -> Iterator[str]:
    yield "MISC_CHECK {"
    yield f'    misc_path "{command}"'
    yield f"    misc_timeout {timeout}"
    yield "}"


def _connection(address: str, port: int, timeout: int) -> Iterator[str]:
    yield f"connect_ip {address}"
    yield f"connect_port {port}"
    yield f"connect_timeout {timeout}"


def _prefix(mask: str) -> int:
    """How many bits an IPv6 mask has set: keepalived takes a number for that family."""
    return int(ip_address(mask)).bit_count()
