# SPDX-License-Identifier: Apache-2.0
"""``haproxy-vrrp-check SOCKET…``: exits with the number of sockets that give no statistics.

keepalived runs this every few seconds, so it imports next to nothing (contract: amphora-agent.md
section 10).
"""

import socket
import sys

TIMEOUT_SECONDS = 5


def is_silent(path: str) -> bool:
    """Does the HAProxy behind this stats socket say nothing?"""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(path)
        connection.sendall(b"show stat -1 -1 -1\n")
        return not connection.recv(1024)


def main() -> int:
    """Exit code: how many are silent; 1 if one cannot even be asked."""
    try:
        return sum(is_silent(path) for path in sys.argv[1:])
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
