# SPDX-License-Identifier: Apache-2.0
"""One unix socket: a request a connection (contract: provider-drivers.md section 6).

Both ways the same frame: the length in decimal digits, a line feed, and so many bytes of JSON. What is said
there can change every third-party load balancer and tells private keys, so only our own user may connect.
"""

import errno
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from octavia.domain.errors import Terminal

LOG: Final = logging.getLogger(__name__)

_LARGEST: Final = 64 << 20  # bytes of one request
_DIGITS: Final = len(str(_LARGEST))
_BACKLOG: Final = 128
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one kind of request is taken.

    :param request_timeout_s: a client that is slower is not waited for.
    :param at_once: so many requests are handled at the same time; others wait.
    """

    path: Path
    request_timeout_s: float
    at_once: int


def bind(path: Path) -> socket.socket:
    """A listening socket that only our user may connect to; one that nobody serves any more is replaced.

    :raises Terminal: it cannot be made there, or another driver agent serves it.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if _is_served(path):
            raise Terminal(f"{path} is served by another driver agent.")
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        # Nobody can connect before it listens.
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise Terminal(f"cannot listen on {path}: {error}") from error
    except Terminal:
        listening.close()
        raise
    return listening


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK):
                return False
            raise
    return True


class Listener:
    """Answers requests of one socket, each in a thread of its own."""

    def __init__(
        self, name: str, listening: socket.socket, place: Place, answer: Callable[[Any], dict[str, Any]]
    ) -> None:
        self._name = name
        self._listening = listening
        self._place = place
        self._answer = answer
        self._room = threading.BoundedSemaphore(place.at_once)

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; requests under way are answered."""
        self._listening.settimeout(_LOOK_S)
        under_way: set[threading.Thread] = set()
        while not stop.is_set():
            # Not accepted before there is room: who waits in the backlog costs nothing.
            if not self._room.acquire(timeout=_LOOK_S):
                continue
            try:
                connection, _ = self._listening.accept()
            except OSError as error:
                self._room.release()
                if not isinstance(error, TimeoutError):
                    LOG.warning("%s: a connection could not be taken: %s", self._name, error)
                    stop.wait(_LOOK_S)
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name=self._name)
            thread.start()
            under_way = {one for one in under_way if one.is_alive()} | {thread}
        for thread in under_way:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(self._place.request_timeout_s)
                send(connection, self._answered(receive(connection)))
        except (OSError, ValueError) as error:
            LOG.warning("%s: a request was not answered: %s", self._name, error)
        finally:
            self._room.release()

    def _answered(self, request: Any) -> dict[str, Any]:
        try:
            return self._answer(request)
        except Exception:  # the top of a thread: whoever asked is waiting
            LOG.exception("%s: a request could not be answered", self._name)
            return {"status_code": 500, "fault_string": "The driver agent failed; its log says why."}


def receive(connection: socket.socket) -> Any:
    """The next frame's content.

    :raises ValueError: it is no frame, or no JSON. :raises OSError: the connection broke, or took too long.
    """
    digits = b""
    while (character := connection.recv(1)) != b"\n":
        digits += character
        if not character.isdigit() or len(digits) > _DIGITS:
            raise ValueError("a frame begins with its length")
    if not digits or (left := int(digits)) > _LARGEST:
        raise ValueError(f"a frame of {digits.decode() or 'no'} bytes")
    parts = []
    while left:
        part = connection.recv(min(left, 1 << 16))
        if not part:
            raise ValueError("the connection ended within a frame")
        parts.append(part)
        left -= len(part)
    try:
        return json.loads(b"".join(parts))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def send(connection: socket.socket, content: Any) -> None:
    """One frame. :raises OSError: the connection broke, or took too long."""
    body = json.dumps(content).encode()
    connection.sendall(b"%d\n%b" % (len(body), body))


def remove(path: Path) -> None:
    """The socket's file goes with its server."""
    with suppress(OSError):
        os.unlink(path)
