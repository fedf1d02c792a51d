# SPDX-License-Identifier: Apache-2.0
"""What clients of a load balancer may be answered: an oracle that reads the tree, not what is rendered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from octavia.domain.tree import CompareType, L7Action, L7Policy, L7Rule, Member, Pool
from tests.unit.dataplane import samples

HTTP, TLS, TCP, PLAIN = 81, 82, 83, 84  # ports of the listeners that are under load
BY_COOKIE, BY_SESSION, BY_SOURCE, UDP = 85, 86, 87, 88
SIDE: Final = range(91, 97)  # ports of those that come and go
WEB, OTHER, STREAM = (samples.pool_id(number) for number in (1, 2, 3))
# Their clients stay with their members: by a cookie of HAProxy's, by one of the application's, by address.
COOKIE, SESSION, SOURCE = (samples.pool_id(number) for number in (4, 5, 6))
APPLICATION_COOKIE: Final = "JSESSIONID"
DATAGRAMS: Final = samples.pool_id(7)
POOLS: Final = (WEB, OTHER, STREAM, COOKIE, SESSION, SOURCE, DATAGRAMS)
ENDPOINTS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    pool: tuple((f"10.88.0.{first + host}", port) for host in range(4) for port in range(8080, 8084))
    for pool, first in zip(POOLS, range(201, 254, 4), strict=False)
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
    :param keepers: a pool's id to the endpoints that keep the clients that they have, a weight of 0 or not,
        each with its member's id.
    """

    members: Mapping[str, frozenset[str]]
    keepers: Mapping[str, Mapping[str, str]]
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
    return frozenset(map(_endpoint, [one for one in able if not one.backup] or able))


def keepers(pool: Pool) -> Mapping[str, str]:
    """Who keeps the clients that it has."""
    return {_endpoint(one): one.id for one in pool.members if one.admin_state_up}


def _endpoint(member: Member) -> str:
    return f"{member.address}:{member.protocol_port}"
