# SPDX-License-Identifier: Apache-2.0
"""What the worker reads from configuration, typed."""

from dataclasses import dataclass, field
from datetime import timedelta

from octavia.dataplane.cloud_init.agent_conf import AgentConf
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.keepalived.render import KeepalivedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Options of ``[controller_worker]`` and of what it renders.

    :param owner: who holds the leases: host and process.
    :param lease: how long a lease lasts; every external call takes less.
    :param deadline: how long a write may take until its object shows ERROR.
    :param threads: load balancers that are reconciled at the same time.
    :param sweep: how often the queue is looked into though nobody rang.
    :param unreachable: how long an amphora may be out of reach until it is given up.
    :param replacement_shown: how long a replacement shows PENDING_UPDATE at least, for pollers.
    :param replacement_hidden: when a replacement that takes long shows ACTIVE again.
    """

    owner: str
    lease: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(minutes=5)
    threads: int = 4
    sweep: timedelta = timedelta(seconds=2)
    unreachable: timedelta = timedelta(seconds=15)
    replacement_shown: timedelta = timedelta(seconds=5)
    replacement_hidden: timedelta = timedelta(minutes=5)
    agent: AgentConf
    haproxy: HaproxySettings = field(default_factory=HaproxySettings)
    keepalived: KeepalivedSettings = field(default_factory=KeepalivedSettings)
