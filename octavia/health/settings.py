# SPDX-License-Identifier: Apache-2.0
"""What the health manager reads of octavia.conf (section ``[health_manager]``)."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from octavia.health.receive import ReceiverSettings
from octavia.health.stale import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Everything, typed.

    :param owner: names this process among all health managers.
    :param check_interval: ``health_check_interval``, from the end of one judgement to the next.
    :param witnesses: ``failover_threads``: how many amphorae are asked about at once.
    """

    owner: str
    receiver: ReceiverSettings
    limits: Limits = field(default_factory=Limits)
    check_interval: timedelta = timedelta(seconds=3)
    witnesses: int = 10


def from_config(conf: Any, *, owner: str) -> HealthSettings:
    """Read the section once; leaf code sees no global."""
    options = conf.health_manager
    timeout = timedelta(seconds=options.heartbeat_timeout)
    return HealthSettings(
        owner=owner,
        receiver=ReceiverSettings(
            key=options.heartbeat_key,
            bind_ip=str(options.bind_ip),
            bind_port=options.bind_port,
            buffer_bytes=options.sock_rlimit,
            timeout=timeout,
            interval=timedelta(seconds=options.heartbeat_interval),
            repair_interval=timeout,
        ),
        limits=Limits(timeout=timeout, threshold=options.failover_threshold),
        check_interval=timedelta(seconds=options.health_check_interval),
        witnesses=options.failover_threads,
    )
