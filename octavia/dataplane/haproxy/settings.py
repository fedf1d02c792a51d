# SPDX-License-Identifier: Apache-2.0
"""What the rendering of HAProxy's configuration takes from octavia.conf (contract: config.md section 5)."""

from dataclasses import dataclass
from typing import Final

from octavia.domain.tls import CIPHERS

DEFAULT_USER_LOG_FORMAT: Final = (
    "{{ project_id }} {{ lb_id }} %f %ci %cp %t %{+Q}r %ST %B %U %[ssl_c_verify] "
    "%{+Q}[ssl_c_s_dn] %b %s %Tt %tsc"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxySettings:
    """The operator's choices; the defaults are the contract's.

    :param base_path: data directory in the amphora.
    :param default_connection_limit: for a listener without a limit of its own.
    :param stick_size: entries of a stick table, with an optional k, m or g.
    :param user_log_format: ``{{ project_id }}`` and ``{{ lb_id }}`` are substituted.
    :param log_socket: where the amphora's syslog listens; None when it has none, then nothing
        is logged.
    :param user: whom HAProxy becomes after binding; None to stay who it is.
    :param ping_command: what a PING monitor runs, in the amphora.
    :param default_listener_ciphers: in place of a stored cipher list that is none.
    """

    base_path: str = "/var/lib/octavia"
    base_cert_dir: str = "/var/lib/octavia/certs"
    default_connection_limit: int = 50000
    timeout_client_data_ms: int = 50000
    timeout_member_connect_ms: int = 5000
    timeout_member_data_ms: int = 50000
    timeout_tcp_inspect_ms: int = 0
    stick_size: str = "10k"
    user_log_format: str = DEFAULT_USER_LOG_FORMAT
    connection_logging: bool = True
    user_log_facility: int = 0
    administrative_log_facility: int = 1
    log_socket: str | None = "/run/rsyslog/octavia/log"
    user: str | None = "nobody"
    ping_command: str = "/var/lib/octavia/ping-wrapper.sh"
    default_listener_ciphers: str = CIPHERS
    default_pool_ciphers: str = CIPHERS

    @property
    def logs_connections(self) -> bool:
        """Is there one log line a connection?"""
        return self.connection_logging and self.log_socket is not None
