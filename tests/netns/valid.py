# SPDX-License-Identifier: Apache-2.0
"""What clients of a load balancer may be answered: an oracle that reads the tree, not what is rendered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from octavia.domain.tree import CompareType, L7Action, L7Policy, L7Rule, Pool
from tests.unit.dataplane import samples

HTTP, TLS, TCP, PLAIN = 81, 82, 83, 84  # ports of the listeners that are under load
SIDE: Final = range(91, 97)  # ports of those that come and go
WEB, OTHER, STREAM = (samples.pool_id(number) for number in (1, 2, 3))
ENDPOINTS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    pool: tuple((f"10.88.0.{host}", port) for host in hosts for port in range(8080, 8084))
    for pool, hosts in ((WEB, range(201, 205)), (OTHER, range(205, 209)), (STREAM, range(209, 213)))
}
DEFAULT_NAME: Final = "site.example.org"
NAMES: Final = tuple(f"n{number}.example.org" for number in range(1, 6))
WORDS: Final = tuple(f"w{number}" for number in range(6))  # what paths are made of
# HAProxy denies before it redirects, and redirects before it chooses a pool.
TURNS: Final = (L7Action.REJECT, L7Action.REDIRECT_TO_URL, L7Action.REDIRECT_TO_POOL)


@dataclass(frozen=True, slots=True)
class Valid:
    """What one configuration allows.

    :param members: a pool's id to the endpoints that take new connections, like ``10.88.0.201:8080``.
    :param policies: of the HTTP listener.
    :param certificates: a server's name to the serial number of what is shown to whom asks for it.
    """

    members: Mapping[str, frozenset[str]]
    policies: tuple[L7Policy, ...]
    certificates: Mapping[str, str]

    def allows_member(self, pool_id: str, endpoint: str) -> bool:
        return endpoint in self.members[pool_id]

    def decision(self, path: str) -> str:
        """Of the HTTP listener: a pool's id, where it redirects to, or an empty string: it rejects."""
        for action in TURNS:
            for policy in self.policies:
                if policy.action is action and _matches(policy, path):
                    return policy.redirect_pool_id or policy.redirect_url or ""
        return WEB


def _matches(policy: L7Policy, path: str) -> bool:
    rules = [rule for rule in policy.rules if rule.admin_state_up]
    return policy.admin_state_up and bool(rules) and all(_is_met(rule, path) for rule in rules)


def _is_met(rule: L7Rule, path: str) -> bool:
    value = rule.value
    met = {
        CompareType.STARTS_WITH: path.startswith(value),
        CompareType.ENDS_WITH: path.endswith(value),
        CompareType.CONTAINS: value in path,
        CompareType.EQUAL_TO: path == value,
        CompareType.REGEX: rule.compare_type is CompareType.REGEX and bool(re.search(value, path)),
    }[rule.compare_type]
    return met is not rule.invert


def eligible(pool: Pool) -> frozenset[str]:
    """Who takes new connections: backups only where nobody else does."""
    able = [one for one in pool.members if one.admin_state_up and one.weight > 0]
    first = [one for one in able if not one.backup] or able
    return frozenset(f"{one.address}:{one.protocol_port}" for one in first)
