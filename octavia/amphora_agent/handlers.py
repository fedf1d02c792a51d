# SPDX-License-Identifier: Apache-2.0
"""The URLs of REST 1.0 and of our extension ``apply`` (contract: amphora-agent.md section 3).

Interface rules are not served yet: they answer 404 in JSON. UDP and SCTP listeners of REST 1.0 need a
kernel with IPVS, else they answer 501; :mod:`octavia.amphora_agent.l4` needs none.
"""

import hashlib
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final

from octavia.amphora_agent import details, durable
from octavia.amphora_agent.agent import UUID, Agent
from octavia.amphora_agent.certificates import Missing
from octavia.amphora_agent.config import BadConfiguration
from octavia.amphora_agent.haproxy import Haproxy, Invalid, NotFound
from octavia.amphora_agent.http import (
    MAX_BODY_BYTES,
    SMALL_BODY_BYTES,
    Application,
    HttpError,
    Request,
    Response,
    Route,
    framework_error,
    refusal,
)
from octavia.amphora_agent.interfaces import AlreadyPlugged, NotArrived, NotPossible
from octavia.amphora_agent.l4 import L4Refused
from octavia.amphora_agent.l4_handlers import UdpHandlers
from octavia.amphora_agent.server import server_context
from octavia.amphora_agent.state import FencedOff, Overtaken
from octavia.amphora_agent.supervisor import ServiceFailed
from octavia.dataplane.haproxy.parse import ParseError, parse
from octavia.wire.agent import (
    API_VERSION,
    CERTIFICATE_NAME,
    HEADER_FENCE,
    HEADER_GENERATION,
    NO_INTERFACE,
    PREFIX,
    Apply,
    BadPayload,
    MemberNetwork,
    VipNetwork,
)

LOG = logging.getLogger(__name__)

_ACTIONS: Final = ("start", "stop", "reload")
_OK: Final = {"message": "OK"}


def application(agent: Agent) -> Application:
    """The whole API."""
    return Application(routes(Handlers(agent)))


def routes(to: "Handlers") -> list[Route]:
    """The table; where two match, the first counts."""
    lb = f"{PREFIX}/loadbalancer"
    return [
        Route("GET", "/", to.discover),
        Route("GET", f"{PREFIX}/info", to.info),
        Route("GET", f"{PREFIX}/details", to.details),
        Route("GET", f"{PREFIX}/listeners", to.list_listeners),
        Route("DELETE", f"{PREFIX}/listeners/{{lb_id}}", to.delete_haproxy),
        Route("PUT", f"{PREFIX}/listeners/{{amphora_id}}/{{listener_id}}/udp_listener", to.udp.put),
        Route("GET", f"{PREFIX}/listeners/{{listener_id}}/udp_listener", to.udp.get),
        Route("PUT", f"{lb}/{{amphora_id}}/{{lb_id}}/haproxy", to.put_haproxy),
        Route("PUT", f"{lb}/{{amphora_id}}/{{lb_id}}/apply", to.apply),
        Route("GET", f"{lb}/{{lb_id}}/haproxy", to.get_haproxy),
        Route("PUT", f"{lb}/{{lb_id}}/certificates/{{name}}", to.put_certificate),
        Route("GET", f"{lb}/{{lb_id}}/certificates/{{name}}", to.get_certificate),
        Route("DELETE", f"{lb}/{{lb_id}}/certificates/{{name}}", to.delete_certificate),
        Route("PUT", f"{lb}/{{lb_id}}/{{action}}", to.act_on_haproxy),
        Route("POST", f"{PREFIX}/plug/vip/{{vip}}", to.plug_vip),
        Route("POST", f"{PREFIX}/plug/network", to.plug_network),
        Route("PUT", f"{PREFIX}/certificate", to.put_agent_certificate),
        Route("PUT", f"{PREFIX}/config", to.put_config),
        Route("PUT", f"{PREFIX}/vrrp/upload", to.upload_vrrp),
        Route("PUT", f"{PREFIX}/vrrp/{{action}}", to.act_on_vrrp),
        Route("GET", f"{PREFIX}/interface/{{address}}", to.find_interface),
        Route("PUT", f"{PREFIX}/interface/{{address}}/rules", to.no_rules),
    ]


