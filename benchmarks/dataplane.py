# SPDX-License-Identifier: Apache-2.0
"""Traffic through an amphora beside what somebody tuned by hand, same machine, same run (budget: 95 %).

Both balance the same two members over the same bridge, from namespaces laid out alike with the same kernel
settings, and are asked in turns. HAProxy is compared with HAProxy, and what nftables do for UDP with rules
written by hand. The web servers are HAProxy too, answering from memory.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks import _load
from benchmarks._contenders import Contender, compare
from benchmarks._explain import explain, portable
from benchmarks._laboratory import ECHO_AT, Laboratory, Pair
from benchmarks._load import Load
from benchmarks._standalone import standalone
from octavia.domain.tree import Topology

_NEW_FLOWS: Final = 25_000
_PACKETS_A_SECOND: Final = 50_000  # are sent for each second of a round; how long that takes is measured


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard and how long is asked in one round."""

    connections: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured.

    :param pair: of the laboratory.
    :param unit: what is counted, in the plural.
    """

    title: str
    unit: str
    pair: Callable[[Laboratory], Pair]
    ask: Callable[[Laboratory, Pace, Contender], Load]


def _wrk(port: int) -> Callable[[Laboratory, Pace, Contender], Load]:
    return lambda _lab, pace, to: _load.wrk(f"http://{to.address}:{port}/", pace.connections, pace.seconds)


def _packets(lab: Laboratory, to: Contender, flows: int, pace: Pace) -> Load:
    return lab.packets(lab.udp(), to, flows, _PACKETS_A_SECOND * pace.seconds)


QUESTIONS: Final = {
    "http": Question("HTTP, lasting connections (wrk)", "requests", lambda lab: lab.http(), _wrk(80)),
    "tls-new": Question(
        "TLS, a new handshake a request (ab)",
        "handshakes",
        lambda lab: lab.tls(),
        lambda _lab, pace, to: _load.ab(f"https://{to.address}/", pace.connections, pace.seconds),
    ),
    "tls-resumed": Question(
        "TLS, a resumed handshake a request (wrk)",
        "handshakes",
        lambda lab: lab.tls(),
        lambda _lab, pace, to: _load.resumed(to.address, 443, pace.connections, pace.seconds),
    ),
    "h2": Question(
        "HTTP/2 over TLS, lasting connections (h2load)",
        "requests",
        lambda lab: lab.tls(),
        lambda _lab, pace, to: _load.h2load(
            f"https://{to.address}/", max(pace.connections // 8, 1), 8, pace.seconds
        ),
    ),
    "tcp": Question("TCP, small echoes (wrk)", "echoes", lambda lab: lab.tcp(), _wrk(9000)),
    "tcp-new": Question(
        "TCP, a connection an echo (ab)",
        "connections",
        lambda lab: lab.tcp(),
        lambda _lab, pace, to: _load.ab(f"http://{to.address}:9000/", pace.connections, pace.seconds),
    ),
    "udp": Question(
        "UDP, one way, 64 flows",
        "packets",
        lambda lab: lab.udp(),
        lambda lab, pace, to: _packets(lab, to, 64, pace),
    ),
    "udp-new": Question(
        "UDP, one way, a flow a packet",
        "packets",
        lambda lab: lab.udp(),
        lambda lab, _pace, to: lab.packets(lab.udp(), to, _NEW_FLOWS, _NEW_FLOWS),
    ),
    "udp-echo": Question(
        "UDP, echoes, 4 flows (sockperf)",
        "echoes",
        lambda lab: lab.udp(),
        lambda _lab, pace, to: _load.echo(to.address, ECHO_AT, 4, pace.seconds),
    ),
}


def measure(names: list[str], pace: Pace, rounds: int, explained: str | None) -> None:
    # A log line a connection would be another function: what is tuned by hand writes none.
    with standalone(Topology.SINGLE, haproxy_amphora={"connection_logging": False}) as machine:
        lab = Laboratory(machine)
        print(f"{pace.connections} connections where there are any; rounds of {pace.seconds} s\n", flush=True)
        for name in names:
            question = QUESTIONS[name]
            pair = question.pair(lab)

            def ask(to: Contender, question: Question = question) -> Load:
                return question.ask(lab, pace, to)

            print(
                compare(question.title, question.unit, pair.ours, pair.theirs, ask, rounds),
                end="\n\n",
                flush=True,
            )
            if explained is not None and pair.ours.pids:
                config = portable(lab.configuration(pair), pair.load_balancer["id"])
                port = pair.listener["protocol_port"]
                files = {"site.pem": lab.site.bundle}
                for line in explain(
                    machine, config, port, files, pair.ours, pair.theirs, ask, rounds, explained
                ):
                    print(line, flush=True)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for one in names:
        if one not in QUESTIONS:
            raise argparse.ArgumentTypeError(f"{one!r} is none of {', '.join(QUESTIONS)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", type=_names, default=list(QUESTIONS), help=f"of {','.join(QUESTIONS)}")
    parser.add_argument("--rounds", type=int, default=10, help="of each contender")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=1, help="of one round")
    parser.add_argument(
        "--explain",
        metavar="REGEX",
        nargs="?",
        const=".",
        help="measure also without each directive of our configuration (that it matches)",
    )
    options = parser.parse_args()
    lacking = [package for program, package in _load.PROGRAMS.items() if not shutil.which(program)]
    if lacking:
        raise SystemExit(f"needs {', '.join(lacking)}: './dev bench' as root installs what is missing")
    measure(options.what, Pace(options.connections, options.seconds), options.rounds, options.explain)


if __name__ == "__main__":
    main()
