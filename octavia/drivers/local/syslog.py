# SPDX-License-Identifier: Apache-2.0
"""The part of an amphora's image that is its syslog: where it listens, which files it writes.

What leaves the amphora is not here: see :mod:`octavia.dataplane.cloud_init.rsyslog`, whose file comes first
and may stop everything else. Amphorae are many and this machine's disk is one, so both files are bounded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from octavia.dataplane.cloud_init.rsyslog import RSYSLOG_CONF
from octavia.drivers.local.process import MOUNT_AT

SYSLOG_CONF: Final = "/etc/octavia/rsyslog.conf"
LOGS: Final = f"{MOUNT_AT}/log"
FLOW_LOG: Final = "flow.log"
ADMIN_LOG: Final = "admin.log"
_BYTES: Final = {FLOW_LOG: 16_000_000, ADMIN_LOG: 1_000_000}  # each, before it becomes NAME.1


def flow_log(directory: Path) -> Path:
    """As this machine sees it, in the directory of an amphora's process."""
    return directory / "inside/log" / FLOW_LOG


def files(bytes_of: Mapping[str, int] = _BYTES) -> dict[str, bytes]:
    """Path to content; the agent runs rsyslogd with :data:`SYSLOG_CONF`.

    A flow record is what HAProxy says at *info*, whichever facility it has been given.

    :param bytes_of: how big the two files may become.
    """
    channels = "".join(
        f"$outchannel {name},{LOGS}/{name},{size},/bin/sh {_rotation(name)}\n"
        for name, size in bytes_of.items()
    )
    conf = f"""\
# Its own words go into its files, not to the host's /dev/log, and a log host out of reach is not worth many.
global(processInternalMessages="on" internalmsg.ratelimit.interval="60" internalmsg.ratelimit.burst="20"
       errorMessagesToStderr.maxNumber="20")
# /dev is the host's: no socket there.
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="/run/rsyslog/octavia/log" CreatePath="on")
$FileCreateMode 0600
$DirCreateMode 0700
{channels}
include(file="{RSYSLOG_CONF}" mode="optional")

if $programname == "haproxy" and $syslogseverity-text == "info" then :omfile:${FLOW_LOG}
else :omfile:${ADMIN_LOG}
"""
    # rsyslog gives a program one argument and no shell.
    moves = {_rotation(name): f"exec mv -f {LOGS}/{name} {LOGS}/{name}.1\n".encode() for name in bytes_of}
    return {SYSLOG_CONF: conf.encode(), **moves}


def _rotation(name: str) -> str:
    return f"/etc/octavia/rotate-{name}.sh"
