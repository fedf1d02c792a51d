# SPDX-License-Identifier: Apache-2.0
"""When only a reload will do, and why: a phrase for people, a word for those who count."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why HAProxy was reloaded; a label of a metric, so nothing of a tenant's is in it."""

    LISTENER = "listener"  # one is new, gone or other, or its policies are
    POOL = "pool"  # one is new or gone, or differs in more than its members
    MEMBER = "member"  # one differs in what HAProxy takes only at its start
    L7_RULE = "l7_rule"  # one has a value that the runtime socket cannot be told
    CERTIFICATE = "certificate"  # one could not be exchanged at runtime
    PROCESS = "process"  # what belongs to no proxy: limits, defaults, peers
    UNREADABLE = "unreadable"  # another controller's text, not understood well enough
    REFUSED = "refused"  # HAProxy did not do what a runtime command asked
    UNKNOWN = "unknown"  # it was not known what runs


@dataclass(frozen=True, slots=True)
class Reload:
    """Only a reload will do.

    :param reason: a phrase for the log and the tenant's reason, without a full stop.
    """

    cause: Cause
    reason: str


class OnlyReload(Exception):
    """Raised where a difference is found that the runtime socket cannot bridge."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.reload = Reload(cause, reason)
