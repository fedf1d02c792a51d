# SPDX-License-Identifier: Apache-2.0
"""The socket and the loop: real datagrams on loopback, a database of its own."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from octavia.db import schema
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Terminal, Transient
from octavia.drivers.bus.local import LocalDoorbell
from octavia.health.inbox import Inbox
from octavia.health.receive import Receiver, ReceiverSettings
from octavia.wire.heartbeat import encode
from tests.fleet import heard_at, load_balancer, operating, report, store, uuid

KEY = "secret"
LB = load_balancer()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{tmp_path}/octavia.sqlite")
    schema.upgrade(engine)
    database = Database(engine)
    database.write(lambda tx: store(tx, LB))
    yield database
    engine.dispose()


@pytest.fixture
def receiver(database: Database) -> Iterator[Receiver]:
    """One that runs."""
    settings = ReceiverSettings(key=KEY, bind_port=0, gather=timedelta(milliseconds=5))
    one = Receiver(database, SystemClock(), LocalDoorbell(), settings)
    one.open()
    stop = threading.Event()
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    yield one
    stop.set()
    thread.join()


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def send(receiver: Receiver, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for one in datagrams:
            sender.sendto(one, ("127.0.0.1", receiver.open().port))


def test_a_datagram_becomes_a_status(receiver: Receiver, database: Database) -> None:
    member = LB.pools[0].members[0].id
    send(receiver, encode(report(LB, member="DOWN"), KEY))

    def failed() -> bool:
        with database.read() as tx:
            return operating(tx, t.member, member) == "ERROR"

    assert eventually(failed)


def test_forged_and_damaged_datagrams_do_no_harm_and_fill_no_log(
    receiver: Receiver, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    genuine = encode(report(LB), KEY)
    forged = [encode(report(LB, member="DOWN"), "another key"), b"", b"\0" * 64, genuine[:-1], genuine[1:]]
    with caplog.at_level(logging.WARNING):
        send(receiver, *(forged * 20), genuine)

        def heard() -> bool:
            with database.read() as tx:
                return heard_at(tx, uuid(1001)) is not None

        assert eventually(heard)
    refused = [one for one in caplog.messages if "refused" in one]
    assert len(refused) == 1
    assert "127.0.0.1" in refused[0]
    assert KEY not in caplog.text
    with database.read() as tx:
        assert operating(tx, t.member, LB.pools[0].members[0].id) == "ONLINE"


def test_its_vitals_tell_that_it_turns(receiver: Receiver) -> None:
    before = receiver.vitals().turned_at
    assert eventually(lambda: receiver.vitals().turned_at > before)


class NoDatabase(Database):
    """Answers nothing."""

    def __init__(self) -> None:
        super().__init__(sa.create_engine("sqlite://"))

    def write(self, change: object) -> object:  # type: ignore[override]
        raise Transient("it is down")


def test_a_batch_lost_for_want_of_a_database_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    ear = Receiver(NoDatabase(), SystemClock(), LocalDoorbell(), ReceiverSettings(key=KEY, bind_port=0))
    inbox = ear.open()
    send(ear, encode(report(LB), KEY))
    assert inbox.wait(5)
    ear._receive(inbox.drain(10))
    assert ear.vitals().outages == 1
    assert "1 heartbeats were lost: it is down" in caplog.text
    inbox.close()


def test_what_waited_longer_than_the_interval_says_nothing_any_more(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ReceiverSettings(key=KEY, bind_port=0, interval=timedelta(milliseconds=20))
    ear = Receiver(database, SystemClock(), LocalDoorbell(), settings)
    inbox = ear.open()
    send(ear, encode(report(LB), KEY))
    assert inbox.wait(5)
    arrived = inbox.drain(1)
    late = [type(one)(one.datagram, one.source, one.age_s + 0.02) for one in arrived]
    assert 0 <= arrived[0].age_s < 5
    ear._receive(late)
    with database.read() as tx:
        assert heard_at(tx, uuid(1001)) is None
    assert "longer than heartbeat_interval" in caplog.text
    inbox.close()


def test_an_inbox_counts_what_it_had_no_room_for() -> None:
    inbox = Inbox("127.0.0.1", 0, buffer_bytes=4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(b"x" * 500, ("127.0.0.1", inbox.port))
        arrived = len(inbox.drain(1000))
        assert 0 < arrived < 200
        sender.sendto(b"x", ("127.0.0.1", inbox.port))
        assert len(inbox.drain(1000)) == 1
    assert inbox.dropped == 200 - arrived
    inbox.close()


def test_an_inbox_takes_no_more_than_asked() -> None:
    inbox = Inbox("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(5):
            sender.sendto(bytes([number]), ("127.0.0.1", inbox.port))
    assert [one.datagram for one in inbox.drain(3)] == [b"\0", b"\1", b"\2"]
    assert [one.datagram for one in inbox.drain(3)] == [b"\3", b"\4"]
    assert inbox.drain(3) == []
    assert not inbox.wait(0)
    inbox.close()


def test_an_inbox_speaks_ipv6() -> None:
    inbox = Inbox("::1", 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("::1", inbox.port))
    assert inbox.wait(5)
    assert inbox.drain(1)[0].source == "::1"
    inbox.close()


def test_a_taken_port_is_said_in_one_sentence() -> None:
    first = Inbox("127.0.0.1", 0)
    with pytest.raises(Terminal, match=r"cannot be received on 127\.0\.0\.1 port \d+: .*bind_port"):
        Inbox("127.0.0.1", first.port)
    first.close()
