# SPDX-License-Identifier: Apache-2.0
"""The amphora's syslog: HAProxy's flow logs and the agent's own words on their way out.

In a virtual machine the image runs rsyslogd, and only the socket matters here. Where there is no such image
the agent is told a configuration file (``syslog_conf``) and runs rsyslogd beside HAProxy. What becomes of
the logs is in that file, not here.
"""

import contextlib
import logging
import signal
import socket
from pathlib import Path
from typing import Final

from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.supervisor import Service, ServiceFailed, Supervisor

LOG = logging.getLogger(__name__)

SOCKET: Final = Path("/run/rsyslog/octavia/log")  # contract: amphora-agent.md section 8
SYSLOG: Final = "octavia-rsyslog"  # the service's name
# The kernel's 10 are a burst of ten requests; HAProxy never waits, it drops. As systemd has it.
_WAITING_DATAGRAMS: Final = "512"
_LOCAL_0: Final = 16  # RFC 3164 section 4.1.1
_SEVERITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
_QUEUE_LENGTH: Final = Path("/proc/sys/net/unix/max_dgram_qlen")


class Syslog:
    """The rsyslogd of an amphora without an image; does nothing where there is one."""

    def __init__(self, config: AgentConfig, supervisor: Supervisor) -> None:
        self._wanted = config.syslog_conf is not None
        self._supervisor = supervisor
        self._service = Service(
            name=SYSLOG,
            argv=(config.rsyslogd_cmd, "-n", "-i", "NONE", "-f", str(config.syslog_conf)),
            pid_file=config.base_path / "rsyslogd.pid",
            reload_signal=signal.SIGHUP,
            notify_socket=config.base_path / "rsyslogd.ntf",
            notifies=False,  # not every build does
            in_netns=False,  # log hosts are in the management network
        )

    def start(self) -> None:
        """Run it, and again whenever it dies. An amphora serves without logs, so nothing is raised."""
        if not self._wanted:
            return
        try:
            _QUEUE_LENGTH.write_text(_WAITING_DATAGRAMS)
        except OSError as error:
            LOG.warning("Bursts of more than a few log lines will be cut: %s", error)
        try:
            self._supervisor.start(self._service)
        except ServiceFailed:
            LOG.exception("There are no flow logs of this amphora")

    def stop(self) -> None:
        """Returns when it has written what it had."""
        if self._wanted:
            self._supervisor.stop(self._service)


class SyslogHandler(logging.Handler):
    """Logs to the amphora's syslog and never waits for it: a line that it does not take at once is dropped.

    :mod:`logging.handlers` has one that waits, and that needs the daemon to be there first.

    :param facility: N of ``localN``.
    """

    def __init__(self, facility: int, path: Path = SOCKET) -> None:
        super().__init__()
        self._facility = _LOCAL_0 + facility
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class; RFC 3164 without a time, which the daemon adds."""
        severity = next(number for level, number in _SEVERITIES if record.levelno >= level)
        text = f"<{self._facility * 8 + severity}>amphora-agent: {self.format(record)}"
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(errors="replace"), self._path)

    def close(self) -> None:
        """See the base class."""
        self._socket.close()
        super().close()
