# SPDX-License-Identifier: Apache-2.0
"""Steps in the life of one amphora: recorded, made, booted, plugged, given up, taken away."""

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from octavia.dataplane.cloud_init.agent_conf import AGENT_CONF, CLIENT_CA, SERVER_CERT
from octavia.dataplane.cloud_init.agent_conf import render as render_agent_conf
from octavia.dataplane.cloud_init.rsyslog import RSYSLOG_CONF
from octavia.db import amphorae, events, offers, statuses
from octavia.db.engine import Connection
from octavia.domain.errors import NotFound, Terminal, Transient
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora.contract import VipPlug
from octavia.drivers.compute.contract import AmphoraSpec, ServerStatus
from octavia.drivers.network.contract import Port, Subnet
from octavia.worker.outcome import Done, Failed, Outcome, Wait
from octavia.worker.world import Branch

LOG = logging.getLogger(__name__)

PRIORITY = {Role.MASTER: 100, Role.BACKUP: 90, Role.STANDALONE: None}
VRRP_ID = 1
_BOOT_POLL_S = 0.04


@dataclass(frozen=True, slots=True)
class RecordAmphora:
    """A row says that there is to be an amphora, before anything of it is made."""

    role: Role

    def apply(self, branch: Branch) -> Outcome:
        """Commit the row and say so."""
        now = branch.world.clock.now()
        row = Amphora(
            id=str(uuid.uuid4()),
            load_balancer_id=branch.lb.id,
            status=AmphoraStatus.PENDING_CREATE,
            role=self.role,
            vrrp_id=VRRP_ID if self.role is not Role.STANDALONE else None,
            vrrp_priority=PRIORITY[self.role],
            created_at=now,
        )

        def change(tx: Connection) -> None:
            amphorae.insert(tx, row, now)
            events.record(tx, branch.lb.id, now, f"Building amphora {row.id} ({row.role})")

        branch.write(change)
        branch.amphora = row
        return Done()


@dataclass(frozen=True, slots=True)
class CreateVrrpPort:
    """It has an address of its own on the VIP's subnet."""

    def apply(self, branch: Branch) -> Outcome:
        """Create or adopt the port, and record it."""
        if branch.row.vrrp_port_id:
            return Done()
        vip = branch.lb.vip
        port = branch.world.network.create_vrrp_port(
            branch.row.id, branch.lb.id, vip, branch.lb.vip_addresses
        )
        branch.record(
            vrrp_port_id=port.id,
            vrrp_ip=port.fixed_ips[0].ip_address,
            ha_ip=vip.address,
            ha_port_id=vip.port_id,
        )
        return Done()


@dataclass(frozen=True, slots=True)
class CreateServer:
    """Compute knows of it."""

    def apply(self, branch: Branch) -> Outcome:
        """Ask for the server with a fresh certificate; a server that exists is adopted."""
        row = branch.row
        if row.compute_id:
            return Done()
        issued = branch.world.certificates.issue(row.id)
        conf = render_agent_conf(branch.settings.agent, amphora_id=row.id, topology=branch.lb.topology)
        zone, flavor = _placement(branch)
        spec = AmphoraSpec(
            amphora_id=row.id,
            load_balancer_id=branch.lb.id,
            files={
                AGENT_CONF: conf,
                SERVER_CERT: issued.bundle,
                CLIENT_CA: branch.world.certificates.client_ca,
                RSYSLOG_CONF: branch.settings.rsyslog_conf,
            },
            availability_zone=zone,
            compute_flavor=flavor,
            server_group_id=branch.lb.server_group_id,
        )
        server = branch.world.compute.create(spec)
        branch.record(
            compute_id=server.compute_id,
            status=AmphoraStatus.BOOTING,
            cert_expiration=issued.expires_at,
            lb_network_ip=server.lb_network_ip,
        )
        return Done()


def _placement(branch: Branch) -> tuple[str | None, str | None]:
    """Compute's own zone and flavor, as the load balancer's zone and flavor name them."""
    lb = branch.lb
    if lb.availability_zone is None and lb.flavor_id is None:
        return None, None
    with branch.database.read() as tx:
        zone = offers.data(tx, offers.ZONES, lb.availability_zone)
        flavor = offers.data(tx, offers.FLAVORS, lb.flavor_id)
    return zone.get("compute_zone"), flavor.get("compute_flavor")


