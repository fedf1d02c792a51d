# SPDX-License-Identifier: Apache-2.0
"""Load balancers, what was tuned by hand beside each, and the members of both.

What they are asked is not here: see :mod:`benchmarks.dataplane`.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

from benchmarks import _datagrams, _load, _tuned
from benchmarks._contenders import Contender
from benchmarks._load import Load
from benchmarks._placed import FILES, Placed, listens, place, place_haproxy
from benchmarks._standalone import TRAFFIC_NAMESPACE, amphorae, await_, process, processes_of
from tests import pki
from tests.scenario.standalone import HOST_ON, SUBNET, Machine, fetch

WEB: Final = (8081, 8082)
ECHO: Final = (5301, 5302)
SILENT: Final = (5401, 5402)
ECHO_AT: Final = 5300
SILENT_AT: Final = 5400
_HERE: Final = HOST_ON[SUBNET]


@dataclass(frozen=True, slots=True)
class Pair:
    """A load balancer and what stands beside it.

    :param listener: as the API shows the (first) one.
    """

    load_balancer: Mapping[str, Any]
    listener: Mapping[str, Any]
    ours: Contender
    theirs: Contender
    tuned: Placed


class Laboratory:
    """A standalone with members in a namespace of their own; pairs are made when they are asked for."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.site = pki.Ca("a benchmark's CA").issue("www.example.org")
        self.backend = self._place_members()
        self.http, self.tls, self.tcp, self.udp = map(cache, (self._http, self._tls, self._tcp, self._udp))

    def _place_members(self) -> Placed:
        echoes = " & ".join(f"sockperf server -p {port} >/dev/null" for port in ECHO)
        command = f"nft -f {FILES}/rules.nft && {{ {echoes} & exec haproxy -db -f {FILES}/haproxy.cfg; }}"
        files = {"haproxy.cfg": _tuned.backends(WEB).encode(), "rules.nft": _tuned.silence(SILENT).encode()}
        placed = place(self.machine, "members", ("sh", "-c", command), files)
        for port, protocol in (*((port, "tcp") for port in WEB), *((port, "udp") for port in ECHO)):
            await_(partial(listens, placed, port, protocol), f"member {port} listens")
        return placed

    def _http(self) -> Pair:
        made = self._create(
            {"protocol": "HTTP", "protocol_port": 80, "default_pool": self._pool("HTTP", WEB)}
        )
        await_(lambda: _answers(made["vip_address"], 80), "the VIP answers")
        return self._beside(made, 80, lambda _listener: _tuned.http(self.backend.address, WEB))

    def _tcp(self) -> Pair:
        made = self._create(
            {"protocol": "TCP", "protocol_port": 9000, "default_pool": self._pool("TCP", WEB)}
        )
        await_(lambda: _answers(made["vip_address"], 9000), "the VIP answers")
        return self._beside(made, 9000, lambda _listener: _tuned.tcp(self.backend.address, WEB))

    def _tls(self) -> Pair:
        listener = {
            "protocol": "TERMINATED_HTTPS",
            "protocol_port": 443,
            "default_pool": self._pool("HTTP", WEB),
        }
        made = self._create({**listener, "default_tls_container_ref": self._secret()})
        vip = f"https://{made['vip_address']}/"
        await_(lambda: _can(lambda: _load.ab(vip, 1, 1)), "the VIP answers")
        return self._beside(
            made,
            443,
            lambda listener: _tuned.tls(listener, self.backend.address, WEB),
            {"site.pem": self.site.bundle},
        )

    def _udp(self) -> Pair:
        made = self._create(
            {"protocol": "UDP", "protocol_port": SILENT_AT, "default_pool": self._pool("UDP", SILENT)},
            {"protocol": "UDP", "protocol_port": ECHO_AT, "default_pool": self._pool("UDP", ECHO)},
        )
        rules = _tuned.udp(self.backend.address, {SILENT_AT: SILENT, ECHO_AT: ECHO})
        command = ("sh", "-c", f"nft -f {FILES}/rules.nft && exec sleep infinity")
        tuned = place(self.machine, "tuned-udp", command, {"rules.nft": rules.encode()})
        for address in (made["vip_address"], tuned.address):
            await_(partial(self._arrives, address), "datagrams arrive")
        return self._pair(made, tuned)

    def _arrives(self, address: str) -> bool:
        before = self.backend.received()
        _datagrams.send(_HERE, address, SILENT_AT, 1, 100)
        return self.backend.received() - before >= 100

    def _create(self, *listeners: Mapping[str, Any]) -> dict[str, Any]:
        body = {"vip_subnet_id": SUBNET, "listeners": [dict(one) for one in listeners]}
        answer = self.machine.ask("POST", "/loadbalancers", {"loadbalancer": body})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()["loadbalancer"]
        self.machine.await_active(made["id"])
        return made

    def _pool(self, protocol: str, ports: Sequence[int]) -> dict[str, Any]:
        address = self.backend.address
        members = [{"address": address, "protocol_port": port, "subnet_id": SUBNET} for port in ports]
        return {
            "name": f"members-{ports[0]}",
            "protocol": protocol,
            "lb_algorithm": "ROUND_ROBIN",
            "members": members,
        }

    def _secret(self) -> str:
        """The site's certificate in the standalone's own store; its reference."""
        directory = self.machine.state.parent
        (directory / "site.pem").write_bytes(self.site.pem)
        key = directory / "site.key"
        key.touch(mode=0o600)
        key.write_bytes(self.site.key_pem)
        words = (sys.executable, "-m", "octavia.cmd.standalone", "--state-dir", str(self.machine.state))
        added = (*words, "secret", "add", str(directory / "site.pem"), str(key))
        return subprocess.run(added, check=True, capture_output=True, text=True).stdout.strip()

    def _beside(
        self,
        made: Mapping[str, Any],
        port: int,
        config: Callable[[Mapping[str, Any]], str],
        files: Mapping[str, bytes] | None = None,
    ) -> Pair:
        listener = self._listener(made)
        tuned = place_haproxy(self.machine, f"tuned-{port}", config(listener), port, files)
        return self._pair(made, tuned, [tuned.pid])

    def _pair(self, made: Mapping[str, Any], tuned: Placed, pids: Sequence[int] = ()) -> Pair:
        ours = haproxy_pids(self.machine, made["id"]) if pids else []
        name = "hand-tuned HAProxy" if pids else "nftables by hand"
        return Pair(
            made,
            self._listener(made),
            Contender("through the amphora", made["vip_address"], ours),
            Contender(name, tuned.address, pids),
            tuned,
        )

    def _listener(self, made: Mapping[str, Any]) -> Mapping[str, Any]:
        shown: Mapping[str, Any] = self.machine.get(f"/listeners/{made['listeners'][0]['id']}")["listener"]
        return shown

    def configuration(self, pair: Pair) -> str:
        """What the renderer made of it, as its amphora has it."""
        (first, *_) = amphorae(self.machine, pair.load_balancer["id"])
        inside = self.machine.installation.amphorae / first["id"] / "inside"
        (found,) = inside.glob(f"**/{pair.load_balancer['id']}/haproxy.cfg")
        text: str = found.read_text()
        return text

    # --- datagrams -----------------------------------------------------------------------------

    def packets(self, pair: Pair, to: Contender, flows: int, count: int) -> Load:
        """One way; what arrived in the time that sending took."""
        self._forget_flows(pair, to)
        before = self.backend.received()
        sent = _datagrams.send(_HERE, to.address, SILENT_AT, flows, count)
        return Load(self.backend.received() - before, sent.seconds, client_cpu_s=sent.cpu_s)

    def _forget_flows(self, pair: Pair, one: Contender) -> None:
        """So that the first packet of each flow is the first again, and conntrack's table is never full."""
        network = pair.tuned.network
        if one is pair.ours:
            (first, *_) = amphorae(self.machine, pair.load_balancer["id"])
            network = f"/proc/{process(self.machine, first['id']).pid}/root/{TRAFFIC_NAMESPACE}"
        subprocess.run(("nsenter", f"--net={network}", "conntrack", "-F"), check=True, capture_output=True)


def _answers(address: str, port: int) -> bool:
    return _can(lambda: fetch(address, port))


def _can(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (OSError, ValueError, AssertionError):
        return False
    return True


def haproxy_pids(machine: Machine, load_balancer_id: str) -> list[int]:
    """The master in the first amphora; its worker is counted with it."""
    (first, *_) = amphorae(machine, load_balancer_id)
    names = processes_of(machine, first["id"])
    return [min(pid for pid, name in names.items() if name == "haproxy")]
