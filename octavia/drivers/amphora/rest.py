# SPDX-License-Identifier: Apache-2.0
"""Steering amphorae over REST: mutual TLS, one kept connection an amphora.

Our own agent takes everything at once (extension ``apply``); an upstream agent is steered by the
classic calls of REST 1.0, where each change is a real reload. Which one it is, its ``info`` says.
"""

import contextlib
import hashlib
import re
import ssl
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import httpx
from oslo_config import cfg

from octavia.dataplane.keepalived.model import UnsafeWord
from octavia.dataplane.l4 import lvs
from octavia.dataplane.l4.model import L4Config
from octavia.domain.errors import Fenced, Refused, Terminal, Transient, Unreachable
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Lacks, VipPlug
from octavia.drivers.network.contract import HostRoute, Network, Port, Subnet
from octavia.wire import agent as wire

USER_AGENT: Final = (
    f"Octavia HaProxy Rest Client/{wire.API_VERSION} (https://wiki.openstack.org/wiki/Octavia)"
)
KEEPALIVE_SECONDS: Final = 60.0  # less than agents keep idle connections, so that ours end first
KEPT_CLIENTS: Final = 256
MAX_KNOWN_AGENTS: Final = 10_000

_AT_LINE = re.compile(r"\[[^\]\s]*haproxy\.cfg[^\]\s:]*:(\d+)\]")
_NOISE = re.compile(r"\s*\[(?:NOTICE|WARNING)\]")


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


def from_config(conf: cfg.ConfigOpts) -> "RestAmphoraDriver":
    """``amphora_haproxy_rest_driver``, of an octavia.conf.

    :raises Terminal: the controller's certificate cannot be read.
    """
    options = conf.haproxy_amphora
    settings = RestSettings(
        client_cert=Path(options.client_cert),
        server_ca=Path(options.server_ca),
        port=options.bind_port,
        # Whoever waits for an agent must not outlive his lease.
        read_timeout_s=min(options.rest_request_read_timeout, conf.controller_worker.lease_seconds / 3),
        base_path=options.base_path,
    )
    return RestAmphoraDriver(settings)


