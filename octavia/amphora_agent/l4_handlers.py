# SPDX-License-Identifier: Apache-2.0
"""The URLs of UDP and SCTP listeners in REST 1.0: a file of keepalived's LVS each (contract: amphora-agent.md
section 3).
"""

from octavia.amphora_agent.admission import OK, Gate, md5
from octavia.amphora_agent.agent import UUID, Agent
from octavia.amphora_agent.http import (
    SMALL_BODY_BYTES,
    HttpError,
    Request,
    Response,
    framework_error,
    refusal,
)
from octavia.amphora_agent.l4_lvs import NoIpvs
from octavia.amphora_agent.supervisor import ServiceFailed


class UdpHandlers:
    """One method an endpoint."""

    def __init__(self, agent: Agent, gate: Gate) -> None:
        self._agent = agent
        self._gate = gate

    def listed(self) -> list[dict[str, str]]:
        """Their items of ``GET /listeners``."""
        lvs = self._agent.lvs
        running = set(lvs.running())
        return [
            {"status": "ACTIVE" if one in running else "OFFLINE", "uuid": one, "type": "UDP"}
            for one in lvs.listeners()
        ]

    def put(self, request: Request, amphora_id: str, listener_id: str) -> Response:
        """Store; ``start`` or ``reload`` makes it live."""
        self._gate.require_us(amphora_id)
        listener_id = _listener(listener_id)
        text = request.text(SMALL_BODY_BYTES)
        with self._gate.mutation(request):
            try:
                self._agent.lvs.upload(listener_id, text)
            except NoIpvs as error:
                raise framework_error(501, str(error)) from None
        return Response(200, OK, {"ETag": md5(text.encode())})

    def get(self, request: Request, listener_id: str) -> Response:
        """What was stored."""
        del request
        try:
            text = self._agent.lvs.text(_listener(listener_id))
        except FileNotFoundError:
            raise _absent(listener_id) from None
        return Response(200, text, {"ETag": md5(text.encode())})

    def act(self, request: Request, listener_id: str, action: str) -> Response:
        """start, stop, reload."""
        with self._gate.mutation(request):
            try:
                self._agent.lvs.act(listener_id, action)
            except ServiceFailed as error:
                message = f"Failed to {action} keepalivedlvs listener {listener_id}"
                raise refusal(500, message, str(error)) from None
            if action != "stop" and self._agent.config.is_single:
                self._agent.interfaces.announce()
        self._agent.heartbeat.report_soon()
        return Response(202, {**OK, "details": f"keepalivedlvs listener {listener_id} {action}ed"})


def _listener(listener_id: str) -> str:
    """A path is made of it, so it is a UUID or nothing."""
    if not UUID.fullmatch(listener_id.lower()):
        raise _absent(listener_id)
    return listener_id.lower()


def _absent(listener_id: str) -> HttpError:
    return refusal(404, "UDP Listener Not Found", f"No UDP listener with UUID: {listener_id}")