class Handlers:
    """One method an endpoint."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.udp = UdpHandlers(agent, self._mutation, self._require_us)

    # --- who is there -------------------------------------------------------------------------

    def discover(self, request: Request) -> Response:
        """Which version?"""
        del request
        return Response(200, {"api_version": API_VERSION})

    def info(self, request: Request) -> Response:
        """Section 4."""
        del request
        return Response(200, self._agent.info())

    def details(self, request: Request) -> Response:
        """Section 4; ``reloads`` counts HAProxy's reloads since the agent started, by cause."""
        del request
        running = [one for one in self._agent.haproxies() if one.is_running]
        body = {
            **self._agent.info(),
            **details.machine(self._agent.processes),
            "haproxy_count": len(running),
            "lvs_listener_process_count": len(self._agent.lvs.running()),
            "listeners": sorted(
                [name for one in running for name, _ in _frontends(one)]
                + [one.id for one in self._agent.l4.listeners]
                + self._agent.lvs.running()
            ),
            "reloads": dict(self._agent.reloads),
        }
        return Response(200, body)

    def list_listeners(self, request: Request) -> Response:
        """The frontends of whatever HAProxy runs."""
        del request
        running = [one for one in self._agent.haproxies() if one.is_running]
        return Response(
            200,
            [
                {"status": "ACTIVE", "uuid": name, "type": kind}
                for one in running
                for name, kind in _frontends(one)
            ]
            + [{"status": "ACTIVE", "uuid": one.id, "type": "UDP"} for one in self._agent.l4.listeners]
            + self.udp.listed(),
        )

    def find_interface(self, request: Request, address: str) -> Response:
        """Which interface has this address?"""
        del request
        try:
            wanted = str(ip_address(address))
        except ValueError:
            raise refusal(400, "Invalid IP address") from None
        name = self._agent.interfaces.by_address(wanted)
        if name is None:
            raise refusal(404, "Error interface not found for IP address")
        return Response(200, {**_OK, "interface": name})

    # --- HAProxy ------------------------------------------------------------------------------

    def apply(self, request: Request, amphora_id: str, lb_id: str) -> Response:
        """Our extension: everything at once, live when it answers."""
        self._require_us(amphora_id)
        lb_id = _load_balancer(lb_id)
        fence = request.number(HEADER_FENCE)
        try:
            body = Apply.from_json(request.json(limit=MAX_BODY_BYTES))
        except BadPayload as error:
            raise refusal(400, "Invalid request", str(error)) from None
        with self._mutation(request):
            try:
                change = self._agent.apply(lb_id, body, fence)
            except Missing as error:
                raise refusal(412, "Missing certificates", str(error), missing=error.names) from None
            except (Invalid, L4Refused) as error:
                raise refusal(400, "Invalid request", str(error)) from None
            except Overtaken as error:
                raise refusal(409, "Overtaken", str(error)) from None
            except ServiceFailed as error:
                raise refusal(500, "Error applying configuration", str(error)) from None
        return Response(
            202,
            {**_OK, "generation": body.generation, "action": change.action, "reload_reason": change.reason},
        )

    def put_haproxy(self, request: Request, amphora_id: str, lb_id: str) -> Response:
        """Validate and stage; ``reload`` or ``start`` makes it live."""
        self._require_us(amphora_id)
        lb_id = _load_balancer(lb_id)
        text = request.text()
        with self._mutation(request):
            try:
                self._agent.haproxy(lb_id).stage(text)
            except Invalid as error:
                raise refusal(400, "Invalid request", str(error)) from None
            self._agent.state.change(lb_id, staged_generation=request.number(HEADER_GENERATION))
        return Response(202, _OK, {"ETag": _md5(text.encode())})

    def get_haproxy(self, request: Request, lb_id: str) -> Response:
        """The newest configuration that was accepted."""
        del request
        lb_id = _load_balancer(lb_id)
        try:
            text = self._agent.haproxy(lb_id).text()
        except NotFound:
            raise _no_load_balancer(lb_id) from None
        return Response(200, text, {"ETag": _md5(text.encode())})

    def act_on_haproxy(self, request: Request, lb_id: str, action: str) -> Response:
        """start, stop, reload."""
        action = _action(action)
        lb_id = _load_balancer(lb_id)
        if lb_id in self._agent.lvs.listeners():
            return self.udp.act(request, lb_id, action)
        haproxy = self._agent.haproxy(lb_id)
        with self._mutation(request):
            try:
                if action == "stop":
                    if not haproxy.exists:
                        raise NotFound(lb_id)
                    haproxy.stop()
                    self._agent.refresh_checks()
                else:
                    stale = self._agent.state.load_balancer(lb_id).certificates_changed
                    change = haproxy.reload(certificates_changed=stale)
                    self._agent.haproxy_changed(lb_id, change)
                    staged = self._agent.state.load_balancer(lb_id).staged_generation
                    if staged is not None:
                        fence = request.number(HEADER_FENCE)
                        self._agent.state.change(
                            lb_id, generation=staged, generation_fence=fence, staged_generation=None
                        )
            except NotFound:
                raise _no_load_balancer(lb_id) from None
            except (Invalid, ServiceFailed) as error:
                raise refusal(500, f"Error {action}ing haproxy", str(error)) from None
        return Response(202, {**_OK, "details": f"Listener {lb_id} {action}ed"})

    def delete_haproxy(self, request: Request, lb_id: str) -> Response:
        """Stop and remove a load balancer, or a listener of LVS; what is not there is removed."""
        lb_id = _load_balancer(lb_id)
        with self._mutation(request):
            if lb_id in self._agent.lvs.listeners():
                self._agent.lvs.delete(lb_id)
                self._agent.heartbeat.report_soon()
                return Response(200, _OK)
            try:
                self._agent.run_haproxy(lb_id, None)
                if self._agent.l4.load_balancer_id == lb_id:
                    self._agent.serve_l4(None)
            except (ServiceFailed, L4Refused) as error:
                raise refusal(500, "Error stopping haproxy", str(error)) from None
            self._agent.state.forget(lb_id)
        return Response(200, _OK)

    # --- certificates of listeners and pools ----------------------------------------------------

    def put_certificate(self, request: Request, lb_id: str, name: str) -> Response:
        """A PEM, or the crt-list of a listener."""
        lb_id, name = _load_balancer(lb_id), _certificate_name(name)
        data = request.body(SMALL_BODY_BYTES)
        path = self._agent.haproxy(lb_id).certificates.path / name
        with self._mutation(request):
            changed = path.exists() and path.read_bytes() != data
            durable.write(path, data)
            if changed:  # one that is new is loaded by whatever names it first
                self._agent.state.change(lb_id, certificates_changed=True)
        return Response(200, _OK, {"ETag": _md5(data)})

    def get_certificate(self, request: Request, lb_id: str, name: str) -> Response:
        """Its MD5, so that the controller need not send it again."""
        del request
        lb_id, name = _load_balancer(lb_id), _certificate_name(name)
        try:
            digest = _md5((self._agent.haproxy(lb_id).certificates.path / name).read_bytes())
        except FileNotFoundError:
            details = f"No certificate with filename: {name}"
            raise refusal(404, "Certificate Not Found", details) from None
        return Response(200, {"md5sum": digest}, {"ETag": digest})

    def delete_certificate(self, request: Request, lb_id: str, name: str) -> Response:
        """Absent is a success."""
        lb_id, name = _load_balancer(lb_id), _certificate_name(name)
        with self._mutation(request):
            path = self._agent.haproxy(lb_id).certificates.path / name
            if path.exists():
                path.unlink()
                self._agent.state.change(lb_id, certificates_changed=True)
        return Response(200, _OK)

    # --- interfaces -----------------------------------------------------------------------------

    def plug_vip(self, request: Request, vip: str) -> Response:
        """The VIP's interface."""
        try:
            ip_address(vip)
        except ValueError:
            raise refusal(400, "Invalid VIP") from None
        try:
            wanted = VipNetwork.from_json(vip, request.json())
        except BadPayload as error:
            raise refusal(400, "Invalid request", str(error)) from None
        with self._mutation(request):
            try:
                name = self._agent.interfaces.plug_vip(wanted)
            except AlreadyPlugged:
                raise refusal(409, "Interface already exists") from None
            except NotArrived:
                raise HttpError(404, {"details": NO_INTERFACE}) from None
            except NotPossible as error:
                raise refusal(500, "Error plugging VIP", str(error)) from None
        plugged = ", ".join(one.ip_address for one in wanted.vips)
        return Response(202, {**_OK, "details": f"VIPs plugged on interface {name}: {plugged}"})

    def plug_network(self, request: Request) -> Response:
        """An interface towards members."""
        try:
            wanted = MemberNetwork.from_json(request.json())
        except BadPayload as error:
            raise refusal(400, "Invalid network port", str(error)) from None
        with self._mutation(request):
            try:
                name, is_new = self._agent.interfaces.plug_network(wanted)
            except NotArrived:
                raise HttpError(404, {"details": NO_INTERFACE}) from None
            except NotPossible as error:
                raise refusal(500, "Error plugging network", str(error)) from None
        details = f"Plugged on interface {name}" if is_new else f"Updated existing interface {name}"
        return Response(202, {**_OK, "details": details})

    # --- the agent itself -----------------------------------------------------------------------

    def put_agent_certificate(self, request: Request) -> Response:
        """A new server certificate; the next connection presents it."""
        data = request.body(SMALL_BODY_BYTES)
        config = self._agent.config
        with self._mutation(request):
            trial = config.agent_server_cert.with_name(".server.pem.trial")
            durable.write(trial, data)
            try:
                server_context(trial, config.agent_server_ca)
            except (ssl.SSLError, OSError) as error:
                # Storing it would lock every controller out for good.
                raise refusal(400, "Invalid certificate", str(error)) from None
            finally:
                trial.unlink(missing_ok=True)
            durable.write(config.agent_server_cert, data)
        return Response(202, _OK)

    def put_config(self, request: Request) -> Response:
        """A new configuration file; what can change without a restart does at once."""
        text = request.text(SMALL_BODY_BYTES)
        with self._mutation(request):
            try:
                self._agent.update_config(text)
            except (BadConfiguration, OSError) as error:
                raise refusal(500, "Unable to update amphora-agent configuration.", str(error)) from None
        return Response(202, _OK)

    # --- keepalived -----------------------------------------------------------------------------

    def upload_vrrp(self, request: Request) -> Response:
        """Store; ``start`` or ``reload`` makes it live."""
        text = request.text(SMALL_BODY_BYTES)
        with self._mutation(request):
            self._agent.keepalived.upload(text)
            self._agent.refresh_checks()
        return Response(200, _OK, {"ETag": _md5(text.encode())})

    def act_on_vrrp(self, request: Request, action: str) -> Response:
        """start, stop, reload."""
        action = _action(action)
        keepalived = self._agent.keepalived
        with self._mutation(request):
            try:
                if action == "stop":
                    keepalived.stop()
                else:
                    keepalived.start()
            except (ServiceFailed, OSError) as error:
                raise refusal(500, f"Failed to {action} octavia-keepalived service", str(error)) from None
        self._agent.heartbeat.report_soon()
        return Response(202, {**_OK, "details": f"keepalived {action}ed"})

    # --- not served yet -------------------------------------------------------------------------

    def no_rules(self, request: Request, address: str) -> Response:
        """A controller takes this 404 as "driver not implemented", as the contract has it."""
        del request, address
        raise framework_error(404, "This agent does not keep interface rules yet.")

    # --- shared ---------------------------------------------------------------------------------

    @contextmanager
    def _mutation(self, request: Request) -> Iterator[None]:
        """The agent's lock with an admitted fencing number; else 409 with the highest."""
        fence = request.number(HEADER_FENCE)
        try:
            with self._agent.admitted(fence):
                yield
        except FencedOff as error:
            raise refusal(409, "Fenced", str(error), fence=error.highest) from None

    def _require_us(self, amphora_id: str) -> None:
        if amphora_id.lower() != self._agent.config.amphora_id.lower():
            ours = self._agent.config.amphora_id
            raise refusal(404, "Amphora Not Found", f"This is amphora {ours}, not the one asked for.")