class RestAmphoraDriver:
    """Implements :class:`octavia.drivers.amphora.contract.AmphoraDriver`. Safe for many threads."""

    def __init__(self, settings: RestSettings) -> None:
        self._settings = settings
        self._clients = _Clients(settings)
        self._lock = threading.Lock()
        self._extensions: dict[str, frozenset[str]] = {}

    def close(self) -> None:
        """Close the kept connections."""
        self._clients.close()

    # --- AmphoraDriver ------------------------------------------------------------------------

    def info(self, amphora: Amphora) -> AgentInfo:
        """See :class:`AmphoraDriver`."""
        body = self._json(self._send(amphora, "GET", wire.PATH_INFO))
        extensions = frozenset(str(one) for one in body.get("extensions") or ())
        self._remember(amphora, extensions)
        return AgentInfo(
            api_version=str(body.get("api_version", "")),
            haproxy_version=str(body.get("haproxy_version", "")),
            extensions=extensions,
            fence=_number(body, "fence"),
            generation=_number(body, "generation"),
            vrrp_state=str(body["vrrp_state"]) if body.get("vrrp_state") else None,
        )

    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        """See :class:`AmphoraDriver`."""
        body = _vip_network(plug).to_json()
        path = wire.path_plug_vip(plug.vip_address)
        self._send(amphora, "POST", path, json=body, fence=fence, also_fine=(409,))
        found = self._json(self._send(amphora, "GET", wire.path_interface(plug.vrrp_ip)))
        return str(found["interface"])

    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        """See :class:`AmphoraDriver`."""
        body = _member_network(amphora, port, network, subnets).to_json()
        self._send(amphora, "POST", wire.PATH_PLUG_NETWORK, json=body, fence=fence, also_fine=(409,))

    def apply(self, amphora: Amphora, configuration: Configuration, *, fence: int) -> Applied:
        """See :class:`AmphoraDriver`."""
        extensions = self._known_extensions(amphora)
        knows_certificates = wire.EXTENSION_CERTIFICATES in extensions
        knows_l4 = wire.EXTENSION_L4 in extensions
        if wire.EXTENSION_APPLY in extensions and (knows_certificates or not configuration.certificates):
            response = self._apply_at_once(
                amphora, configuration, fence, with_certificates=knows_certificates
            )
            if response.status_code not in (404, 405):
                if not knows_l4:
                    self._apply_lvs(amphora, configuration.l4, fence)
                reason = self._json(response).get("reload_reason")
                return Applied(
                    generation=configuration.generation, reload_reason=None if reason is None else str(reason)
                )
            self._remember(amphora, frozenset())  # an older agent has taken its place
        return self._apply_classically(amphora, configuration, fence)

    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        """See :class:`AmphoraDriver`."""
        self._send(amphora, "PUT", wire.path_vrrp("stop"), fence=fence)

    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        """See :class:`AmphoraDriver`."""
        self._send(amphora, "PUT", wire.PATH_CERTIFICATE, content=bundle, fence=fence)

    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        """See :class:`AmphoraDriver`."""
        # The path came without a new version of the interface: who does not know it answers 404.
        response = self._send(
            amphora, "PUT", wire.PATH_CONFIG, content=configuration, fence=fence, also_fine=(404, 405)
        )
        return response.status_code not in (404, 405)

    def _apply_at_once(
        self, amphora: Amphora, configuration: Configuration, fence: int, *, with_certificates: bool
    ) -> httpx.Response:
        """Certificates by their digests; those that the agent has not got follow in a second request."""
        path = wire.path_apply(amphora.id, configuration.load_balancer_id)
        lacking: frozenset[str] = frozenset()
        while True:
            body = wire.Apply(
                generation=configuration.generation,
                haproxy=configuration.haproxy,
                keepalived=configuration.keepalived,
                certificates=_certificate_files(configuration.certificates, lacking)
                if with_certificates
                else None,
                l4=configuration.l4.to_json() if configuration.l4 else None,
            ).to_json()
            response = self._send(
                amphora, "PUT", path, json=body, fence=fence, also_fine=(404, 405, 412), refusing=True
            )
            if response.status_code != 412:
                return response
            named = frozenset(map(str, _body(response).get("missing") or ())) & set(
                configuration.certificates
            )
            if unknown := [name for name in named if configuration.certificates[name] is None]:
                raise Lacks(amphora.id, unknown)
            if named <= lacking:
                raise Transient(f"Amphora {amphora.id} lacks certificates that it was sent")
            lacking |= named

    # --- REST 1.0 without our extensions --------------------------------------------------------

    def _apply_classically(self, amphora: Amphora, configuration: Configuration, fence: int) -> Applied:
        load_balancer_id = configuration.load_balancer_id
        if configuration.haproxy is None:
            self._send(amphora, "DELETE", wire.path_listener(load_balancer_id), fence=fence)
        else:
            for name, content in configuration.certificates.items():
                self._upload_certificate(amphora, load_balancer_id, name, content, fence)
            self._send(
                amphora,
                "PUT",
                wire.path_haproxy(amphora.id, load_balancer_id),
                content=configuration.haproxy.encode(),
                fence=fence,
                generation=configuration.generation,
                refusing=True,
            )
            # A reload of what does not run yet starts it.
            self._send(amphora, "PUT", wire.path_action(load_balancer_id, "reload"), fence=fence)
        self._apply_lvs(amphora, configuration.l4, fence)
        if configuration.keepalived is not None:
            text = configuration.keepalived.encode()
            self._send(amphora, "PUT", wire.PATH_VRRP_UPLOAD, content=text, fence=fence)
            # A start of what runs already reloads it.
            self._send(amphora, "PUT", wire.path_vrrp("start"), fence=fence)
        reason = "this agent reloads with every change" if configuration.haproxy is not None else None
        return Applied(generation=configuration.generation, reload_reason=reason)

    def _apply_lvs(self, amphora: Amphora, wanted: L4Config | None, fence: int) -> None:
        """UDP and SCTP listeners by keepalived's LVS: a file each; those that went are deleted."""
        try:
            texts = lvs.render(wanted, base_path=self._settings.base_path) if wanted else {}
        except UnsafeWord as error:  # everything else in it went through a parser
            base_path = self._settings.base_path
            raise Terminal(f"[haproxy_amphora] base_path = {base_path} cannot be told keepalived") from error
        for listener_id in self._lvs_listeners(amphora) - texts.keys():
            self._send(amphora, "DELETE", wire.path_listener(listener_id), fence=fence)
        for listener_id, text in texts.items():
            path = wire.path_udp_listener(listener_id)
            present = self._send(amphora, "GET", path, also_fine=(404,))
            if present.is_success and present.text == text:
                continue
            path = wire.path_put_udp_listener(amphora.id, listener_id)
            self._send(amphora, "PUT", path, content=text.encode(), fence=fence)
            # It restarts: a reload would forget the members (contract: amphora-agent.md section 3).
            self._send(amphora, "PUT", wire.path_action(listener_id, "reload"), fence=fence)

    def _lvs_listeners(self, amphora: Amphora) -> frozenset[str]:
        response = self._send(amphora, "GET", wire.PATH_LISTENERS)
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return frozenset(str(one["uuid"]) for one in response.json() if one["type"] == "UDP")
        return frozenset()

    def _upload_certificate(
        self, amphora: Amphora, load_balancer_id: str, name: str, content: bytes | None, fence: int
    ) -> None:
        """Unless the agent has the same already. :raises Lacks: it has not got what was not given."""
        path = wire.path_certificate(load_balancer_id, name)
        present = self._send(amphora, "GET", path, also_fine=(404,))
        if content is None:
            if present.status_code == 404:
                raise Lacks(amphora.id, [name])
            return
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if present.status_code == 404 or self._json(present).get("md5sum") != md5:
            self._send(amphora, "PUT", path, content=content, fence=fence)

    def _known_extensions(self, amphora: Amphora) -> frozenset[str]:
        with self._lock:
            known = self._extensions.get(amphora.id)
        return known if known is not None else self.info(amphora).extensions

    def _remember(self, amphora: Amphora, extensions: frozenset[str]) -> None:
        with self._lock:
            if len(self._extensions) >= MAX_KNOWN_AGENTS:
                self._extensions.clear()
            self._extensions[amphora.id] = extensions

    # --- HTTP -----------------------------------------------------------------------------------

    def _send(
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
        _check_fence(amphora, response)
        if response.is_success or response.status_code in also_fine:
            return response
        raise _failure(amphora, response, refusing=refusing)

    def _url(self, amphora: Amphora, path: str) -> str:
        if not amphora.lb_network_ip:
            raise Unreachable(f"Amphora {amphora.id} has no management address yet")
        address = ip_address(amphora.lb_network_ip)
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"https://{host}:{self._settings.port}{path}"

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError as error:
            raise Transient(f"{response.url} answered {response.status_code} without JSON") from error
        if not isinstance(body, dict):
            raise Transient(f"{response.url} answered with JSON that is no object")
        return body


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


def _certificate_files(
    certificates: Mapping[str, bytes | None], with_content: Collection[str]
) -> dict[str, wire.CertificateFile]:
    return {
        name: wire.CertificateFile(
            sha256=None if content is None else hashlib.sha256(content).hexdigest(),
            content=content.decode() if content is not None and name in with_content else None,
        )
        for name, content in certificates.items()
    }


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


def _check_fence(amphora: Amphora, response: httpx.Response) -> None:
    if response.status_code != 409:
        return
    highest = _number(_body(response), "fence")
    if highest is not None:
        raise Fenced(f"Amphora {amphora.id} has seen fencing number {highest}", highest=highest)


def _failure(amphora: Amphora, response: httpx.Response, *, refusing: bool) -> Transient | Terminal:
    body = _body(response)
    details = str(body.get("details") or body.get("message") or body.get("error") or response.reason_phrase)
    if response.status_code == 400 and refusing:
        return refused(details)
    sentence = f"Amphora {amphora.id} answered {response.status_code}: {details}"
    # 404 is an interface that has not arrived, or an agent that is not ready; a 409 without a fence was
    # overtaken by a newer request of our own; 401 and 403 are certificates on their way.
    if response.status_code in (401, 403, 404, 408, 409, 425, 429) or response.status_code >= 500:
        return Transient(sentence)
    return Terminal(sentence)


def refused(output: str) -> Refused:
    """HAProxy's refusal, with its own words and the first line of the file that it names."""
    words = "\n".join(line for line in output.splitlines() if line.strip() and not _NOISE.match(line))
    at = _AT_LINE.search(words)
    return Refused(words or output, line=int(at.group(1)) if at else None)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _number(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# --- payloads -----------------------------------------------------------------------------------


def _vip_network(plug: VipPlug) -> wire.VipNetwork:
    every = ((plug.vip_address, plug.subnet), *plug.additional)
    return wire.VipNetwork(
        vips=tuple(_vip_address(address, subnet) for address, subnet in every),
        mac_address=plug.port.mac_address,
        vrrp_ip=plug.vrrp_ip,
        mtu=plug.network.mtu,
    )


def _vip_address(address: str, subnet: Subnet) -> wire.VipAddress:
    return wire.VipAddress(
        ip_address=address,
        subnet_cidr=ip_network(subnet.cidr),
        gateway=subnet.gateway_ip,
        host_routes=_routes(subnet.host_routes),
    )


def _member_network(
    amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet]
) -> wire.MemberNetwork:
    by_id = {subnet.id: subnet for subnet in subnets}
    fixed_ips = tuple(
        wire.FixedAddress(
            ip_address=fixed.ip_address,
            subnet_cidr=ip_network(by_id[fixed.subnet_id].cidr),
            gateway=by_id[fixed.subnet_id].gateway_ip,
            host_routes=_routes(by_id[fixed.subnet_id].host_routes),
        )
        for fixed in port.fixed_ips
        if fixed.subnet_id in by_id
    )
    return wire.MemberNetwork(
        mac_address=port.mac_address,
        fixed_ips=fixed_ips,
        mtu=network.mtu,
        vip=_vip_of_shared_port(amphora, port, network, subnets),
    )


def _vip_of_shared_port(
    amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet]
) -> wire.VipNetwork | None:
    """Members on the VIP's network are reached by the VIP's port, which must stay the VIP's."""
    if port.id != amphora.vrrp_port_id or amphora.ha_ip is None:
        return None
    vip = ip_address(amphora.ha_ip)
    subnet = next((one for one in subnets if vip in ip_network(one.cidr)), None)
    if subnet is None:
        raise Terminal(f"None of the subnets of port {port.id} has the VIP {vip}")
    return wire.VipNetwork(
        vips=(_vip_address(amphora.ha_ip, subnet),),
        mac_address=port.mac_address,
        vrrp_ip=amphora.vrrp_ip,
        mtu=network.mtu,
    )


def _routes(routes: Sequence[HostRoute]) -> tuple[wire.Route, ...]:
    return tuple(wire.Route(destination=ip_network(one.destination), nexthop=one.nexthop) for one in routes)
