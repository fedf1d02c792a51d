# SPDX-License-Identifier: Apache-2.0
"""Asking the members of UDP and SCTP pools whether they are well (contract: data-plane.md section 9).

One thread, one selector, no matter how many members. Its sockets are made inside the namespace where the
members are. As with HAProxy, a member is believed to be well until it is asked for the first time,
and its first failure counts at once; after that ``rise`` and ``fall`` decide.

``UDP-CONNECT`` sends an empty datagram: an ICMP error within the timeout is a failure, silence is not,
since nobody can tell it from a server that does not answer empty questions. ``SCTP`` begins a handshake.
"""

import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from octavia.amphora_agent.sctp import INIT_ACK, IPPROTO_SCTP, Question
from octavia.dataplane.l4.model import Check

LOG = logging.getLogger(__name__)

LEAST_DELAY_SECONDS: Final = 0.2  # a delay of 0 asks without a pause, which is no use to anybody
LEAST_TIMEOUT_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0  # after what was found could not be acted upon
MOST_PROBES: Final = 256  # open at a time
_MAX_STATUS_LINE: Final = 512
_IP_RECVERR: Final = 11  # <linux/in.h>, <linux/in6.h>; the socket module has no names for them
_IPV6_RECVERR: Final = 25
PROBED: Final = ("UDP-CONNECT", "TCP", "HTTP", "SCTP")
_READ_FIRST: Final = ("UDP-CONNECT", "SCTP")  # what they ask goes out at once
_MOST_BYTES: Final = 65535


class Target(NamedTuple):
    """Who is asked how."""

    address: str
    port: int
    check: Check


@dataclass(slots=True)
class _Asked:
    """A member and what is known of it.

    :param streak: results in a row that contradict ``up``.
    :param proven: has it ever been asked?
    """

    target: Target
    due: float
    up: bool = True
    streak: int = 0
    proven: bool = False
    probe: "_Probe | None" = None

    def take(self, well: bool) -> bool:
        """Count one result; True if the member changes sides."""
        first, self.proven = not self.proven, True
        if well == self.up:
            self.streak = 0
            return False
        self.streak += 1
        enough = self.target.check.rise if well else self.target.check.fall
        if self.streak < enough and not (first and not well):
            return False
        self.up, self.streak = well, 0
        return True


@dataclass(slots=True)
class _Probe:
    """One question under way.

    :param lost: it could not even be sent.
    :param question: of a check by SCTP.
    """

    socket: socket.socket
    deadline: float
    lost: bool = False
    question: Question | None = None
    answer: bytearray = field(default_factory=bytearray)


