# SPDX-License-Identifier: Apache-2.0
"""UDP on top of the agent's lab: members that answer with their names, clients that ask."""

import contextlib
import itertools
import shutil
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from octavia.dataplane.l4.build import build
from octavia.domain.tree import (
    Algorithm,
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
)
from octavia.drivers.amphora.contract import Configuration
from tests.netns.agent_lab import VIP, AgentProcess, Lab, ip

needs_programs = [
    pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")
    for program in ("nft", "conntrack")
]

PORT = 53
MEMBER_PORT = 5353
LISTENER_ID = "33333333-3333-4333-8333-333333333333"
POOL_ID = "44444444-4444-4444-8444-444444444444"


class Servers:
    """Members on the lab's bridge; each answers with its name and who it thinks the client is."""

    def __init__(self, address: str = "10.88.0.{}/24", device: str = "vip") -> None:
        self._address = address
        self._device = device
        self._sockets: dict[str, socket.socket] = {}
        # All of them are one host here, which would not say often enough that nobody listens.
        Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0")

    def start(self, number: int, *, port: int = MEMBER_PORT) -> str:
        """Its address."""
        cidr = self._address.format(200 + number)
        with contextlib.suppress(AssertionError):  # started again
            ip("addr", "add", cidr, "dev", self._device, *(("nodad",) if ":" in cidr else ()))
        address = cidr.partition("/")[0]
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((address, port))
        self._sockets[str(number)] = one
        threading.Thread(target=self._answer, args=(str(number), one), daemon=True).start()
        return address

    def stop(self, number: int) -> None:
        """Its host stays and says that nobody listens."""
        one = self._sockets.pop(str(number))
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def close(self) -> None:
        for number in list(self._sockets):
            self.stop(int(number))

    @staticmethod
    def _answer(name: str, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, sender = one.recvfrom(65535)
                if question == b"" and one.fileno() < 0:
                    return
                if question:  # an empty one is a health check
                    one.sendto(f"{name} {sender[0]} {len(question)}".encode(), sender)


# Each once: a port that the kernel chose again would be a flow that there is already.
_PORTS: Final = itertools.count(10000)


@contextlib.contextmanager
def client(source: str | None = None, *, vip: str = VIP, port: int = PORT) -> Iterator[socket.socket]:
    """A client with one port of its own, which is one flow."""
    with socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        one.bind((source or "", next(_PORTS)))
        one.connect((vip, port))
        yield one


def asked(one: socket.socket, question: bytes = b"who?") -> str:
    """Who answers."""
    one.send(question)
    return one.recv(65535).decode().split()[0]


def ask(source: str | None = None, *, vip: str = VIP, port: int = PORT) -> str:
    """Who answers a new flow."""
    with client(source, vip=vip, port=port) as one:
        return asked(one)


def answered(*, vip: str = VIP) -> bool:
    """Does anybody answer, and soon?"""
    with contextlib.suppress(OSError), client(vip=vip) as one:
        one.settimeout(0.3)
        return bool(asked(one))
    return False


def asks(count: int, source: str | None = None) -> Counter[str]:
    """How many of so many new flows each member answers."""
    return Counter(ask(source) for _ in range(count))


def member(address: str, *, weight: int = 1, **more: object) -> Member:
    values = {"id": str(uuid.uuid4()), "address": address, "protocol_port": MEMBER_PORT, "weight": weight}
    return Member(**{**values, **more})  # type: ignore[arg-type]


def monitor(type_: MonitorType = MonitorType.UDP_CONNECT, **more: object) -> HealthMonitor:
    values = {"id": str(uuid.uuid4()), "type": type_, "delay": 1, "timeout": 1, "max_retries": 1}
    return HealthMonitor(**{**values, "max_retries_down": 1, **more})  # type: ignore[arg-type]


def affinity(timeout: int | None = None, granularity: str | None = None) -> SessionPersistence:
    return SessionPersistence(
        type=PersistenceType.SOURCE_IP,
        persistence_timeout=timeout,
        persistence_granularity=granularity,
    )


def tree(lab: Lab, *members: Member, **pool: object) -> LoadBalancer:
    """A load balancer with one UDP listener and its pool."""
    values = {"id": POOL_ID, "protocol": Protocol.UDP, "lb_algorithm": Algorithm.ROUND_ROBIN}
    made = Pool(**{**values, "members": members, **pool})  # type: ignore[arg-type]
    listener = Listener(id=LISTENER_ID, protocol=Protocol.UDP, protocol_port=PORT, default_pool_id=POOL_ID)
    return LoadBalancer(
        id=lab.lb_id,
        topology=Topology.SINGLE,
        vip=Vip(ip_address=VIP),
        listeners=(listener,),
        pools=(made,),
        generation=1,
    )


def with_members(lb: LoadBalancer, *members: Member) -> LoadBalancer:
    (pool,) = lb.pools
    return lb.bumped().with_pool(replace(pool, members=members))


def push(
    lab: Lab,
    amphora: AgentProcess,
    lb: LoadBalancer,
    *,
    keepalived: str | None = None,
    haproxy: str | None = None,
) -> None:
    """As the worker does."""
    built = build(lb)
    assert not built.refused
    configuration = Configuration(
        load_balancer_id=lab.lb_id,
        generation=lb.generation,
        haproxy=haproxy,
        keepalived=keepalived,
        l4=built.config,
    )
    lab.driver.apply(amphora.amphora, configuration, fence=1)
