# SPDX-License-Identifier: Apache-2.0
"""``compute_noop_driver``: every server that is asked for runs, and nothing does.

Nothing is stored, so a deleted server still answers, and there is none that a sweep could find. The compute
id follows from the amphora's (contract: drivers.md section 2).
"""

from collections.abc import Iterable
from typing import Final

from oslo_config import cfg

from octavia.domain.errors import NotFound, Terminal
from octavia.drivers.compute.contract import AmphoraSpec, Server, ServerStatus
from octavia.drivers.network.contract import Port
from octavia.drivers.noop import twin

_ADDRESS: Final = "192.0.2.1"  # for documentation (RFC 5737): no packet leaves for it


class NoopCompute:
    """Implements :class:`octavia.drivers.compute.contract.ComputeDriver`."""

    def __init__(self, _conf: cfg.ConfigOpts | None = None) -> None:
        pass

    def create(self, spec: AmphoraSpec) -> Server:
        """See the contract."""
        return self._server(twin("Amphora", spec.amphora_id), spec.amphora_id)

    def get(self, compute_id: str) -> Server | None:
        """See the contract."""
        try:
            return self._server(compute_id, twin("Server", compute_id))
        except NotFound:
            return None

    def delete(self, compute_id: str) -> None:
        """See the contract."""

    def attach_port(self, compute_id: str, port: Port) -> None:
        """See the contract."""
        if self.get(compute_id) is None:
            raise Terminal(f"There is no server {compute_id}.")

    def detach_port(self, compute_id: str, port_id: str) -> None:
        """See the contract."""

    def list(self) -> Iterable[Server]:
        """See the contract."""
        return ()

    @staticmethod
    def _server(compute_id: str, amphora_id: str) -> Server:
        return Server(
            compute_id=compute_id,
            amphora_id=amphora_id,
            status=ServerStatus.ACTIVE,
            lb_network_ip=_ADDRESS,
        )
