# SPDX-License-Identifier: Apache-2.0
"""Datagrams from a chosen number of flows, as fast as one core sends them.

A raw socket, because a flow is then no more than a number in a packet that was made before: with a socket a
flow, making sockets would be what is measured. Veth pairs, bridges and forwarding all run on the sender's
core, within its system call; so the rate is that of the whole way, and so is the sender's CPU. Nothing is
answered: who receives them counts them.

Run as a program: SOURCE DESTINATION PORT FLOWS COUNT; prints seconds and CPU seconds.
"""

import json
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

FIRST_PORT: Final = 1024
PAYLOAD: Final = bytes(18)  # 60 bytes of Ethernet frame: the smallest, as packet rates are usually given


@dataclass(frozen=True, slots=True)
class Sent:
    seconds: float
    cpu_s: float


def packet(source: str, source_port: int, destination: str, port: int) -> bytes:
    """IPv4 and UDP (RFC 791, RFC 768); the kernel fills in lengths and checksum of the former."""
    udp = struct.pack("!HHHH", source_port, port, 8 + len(PAYLOAD), 0) + PAYLOAD
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    checksum = _checksum(addresses + struct.pack("!HH", socket.IPPROTO_UDP, len(udp)) + udp)
    udp = udp[:6] + struct.pack("!H", checksum or 0xFFFF) + udp[8:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
    return head + addresses + udp


def _checksum(content: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(source: str, destination: str, port: int, flows: int, count: int) -> Sent:
    """Send them from a process of its own in this network namespace, and wait for its end."""
    words = (source, destination, str(port), str(flows), str(count))
    command = (sys.executable, "-m", "benchmarks._datagrams", *words)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Sent(*json.loads(done.stdout))


def main() -> None:
    source, destination, *numbers = sys.argv[1:]
    port, flows, count = map(int, numbers)
    packets = [packet(source, FIRST_PORT + flow, destination, port) for flow in range(flows)]
    order = [packets[number % flows] for number in range(count)]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.connect((destination, 0))
        put = raw.send
        began, cpu = time.perf_counter(), time.process_time()
        for one in order:
            put(one)
        print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))


if __name__ == "__main__":
    main()
