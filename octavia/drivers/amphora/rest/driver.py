# SPDX-License-Identifier: Apache-2.0
"""One conversation with one agent a call; which kind of agent it is, its ``info`` says."""

import threading
from collections.abc import Sequence
from typing import Final

import httpx

from octavia.domain.errors import Transient
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Lacks, Machine, VipPlug
from octavia.drivers.amphora.rest import answers, payloads
from octavia.drivers.amphora.rest.classic import Classic
from octavia.drivers.amphora.rest.http import Http, RestSettings
from octavia.drivers.network.contract import Network, Port, Subnet
from octavia.wire import agent as wire

MAX_KNOWN_AGENTS: Final = 10_000
NO_DETAILS: Final = (404, 405, 500, 501)  # of an agent that is there and cannot say


class RestAmphoraDriver:
    """Implements :class:`octavia.drivers.amphora.contract.AmphoraDriver`. Safe for many threads."""

    def __init__(self, settings: RestSettings) -> None:
        self._http = Http(settings)
        self._classic = Classic(self._http, settings.base_path)
        self._lock = threading.Lock()
        self._extensions: dict[str, frozenset[str]] = {}

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def info(self, amphora: Amphora) -> AgentInfo:
        """See :class:`AmphoraDriver`."""
        body = answers.body(self._http.send(amphora, "GET", wire.PATH_INFO))
        extensions = frozenset(str(one) for one in body.get("extensions") or ())
        self._remember(amphora, extensions)
        return AgentInfo(
            api_version=str(body.get("api_version", "")),
            haproxy_version=str(body.get("haproxy_version", "")),
            extensions=extensions,
            fence=answers.number(body, "fence"),
            generation=answers.number(body, "generation"),
            vrrp_state=str(body["vrrp_state"]) if body.get("vrrp_state") else None,
        )

    def machine(self, amphora: Amphora) -> Machine:
        """See :class:`AmphoraDriver`."""
        response = self._http.send(amphora, "GET", wire.PATH_DETAILS, also_fine=NO_DETAILS)
        return answers.machine(answers.body(response)) if response.is_success else Machine()

    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        """See :class:`AmphoraDriver`."""
        body = payloads.vip_network(plug).to_json()
        path = wire.path_plug_vip(plug.vip_address)
        self._http.send(amphora, "POST", path, json=body, fence=fence, also_fine=(409,))
        found = answers.body(self._http.send(amphora, "GET", wire.path_interface(plug.vrrp_ip)))
        return str(found["interface"])

    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        """See :class:`AmphoraDriver`."""
        body = payloads.member_network(amphora, port, network, subnets).to_json()
        self._http.send(amphora, "POST", wire.PATH_PLUG_NETWORK, json=body, fence=fence, also_fine=(409,))

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
                    self._classic.apply_lvs(amphora, configuration.l4, fence)
                reason = answers.body(response).get("reload_reason")
                return Applied(
                    generation=configuration.generation, reload_reason=None if reason is None else str(reason)
                )
            self._remember(amphora, frozenset())  # an older agent has taken its place
        return self._classic.apply(amphora, configuration, fence)

    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        """See :class:`AmphoraDriver`."""
        self._http.send(amphora, "PUT", wire.path_vrrp("stop"), fence=fence)

    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        """See :class:`AmphoraDriver`."""
        self._http.send(amphora, "PUT", wire.PATH_CERTIFICATE, content=bundle, fence=fence)

    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        """See :class:`AmphoraDriver`."""
        # The path came without a new version of the interface: who does not know it answers 404.
        response = self._http.send(
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
                certificates=payloads.certificate_files(configuration.certificates, lacking)
                if with_certificates
                else None,
                l4=configuration.l4.to_json() if configuration.l4 else None,
            ).to_json()
            response = self._http.send(
                amphora, "PUT", path, json=body, fence=fence, also_fine=(404, 405, 412), refusing=True
            )
            if response.status_code != 412:
                return response
            named = frozenset(map(str, answers.body_or_nothing(response).get("missing") or ())) & set(
                configuration.certificates
            )
            if unknown := [name for name in named if configuration.certificates[name] is None]:
                raise Lacks(amphora.id, unknown)
            if named <= lacking:
                raise Transient(f"Amphora {amphora.id} lacks certificates that it was sent")
            lacking |= named

    def _known_extensions(self, amphora: Amphora) -> frozenset[str]:
        with self._lock:
            known = self._extensions.get(amphora.id)
        return known if known is not None else self.info(amphora).extensions

    def _remember(self, amphora: Amphora, extensions: frozenset[str]) -> None:
        with self._lock:
            if len(self._extensions) >= MAX_KNOWN_AGENTS:
                self._extensions.clear()
            self._extensions[amphora.id] = extensions
