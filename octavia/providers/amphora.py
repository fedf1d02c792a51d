# SPDX-License-Identifier: Apache-2.0
"""The amphora provider: what it refuses (contract: api.md section 22), and what its flavors can say.

Its load balancers are made real by the worker, which finds them in the work queue: it is handed no calls.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final

from octavia_lib.api.drivers.provider_base import ProviderDriver

from octavia.domain.protocols import DATAGRAMS
from octavia.domain.tree import (
    Algorithm,
    Listener,
    LoadBalancer,
    Pool,
    Protocol,
    Resource,
)
from octavia.providers import capabilities
from octavia.providers.capabilities import Capability
from octavia.providers.errors import UnsupportedOption

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
        if isinstance(one, Pool) and one.lb_algorithm is Algorithm.SOURCE_IP_PORT:
            yield "Amphorae do not balance by SOURCE_IP_PORT."
        if isinstance(one, Listener) and one.l7_policies and one.protocol not in _READ:
            yield f"L7 policies need a listener that reads requests; {one.protocol} is passed on unread."
    yield from _mixed_versions(before, after, known)


def _mixed_versions(
    before: LoadBalancer | None, after: LoadBalancer, known: Mapping[str, Resource]
) -> Iterator[str]:
    """Members that no VIP's clients could reach: addresses are translated within one IP version only."""
    versions = {ip_address(vip).version for vip in after.vip_addresses}
    for pool in after.pools:
        if not versions or pool.protocol not in DATAGRAMS or not after.listeners_using(pool.id):
            continue
        newly_used = before is None or not before.listeners_using(pool.id)
        for member in pool.members:
            version = ip_address(member.address).version
            if version not in versions and (newly_used or member is not known.get(member.id)):
                yield (
                    f"Member {member.address} is of another IP version than the load balancer's VIPs;"
                    f" mixing versions is not supported for {pool.protocol}."
                )


class AmphoraDriver(ProviderDriver):  # type: ignore[misc]  # octavia-lib has no types
    """What profiles of flavors and availability zones are checked with."""

    name = "amphora"

    def get_supported_flavor_metadata(self) -> dict[str, str]:
        """Key to description."""
        return _described(capabilities.FLAVOR)

    def validate_flavor(self, flavor_metadata: Mapping[str, Any]) -> None:
        """:raises UnsupportedOption: a key is unknown, or its value is none."""
        capabilities.check(self.name, flavor_metadata, capabilities.FLAVOR)

    def get_supported_availability_zone_metadata(self) -> dict[str, str]:
        """Key to description."""
        return _described(capabilities.AVAILABILITY_ZONE)

    def validate_availability_zone(self, availability_zone_metadata: Mapping[str, Any]) -> None:
        """:raises UnsupportedOption: a key is unknown, or its value is none."""
        capabilities.check(self.name, availability_zone_metadata, capabilities.AVAILABILITY_ZONE)


def _described(every: Mapping[str, Capability]) -> dict[str, str]:
    return {key: one.description for key, one in every.items()}
