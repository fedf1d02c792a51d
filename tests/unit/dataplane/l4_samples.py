# SPDX-License-Identifier: Apache-2.0
"""Values for the tests of UDP and SCTP listeners."""

from typing import Any

from octavia.dataplane.l4.model import Check, L4Config, Listener, Member, Persistence, Pool


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def member(number: int, address: str | None = None, **more: Any) -> Member:
    return Member(id=uuid(number), address=address or f"10.0.0.{number}", port=53, **more)


def check(type_: str = "UDP-CONNECT", **more: Any) -> Check:
    return Check(**{"id": uuid(900), "type": type_, "delay": 5, "timeout": 3, "rise": 2, "fall": 3, **more})


def pool(*members: Member, **more: Any) -> Pool:
    return Pool(**{"id": uuid(500), "members": members, **more})


def config(*pools: Pool, vips: tuple[str, ...] = ("10.9.9.9",), **listener: Any) -> L4Config:
    """A listener a pool, on ports 53, 54, …"""
    listeners = tuple(
        Listener(**{"id": uuid(700 + n), "protocol": "UDP", "port": 53 + n, "pool_id": one.id, **listener})
        for n, one in enumerate(pools)
    )
    return L4Config(load_balancer_id=uuid(1), vips=vips, listeners=listeners, pools=pools)


EVERYTHING = config(
    pool(
        member(1, weight=3),
        member(2, weight=0, monitor_address="10.0.1.2", monitor_port=8053),
        member(3, "fd00::3", backup=True),
        member(4, enabled=False),
        algorithm="SOURCE_IP",
        persistence=Persistence(timeout=60, granularity="255.255.0.0"),
        check=check("HTTP", url_path="/a?b=1", expected_codes=(200, 204), domain_name="x.example"),
    ),
    pool(member(11), member(12), id=uuid(501), algorithm="LEAST_CONNECTIONS", check=check(id=uuid(901))),
    vips=("10.9.9.9", "fd00::9"),
    connection_limit=100,
    allowed_cidrs=("10.0.0.0/8", "10.1.0.0/16", "fd00::/8"),
)
