# SPDX-License-Identifier: Apache-2.0
"""From a state directory to a configuration and to what it means on this machine."""

import secrets

from oslo_config import cfg

from octavia import config
from octavia.cmd.standalone.state import State


def configuration(state: State) -> cfg.ConfigOpts:
    """Standalone's defaults, the installation's own secrets, and ``octavia.conf`` in the state directory.

    :raises octavia.config.checks.Contradiction: two options that cannot both be meant.
    """
    return config.load_standalone(
        [],
        state.path,
        more={
            ("health_manager", "heartbeat_key"): state.secret("heartbeat.key"),
            # 32 characters, as the option demands.
            ("certificates", "server_certs_key_passphrase"): [
                state.secret("passphrase.key", lambda: secrets.token_urlsafe(24))
            ],
            ("DEFAULT", "log_file"): str(state.log),
            ("DEFAULT", "log_rotation_type"): "size",
            ("DEFAULT", "max_logfile_size_mb"): 20,
            ("DEFAULT", "max_logfile_count"): 3,
        },
    )


def api_url(conf: cfg.ConfigOpts) -> str:
    """Where the API answers, without a slash at the end."""
    host = conf.api_settings.bind_host
    return f"http://{f'[{host}]' if ':' in host else host}:{conf.api_settings.bind_port}"