def _frontends(haproxy: Haproxy) -> list[tuple[str, str]]:
    """Name and kind of each frontend."""
    try:
        sections = parse(haproxy.live.read_text(encoding="utf-8")).sections
    except (OSError, ParseError):
        return []
    found = []
    for section in sections:
        if section.keyword == "frontend":
            lines = [directive.words for directive in section.directives]
            mode = next((words[1] for words in lines if words[0] == "mode" and words[1:]), "tcp")
            terminated = any(words[0] == "bind" and "crt-list" in words for words in lines)
            found.append((section.name, "TERMINATED_HTTPS" if terminated else mode.upper()))
    return found


def _load_balancer(lb_id: str) -> str:
    """A path is made of it, so it is a UUID or nothing."""
    if not UUID.fullmatch(lb_id.lower()):
        raise _no_load_balancer(lb_id)
    return lb_id.lower()


def _no_load_balancer(lb_id: str) -> HttpError:
    return refusal(404, "Loadbalancer Not Found", f"No loadbalancer with UUID: {lb_id}")


def _certificate_name(name: str) -> str:
    if not CERTIFICATE_NAME.fullmatch(name):
        raise refusal(400, "Filename has wrong format")
    return name


def _action(action: str) -> str:
    if action.lower() not in _ACTIONS:
        raise refusal(400, "Invalid Request", f"Unknown action: {action}")
    return action.lower()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
