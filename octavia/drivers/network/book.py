# SPDX-License-Identifier: Apache-2.0
"""The network driver over an address book: which ports there are and what they are called.

All that the local and the in-memory driver have in common. Bridges are not here: see
:mod:`octavia.drivers.network.local`.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from octavia.domain.errors import Conflict, Invalid, NotFound, RequestError, Terminal, Transient
from octavia.domain.tree import AdditionalVip, Vip
from octavia.drivers.local.addresses import (
    Book,
    BookStore,
    Entry,
    SubnetFull,
    Topology,
    canonical,
    free,
    holds,
)
from octavia.drivers.network.allocation import Wish, allocation_on, with_addresses
from octavia.drivers.network.contract import (
    OWNER,
    Network,
    Port,
    Subnet,
    VipAllocation,
    member_port_name,
    vip_port_name,
    vrrp_port_name,
)

COMPUTE_OWNER = "compute:local"


def management_port_name(amphora_id: str) -> str:
    """What an amphora's port on the management network is called."""
    return f"octavia-mgmt-{amphora_id}"


class BookNetwork:
    """Implements :class:`octavia.drivers.network.contract.NetworkDriver`; every call is one step.

    :param new_id: makes the ids of ports.
    """

    def __init__(
        self, topology: Topology, store: BookStore, new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self._topology = topology
        self._store = store
        self._new_id = new_id

    def get_network(self, network_id: str) -> Network:
        """See the contract."""
        return self._topology.network(network_id)

    def get_subnet(self, subnet_id: str) -> Subnet:
        """See the contract."""
        return self._topology.subnet(subnet_id)

    def get_port(self, port_id: str) -> Port:
        """See the contract."""
        return self._store.read().entry(port_id).port

    def has_qos_policy(self, policy_id: str) -> bool:
        """See the contract: there are none here."""
        return False

    def has_security_group(self, group_id: str) -> bool:
        """See the contract: there are none here."""
        return False

    def free_addresses(self, subnet_id: str) -> int:
        """See the contract."""
        return free(self._store.read(), self._topology.subnet(subnet_id))

    def list_networks(self) -> Sequence[Network]:
        """See the contract."""
        return list(self._topology.networks.values())

    def list_subnets(self) -> Sequence[Subnet]:
        """See the contract."""
        return list(self._topology.subnets.values())

    def list_ports(self) -> Sequence[Port]:
        """See the contract."""
        return [entry.port for entry in self._store.read().entries.values()]

    def owned_ports(self) -> Iterable[tuple[str, Port]]:
        """See the contract."""
        return [
            (entry.load_balancer_id, entry.port)
            for entry in self._store.read().entries.values()
            if entry.port.device_owner == OWNER and entry.load_balancer_id
        ]

    def ports_of_amphora(self, amphora_id: str) -> Sequence[Port]:
        """See the contract."""
        wanted = {vrrp_port_name(amphora_id), member_port_name(amphora_id)}
        return [port for port in self.list_ports() if port.name in wanted]

    def create_vip_port(
        self,
        load_balancer_id: str,
        project_id: str | None,
        vip: Vip,
        additional_vips: Sequence[AdditionalVip],
    ) -> VipAllocation:
        """See the contract."""

        def edit(book: Book) -> tuple[Book, VipAllocation]:
            ours = book.named(vip_port_name(load_balancer_id))
            if vip.port_id and not vip.octavia_owned and (ours is None or vip.port_id != ours.port.id):
                users = self._lend(book, load_balancer_id, vip)
                return book.with_entry(users), allocation_on(users.port, vip, additional_vips)
            wishes = self._wishes(book, vip, additional_vips)
            if ours is not None and ours.port.network_id != wishes[0].subnet.network_id:
                book, ours = book.without(ours.port.id), None
            if ours is None:
                ours = self._vip_entry(load_balancer_id, project_id, wishes[0].subnet, vip)
            book, entry = with_addresses(book, ours, wishes)
            return book, allocation_on(entry.port, replace(vip, octavia_owned=True), additional_vips)

        return self._store.change(edit)

    def release_vip_port(self, load_balancer_id: str, vip: Vip) -> None:
        """See the contract."""

        def edit(book: Book) -> tuple[Book, None]:
            ours = book.named(vip_port_name(load_balancer_id))
            if ours is not None and ours.port.device_owner == OWNER:
                book = book.without(ours.port.id)
            lent = book.entries.get(vip.port_id or "")
            if lent is not None and lent.port.device_id == f"lb-{load_balancer_id}":
                book = book.with_entry(replace(lent, port=replace(lent.port, device_id="")))
            return book, None

        self._store.change(edit)

    def create_vrrp_port(
        self, amphora_id: str, load_balancer_id: str, vip: Vip, addresses: Sequence[str]
    ) -> Port:
        """See the contract.

        :raises Transient: the subnet is full.
        :raises Terminal: the VIP has no subnet here.
        """
        with _for_the_worker():
            subnet = self._topology.subnet(vip.subnet_id or "")
            return self._ensure(
                vrrp_port_name(amphora_id),
                [Wish(subnet)],
                owner=OWNER,
                device_id=amphora_id,
                load_balancer_id=load_balancer_id,
                allowed_addresses=tuple(addresses),
            )

    def create_member_port(
        self, amphora_id: str, load_balancer_id: str, network_id: str, subnet_ids: Sequence[str]
    ) -> Port:
        """See the contract.

        :raises Transient: a subnet is full.
        :raises Terminal: there is no such network, or a subnet is not on it.
        """
        with _for_the_worker():
            subnets = [self._topology.subnet(one) for one in subnet_ids]
            if any(subnet.network_id != network_id for subnet in subnets):
                raise Invalid(f"Not all of the subnets {list(subnet_ids)} are on network {network_id}.")
            # Without a word about subnets the network chooses, as Neutron does.
            subnets = subnets or list(self._topology.subnets_of(network_id))[:1]
            return self._ensure(
                member_port_name(amphora_id),
                [Wish(subnet) for subnet in subnets],
                owner=OWNER,
                device_id=amphora_id,
                load_balancer_id=load_balancer_id,
            )

    def create_management_port(self, amphora_id: str, network_id: str) -> Port:
        """An amphora's port on the management network; asked again, the same port.

        :raises Transient: the network has no address left.
        :raises Terminal: there is no such network.
        """
        with _for_the_worker():
            subnets = self._topology.subnets_of(network_id)
            return self._ensure(
                management_port_name(amphora_id),
                [Wish(subnet) for subnet in subnets],
                owner=COMPUTE_OWNER,
                device_id=amphora_id,
            )

    def management_port(self, amphora_id: str) -> Port | None:
        """An amphora's port on the management network, if it has one."""
        entry = self._store.read().named(management_port_name(amphora_id))
        return entry.port if entry else None

    def create_port(
        self, name: str, network_id: str, fixed_ips: Sequence[tuple[str, str | None]] = ()
    ) -> Port:
        """A user's port, a new one each time.

        :param fixed_ips: subnet id and address, or None for any; empty for the first subnet's.
        :raises NotFound: there is no such network or subnet.
        :raises Conflict: an address is in use.
        :raises Invalid: an address is outside its subnet, or the subnet is full.
        """

        def edit(book: Book) -> tuple[Book, Port]:
            subnets = self._topology.subnets_of(network_id)
            wanted = fixed_ips or [(subnets[0].id, None)]
            wishes = [Wish(self._topology.subnet(subnet), address) for subnet, address in wanted]
            port = Port(id=self._new_id(), name=name, network_id=network_id, mac_address="")
            book, entry = with_addresses(book, Entry(port=port), wishes)
            return book, entry.port

        return self._store.change(edit)

    def ensure_port(
        self, name: str, network_id: str, fixed_ips: Sequence[tuple[str, str | None]] = ()
    ) -> Port:
        """A user's port, the same one each time that it is asked for by this name.

        :raises RequestError: as :meth:`create_port`.
        """
        found = self._store.read().named(name, network_id)
        return found.port if found else self.create_port(name, network_id, fixed_ips)

    def delete_port(self, port_id: str) -> None:
        """See the contract."""

        def edit(book: Book) -> tuple[Book, None]:
            return (book.without(port_id) if port_id in book.entries else book), None

        self._store.change(edit)

    def _ensure(
        self,
        name: str,
        wishes: Sequence[Wish],
        *,
        owner: str,
        device_id: str,
        load_balancer_id: str | None = None,
        allowed_addresses: tuple[str, ...] = (),
    ) -> Port:
        """The port of that name on the wishes' network, made or brought up to date."""

        def edit(book: Book) -> tuple[Book, Port]:
            network_id = wishes[0].subnet.network_id
            entry = book.named(name, network_id)
            if entry is None:
                port = Port(
                    id=self._new_id(),
                    name=name,
                    network_id=network_id,
                    mac_address="",
                    device_id=device_id,
                    device_owner=owner,
                )
                entry = Entry(port=port, load_balancer_id=load_balancer_id)
            entry = replace(entry, allowed_addresses=allowed_addresses)
            book, entry = with_addresses(book, entry, wishes)
            return book, entry.port

        return self._store.change(edit)

    def _vip_entry(self, load_balancer_id: str, project_id: str | None, subnet: Subnet, vip: Vip) -> Entry:
        port = Port(
            id=self._new_id(),
            name=vip_port_name(load_balancer_id),
            network_id=subnet.network_id,
            mac_address="",
            device_id=f"lb-{load_balancer_id}",
            device_owner=OWNER,
            project_id=project_id,
            admin_state_up=False,
            qos_policy_id=vip.qos_policy_id,
        )
        return Entry(port=port, load_balancer_id=load_balancer_id)

    def _wishes(self, book: Book, vip: Vip, additional_vips: Sequence[AdditionalVip]) -> Sequence[Wish]:
        first = Wish(self._vip_subnet(book, vip), canonical(vip.ip_address))
        others = [Wish(self._known(one.subnet_id), canonical(one.ip_address)) for one in additional_vips]
        if any(other.subnet.network_id != first.subnet.network_id for other in others):
            raise Invalid("All VIP subnets must belong to the same network.")
        return [first, *others]

    def _known(self, subnet_id: str) -> Subnet:
        try:
            return self._topology.subnet(subnet_id)
        except NotFound as unknown:
            raise Invalid(unknown.why) from unknown

    def _vip_subnet(self, book: Book, vip: Vip) -> Subnet:
        """The one that is named, or the one of the network that the address is of, or that has room."""
        if vip.subnet_id:
            return self._known(vip.subnet_id)
        try:
            subnets = self._topology.subnets_of(vip.network_id or "")
        except NotFound as unknown:
            raise Invalid(unknown.why) from unknown
        for subnet in sorted(subnets, key=lambda one: one.ip_version):
            if holds(subnet, vip.ip_address) if vip.ip_address else free(book, subnet):
                return subnet
        why = f"has no subnet for address {vip.ip_address}" if vip.ip_address else "has no free address"
        raise Invalid(f"Network {vip.network_id} {why}.")

    def _lend(self, book: Book, load_balancer_id: str, vip: Vip) -> Entry:
        """A user's port, marked as ours to use."""
        try:
            entry = book.entry(vip.port_id or "")
        except NotFound as unknown:
            raise Invalid(unknown.why) from unknown
        mark = f"lb-{load_balancer_id}"
        if entry.port.device_id not in {"", mark}:
            raise Conflict(f"Port {entry.port.id} is in use by {entry.port.device_id}.")
        return replace(entry, port=replace(entry.port, device_id=mark))


@contextmanager
def _for_the_worker() -> Iterator[None]:
    """No tenant waits for the answer, so what would be a bad request is trouble of ours."""
    try:
        yield
    except SubnetFull as full:
        raise Transient(full.why) from full
    except RequestError as wrong:
        raise Terminal(wrong.why) from wrong
