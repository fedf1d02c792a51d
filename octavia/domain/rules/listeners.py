# SPDX-License-Identifier: Apache-2.0
"""Listeners (contract: api.md section 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from octavia.domain import protocols, tls
from octavia.domain.errors import Conflict, Invalid, NotFound
from octavia.domain.rules.ground import Births, Deployment, Values, invalid, not_allowed
from octavia.domain.rules.marks import born, leaving, lock, may_leave, stays, touched, written
from octavia.domain.tree import ClientAuthentication, Listener, LoadBalancer, Protocol


def create_listener(
    lb: LoadBalancer, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, Listener]:
    """:raises RequestError: a rule of contract api.md section 7 is broken."""
    check_listener_allowed(values, deployment)
    _check_default_pool(lb, values["protocol"], values.get("default_pool_id"))
    lock(lb, deployment)
    lb = written(lb)
    listener = new_listener(lb, values, births, deployment)
    return lb.with_listener(listener), listener


def new_listener(lb: LoadBalancer, values: Values, births: Births, deployment: Deployment) -> Listener:
    """A listener that fits into the tree, which it is not part of yet."""
    listener = Listener(**born(lb, births), **tls.listener_defaults(values, deployment.tls))
    _check_headers(listener.protocol, listener.insert_headers)
    tls.check_new_listener(listener, deployment.tls)
    _check_tls_allowed(listener, deployment)
    _check_port(lb, listener)
    _check_cidrs(lb, listener.allowed_cidrs)
    return listener


def update_listener(
    lb: LoadBalancer, listener_id: str, values: Values, deployment: Deployment
) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 7 is broken."""
    listener = listener_of(lb, listener_id)
    _check_default_pool(lb, listener.protocol, values.get("default_pool_id"))
    lock(lb, deployment)
    stays("Listener", listener)
    if "insert_headers" in values:
        _check_headers(listener.protocol, values["insert_headers"])
    changed = replace(listener, **_with_client_authentication(listener, values))
    tls.check_listener(changed, values, deployment.tls)
    if tls.names_secrets(values):
        _check_tls_allowed(changed, deployment)
    _check_cidrs(lb, values.get("allowed_cidrs", ()))
    lb = written(lb)
    return lb.with_listener(touched(lb, changed))


def _with_client_authentication(listener: Listener, values: Values) -> Values:
    """Null asks for none, which only what could have some may ask for."""
    if values.get("client_authentication", ClientAuthentication.NONE) is not None:
        return values
    if not values.get("client_ca_tls_container_ref", listener.client_ca_tls_container_ref):
        raise invalid("client_authentication needs a client_ca_tls_container_ref.")
    return dict(values) | {"client_authentication": ClientAuthentication.NONE}


def delete_listener(lb: LoadBalancer, listener_id: str, deployment: Deployment) -> LoadBalancer:
    """Its default pool stays.

    :raises Conflict: the state of the tree takes no delete.
    """
    listener = listener_of(lb, listener_id)
    lock(lb, deployment)
    may_leave("Listener", listener)
    lb = written(lb)
    return lb.with_listener(leaving(lb, listener))


def listener_of(lb: LoadBalancer, listener_id: str) -> Listener:
    """:raises NotFound: it is not in this tree."""
    listener = lb.listener(listener_id)
    if listener is None:
        raise NotFound("Listener", listener_id)
    return listener


def check_listener_allowed(values: Values, deployment: Deployment) -> None:
    """:raises Invalid: the operator has switched the protocol off."""
    protocol = values["protocol"]
    allowed = {
        Protocol.TERMINATED_HTTPS: deployment.allow_tls_terminated_listeners,
        Protocol.PROMETHEUS: deployment.allow_prometheus_listeners,
    }
    if not allowed.get(protocol, True):
        raise not_allowed("protocol", protocol)


def _check_tls_allowed(listener: Listener, deployment: Deployment) -> None:
    named = tls.secrets_of_listener(listener).certificates
    if named and listener.protocol is Protocol.PROMETHEUS and not deployment.allow_tls_terminated_listeners:
        raise not_allowed("protocol", "PROMETHEUS with TLS")


def _check_default_pool(lb: LoadBalancer, protocol: Protocol, pool_id: str | None) -> None:
    if pool_id is None:
        return
    if protocol is Protocol.PROMETHEUS:
        raise childless(protocol)
    check_target(lb, protocol, pool_id)


def check_target(lb: LoadBalancer, protocol: Protocol, pool_id: str) -> None:
    """:raises RequestError: a listener of that protocol cannot send traffic to the pool."""
    pool = lb.pool(pool_id)
    if pool is None or pool.leaving:
        raise NotFound("Pool", pool_id)
    check_pair(protocol, pool.protocol)


def childless(protocol: Protocol) -> Invalid:
    """The listener answers by itself: it sends no traffic anywhere."""
    return invalid(f"Listeners of protocol {protocol} can have no children: no default pool, no L7 policies.")


def check_pair(listener: Protocol, pool: Protocol) -> None:
    """:raises Invalid: a listener of one protocol cannot use a pool of the other."""
    if listener is Protocol.PROMETHEUS:
        raise childless(listener)
    if pool not in protocols.POOLS_OF_LISTENER[listener]:
        raise invalid(f"The pool protocol '{pool}' is invalid while the listener protocol is '{listener}'.")


def _check_headers(protocol: Protocol, headers: Mapping[str, str]) -> None:
    if not headers:
        return
    if protocol in protocols.DATAGRAMS:
        raise invalid(
            f"insert-headers is not valid for protocol {protocol}: {protocol} listeners have no TLS and no"
            " header insertion."
        )
    allowed = protocols.HEADERS_OF_LISTENER.get(protocol)
    if allowed is None:
        raise invalid(f"insert-headers is not valid for protocol {protocol}.")
    unknown = sorted(set(headers) - protocols.HEADERS - protocols.TLS_HEADERS)
    if unknown:
        raise Invalid(f"{', '.join(unknown)} is not a valid option for insert_headers")
    refused = sorted(set(headers) - allowed)
    if refused:
        raise Invalid(
            f"{', '.join(refused)} is not a valid option for insert_headers of a listener of protocol"
            f" {protocol}: it needs TERMINATED_HTTPS"
        )


def _check_port(lb: LoadBalancer, listener: Listener) -> None:
    for other in lb.listeners:
        if (
            not other.leaving
            and other.protocol_port == listener.protocol_port
            and protocols.family(other.protocol) == protocols.family(listener.protocol)
        ):
            raise Conflict(
                "Another Listener on this Load Balancer is already using protocol"
                f" {other.protocol} and protocol_port {other.protocol_port}"
            )


def _check_cidrs(lb: LoadBalancer, cidrs: Sequence[str]) -> None:
    if not cidrs:
        return
    if lb.vip.sg_ids:
        raise invalid("allowed_cidrs excludes vip_sg_ids, which the load balancer has.")
    versions = {ip_address(address).version for address in lb.vip_addresses}
    for cidr in cidrs:
        if ip_network(cidr).version not in versions:
            raise invalid(
                f"allowed_cidrs {cidr} has another IP version than every VIP: {', '.join(lb.vip_addresses)}"
            )