@dataclass(frozen=True, slots=True)
class AwaitServer:
    """Compute says that it runs, and where."""

    def apply(self, branch: Branch) -> Outcome:
        """Ask once."""
        row = branch.row
        assert row.compute_id
        server = branch.world.compute.get(row.compute_id)
        if server is None or server.status is ServerStatus.ERROR:
            fault = server.fault if server else "it is gone"
            why = f"The server of amphora {row.id} did not boot: {fault or 'no fault is given'}"
            branch.record(why, status=AmphoraStatus.ERROR)
            return Failed(why, code="BOOT_FAILED", retry_after=2)
        if server.status is not ServerStatus.ACTIVE or not server.lb_network_ip:
            return Wait(_BOOT_POLL_S, "An amphora is booting")
        if row.lb_network_ip != server.lb_network_ip or row.cached_zone != server.zone:
            branch.record(
                lb_network_ip=server.lb_network_ip,
                cached_zone=server.zone,
                image_id=server.image_id,
                compute_flavor=server.compute_flavor,
            )
        return Done()


@dataclass(frozen=True, slots=True)
class AwaitAgent:
    """Its agent answers and shows the right certificate."""

    def apply(self, branch: Branch) -> Outcome:
        """Ask once."""
        if branch.row.id in branch.known.agents:
            return Done()
        try:
            branch.known.agents[branch.row.id] = branch.world.amphora.info(branch.row)
        except Transient:
            return Wait(_BOOT_POLL_S, "An amphora has booted and its agent is starting")
        return Done()


@dataclass(frozen=True, slots=True)
class PlugVip:
    """It has an interface on the VIP's subnet; a SINGLE's has the VIP itself."""

    def apply(self, branch: Branch) -> Outcome:
        """Attach the port, and have the agent bring the interface up."""
        row, network = branch.row, branch.world.network
        if row.vrrp_interface:
            return Done()
        assert row.vrrp_port_id
        assert row.compute_id
        assert row.vrrp_ip
        assert row.ha_ip
        try:
            port = network.get_port(row.vrrp_port_id)
        except NotFound:
            why = f"The port of amphora {row.id} was deleted by somebody else, and is made again"
            branch.record(why, vrrp_port_id=None, vrrp_ip=None)
            return Wait(0, why)
        branch.world.compute.attach_port(row.compute_id, port)
        subnet_id = branch.lb.vip.subnet_id or port.fixed_ips[0].subnet_id
        plug = VipPlug(
            vip_address=row.ha_ip,
            subnet=network.get_subnet(subnet_id),
            network=network.get_network(port.network_id),
            port=port,
            vrrp_ip=row.vrrp_ip,
            additional=[
                (vip.address, network.get_subnet(vip.subnet_id))
                for vip in branch.lb.additional_vips
                if vip.address
            ],
        )
        interface = branch.world.amphora.plug_vip(row, plug, fence=branch.lease.fence)
        branch.record(vrrp_interface=interface)
        return Done()


def _member_subnets(branch: Branch) -> dict[str, list[Subnet]]:
    """Network to the subnets on it that members name; without the VIP's network."""
    wanted: dict[str, dict[str, Subnet]] = {}
    for pool in branch.lb.pools:
        for member in pool.members:
            subnet = branch.known.subnets.get(member.subnet_id or "")
            if subnet and not member.leaving and subnet.network_id != branch.lb.vip.network_id:
                wanted.setdefault(subnet.network_id, {})[subnet.id] = subnet
    return {network_id: list(subnets.values()) for network_id, subnets in wanted.items()}


@dataclass(frozen=True, slots=True)
class PlugNetworks:
    """It has an interface on each network of members."""

    def apply(self, branch: Branch) -> Outcome:
        """Create or adopt ports, attach them, have the agent bring them up."""
        row = branch.row
        assert row.compute_id
        for network_id, subnets in sorted(_member_subnets(branch).items()):
            if network_id not in branch.row.plugged_networks:
                self._plug(branch, network_id, subnets)
        return Done()

    @staticmethod
    def _plug(branch: Branch, network_id: str, subnets: list[Subnet]) -> None:
        row, world = branch.row, branch.world
        assert row.compute_id
        port = world.network.create_member_port(
            row.id, branch.lb.id, network_id, [subnet.id for subnet in subnets]
        )
        world.compute.attach_port(row.compute_id, port)
        world.amphora.plug_network(
            row, port, world.network.get_network(network_id), subnets, fence=branch.lease.fence
        )
        now = world.clock.now()
        branch.write(lambda tx: amphorae.record_member_port(tx, row.id, port.id, network_id, now))
        branch.plugged(network_id)


