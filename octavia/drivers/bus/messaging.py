# SPDX-License-Identifier: Apache-2.0
"""The doorbell between processes: a fanout over oslo.messaging (``[DEFAULT] transport_url``).

Every worker hears every ring and looks into the queue in the database, where a lease decides who gets what.
So the messages carry nothing, are not kept for anybody, and several that wait to be sent are one. Sending and
connecting happen in a thread of their own: a bus that is away costs a request nothing, and the sweep of the
workers finds the work meanwhile (contract: control-plane.md section 1, from which this departs on purpose).
"""

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from oslo_config import cfg

from octavia.domain.errors import Terminal
from octavia.drivers.bus.local import LocalDoorbell

LOG = logging.getLogger(__name__)

TOPIC: Final = "octavia_doorbell"
_EXCHANGE: Final = "octavia"
# oslo.messaging reads these of the configuration it is given, and registers them on the global one alone.
_FORGOTTEN: Final = {
    "oslo_messaging._metrics.client": "oslo_messaging_metrics",
    "oslo_messaging._tracing.client": "oslo_messaging_tracing",
}
_RETRY_S: Final = 1.0
_IDLE_S: Final = 3600.0


def choose_threads() -> None:
    """Have oslo.messaging, which is not imported yet, use no Eventlet: it takes 20 MB and has no use here."""
    from oslo_service import backend  # noqa: PLC0415

    if backend.get_backend_type() is None:
        backend.init_backend(backend.BackendType.THREADING)


def _library(conf: cfg.ConfigOpts) -> Any:
    choose_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Eventlet's, of itself
        import oslo_messaging  # noqa: PLC0415

    oslo_messaging.set_transport_defaults(_EXCHANGE)
    for module, group in _FORGOTTEN.items():
        with suppress(ImportError):  # not every release has both
            conf.register_opts(getattr(import_module(module), group), group=group)
    return oslo_messaging


def _check(library: Any, conf: cfg.ConfigOpts) -> None:
    """:raises Terminal: the URL means nothing, whether the bus is there or not."""
    try:
        library.get_rpc_transport(conf)  # which connects to nothing yet
    except (library.InvalidTransportURL, ValueError) as error:
        # Its own words repeat the URL, in which there is a password.
        raise Terminal("[DEFAULT] transport_url is not DRIVER://USER:PASSWORD@HOST:PORT/VHOST.") from error
    except library.DriverLoadFailure as error:
        raise Terminal(f"[DEFAULT] transport_url: there is no driver {error.driver}.") from error


def _topic(conf: cfg.ConfigOpts) -> str:
    return str(conf.oslo_messaging.topic or TOPIC)


class MessagingBell:
    """Implements :class:`octavia.drivers.bus.contract.Bell`: rings in all workers.

    A process that forks may ring before and after it: each process has its own thread and connection.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._library = _library(conf)  # in the main thread, and before a server forks
        _check(self._library, conf)
        self._lock = threading.Lock()
        self._due = LocalDoorbell()
        self._thread_of: int | None = None
        os.register_at_fork(after_in_child=self._forget)

    def ring(self) -> None:
        """See the contract."""
        if self._thread_of is None:
            self._start()
        self._due.ring()

    def _forget(self) -> None:
        self._lock, self._due, self._thread_of = threading.Lock(), LocalDoorbell(), None

    def _start(self) -> None:
        with self._lock:
            if self._thread_of is None:
                threading.Thread(target=self._send, args=(self._due,), name="doorbell", daemon=True).start()
                self._thread_of = os.getpid()

    def _send(self, due: LocalDoorbell) -> None:
        client, silent = None, False
        while True:
            if not due.wait(_IDLE_S):
                continue
            try:
                client = client or self._client()
                client.cast({}, "ring")
            except Exception as error:
                # The bus's libraries raise dozens of kinds; all of them mean: not now.
                if not silent:
                    LOG.warning("The bus takes no ring, so workers look for work by themselves: %s", error)
                silent = True
                time.sleep(_RETRY_S)
                due.ring()
            else:
                if silent:
                    LOG.info("The bus takes rings again")
                silent = False

    def _client(self) -> Any:
        library = self._library
        transport = library.get_rpc_transport(self._conf)
        target = library.Target(topic=_topic(self._conf), fanout=True)
        return library.get_rpc_client(transport, target, retry=0)


class Listener:
    """Hears the rings of other processes.

    :param ring: called for each, in a thread of the bus.
    """

    def __init__(self, conf: cfg.ConfigOpts, ring: Callable[[], None]) -> None:
        self._conf = conf
        self._library = _library(conf)
        _check(self._library, conf)
        # The host's name alone: a queue for each process would stay behind with each that ends.
        self._target = self._library.Target(topic=_topic(conf), server=conf.host)
        self._ring = ring
        self._ended = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Begin to listen as soon as there is a bus; returns at once."""
        threading.Thread(target=self._listen, name="doorbell", daemon=True).start()

    def stop(self) -> None:
        """Listen no more; what a process needs not do before it ends."""
        self._ended.set()
        if self._server is not None:
            self._server.stop()
            self._server.wait()

    def _listen(self) -> None:
        silent = False
        while not self._ended.is_set():
            try:
                self._server = self._make()
                self._server.start()
            except Exception as error:
                if not silent:
                    LOG.warning("No ring is heard, so work is found by looking every few seconds: %s", error)
                silent = True
                self._ended.wait(_RETRY_S)
            else:
                LOG.info("Rings are heard over the bus")
                self._ring()  # what was rung for until now was not heard
                return

    def _make(self) -> Any:
        transport = self._library.get_rpc_transport(self._conf)
        return self._library.get_rpc_server(transport, self._target, [_Endpoint(self._ring)])


class _Endpoint:
    """What can be asked of a listener."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def ring(self, _context: object) -> None:
        """Somebody has work."""
        self._ring()
