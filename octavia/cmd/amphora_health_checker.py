# SPDX-License-Identifier: Apache-2.0
"""``amphora-health-checker sctp [-t SECONDS] ADDRESS PORT``: is somebody listening there?

keepalived runs it for members of monitors of type SCTP (contract: amphora-agent.md section 11), so it imports
little. Exit code: 0 for an INIT ACK, 1 for an ABORT or an ICMP error, 2 for silence, 3 for anything else. It
needs the right to open raw sockets (CAP_NET_RAW).
"""

import argparse
import math
import socket
import sys
import time
from ipaddress import ip_address

from octavia.amphora_agent.sctp import ABORT, INIT_ACK, IPPROTO_SCTP, Question

WELL = 0
REFUSED = 1
SILENT = 2
ODD = 3
DEFAULT_SECONDS = 3.0
_RECEIVED = 65535


def ask(address: str, port: int, seconds: float) -> int:
    """The exit code.

    :raises PermissionError: raw sockets are not for us.
    """
    question = Question.to(port)
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    until = time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_RAW, IPPROTO_SCTP) as raw:
        try:
            raw.connect((address, 0))
            raw.send(question.init)
            while (left := until - time.monotonic()) > 0:
                raw.settimeout(left)
                answer = question.answer(raw.recv(_RECEIVED), address)
                if answer is None:
                    continue
                if answer.chunk != INIT_ACK:
                    return REFUSED if answer.chunk == ABORT else ODD
                raw.send(question.end(answer))
                return WELL
        except TimeoutError:
            return SILENT
        except OSError as error:  # an ICMP error, or no route
            print(error, file=sys.stderr)
            return REFUSED
    return SILENT


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is no time to wait")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 65535")
    return value


def main() -> int:
    """Exit code: see above."""
    parser = argparse.ArgumentParser(prog="amphora-health-checker", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    sctp = kinds.add_parser("sctp", help="ask an SCTP server")
    sctp.add_argument("-t", dest="seconds", type=_seconds, default=DEFAULT_SECONDS, help="time to answer")
    sctp.add_argument("address", type=lambda text: str(ip_address(text)))
    sctp.add_argument("port", type=_port)
    wanted = parser.parse_args()
    try:
        return ask(wanted.address, wanted.port, wanted.seconds)
    except PermissionError as error:
        print(f"amphora-health-checker: raw sockets: {error}", file=sys.stderr)
        return ODD


if __name__ == "__main__":
    sys.exit(main())
