# SPDX-License-Identifier: Apache-2.0
"""Requests to agents: mutual TLS, one kept connection an amphora."""

import ssl
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import httpx

from octavia.domain.errors import Transient, Unreachable
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.rest import answers
from octavia.wire import agent as wire

USER_AGENT: Final = (
    f"Octavia HaProxy Rest Client/{wire.API_VERSION} (https://wiki.openstack.org/wiki/Octavia)"
)
KEEPALIVE_SECONDS: Final = 60.0  # less than agents keep idle connections, so that ours end first
KEPT_CLIENTS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """How to reach agents (contract: config.md section 5).

    :param client_cert: PEM of certificate and key that agents ask for.
    :param server_ca: PEM of the CA that signs agents' certificates.
    :param base_path: data directory in the amphora.
    """

    client_cert: Path
    server_ca: Path
    port: int = 9443
    connect_timeout_s: float = 1.0
    read_timeout_s: float = 60.0
    base_path: str = "/var/lib/octavia"


class Http:
    """Sends requests to agents. Safe for many threads."""

    def __init__(self, settings: RestSettings) -> None:
        self._settings = settings
        self._clients = _Clients(settings)

    def close(self) -> None:
        """Close the kept connections."""
        self._clients.close()

    def send(
        self,
        amphora: Amphora,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        fence: int | None = None,
        generation: int | None = None,
        also_fine: tuple[int, ...] = (),
        refusing: bool = False,
    ) -> httpx.Response:
        """One request; anything but a success becomes an error of the domain.

        :param also_fine: further statuses that the caller understands.
        :param refusing: a 400 is HAProxy's refusal of a configuration.
        """
        headers = {}
        if fence is not None:
            headers[wire.HEADER_FENCE] = str(fence)
        if generation is not None:
            headers[wire.HEADER_GENERATION] = str(generation)
        with self._clients.lent(amphora.id) as client:
            request = client.build_request(
                method,
                self._url(amphora, path),
                json=json,
                content=content,
                headers=headers,
                # It is reached by address, but proves to be this amphora by name.
                extensions={"sni_hostname": amphora.id},
            )
            response = _answer(amphora, client, request)
        answers.check_fence(amphora, response)
        if response.is_success or response.status_code in also_fine:
            return response
        raise answers.failure(amphora, response, refusing=refusing)

    def _url(self, amphora: Amphora, path: str) -> str:
        if not amphora.lb_network_ip:
            raise Unreachable(f"Amphora {amphora.id} has no management address yet")
        address = ip_address(amphora.lb_network_ip)
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"https://{host}:{self._settings.port}{path}"


class _Clients:
    """A client an amphora, the longest unused ones closed.

    One for all would find its kept connections by address alone, and would talk to an amphora as if
    it were the one that had the address before.
    """

    def __init__(self, settings: RestSettings) -> None:
        self._settings = settings
        self._tls = _tls(settings)
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, tuple[httpx.Client, int]] = OrderedDict()  # with its present users

    @contextmanager
    def lent(self, amphora_id: str) -> Iterator[httpx.Client]:
        """For one request; meanwhile it is not closed."""
        with self._lock:
            client, users = self._clients.pop(amphora_id, (None, 0))
            client = client or self._new()
            self._clients[amphora_id] = (client, users + 1)
            unused = [key for key, (_, users) in self._clients.items() if not users]
            surplus = unused[: max(0, len(self._clients) - KEPT_CLIENTS)]
            closing = [self._clients.pop(key)[0] for key in surplus]
        for one in closing:
            one.close()
        try:
            yield client
        finally:
            with self._lock:
                client, users = self._clients[amphora_id]
                self._clients[amphora_id] = (client, users - 1)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            clients, self._clients = self._clients, OrderedDict()
        for client, _ in clients.values():
            client.close()

    def _new(self) -> httpx.Client:
        settings = self._settings
        return httpx.Client(
            verify=self._tls,
            headers={"User-Agent": USER_AGENT},
            timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
            trust_env=False,  # a proxy for the outside world is no way to an amphora
        )


def _answer(amphora: Amphora, client: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        return client.send(request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"Amphora {amphora.id} cannot be reached: {error}") from error
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        # Most likely a kept connection that the agent has closed meanwhile. Every call of ours may be
        # repeated, but from here on nobody may claim that nothing was done.
        return _answer_anew(amphora, client, request)
    except httpx.TransportError as error:
        raise Transient(f"Amphora {amphora.id} did not answer: {type(error).__name__} {error}") from error


def _answer_anew(amphora: Amphora, client: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        return client.send(request)
    except httpx.TransportError as error:
        raise Transient(f"Amphora {amphora.id} broke off: {type(error).__name__} {error}") from error


def _tls(settings: RestSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.server_ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.client_cert)
    return context
