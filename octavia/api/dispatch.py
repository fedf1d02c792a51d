# SPDX-License-Identifier: Apache-2.0
"""Changes of third-party load balancers on their way to the provider (SEMANTICS "Creating a load balancer").

The one seam: a change is committed as PENDING with a row that says what it waits for, the provider is asked
outside of any transaction, and then the row goes, or the change is taken back. The amphora provider is not
asked: its worker finds the change in the work queue.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from octavia.db import provider_calls
from octavia.db.engine import Database
from octavia.domain.clock import Clock
from octavia.domain.errors import OctaviaError
from octavia.domain.tree import AdditionalVip, LoadBalancer, Vip
from octavia.drivers.certificates.tenant import TenantCertificates
from octavia.drivers.network.contract import NetworkDriver, VipAllocation
from octavia.providers import models
from octavia.providers.calls import ProviderCall
from octavia.providers.errors import ProviderFailed, UnsupportedAction, translated
from octavia.providers.registry import Providers
from octavia.providers.secrets import FoundSecrets
from octavia.providers.updates import models_of

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What it takes to ask a provider."""

    database: Database
    network: NetworkDriver
    clock: Clock
    providers: Providers
    certificates: TenantCertificates

    def hand_over(self, call_id: str, call: ProviderCall, before: LoadBalancer, after: LoadBalancer) -> None:
        """Tell the provider of a change that is stored under ``call_id``.

        :raises OctaviaError: it refused, and everything is as before.
        """
        try:
            self._ask(call, before, after)
        except Exception:
            self.database.write(lambda tx: provider_calls.refused(tx, call_id, before, after))
            raise
        self._accepted(call_id, call, after)

    def create(self, call_id: str, call: ProviderCall, lb: LoadBalancer) -> None:
        """Tell the provider of a new load balancer that is stored under ``call_id``.

        :raises OctaviaError: it refused, and no trace of it is left.
        """
        try:
            self._ask(call, lb, lb)
        except Exception:
            gone = self.database.write(
                lambda tx: provider_calls.creation_refused(tx, call_id, lb.id, self.clock.now())
            )
            if gone:
                self.release(lb)
            raise
        self._accepted(call_id, call, lb)

    def allocate(self, lb: LoadBalancer) -> VipAllocation:
        """Its addresses: the provider's own making, or else the network's.

        :raises OctaviaError: there are none.
        """
        if lb.third_party:
            try:
                return self._allocated(lb)
            except UnsupportedAction:
                LOG.debug("Provider %s leaves the VIP's port to us", lb.provider)
        return self.network.create_vip_port(lb.id, lb.project_id, lb.vip, lb.additional_vips)

    def release(self, lb: LoadBalancer) -> None:
        """Free the addresses of a load balancer that was not made; what fails now, the sweep frees later."""
        if not lb.vip.octavia_owned:
            return
        try:
            self.network.release_vip_port(lb.id, lb.vip)
        except OctaviaError as error:
            LOG.warning("Load balancer %s was not created; freeing its address failed: %s", lb.id, error)

    def _ask(self, call: ProviderCall, before: LoadBalancer, after: LoadBalancer) -> None:
        secrets = FoundSecrets(self.certificates, tolerant=call.tolerant)
        with self.database.read() as tx:
            new = models_of(tx, after, secrets)
        # What was there before is told as far as it can still be found.
        old = replace(new, lb=before, secrets=replace(secrets, tolerant=True))
        arguments = call.arguments(old, new)
        driver = self.providers.driver(after.provider)
        with translated(after.provider):
            getattr(driver, call.method)(*arguments)

    def _accepted(self, call_id: str, call: ProviderCall, lb: LoadBalancer) -> None:
        if not self.database.write(lambda tx: provider_calls.accepted(tx, call_id)):
            LOG.warning("Provider %s took too long to accept %s of %s", lb.provider, call.method, lb.id)

    def _allocated(self, lb: LoadBalancer) -> VipAllocation:
        driver = self.providers.driver(lb.provider)
        wished = [models.additional_vip(one) for one in lb.additional_vips]
        with translated(lb.provider):
            made, more = driver.create_vip_port(lb.id, lb.project_id, models.vip(lb.vip), wished)
        more = more or []
        if len(more) != len(lb.additional_vips):
            raise ProviderFailed.of(
                lb.provider, "it made another number of additional VIPs than was asked for."
            )
        return VipAllocation(
            vip=_vip(lb.vip, made),
            additional_vips=tuple(
                _additional(one, each) for one, each in zip(lb.additional_vips, more, strict=True)
            ),
        )


def _vip(wished: Vip, made: Mapping[str, Any]) -> Vip:
    return replace(
        wished,
        ip_address=made.get("vip_address", wished.ip_address),
        port_id=made.get("vip_port_id", wished.port_id),
        network_id=made.get("vip_network_id", wished.network_id),
        subnet_id=made.get("vip_subnet_id", wished.subnet_id),
        octavia_owned=bool(made.get("octavia_owned")),
    )


def _additional(wished: AdditionalVip, made: Mapping[str, Any]) -> AdditionalVip:
    names = ("ip_address", "port_id", "network_id", "subnet_id")
    return replace(wished, **{name: made.get(name, getattr(wished, name)) for name in names})
