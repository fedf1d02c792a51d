# SPDX-License-Identifier: Apache-2.0
"""Interfaces of the namespace ``amphora-haproxy``: found by MAC, moved in, named, addressed.

An interface appears in the agent's own namespace when compute attaches a port. What it should have is
written down first and made so after that, so that a restarted agent or machine comes back by itself.
What stands in the files is not here: see :mod:`octavia.amphora_agent.interface_files`.
"""

import contextlib
import json
import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from octavia.amphora_agent import announce, durable, interface_files
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.interface_files import Document
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS
from octavia.wire.agent import MemberNetwork, VipNetwork

LOG = logging.getLogger(__name__)

VIP_INTERFACE: Final = "eth1"
DHCP_SECONDS: Final = 60.0
_MAIN_TABLE: Final = 254
_PCI_RESCAN: Final = Path("/sys/bus/pci/rescan")


class NotArrived(Exception):
    """No interface has that MAC address (yet)."""


class AlreadyPlugged(Exception):
    """The interface is in the namespace already."""


class NotPossible(Exception):
    """The kernel refuses; the text is what iproute2 says."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    name: str
    mac_address: str


class Interfaces:
    """The interfaces of one amphora. Callers hold the agent's lock for everything that changes."""

    def __init__(self, config: Callable[[], AgentConfig], processes: Processes) -> None:
        self._directory = config().agent_server_network_dir
        self._plugged = config().base_path / "plugged_interfaces"
        self._config = config
        self._processes = processes

    # --- reading ------------------------------------------------------------------------------

    def by_address(self, address: str) -> str | None:
        """The name of the interface that has an address; None if none has."""
        wanted = ip_address(address)
        for link in self._ip_json("-n", NETNS, "-j", "addr", "show"):
            for one in link.get("addr_info", ()):
                if "local" in one and ip_address(one["local"]) == wanted:
                    return str(link["ifname"])
        return None

    def vip_addresses(self) -> list[str]:
        """The VIPs that this amphora may carry."""
        document = self._read(VIP_INTERFACE)
        return interface_files.vip_addresses(document) if document else []

    # --- plugging -----------------------------------------------------------------------------

    def plug_vip(self, vip: VipNetwork) -> str:
        """Bring up the VIP's interface; its name.

        :raises AlreadyPlugged: it is there already.
        :raises NotArrived: compute has not attached it yet.
        :raises NotPossible: the kernel refuses.
        """
        if self._inside(vip.mac_address):
            document = self._read(VIP_INTERFACE)
            if document:
                self._up(document)  # whoever asks again may have been told that it failed half-way
            raise AlreadyPlugged
        outside = self._outside(vip.mac_address)
        document = interface_files.vip_file(VIP_INTERFACE, vip, is_single=self._config().is_single)
        self._bring_in(outside, document)
        return VIP_INTERFACE

    def plug_network(self, network: MemberNetwork) -> tuple[str, bool]:
        """Bring up the interface of a member network, or its addresses anew; its name, and whether it is new.

        :raises NotArrived: compute has not attached it yet.
        :raises NotPossible: the kernel refuses.
        """
        inside = self._inside(network.mac_address)
        if inside:
            document = self._member_file(inside.name, network)
            self._write(document)
            self._up(document)
            return inside.name, False
        outside = self._outside(network.mac_address)
        name = self._free_name()
        self._bring_in(outside, self._member_file(name, network))
        return name, True

    def restore(self) -> None:
        """After a start: what the files say, as far as the interfaces are there."""
        self._write(interface_files.loopback_file())
        recorded = self._recorded()
        for mac_address, name in recorded.items():
            document = self._read(name)
            if document is None:
                continue
            try:
                if not self._inside(mac_address):
                    self._move(self._outside(mac_address), name)
                self._up(document)
            except (NotArrived, NotPossible) as error:
                LOG.warning("Interface %s does not come back: %s", name, error)

    def announce(self, name: str = VIP_INTERFACE) -> None:
        """Tell the neighbours which addresses are here."""
        document = self._read(name)
        link = next((one for one in self._links("-n", NETNS) if one.name == name), None)
        if document and link:
            announce.announce(name, link.mac_address, interface_files.owned_addresses(document))

    # --- how ------------------------------------------------------------------------------------

    def _member_file(self, name: str, network: MemberNetwork) -> Document:
        if network.vip is not None:
            single = self._config().is_single
            return interface_files.vip_file(name, network.vip, network.fixed_ips, is_single=single)
        return interface_files.backend_file(name, network)

    def _bring_in(self, outside: Link, document: Document) -> None:
        name = document["name"]
        self._write(document)
        self._record(outside.mac_address, name)
        self._move(outside, name)
        self._up(document, fresh=True)
        announce.announce(name, outside.mac_address, interface_files.owned_addresses(document))

    def _move(self, outside: Link, name: str) -> None:
        # A name that keepalived or HAProxy could see half configured is no harm: nothing uses it yet.
        self._ip("link", "set", "dev", outside.name, "netns", NETNS, "name", name)

    def _up(self, document: Document, *, fresh: bool = False) -> None:
        name = document["name"]
        stale = [] if fresh else list(self._stale(document))
        routes = [(_route_command(name, one), _is_host_route(one)) for one in document["routes"]]
        self._batch(
            [
                *_link_commands(document),
                *stale,
                *_address_commands(document),
                *(command for command, is_host_route in routes if not is_host_route),
            ]
        )
        for family in ("-4", "-6"):  # alone among these, rules do not tell it by their addresses
            self._batch(list(self._missing_rules(document, family)), options=(family,))
        # A host route of a subnet may point to nowhere; that must not cost the VIP.
        hosts = [command for command, is_host_route in routes if is_host_route]
        self._batch(hosts, options=("-force",), tolerant=True)
        for one in document["addresses"]:
            if one.get("dhcp"):
                self._dhcp(name)
        self._run_scripts(document)

    def _stale(self, document: Document) -> Iterator[str]:
        """Static routes and addresses that the file has not, or not any more.

        In this order: an address takes routes along that lead through its subnet.
        """
        name = document["name"]
        wanted = {(one["dst"], one.get("table", _MAIN_TABLE)) for one in document["routes"]}
        for family in ("-4", "-6"):
            query = ("route", "show", "table", "all", "proto", "static", "dev", name)
            for route in self._ip_json("-n", NETNS, "-j", family, *query):
                table = _table_number(route.get("table", "main"))
                everything = "::/0" if family == "-6" else "0.0.0.0/0"
                destination = everything if route["dst"] == "default" else route["dst"]
                if (destination, table) not in wanted:
                    yield f"route del {destination} dev {name} table {table} proto static"
        listed = {(one["address"], one["prefixlen"]) for one in document["addresses"] if "address" in one}
        for link in self._ip_json("-n", NETNS, "-j", "addr", "show", "dev", name):
            for one in link.get("addr_info", ()):
                if one.get("scope") != "global" or one.get("dynamic") or "local" not in one:
                    continue
                if (str(ip_address(one["local"])), one["prefixlen"]) not in listed:
                    yield f"addr del {one['local']}/{one['prefixlen']} dev {name}"

    def _missing_rules(self, document: Document, family: str) -> Iterator[str]:
        wanted = [rule for rule in document["rules"] if (":" in rule["src"]) == (family == "-6")]
        if not wanted:
            return
        listed = self._ip_json("-n", NETNS, "-j", family, "rule", "show")
        present = {(rule.get("src"), str(rule.get("table"))) for rule in listed}
        for rule in wanted:
            if (rule["src"], str(rule["table"])) not in present:
                yield f"rule add from {rule['src']}/{rule['src_len']} table {rule['table']} proto static"

    def _dhcp(self, name: str) -> None:
        lease, pid = f"/var/lib/dhclient/dhclient-{name}.leases", f"/run/dhclient-{name}.pid"
        Path(lease).parent.mkdir(parents=True, exist_ok=True)
        argv = ("ip", "netns", "exec", NETNS, "dhclient", "-nw", "-lf", lease, "-pf", pid, name)
        result = self._processes.run(argv, timeout=DHCP_SECONDS)
        if result.returncode:
            raise NotPossible(f"dhclient on {name}: {result.output.strip()}")

    def _run_scripts(self, document: Document) -> None:
        for one in document.get("scripts", {}).get("up", ()):
            argv = shlex.split(one["command"])
            if not Path(argv[0]).exists():  # belongs to the image, where it serves UDP and SCTP
                LOG.debug("%s is not installed", argv[0])
                continue
            result = self._processes.run(("ip", "netns", "exec", NETNS, *argv))
            if result.returncode:
                raise NotPossible(f"{one['command']}: {result.output.strip()}")

    # --- files ----------------------------------------------------------------------------------

    def _write(self, document: Document) -> None:
        path = self._directory / f"{document['name']}.json"
        durable.write(path, json.dumps(document, indent=1), mode=0o644)

    def _read(self, name: str) -> Document | None:
        with contextlib.suppress(FileNotFoundError):
            document: Document = json.loads((self._directory / f"{name}.json").read_text(encoding="utf-8"))
            return document
        return None

    def _recorded(self) -> dict[str, str]:
        """``plugged_interfaces``: MAC address to name."""
        try:
            lines = self._plugged.read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {words[0]: words[1] for words in map(str.split, lines) if len(words) == 2}

    def _record(self, mac_address: str, name: str) -> None:
        recorded = {mac: other for mac, other in self._recorded().items() if other != name}
        recorded[mac_address] = name
        lines = "".join(f"{mac} {other}\n" for mac, other in recorded.items())
        durable.write(self._plugged, lines, mode=0o644)

    def _free_name(self) -> str:
        taken = {link.name for link in self._links("-n", NETNS)} | set(self._recorded().values())
        return next(name for number in range(2, 10_000) if (name := f"eth{number}") not in taken)

    # --- iproute2 -------------------------------------------------------------------------------

    def _inside(self, mac_address: str) -> Link | None:
        return next((one for one in self._links("-n", NETNS) if one.mac_address == mac_address), None)

    def _outside(self, mac_address: str) -> Link:
        for link in self._links():
            if link.mac_address == mac_address:
                return link
        with contextlib.suppress(OSError):
            _PCI_RESCAN.write_text("1")  # a hot-plugged card that the guest has not noticed
        raise NotArrived(f"no interface has the MAC address {mac_address}")

    def _links(self, *options: str) -> list[Link]:
        found = self._ip_json(*options, "-j", "link", "show")
        return [Link(one["ifname"], one.get("address", "").lower()) for one in found if one["ifname"] != "lo"]

    def _ip(self, *words: str) -> str:
        result = self._processes.run(("ip", *words))
        if result.returncode:
            raise NotPossible(f"ip {' '.join(words)}: {result.output.strip()}")
        return result.output

    def _ip_json(self, *words: str) -> list[dict[str, Any]]:
        output = self._ip(*words).strip()
        found: list[dict[str, Any]] = json.loads(output) if output else []
        return found

    def _batch(
        self, commands: Sequence[str], *, options: tuple[str, ...] = (), tolerant: bool = False
    ) -> None:
        """Commands for ``ip -batch``: words of ours, and addresses that have been parsed."""
        if not commands:
            return
        argv = ("ip", *options, "-n", NETNS, "-batch", "-")
        result = self._processes.run(argv, text="\n".join(commands) + "\n")
        if not result.returncode:
            return
        if not tolerant:
            raise NotPossible(f"{'; '.join(commands)}: {result.output.strip()}")
        LOG.warning("Ignored: %s: %s", "; ".join(commands), result.output.strip())


