# SPDX-License-Identifier: Apache-2.0
"""What the worker expects of an amphora.

Each call names the fencing number of the caller's lease. Connecting takes at most one second;
:class:`octavia.domain.errors.Unreachable` says that nothing was done.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from octavia.dataplane.l4.model import L4Config
from octavia.domain.errors import Terminal
from octavia.domain.tree import Amphora
from octavia.drivers.network.contract import HostRoute, Network, Port, Subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What an agent says of itself (contract: amphora-agent.md section 4).

    :param extensions: what it offers beyond REST 1.0; empty for an upstream agent.
    :param fence: the highest fencing number that it has seen; None if it keeps none.
    :param generation: the generation that is live; None if it keeps none.
    :param vrrp_state: ``MASTER``, ``BACKUP``, ``FAULT``, or None where no keepalived runs.
    """

    api_version: str
    haproxy_version: str
    extensions: frozenset[str] = frozenset()
    fence: int | None = None
    generation: int | None = None
    vrrp_state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an agent says of the machine it is on (contract: amphora-agent.md section 4, ``details``).

    :param memory_kb: memory that is free, or would be without caches of files; None where nobody knows,
        or where it is others' as well.
    :param isolated_cpus: how many processors, all but the first, tuned keeps for HAProxy; None: it does not.
    """

    memory_kb: int | None = None
    isolated_cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything an amphora should run, whole.

    :param haproxy: text of haproxy.cfg; None when there is nothing to run.
    :param keepalived: text of keepalived's configuration; None for a SINGLE.
    :param certificates: the files that haproxy.cfg names, by name; not shown, since private keys are in them.
        None is whatever the amphora has under that name.
    :param l4: UDP and SCTP listeners; None when there are none.
    """

    load_balancer_id: str
    generation: int
    haproxy: str | None
    keepalived: str | None = None
    certificates: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    l4: L4Config | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How a configuration went live.

    :param reload_reason: why HAProxy had to be reloaded; None when runtime commands sufficed.
    """

    generation: int
    reload_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VipPlug:
    """What the agent has to know to bring up the VIP's interface."""

    vip_address: str
    subnet: Subnet
    network: Network
    port: Port
    vrrp_ip: str
    additional: Sequence[tuple[str, Subnet]] = field(default=())

    @property
    def host_routes(self) -> tuple[HostRoute, ...]:
        """Routes beyond the gateway."""
        return self.subnet.host_routes


class Lacks(Terminal):
    """The amphora has not got files that it was to go on with; what ran before still runs.

    :ivar names: of those files.
    """

    def __init__(self, amphora_id: str, names: Collection[str]) -> None:
        super().__init__(f"Amphora {amphora_id} has not got {', '.join(sorted(names))}")
        self.names = frozenset(names)


class AmphoraDriver(Protocol):
    """One conversation with one agent a call."""

    def info(self, amphora: Amphora) -> AgentInfo:
        """Who is there? Also the proof that it is up and shows the right certificate.

        :raises Unreachable: not up (yet), or not at this address.
        """

    def machine(self, amphora: Amphora) -> Machine:
        """What is it running on? An agent that cannot say has no details.

        :raises Unreachable: not up (yet), or not at this address.
        """

    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        """Bring up the VIP's interface; plugged is a success.

        :returns: the interface's name in the amphora, for keepalived.
        :raises Transient: the interface has not arrived in the amphora yet.
        :raises Fenced: a higher fencing number has been seen.
        """

    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        """Bring up the interface of a member network, or its addresses anew.

        :raises Transient: the interface has not arrived in the amphora yet.
        :raises Fenced: a higher fencing number has been seen.
        """

    def apply(self, amphora: Amphora, configuration: Configuration, *, fence: int) -> Applied:
        """Validate, then change what runs by the gentlest means; the same again changes nothing.

        :raises Refused: HAProxy does not accept it; what ran before still runs.
        :raises Lacks: it has no file under a name whose content was not given.
        :raises Unreachable: nothing was done.
        :raises Transient: it may or may not have been done; apply again.
        :raises Fenced: a higher fencing number has been seen.
        """

    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        """Let the peer take the VIP at once, before this amphora is deleted."""

    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        """Give the agent a new server certificate (PEM: certificate, then key)."""

    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        """Give the agent a new configuration file of its own.

        :returns: False if the agent is too old to take one.
        :raises Unreachable: nothing was done.
        :raises Fenced: a higher fencing number has been seen.
        """
