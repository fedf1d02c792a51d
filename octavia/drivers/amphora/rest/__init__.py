# SPDX-License-Identifier: Apache-2.0
"""Steering amphorae over REST.

Our own agent takes everything at once (extension ``apply``): ``driver``. An upstream agent is steered by
the classic calls of REST 1.0, where each change is a real reload: ``classic``. Requests are made in
``http``, their bodies in ``payloads``; what an answer means is in ``answers``.
"""

from pathlib import Path

from oslo_config import cfg

from octavia.drivers.amphora.rest.driver import RestAmphoraDriver
from octavia.drivers.amphora.rest.http import RestSettings

__all__ = ("RestAmphoraDriver", "RestSettings", "from_config")


def from_config(conf: cfg.ConfigOpts) -> RestAmphoraDriver:
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
