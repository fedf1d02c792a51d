# SPDX-License-Identifier: Apache-2.0
"""Telling neighbours where an address is now: gratuitous ARP and unsolicited neighbour advertisement.

Only where the agent owns the address (SINGLE, and addresses towards members); in a pair keepalived
announces. RFC 5227 section 3, RFC 4861 section 4.4 and 7.2.6.
"""

import logging
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final

from octavia.amphora_agent import netns

LOG = logging.getLogger(__name__)

_ETH_ARP: Final = 0x0806
_ETH_IPV6: Final = 0x86DD
_BROADCAST: Final = b"\xff" * 6
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_ALL_NODES: Final = IPv6Address("ff02::1").packed
_ROUTER_AND_OVERRIDE: Final = 0xA0000000
_NEIGHBOUR_ADVERTISEMENT: Final = 136


def announce(interface: str, mac_address: str, addresses: Iterable[str]) -> None:
    """Send one announcement an address from inside the namespace; best effort, since nobody answers."""
    mac = bytes.fromhex(mac_address.replace(":", ""))
    frames = [frame(mac, address) for address in addresses]
    if not frames:
        return

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((interface, 0))
            for one in frames:
                raw.send(one)

    try:
        netns.run_inside(send)
    except OSError as error:
        LOG.warning("Could not announce addresses on %s: %s", interface, error)


def frame(mac: bytes, address: str) -> bytes:
    """The Ethernet frame that says "this address is at this MAC"."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return _neighbour_advertisement(mac, parsed)
    # An ARP request whose sender and target are the same address.
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, parsed.packed, b"\0" * 6, parsed.packed)
    return _BROADCAST + mac + struct.pack("!H", _ETH_ARP) + arp


def _neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    option = struct.pack("!BB6s", 2, 1, mac)  # target link-layer address

    def message(checksum: int) -> bytes:
        head = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, checksum, _ROUTER_AND_OVERRIDE)
        return head + address.packed + option

    pseudo = address.packed + _ALL_NODES + struct.pack("!II", len(message(0)), socket.IPPROTO_ICMPV6)
    icmp = message(checksum(pseudo + message(0)))
    header = struct.pack("!IHBB", 6 << 28, len(icmp), socket.IPPROTO_ICMPV6, 255)
    return _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_IPV6) + header + address.packed + _ALL_NODES + icmp


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data of an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
