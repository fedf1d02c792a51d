# SPDX-License-Identifier: Apache-2.0
"""Updates, deletions and failovers of load balancers (contract: api.md section 5.6)."""

from dataclasses import replace
from typing import Final

from octavia.domain import tls
from octavia.domain.rules.ground import Deployment, Values, invalid
from octavia.domain.rules.marks import leaving, lock, strict, touched, touched_listeners, written, wrong_state
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import LoadBalancer, Vip


def update_load_balancer(lb: LoadBalancer, values: Values, deployment: Deployment) -> LoadBalancer:
    """:raises Conflict: its state takes no write."""
    if lb.leaving or (strict(lb, deployment) and lb.provisioning_status is not P.ACTIVE):
        raise wrong_state(lb)
    changes = dict(values)
    of_vip = {name: changes.pop(f"vip_{name}") for name in _OF_VIP if f"vip_{name}" in changes}
    vip = replace(lb.vip, **of_vip)
    check_security_groups(vip)
    return replace(written(lb), vip=vip, **changes)


_OF_VIP: Final = ("qos_policy_id", "sg_ids")


def check_security_groups(vip: Vip) -> None:
    """:raises Invalid: the VIP's port is not one that security groups work on."""
    if vip.sg_ids and vip.vnic_type != "normal":
        raise invalid("vip_sg_ids: a VIP on an SR-IOV port has no security groups.")


def delete_load_balancer(lb: LoadBalancer, *, cascade: bool, deployment: Deployment) -> LoadBalancer:
    """Only the root is marked: what is below goes with it.

    :raises Invalid: it has children, and they were not to be deleted too.
    :raises Conflict: its state takes no delete.
    """
    children = [*lb.listeners, *lb.pools]
    if not cascade and any(strict(lb, deployment) or not one.leaving for one in children):
        raise invalid(
            f"Cannot delete load balancer {lb.id}: it has children. Delete its listeners and pools first,"
            " or ask for a cascading delete."
        )
    if strict(lb, deployment) and lb.provisioning_status not in (P.ACTIVE, P.ERROR):
        raise wrong_state(lb)
    if lb.provisioning_status is P.PENDING_DELETE:
        raise wrong_state(lb)
    return leaving(lb.bumped(), lb.bumped())


def renew_secret(lb: LoadBalancer, ref: str) -> LoadBalancer:
    """What a secret holds has changed: whatever names it is to be made live anew."""
    lb = written(lb)
    for listener in lb.listeners:
        named = tls.secrets_of_listener(listener)
        if ref in (*named.certificates, named.ca, named.crl):
            lb = lb.with_listener(touched(lb, listener))
    for pool in lb.pools:
        named = tls.secrets_of_pool(pool)
        if ref in (*named.certificates, named.ca, named.crl):
            lb = touched_listeners(lb.with_pool(touched(lb, pool)), pool.id)
    return lb


def fail_over(lb: LoadBalancer, deployment: Deployment) -> LoadBalancer:
    """All its amphorae are to be replaced; stamping them is the caller's part.

    :raises Conflict: its state takes no failover.
    """
    if lb.leaving or (strict(lb, deployment) and lb.provisioning_status not in (P.ACTIVE, P.ERROR)):
        raise wrong_state(lb)
    return written(lb)


def fail_over_amphora(lb: LoadBalancer, deployment: Deployment) -> LoadBalancer:
    """One of its amphorae is to be replaced.

    :raises Conflict: the load balancer's state takes no failover.
    """
    lock(lb, deployment)
    return written(lb)
