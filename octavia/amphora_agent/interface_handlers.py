# SPDX-License-Identifier: Apache-2.0
"""The URLs of network interfaces (contract: amphora-agent.md section 3)."""

from ipaddress import ip_address

from octavia.amphora_agent.admission import OK, Gate
from octavia.amphora_agent.agent import Agent
from octavia.amphora_agent.http import HttpError, Request, Response, refusal
from octavia.amphora_agent.interfaces import AlreadyPlugged, NotArrived, NotPossible
from octavia.wire.agent import NO_INTERFACE, BadPayload, MemberNetwork, VipNetwork


class InterfaceHandlers:
    """One method an endpoint."""

    def __init__(self, agent: Agent, gate: Gate) -> None:
        self._agent = agent
        self._gate = gate

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
        with self._gate.mutation(request):
            try:
                name = self._agent.interfaces.plug_vip(wanted)
            except AlreadyPlugged:
                raise refusal(409, "Interface already exists") from None
            except NotArrived:
                raise HttpError(404, {"details": NO_INTERFACE}) from None
            except NotPossible as error:
                raise refusal(500, "Error plugging VIP", str(error)) from None
        plugged = ", ".join(one.ip_address for one in wanted.vips)
        return Response(202, {**OK, "details": f"VIPs plugged on interface {name}: {plugged}"})

    def plug_network(self, request: Request) -> Response:
        """An interface towards members."""
        try:
            wanted = MemberNetwork.from_json(request.json())
        except BadPayload as error:
            raise refusal(400, "Invalid network port", str(error)) from None
        with self._gate.mutation(request):
            try:
                name, is_new = self._agent.interfaces.plug_network(wanted)
            except NotArrived:
                raise HttpError(404, {"details": NO_INTERFACE}) from None
            except NotPossible as error:
                raise refusal(500, "Error plugging network", str(error)) from None
        details = f"Plugged on interface {name}" if is_new else f"Updated existing interface {name}"
        return Response(202, {**OK, "details": details})

    def find(self, request: Request, address: str) -> Response:
        """Which interface has this address?"""
        del request
        try:
            wanted = str(ip_address(address))
        except ValueError:
            raise refusal(400, "Invalid IP address") from None
        name = self._agent.interfaces.by_address(wanted)
        if name is None:
            raise refusal(404, "Error interface not found for IP address")
        return Response(200, {**OK, "interface": name})
