# SPDX-License-Identifier: Apache-2.0
"""What the amphora provider refuses (contract: api.md section 22)."""

from collections.abc import Iterator
from typing import Final

from octavia.domain.tree import Algorithm, Listener, LoadBalancer, Pool, Protocol
from octavia.providers.errors import UnsupportedOption

# No amphora forwards these yet: a listener that is accepted and never opens would be worse.
_NOT_FORWARDED: Final = frozenset({Protocol.UDP, Protocol.SCTP, Protocol.PROMETHEUS})

_READ: Final = frozenset({Protocol.HTTP, Protocol.TERMINATED_HTTPS})


def check(before: LoadBalancer | None, after: LoadBalancer) -> None:
    """:raises UnsupportedOption: what is new or changed cannot be made real."""
    for why in _refused(before, after):
        raise UnsupportedOption.of(after.provider, why)


def _refused(before: LoadBalancer | None, after: LoadBalancer) -> Iterator[str]:
    known = {one.id: one for one in before.walk()} if before else {}
    every: tuple[Listener | Pool, ...] = (*after.listeners, *after.pools)
    for one in every:
        if one is known.get(one.id):
            continue
        if one.protocol in _NOT_FORWARDED:
            yield f"{one.protocol} is not forwarded by amphorae of this release."
        if isinstance(one, Pool) and one.lb_algorithm is Algorithm.SOURCE_IP_PORT:
            yield "Amphorae do not balance by SOURCE_IP_PORT."
        if isinstance(one, Listener) and one.l7_policies and one.protocol not in _READ:
            yield f"L7 policies need a listener that reads requests; {one.protocol} is passed on unread."
