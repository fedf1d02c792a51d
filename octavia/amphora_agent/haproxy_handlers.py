# SPDX-License-Identifier: Apache-2.0
"""The URLs of HAProxy, and our extension ``apply`` (contract: amphora-agent.md section 3)."""

from octavia.amphora_agent.admission import OK, Gate, known_action, load_balancer_id, md5, no_load_balancer
from octavia.amphora_agent.agent import Agent
from octavia.amphora_agent.certificates import Missing
from octavia.amphora_agent.haproxy import Invalid, NotFound
from octavia.amphora_agent.http import MAX_BODY_BYTES, Request, Response, refusal
from octavia.amphora_agent.l4 import L4Refused
from octavia.amphora_agent.l4_handlers import UdpHandlers
from octavia.amphora_agent.state import Overtaken
from octavia.amphora_agent.supervisor import ServiceFailed
from octavia.wire.agent import HEADER_FENCE, HEADER_GENERATION, Apply, BadPayload


class HaproxyHandlers:
    """One method an endpoint.

    :param udp: does what is asked of a listener of LVS, at the URLs that it shares with load balancers.
    """

    def __init__(self, agent: Agent, gate: Gate, udp: UdpHandlers) -> None:
        self._agent = agent
        self._gate = gate
        self._udp = udp

    def apply(self, request: Request, amphora_id: str, lb_id: str) -> Response:
        """Our extension: everything at once, live when it answers."""
        self._gate.require_us(amphora_id)
        lb_id = load_balancer_id(lb_id)
        fence = request.number(HEADER_FENCE)
        try:
            body = Apply.from_json(request.json(limit=MAX_BODY_BYTES))
        except BadPayload as error:
            raise refusal(400, "Invalid request", str(error)) from None
        with self._gate.mutation(request):
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
            {**OK, "generation": body.generation, "action": change.action, "reload_reason": change.reason},
        )

    def put(self, request: Request, amphora_id: str, lb_id: str) -> Response:
        """Validate and stage; ``reload`` or ``start`` makes it live."""
        self._gate.require_us(amphora_id)
        lb_id = load_balancer_id(lb_id)
        text = request.text()
        with self._gate.mutation(request):
            try:
                self._agent.haproxy(lb_id).stage(text)
            except Invalid as error:
                raise refusal(400, "Invalid request", str(error)) from None
            self._agent.state.change(lb_id, staged_generation=request.number(HEADER_GENERATION))
        return Response(202, OK, {"ETag": md5(text.encode())})

    def get(self, request: Request, lb_id: str) -> Response:
        """The newest configuration that was accepted."""
        del request
        lb_id = load_balancer_id(lb_id)
        try:
            text = self._agent.haproxy(lb_id).text()
        except NotFound:
            raise no_load_balancer(lb_id) from None
        return Response(200, text, {"ETag": md5(text.encode())})

    def act(self, request: Request, lb_id: str, action: str) -> Response:
        """start, stop, reload."""
        action = known_action(action)
        lb_id = load_balancer_id(lb_id)
        if lb_id in self._agent.lvs.listeners():
            return self._udp.act(request, lb_id, action)
        haproxy = self._agent.haproxy(lb_id)
        with self._gate.mutation(request):
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
                raise no_load_balancer(lb_id) from None
            except (Invalid, ServiceFailed) as error:
                raise refusal(500, f"Error {action}ing haproxy", str(error)) from None
        return Response(202, {**OK, "details": f"Listener {lb_id} {action}ed"})

    def delete(self, request: Request, lb_id: str) -> Response:
        """Stop and remove a load balancer, or a listener of LVS; what is not there is removed."""
        lb_id = load_balancer_id(lb_id)
        with self._gate.mutation(request):
            if lb_id in self._agent.lvs.listeners():
                self._agent.lvs.delete(lb_id)
                self._agent.heartbeat.report_soon()
                return Response(200, OK)
            try:
                self._agent.run_haproxy(lb_id, None)
                if self._agent.l4.load_balancer_id == lb_id:
                    self._agent.serve_l4(None)
            except (ServiceFailed, L4Refused) as error:
                raise refusal(500, "Error stopping haproxy", str(error)) from None
            self._agent.state.forget(lb_id)
        return Response(200, OK)
