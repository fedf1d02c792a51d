# SPDX-License-Identifier: Apache-2.0
"""Announcement frames, byte for byte."""

import struct

from octavia.amphora_agent.announce import frame

MAC = bytes.fromhex("fa163e000001")


def test_a_gratuitous_arp_is_a_broadcast_request_for_itself() -> None:
    expected = (
        "ffffffffffff fa163e000001 08060001 0800 06 04 0001 fa163e000001 0a000005 000000000000 0a000005"
    )
    assert frame(MAC, "10.0.0.5") == bytes.fromhex(expected.replace(" ", ""))


def test_an_unsolicited_neighbour_advertisement_goes_to_all_nodes_with_a_valid_checksum() -> None:
    raw = frame(MAC, "2001:db8::5")
    assert raw[:14] == bytes.fromhex("333300000001fa163e00000186dd")
    version, length, following, hops = struct.unpack("!IHBB", raw[14:22])
    assert (version >> 28, length, following, hops) == (6, 32, 58, 255)
    source, destination, icmp = raw[22:38], raw[38:54], raw[54:]
    assert source.hex() == "20010db8000000000000000000000005"
    assert destination.hex() == "ff020000000000000000000000000001"
    kind, code, _, flags = struct.unpack("!BBHI", icmp[:8])
    assert (kind, code, flags) == (136, 0, 0xA0000000)  # router, override
    assert icmp[8:24] == source
    assert icmp[24:] == bytes.fromhex("0201fa163e000001")
    pseudo = source + destination + struct.pack("!II", len(icmp), 58)
    total = sum(struct.unpack(f"!{len(pseudo + icmp) // 2}H", pseudo + icmp))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