class Checker:
    """The thread that asks.

    :param act: is called whenever :attr:`down` has changed; what it cannot do it answers with False, and is
        called again.
    :param make_sockets: calls a function where sockets reach the members.
    """

    def __init__(
        self,
        act: Callable[[], bool],
        make_sockets: Callable[[Callable[[], list[socket.socket]]], list[socket.socket]],
    ) -> None:
        self._act = act
        self._make_sockets = make_sockets
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._selector = selectors.DefaultSelector()
        self._bell: socket.socket | None = None  # rung for the thread, which is there once somebody is asked
        self._untold = 0.0  # when to tell again what could not be acted upon; 0 is never

    @property
    def down(self) -> frozenset[str]:
        """Ids of members that are down now."""
        with self._lock:
            return frozenset(name for name, one in self._asked.items() if not one.up)

    def watch(self, targets: Mapping[str, Target]) -> frozenset[str]:
        """Ask these members from now on, and nobody else; who was asked already keeps what is known.

        :param targets: by the member's id.
        :returns: those that are down.
        """
        now = time.monotonic()
        with self._lock:
            for name in set(self._asked) - set(targets):
                self._close(self._asked.pop(name))
            for name, target in targets.items():
                known = self._asked.get(name)
                if known is None:
                    self._asked[name] = _Asked(target, due=now)
                elif known.target != target:
                    self._close(known)
                    self._asked[name] = _Asked(target, due=now, up=known.up)
            if targets and self._bell is None:
                self._begin()
            if self._bell is not None:
                with contextlib.suppress(BlockingIOError):  # rung already
                    self._bell.send(b"\0")
        return self.down

    def _begin(self) -> None:
        self._bell, ear = socket.socketpair()
        for one in (self._bell, ear):
            one.setblocking(False)
        self._selector.register(ear, selectors.EVENT_READ, None)
        threading.Thread(target=self._ask_forever, name="l4-checks", daemon=True).start()

    # --- the thread -----------------------------------------------------------------------------

    def _ask_forever(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:
                LOG.exception("A round of health checks is lost")
                time.sleep(RETRY_SECONDS)

    def _turn(self) -> None:
        with self._lock:
            self._begin_due(time.monotonic())
            pause = self._pause(time.monotonic())
        events = self._selector.select(pause)
        with self._lock:
            changed = self._collect(events)
        # Without the lock: who is told asks us back.
        if changed or (self._untold and time.monotonic() >= self._untold):
            self._untold = 0.0 if self._act() else time.monotonic() + RETRY_SECONDS

    def _pause(self, now: float) -> float | None:
        busy = [one.probe.deadline for one in self._asked.values() if one.probe]
        idle = [one.due for one in self._asked.values() if not one.probe]
        idle += [now for one in self._asked.values() if one.probe and one.probe.lost]
        if len(busy) >= MOST_PROBES:
            idle = []
        moments = [*busy, *idle, *([self._untold] if self._untold else [])]
        return max(min(moments) - now, 0) if moments else None

    def _begin_due(self, now: float) -> None:
        room = MOST_PROBES - sum(one.probe is not None for one in self._asked.values())
        due = [one for one in self._asked.values() if one.probe is None and one.due <= now][:room]
        if not due:
            return
        sockets = self._make_sockets(lambda: [_socket(one.target) for one in due])
        for one, made in zip(due, sockets, strict=True):
            check = one.target.check
            one.due = now + max(check.delay, LEAST_DELAY_SECONDS)
            one.probe = _Probe(made, now + max(check.timeout, LEAST_TIMEOUT_SECONDS))
            events = selectors.EVENT_READ if check.type in _READ_FIRST else selectors.EVENT_WRITE
            if check.type == "SCTP":
                one.probe.question = Question.to(one.target.port)
            self._selector.register(made, events, one)
            one.probe.lost = not _is_sent(one.target, one.probe)

    def _collect(self, events: Iterable[tuple[selectors.SelectorKey, int]]) -> bool:
        changed = False
        for key, _ in events:
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    while key.fileobj.recv(4096):  # type: ignore[union-attr]  # the ear
                        pass
            elif key.data.probe is not None and (well := self._look(key.data)) is not None:
                changed |= self._finish(key.data, well)
        now = time.monotonic()
        for one in self._asked.values():
            if one.probe and (one.probe.lost or one.probe.deadline <= now):
                silence_is_well = one.target.check.type == "UDP-CONNECT" and not one.probe.lost
                changed |= self._finish(one, silence_is_well)
        return changed

    def _look(self, one: _Asked) -> bool | None:
        """What a socket that has something to say says; None is nothing final."""
        probe, check = one.probe, one.target.check
        assert probe is not None
        if probe.lost:
            return False
        try:
            if number := probe.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, "")
            if check.type == "UDP-CONNECT":
                probe.socket.recv(_MOST_BYTES)  # whatever it answers, somebody is there
                return True
            if check.type == "TCP":
                return True
            if probe.question is not None:
                return _heard(one.target.address, probe.socket, probe.question)
            return self._talk(one, probe)
        except BlockingIOError:
            return None
        except OSError as error:
            LOG.debug(
                "%s port %s: %s", one.target.address, one.target.port, errno.errorcode.get(error.errno or 0)
            )
            return False

    def _talk(self, one: _Asked, probe: _Probe) -> bool | None:
        """HTTP: send the request once it is connected, then read the status line."""
        if self._selector.get_key(probe.socket).events & selectors.EVENT_WRITE:
            probe.socket.send(request(one.target))
            self._selector.modify(probe.socket, selectors.EVENT_READ, one)
            return None
        piece = probe.socket.recv(_MAX_STATUS_LINE)
        probe.answer += piece
        line, end, _ = bytes(probe.answer).partition(b"\n")
        if not end and piece and len(probe.answer) < _MAX_STATUS_LINE:
            return None
        words = line.split()
        return (
            len(words) >= 2
            and words[0].startswith(b"HTTP/1.")
            and words[1].isdigit()
            and int(words[1]) in one.target.check.expected_codes
        )

    def _finish(self, one: _Asked, well: bool) -> bool:
        self._close(one)
        changed = one.take(well)
        if changed:
            state = "up" if well else "down"
            LOG.info("Member %s port %s is %s", one.target.address, one.target.port, state)
        return changed

    def _close(self, one: _Asked) -> None:
        if one.probe is not None:
            self._selector.unregister(one.probe.socket)
            one.probe.socket.close()
            one.probe = None


def request(target: Target) -> bytes:
    """The HTTP request of a check."""
    check = target.check
    host = f"[{target.address}]" if ":" in target.address else target.address
    name = check.domain_name or (f"{host}:{target.port}" if check.http_version == "1.1" else None)
    lines = [f"{check.http_method} {check.url_path} HTTP/{check.http_version}"]
    if name:
        lines.append(f"Host: {name}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("ascii")


_SOCKETS: Final = {"UDP-CONNECT": (socket.SOCK_DGRAM, 0), "SCTP": (socket.SOCK_RAW, IPPROTO_SCTP)}


def _heard(address: str, raw: socket.socket, question: Question) -> bool | None:
    """What a raw socket has heard; None if it was for others. :raises BlockingIOError: nothing more."""
    while (answer := question.answer(raw.recv(_MOST_BYTES), address)) is None:
        pass
    if answer.chunk == INIT_ACK:
        raw.send(question.end(answer))
    return answer.chunk == INIT_ACK


def _socket(target: Target) -> socket.socket:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    kind, protocol = _SOCKETS.get(target.check.type, (socket.SOCK_STREAM, 0))
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    if kind != socket.SOCK_STREAM:
        # Else the kernel keeps for itself that a host or a network cannot be reached.
        level, option = (
            (socket.IPPROTO_IP, _IP_RECVERR)
            if family == socket.AF_INET
            else (socket.IPPROTO_IPV6, _IPV6_RECVERR)
        )
        made.setsockopt(level, option, 1)
    return made


def _is_sent(target: Target, probe: _Probe) -> bool:
    """Without a route there is an error here, and none that the socket would remember."""
    try:
        probe.socket.connect((target.address, 0 if probe.question else target.port))
        if target.check.type in _READ_FIRST:
            probe.socket.send(probe.question.init if probe.question else b"")
    except BlockingIOError:  # connecting
        return True
    except OSError:
        return False
    return True