@dataclass(frozen=True, slots=True)
class UnplugNetworks:
    """It has no interface on networks that no member is on any more."""

    def apply(self, branch: Branch) -> Outcome:
        """Detach and delete the ports."""
        row = branch.row
        assert row.compute_id
        wanted = set(_member_subnets(branch))
        with branch.database.read() as tx:
            ports = amphorae.member_ports(tx, row.id)
        for network_id, port_id in ports.items():
            if network_id in wanted:
                continue
            branch.world.compute.detach_port(row.compute_id, port_id)
            branch.world.network.delete_port(port_id)
            _forget(branch, port_id)
        return Done()


def _forget(branch: Branch, port_id: str) -> None:
    branch.write(lambda tx: amphorae.forget_member_port(tx, port_id))


@dataclass(frozen=True, slots=True)
class Allocate:
    """It takes configuration from now on."""

    def apply(self, branch: Branch) -> Outcome:
        """Record that it is ready, and what its machine is like.

        Nobody asks again: free memory changes all the time, and what is rendered of it must not.
        """
        machine = branch.world.amphora.machine(branch.row)
        branch.record(
            f"Amphora {branch.row.id} is ready",
            status=AmphoraStatus.ALLOCATED,
            memory_kb=machine.memory_kb,
            isolated_cpus=machine.isolated_cpus,
        )
        return Done(further=True)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is marked failed: it acknowledges nothing any more and is replaced."""

    why: str

    def apply(self, branch: Branch) -> Outcome:
        """Mark it, and show the replacement."""
        row, lb = branch.row, branch.lb
        now = branch.world.clock.now()
        sentence = f"Amphora {row.id} ({row.role}) is replaced: {self.why}"

        def change(tx: Connection) -> None:
            amphorae.update(tx, row.id, now, status=AmphoraStatus.ERROR)
            events.record(tx, lb.id, now, sentence)
            statuses.show_replacement(tx, lb.id, sentence, now)

        branch.write(change)
        LOG.warning("Load balancer %s: %s", lb.id, sentence)
        return Done(further=True)


@dataclass(frozen=True, slots=True)
class Retire:
    """It is gone, with its server, its ports and its row.

    :param other: the amphora to take away, if not the branch's own.
    """

    other: Amphora | None = None

    def apply(self, branch: Branch) -> Outcome:
        """Hand the VIP over if it can, then take everything away."""
        row = self.other or branch.row
        world, now = branch.world, branch.world.clock.now()
        if row.status is not AmphoraStatus.PENDING_DELETE:
            branch.write(lambda tx: amphorae.update(tx, row.id, now, status=AmphoraStatus.PENDING_DELETE))
        if row.status is AmphoraStatus.ALLOCATED:
            self._stand_down(branch, row)
        if row.compute_id:
            try:
                world.compute.delete(row.compute_id)
            except Transient:
                # It may be up again, and its peers no longer tell it that they own the VIP.
                self._stand_down(branch, row)
                raise
        else:
            self._delete_unrecorded(branch, row)
        for port in _ports(branch, row):
            world.network.delete_port(port.id)

        def gone(tx: Connection) -> None:
            amphorae.delete(tx, row.id, now)
            events.record(tx, branch.lb.id, now, f"Amphora {row.id} is gone")

        branch.write(gone)
        branch.known.agents.pop(row.id, None)
        return Done(further=True)

    @staticmethod
    def _stand_down(branch: Branch, row: Amphora) -> None:
        """It hands the VIP over, if it can be told."""
        if row.role is Role.STANDALONE:
            return
        try:
            branch.world.amphora.stop_vrrp(row, fence=branch.lease.fence)
        except (Transient, Terminal) as error:
            LOG.info("Amphora %s could not hand over its VIP: %s", row.id, error)

    @staticmethod
    def _delete_unrecorded(branch: Branch, row: Amphora) -> None:
        """Compute may have been asked by somebody who died before the answer was recorded."""
        for server in branch.world.compute.list():
            if server.amphora_id == row.id:
                branch.world.compute.delete(server.compute_id)


def _ports(branch: Branch, row: Amphora) -> Iterable[Port]:
    return branch.world.network.ports_of_amphora(row.id)
