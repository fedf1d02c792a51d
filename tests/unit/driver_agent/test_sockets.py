# SPDX-License-Identifier: Apache-2.0
"""Frames, and who may connect (contract: provider-drivers.md section 6)."""

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octavia.domain.errors import Terminal
from octavia.driver_agent.sockets import Listener, Place, bind, receive, send


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        for end in (one, other):
            end.settimeout(10)
        yield one, other


def test_what_is_sent_is_what_is_received(pair: tuple[socket.socket, socket.socket]) -> None:
    content = {"a": ["ä" * 100_000, None, 1.5]}
    sender = threading.Thread(target=send, args=(pair[0], content))
    sender.start()
    assert receive(pair[1]) == content
    sender.join()


def test_a_frame_is_its_length_in_digits_and_so_many_bytes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    send(pair[0], {"status_code": 200})
    assert pair[1].recv(100) == b'20\n{"status_code": 200}'


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"", b"\n", b"-1\n{}", b" 2\n{}", b"2x\n{}", b"3\n{}", b"2\n}{", b"123456789012", b"67108865\n"),
        b"200000\n" + b"[" * 200_000,
    ],
)
def test_nonsense_is_refused_at_once(pair: tuple[socket.socket, socket.socket], nonsense: bytes) -> None:
    def speak() -> None:
        pair[0].sendall(nonsense)
        pair[0].shutdown(socket.SHUT_WR)

    speaker = threading.Thread(target=speak)
    speaker.start()
    with pytest.raises(ValueError):  # noqa: PT011  # of every kind
        receive(pair[1])
    pair[1].close()
    speaker.join()


def test_a_socket_is_for_its_user_alone_and_not_for_two_servers(tmp_path: Path) -> None:
    path = tmp_path / "run" / "s.sock"
    with bind(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(Terminal, match="another driver agent"):
            bind(path)
    with bind(path):  # nobody serves it any more
        pass


def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Terminal, match="cannot listen on"):
        bind(tmp_path / "file" / "s.sock")


def test_a_request_that_breaks_the_answerer_is_answered_all_the_same(tmp_path: Path) -> None:
    path, stop = tmp_path / "s.sock", threading.Event()

    def answer(request: Any) -> dict[str, Any]:
        if request == "break":
            raise ZeroDivisionError("secret")
        return {"heard": request}

    with bind(path) as listening:
        place = Place(path=path, request_timeout_s=5.0, at_once=2)
        thread = threading.Thread(target=Listener("test", listening, place, answer).run, args=(stop,))
        thread.start()
        try:
            for request, expected in (("break", 500), ("fine", None), ("break", 500), ("fine", None)):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(30)
                    client.connect(str(path))
                    send(client, request)
                    answered = receive(client)
                    assert answered.get("status_code") == expected
                    assert "secret" not in str(answered)
        finally:
            stop.set()
            thread.join()
