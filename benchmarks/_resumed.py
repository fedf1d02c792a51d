# SPDX-License-Identifier: Apache-2.0
"""A client that takes the same TLS session up again and again, and times each connection.

Run as a program by :mod:`benchmarks._load`: says ``ready`` when it has a session, asks until its input ends,
then prints the microseconds from each connect to its answer's end.
"""

import select
import socket
import ssl
import sys
import time

_ASK = b"GET / HTTP/1.0\r\n\r\n"
_MOST = 200_000


def ask(context: ssl.SSLContext, address: tuple[str, int], session: ssl.SSLSession | None) -> ssl.SSLSession:
    """One request over a connection of its own.

    :raises AssertionError: no 200, or the session was not taken up.
    """
    plain = socket.create_connection(address, timeout=10)
    with context.wrap_socket(plain, session=session) as secured:
        assert session is None or secured.session_reused, "a new handshake"
        secured.sendall(_ASK)
        said = b""
        while piece := secured.recv(4096):
            said += piece
        assert said.split(b" ")[1] == b"200", said
        assert secured.session
        return secured.session


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its own certificate of minutes
    address = (sys.argv[1], int(sys.argv[2]))
    session = ask(context, address, None)
    took_us: list[float] = []
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0] and len(took_us) < _MOST:
        before = time.perf_counter()
        ask(context, address, session)
        took_us.append((time.perf_counter() - before) * 1e6)
    print(" ".join(f"{one:.0f}" for one in took_us))


if __name__ == "__main__":
    main()
