# SPDX-License-Identifier: Apache-2.0
"""Pools and their session persistence (contract: api.md section 8)."""

from dataclasses import replace
from typing import Final

from octavia.domain import protocols, tls
from octavia.domain.errors import Conflict, NotFound
from octavia.domain.rules.ground import Births, Deployment, Values, invalid
from octavia.domain.rules.listeners import check_pair
from octavia.domain.rules.marks import (
    born,
    leaving,
    lock,
    may_leave,
    stays,
    touched,
    touched_listeners,
    written,
)
from octavia.domain.tree import LoadBalancer, PersistenceType, Pool, Protocol, SessionPersistence


def create_pool(
    lb: LoadBalancer, values: Values, births: Births, deployment: Deployment, *, listener_id: str | None
) -> tuple[LoadBalancer, Pool]:
    """A pool, as the default pool of a listener if one is named.

    :raises RequestError: a rule of contract api.md section 8 is broken.
    """
    listener = None
    if listener_id is not None:
        listener = lb.listener(listener_id)
        if listener is None or listener.leaving:
            raise NotFound("Listener", listener_id)
        check_pair(listener.protocol, values["protocol"])
        if listener.default_pool_id:
            raise Conflict("This listener already has a default pool")
    lock(lb, deployment)
    lb = written(lb)
    pool = new_pool(lb, values, births, deployment)
    lb = lb.with_pool(pool)
    if listener:
        lb = lb.with_listener(replace(touched(lb, listener), default_pool_id=pool.id))
    return lb, pool


def new_pool(lb: LoadBalancer, values: Values, births: Births, deployment: Deployment) -> Pool:
    """A pool without members that fits into the tree, which it is not part of yet."""
    persistence = _persistence(values["protocol"], values.get("session_persistence"), None)
    completed = tls.pool_defaults(values, deployment.tls) | {"session_persistence": persistence}
    pool = Pool(**born(lb, births), **completed)
    tls.check_pool(pool, completed, deployment.tls, is_new=True)
    return pool


def update_pool(lb: LoadBalancer, pool_id: str, values: Values, deployment: Deployment) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 8 is broken."""
    pool = pool_of(lb, pool_id)
    lock(lb, deployment)
    stays("Pool", pool)
    changes = dict(values)
    if "session_persistence" in changes:
        changes["session_persistence"] = _persistence(
            pool.protocol, changes["session_persistence"], pool.session_persistence
        )
    changed = replace(pool, **changes)
    tls.check_pool(changed, changes, deployment.tls, is_new=False)
    lb = written(lb)
    lb = lb.with_pool(touched(lb, changed))
    return touched_listeners(lb, pool_id)


def delete_pool(lb: LoadBalancer, pool_id: str, deployment: Deployment) -> LoadBalancer:
    """Members and monitor go with it; listeners lose it as their default pool at once.

    :raises Conflict: the state of the tree takes no delete, or a policy redirects to it.
    """
    pool = pool_of(lb, pool_id)
    lock(lb, deployment)
    may_leave("Pool", pool)
    _check_unreferenced(lb, pool)
    lb = written(lb)
    for listener in lb.listeners:
        if listener.default_pool_id == pool_id:
            lb = lb.with_listener(replace(touched(lb, listener), default_pool_id=None))
    return lb.with_pool(leaving(lb, pool))


def _check_unreferenced(lb: LoadBalancer, pool: Pool) -> None:
    for listener in lb.listeners:
        for policy in listener.l7_policies:
            if policy.redirect_pool_id == pool.id and not (policy.leaving or listener.leaving):
                raise Conflict(f"Pool {pool.id} is in use by L7 policy {policy.id}")


def pool_of(lb: LoadBalancer, pool_id: str) -> Pool:
    """:raises NotFound: it is not in this tree."""
    pool = lb.pool(pool_id)
    if pool is None:
        raise NotFound("Pool", pool_id)
    return pool


_COOKIE_NAME_REFUSED: Final = frozenset('"(),/:;<=>?@[\\]{} \x7f') | {chr(code) for code in range(0x20)}


def _persistence(
    protocol: Protocol, values: Values | None, stored: SessionPersistence | None
) -> SessionPersistence | None:
    if values is None:
        return None
    type_ = values.get("type") or (stored.type if stored else None)
    if type_ is None:
        raise invalid("session_persistence needs a type.")
    persistence = SessionPersistence(**dict(values) | {"type": type_})
    _check_cookie(persistence)
    _check_datagram_persistence(protocol, persistence)
    return persistence


def _check_cookie(persistence: SessionPersistence) -> None:
    cookie = persistence.cookie_name
    if cookie is not None and persistence.type is not PersistenceType.APP_COOKIE:
        raise invalid(f"cookie_name needs session persistence of type APP_COOKIE, not {persistence.type}.")
    if cookie is None and persistence.type is PersistenceType.APP_COOKIE:
        raise invalid("Session persistence of type APP_COOKIE needs a cookie_name.")
    if cookie and (_COOKIE_NAME_REFUSED & set(cookie) or not cookie.isascii()):
        raise invalid("cookie_name has characters that the name of a cookie cannot have.")


def _check_datagram_persistence(protocol: Protocol, persistence: SessionPersistence) -> None:
    if protocol in protocols.DATAGRAMS:
        if persistence.type is not PersistenceType.SOURCE_IP:
            raise invalid(f"Session persistence of type {persistence.type} is not for UDP and SCTP pools.")
    elif persistence.persistence_timeout is not None or persistence.persistence_granularity is not None:
        raise invalid("persistence_timeout and persistence_granularity are for UDP and SCTP pools only.")