def _link_commands(document: Document) -> Iterator[str]:
    name = document["name"]
    mtu = f" mtu {document['mtu']}" if "mtu" in document else ""
    yield f"link set dev {name}{mtu} up"


def _address_commands(document: Document) -> Iterator[str]:
    for one in document["addresses"]:
        if "address" in one and one.get("octavia_owned", True):
            # The network service hands out each address once; duplicate address detection would only
            # keep an IPv6 VIP silent for a second or more after it has moved.
            nodad = " nodad" if ":" in one["address"] else ""
            yield f"addr replace {one['address']}/{one['prefixlen']} dev {document['name']}{nodad}"


def _is_host_route(route: Document) -> bool:
    return "gateway" in route and not route["dst"].endswith("/0")


def _route_command(name: str, route: Document) -> str:
    words = ["route replace", route["dst"]]
    words += ["via", route["gateway"]] if "gateway" in route else []
    words += ["dev", name, "proto static"]
    words += ["src", route["prefsrc"]] if "prefsrc" in route else []
    words += ["scope", route["scope"]] if "scope" in route and ":" not in route["dst"] else []
    words += ["table", str(route["table"])] if "table" in route else []
    words += route.get("flags", [])
    return " ".join(words)


def _table_number(name: str | int) -> int:
    return {"main": 254, "local": 255, "default": 253}.get(str(name)) or int(name)
