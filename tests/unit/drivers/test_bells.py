# SPDX-License-Identifier: Apache-2.0
"""Whoever rings wakes whoever waits: in one process, and over a bus."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from oslo_config import cfg

from octavia import config
from octavia.config.oslo_messaging import transport_url
from octavia.domain.errors import Terminal
from octavia.drivers.bus.contract import Bell, Doorbell
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.bus.messaging import Listener, MessagingBell

FAKE = "[DEFAULT]\ntransport_url = fake://\n"
_SOON_S = 30.0


def conf_with(tmp_path: Path, text: str) -> cfg.ConfigOpts:
    file = tmp_path / "octavia.conf"
    file.write_text(text)
    return config.load(["--config-file", str(file)], program="octavia-worker")


@dataclass
class House:
    """A bell outside, a chime inside."""

    bell: Bell
    chime: Doorbell


class BellContract:
    """What every bell promises. For subclasses."""

    @pytest.fixture
    def house(self) -> House:
        raise NotImplementedError

    def test_a_ring_is_heard(self, house: House) -> None:
        house.bell.ring()
        assert house.chime.wait(_SOON_S)

    def test_many_rings_before_anybody_listens_are_heard_and_end(self, house: House) -> None:
        for _ in range(50):
            house.bell.ring()
        assert house.chime.wait(_SOON_S)
        while house.chime.wait(0.5):
            pass

    def test_without_a_ring_nobody_is_woken(self, house: House) -> None:
        assert not house.chime.wait(0.05)


class TestInOneProcess(BellContract):
    @pytest.fixture
    def house(self) -> House:
        both = LocalDoorbell()
        return House(both, both)


class TestOverABus(BellContract):
    @pytest.fixture
    def house(self, tmp_path: Path) -> Iterator[House]:
        conf = conf_with(tmp_path, f"{FAKE}[oslo_messaging]\ntopic = {tmp_path.name}\n")
        chime = LocalDoorbell()
        listener = Listener(conf, chime.ring)
        listener.start()
        assert chime.wait(_SOON_S), "whoever begins to listen looks once"
        yield House(MessagingBell(conf), chime)
        listener.stop()


def test_each_worker_hears_each_ring(tmp_path: Path) -> None:
    # The library's bus of one process does not tell processes of one host apart, as RabbitMQ does.
    texts = [f"{FAKE}host = worker-{number}\n[oslo_messaging]\ntopic = of-this-test\n" for number in (1, 2)]
    one, conf = (conf_with(tmp_path, text) for text in texts)
    chimes = [LocalDoorbell(), LocalDoorbell()]
    listeners = [Listener(each, chime.ring) for each, chime in zip((one, conf), chimes, strict=True)]
    for listener, chime in zip(listeners, chimes, strict=True):
        listener.start()
        assert chime.wait(_SOON_S)
    MessagingBell(conf).ring()
    assert all(chime.wait(_SOON_S) for chime in chimes)
    for listener in listeners:
        listener.stop()


class Outage:
    """A bus that takes the third ring."""

    def __init__(self) -> None:
        self.attempts = 0
        self.taken = LocalDoorbell()

    def cast(self, _context: object, _method: str) -> None:
        self.attempts += 1
        if self.attempts < 3:
            raise ConnectionRefusedError("no bus")
        self.taken.ring()


def test_a_ring_that_the_bus_does_not_take_is_sent_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage()
    bell = MessagingBell(conf_with(tmp_path, FAKE))
    monkeypatch.setattr(bell, "_client", lambda: outage)
    with caplog.at_level(logging.INFO):
        bell.ring()
        assert outage.taken.wait(_SOON_S)
    assert outage.attempts == 3
    assert len([one for one in caplog.records if "no bus" in one.message]) == 1  # not at each attempt


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("rabbit://me:hush@host:port/", "DRIVER://USER"),
        ("telegraph://me:hush@host/", "no driver telegraph"),
    ],
)
def test_a_bus_that_cannot_be_is_refused_at_the_start_without_its_password(
    tmp_path: Path, url: str, names: str
) -> None:
    conf = conf_with(tmp_path, f"[DEFAULT]\ntransport_url = {url}\n")
    for make in (lambda: MessagingBell(conf), lambda: Listener(conf, lambda: None)):
        with pytest.raises(Terminal, match=names) as why:
            make()
        assert "hush" not in str(why.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("[DEFAULT]\ntransport_url =\n", None),
        ("[DEFAULT]\ntransport_url = rabbit://a:b@127.0.0.1/\n", "rabbit://a:b@127.0.0.1/"),
    ],
)
def test_there_is_a_bus_where_one_is_configured(tmp_path: Path, text: str, expected: str | None) -> None:
    assert transport_url(conf_with(tmp_path, text)) == expected
