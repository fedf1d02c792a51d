# SPDX-License-Identifier: Apache-2.0
"""The URLs of REST 1.0 and of our extension ``apply`` (contract: amphora-agent.md section 3).

Interface rules are not served yet: they answer 404 in JSON. UDP and SCTP listeners of REST 1.0 need a
kernel with IPVS, else they answer 501; :mod:`octavia.amphora_agent.l4` needs none.
"""

import ssl

from octavia.amphora_agent import details, durable
from octavia.amphora_agent.admission import OK, Gate, known_action, md5
from octavia.amphora_agent.agent import Agent
from octavia.amphora_agent.certificate_handlers import CertificateHandlers
from octavia.amphora_agent.config import BadConfiguration
from octavia.amphora_agent.haproxy import Haproxy
from octavia.amphora_agent.haproxy_handlers import HaproxyHandlers
from octavia.amphora_agent.http import (
    SMALL_BODY_BYTES,
    Application,
    Request,
    Response,
    Route,
    framework_error,
    refusal,
)
from octavia.amphora_agent.interface_handlers import InterfaceHandlers
from octavia.amphora_agent.l4_handlers import UdpHandlers
from octavia.amphora_agent.server import server_context
from octavia.amphora_agent.supervisor import ServiceFailed
from octavia.dataplane.haproxy.parse import ParseError, parse
from octavia.wire.agent import API_VERSION, PREFIX


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
        Route("DELETE", f"{PREFIX}/listeners/{{lb_id}}", to.haproxy.delete),
        Route("PUT", f"{PREFIX}/listeners/{{amphora_id}}/{{listener_id}}/udp_listener", to.udp.put),
        Route("GET", f"{PREFIX}/listeners/{{listener_id}}/udp_listener", to.udp.get),
        Route("PUT", f"{lb}/{{amphora_id}}/{{lb_id}}/haproxy", to.haproxy.put),
        Route("PUT", f"{lb}/{{amphora_id}}/{{lb_id}}/apply", to.haproxy.apply),
        Route("GET", f"{lb}/{{lb_id}}/haproxy", to.haproxy.get),
        Route("PUT", f"{lb}/{{lb_id}}/certificates/{{name}}", to.certificates.put),
        Route("GET", f"{lb}/{{lb_id}}/certificates/{{name}}", to.certificates.get),
        Route("DELETE", f"{lb}/{{lb_id}}/certificates/{{name}}", to.certificates.delete),
        Route("PUT", f"{lb}/{{lb_id}}/{{action}}", to.haproxy.act),
        Route("POST", f"{PREFIX}/plug/vip/{{vip}}", to.interfaces.plug_vip),
        Route("POST", f"{PREFIX}/plug/network", to.interfaces.plug_network),
        Route("PUT", f"{PREFIX}/certificate", to.put_agent_certificate),
        Route("PUT", f"{PREFIX}/config", to.put_config),
        Route("PUT", f"{PREFIX}/vrrp/upload", to.upload_vrrp),
        Route("PUT", f"{PREFIX}/vrrp/{{action}}", to.act_on_vrrp),
        Route("GET", f"{PREFIX}/interface/{{address}}", to.interfaces.find),
        Route("PUT", f"{PREFIX}/interface/{{address}}/rules", to.no_rules),
    ]


class Handlers:
    """One method an endpoint."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._gate = Gate(agent)
        self.udp = UdpHandlers(agent, self._gate)
        self.haproxy = HaproxyHandlers(agent, self._gate, self.udp)
        self.certificates = CertificateHandlers(agent, self._gate)
        self.interfaces = InterfaceHandlers(agent, self._gate)

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
            **details.machine(self._agent.processes, is_shared=self._agent.config.supervisor == "children"),
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

    def put_agent_certificate(self, request: Request) -> Response:
        """A new server certificate; the next connection presents it."""
        data = request.body(SMALL_BODY_BYTES)
        config = self._agent.config
        with self._gate.mutation(request):
            trial = config.agent_server_cert_trial
            durable.write(trial, data)
            try:
                server_context(trial, config.agent_server_ca)
            except (ssl.SSLError, OSError) as error:
                # Storing it would lock every controller out for good.
                raise refusal(400, "Invalid certificate", str(error)) from None
            finally:
                trial.unlink(missing_ok=True)
            durable.write(config.agent_server_cert, data)
        return Response(202, OK)

    def put_config(self, request: Request) -> Response:
        """A new configuration file; what can change without a restart does at once."""
        text = request.text(SMALL_BODY_BYTES)
        with self._gate.mutation(request):
            try:
                self._agent.update_config(text)
            except (BadConfiguration, OSError) as error:
                raise refusal(500, "Unable to update amphora-agent configuration.", str(error)) from None
        return Response(202, OK)

    def upload_vrrp(self, request: Request) -> Response:
        """Store; ``start`` or ``reload`` makes it live."""
        text = request.text(SMALL_BODY_BYTES)
        with self._gate.mutation(request):
            self._agent.keepalived.upload(text)
            self._agent.refresh_checks()
        return Response(200, OK, {"ETag": md5(text.encode())})

    def act_on_vrrp(self, request: Request, action: str) -> Response:
        """start, stop, reload."""
        action = known_action(action)
        keepalived = self._agent.keepalived
        with self._gate.mutation(request):
            try:
                if action == "stop":
                    keepalived.stop()
                else:
                    keepalived.start()
            except (ServiceFailed, OSError) as error:
                raise refusal(500, f"Failed to {action} octavia-keepalived service", str(error)) from None
        self._agent.heartbeat.report_soon()
        return Response(202, {**OK, "details": f"keepalived {action}ed"})

    def no_rules(self, request: Request, address: str) -> Response:
        """A controller takes this 404 as "driver not implemented", as the contract has it."""
        del request, address
        raise framework_error(404, "This agent does not keep interface rules yet.")


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
