# SPDX-License-Identifier: Apache-2.0
"""The URLs of the certificates of listeners and pools (contract: amphora-agent.md section 3)."""

from octavia.amphora_agent import durable
from octavia.amphora_agent.admission import OK, Gate, load_balancer_id, md5
from octavia.amphora_agent.agent import Agent
from octavia.amphora_agent.http import SMALL_BODY_BYTES, Request, Response, refusal
from octavia.wire.agent import CERTIFICATE_NAME


class CertificateHandlers:
    """One method an endpoint."""

    def __init__(self, agent: Agent, gate: Gate) -> None:
        self._agent = agent
        self._gate = gate

    def put(self, request: Request, lb_id: str, name: str) -> Response:
        """A PEM, or the crt-list of a listener."""
        lb_id, name = load_balancer_id(lb_id), _certificate_name(name)
        data = request.body(SMALL_BODY_BYTES)
        path = self._agent.haproxy(lb_id).certificates.path / name
        with self._gate.mutation(request):
            changed = path.exists() and path.read_bytes() != data
            durable.write(path, data)
            if changed:  # one that is new is loaded by whatever names it first
                self._agent.state.change(lb_id, certificates_changed=True)
        return Response(200, OK, {"ETag": md5(data)})

    def get(self, request: Request, lb_id: str, name: str) -> Response:
        """Its MD5, so that the controller need not send it again."""
        del request
        lb_id, name = load_balancer_id(lb_id), _certificate_name(name)
        try:
            digest = md5((self._agent.haproxy(lb_id).certificates.path / name).read_bytes())
        except FileNotFoundError:
            details = f"No certificate with filename: {name}"
            raise refusal(404, "Certificate Not Found", details) from None
        return Response(200, {"md5sum": digest}, {"ETag": digest})

    def delete(self, request: Request, lb_id: str, name: str) -> Response:
        """Absent is a success."""
        lb_id, name = load_balancer_id(lb_id), _certificate_name(name)
        with self._gate.mutation(request):
            path = self._agent.haproxy(lb_id).certificates.path / name
            if path.exists():
                path.unlink()
                self._agent.state.change(lb_id, certificates_changed=True)
        return Response(200, OK)


def _certificate_name(name: str) -> str:
    if not CERTIFICATE_NAME.fullmatch(name):
        raise refusal(400, "Filename has wrong format")
    return name
