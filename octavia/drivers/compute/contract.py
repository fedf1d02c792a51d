# SPDX-License-Identifier: Apache-2.0
"""What the worker expects of whatever runs amphorae."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from octavia.drivers.network.contract import Port


class ServerStatus(StrEnum):
    """How far a server has come. A server that does not exist is ``None``, not a status."""

    BUILDING = "BUILDING"
    ACTIVE = "ACTIVE"
    ERROR = "ERROR"  # it will never become ACTIVE: delete it


@dataclass(frozen=True, slots=True, kw_only=True)
class AmphoraSpec:
    """What a new amphora is made of.

    :param files: absolute path in the amphora to content; all of them are written mode 0600
        (contract: amphora-agent.md section 12).
    """

    amphora_id: str
    load_balancer_id: str
    files: Mapping[str, bytes]
    availability_zone: str | None = None
    compute_flavor: str | None = None
    image_id: str | None = None
    server_group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What compute says of one amphora.

    :param lb_network_ip: its address on the management network, once it has one.
    :param fault: why it is in ERROR, in compute's words.
    """

    compute_id: str
    amphora_id: str
    status: ServerStatus
    lb_network_ip: str | None = None
    fault: str | None = None
    zone: str | None = None
    image_id: str | None = None
    compute_flavor: str | None = None


class ComputeDriver(Protocol):
    """Where amphorae live. Every method may be called twice; none blocks until a boot is over."""

    def create(self, spec: AmphoraSpec) -> Server:
        """Ask for a server and return at once; it may still be building.

        Asked again for the same ``spec.amphora_id``, answer with the same server.
        Nothing here may fail after the server exists: what follows is another step.

        :raises Transient: compute is full or down.
        :raises Terminal: flavor or image is unknown.
        """

    def get(self, compute_id: str) -> Server | None:
        """The server as compute sees it now; None if there is none.

        :raises Transient: compute could not be asked, which says nothing about the server.
        """

    def delete(self, compute_id: str) -> None:
        """Ask for deletion and return when it can own no address any more; absent is a success.

        :raises Transient: compute is down.
        """

    def attach_port(self, compute_id: str, port: Port) -> None:
        """Give the server a network interface with the port's MAC address; attached is a success.

        :raises Transient: compute or network is down.
        :raises Terminal: there is no such server or port.
        """

    def detach_port(self, compute_id: str, port_id: str) -> None:
        """Take the interface away; an absent interface or server is a success."""

    def list(self) -> Iterable[Server]:
        """Every server of this installation, for the sweep of orphans.

        :raises Transient: compute could not be asked.
        """
