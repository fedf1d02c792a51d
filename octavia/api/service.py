# SPDX-License-Identifier: Apache-2.0
"""What handlers work with: one :class:`Service` a process, one :class:`Call` a request.

How a write becomes a committed change is :meth:`Service.change`, the same for every resource.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import falcon

from octavia import providers
from octavia.api import body, query
from octavia.api.identity import Identity
from octavia.api.schemas.fields import Schema
from octavia.api.settings import ApiSettings
from octavia.db import quotas, tree, work
from octavia.db.engine import Connection, Database
from octavia.domain import quota, rules
from octavia.domain.clock import Clock
from octavia.domain.errors import NotFound
from octavia.domain.rules import Births, Deployment
from octavia.domain.tree import LoadBalancer
from octavia.drivers.bus.contract import Doorbell
from octavia.drivers.network.contract import NetworkDriver

_T = TypeVar("_T")

Find = Callable[[Connection], str]
"""Finds the load balancer of a request, or raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The world of the handlers."""

    database: Database
    network: NetworkDriver
    doorbell: Doorbell
    clock: Clock
    settings: ApiSettings

    @property
    def deployment(self) -> Deployment:
        """What the operator allows."""
        return self.settings.deployment

    def births(self) -> Births:
        """For the new objects of one request."""
        return Births(self.clock.now(), lambda: str(uuid4()))

    def check_quota(self, tx: Connection, lb: LoadBalancer, wanted: Mapping[str, int]) -> None:
        """Is there room for more in the project? To be asked in the transaction that takes it.

        :raises QuotaMet: there is not.
        """
        if self.settings.enforce_quotas:
            quotas.ensure_room(tx, lb.project_id, wanted, self.settings.quotas)

    def change(
        self,
        find: Find,
        rule: Callable[[LoadBalancer, Births], tuple[LoadBalancer, _T]],
        also: Callable[[Connection, LoadBalancer], None] | None = None,
    ) -> tuple[LoadBalancer, _T]:
        """Change one load balancer's tree and announce it, in one transaction.

        :param rule: gives the new tree and something that the response needs; the same tree is no change.
        :param also: what else is written with it.
        """

        def transaction(tx: Connection) -> tuple[LoadBalancer, _T, bool]:
            load_balancer_id = find(tx)
            before = tree.lock(tx, load_balancer_id)
            now = self.clock.now()
            after, found = rule(before, self.births())
            if after is before:
                return after, found, False
            self.check_quota(tx, after, quota.added(before, after))
            providers.check(before, after)
            tree.save(tx, before, after)
            if also:
                also(tx, after)
            work.announce(tx, after.id, now, new_deadline=rules.retries(before, after))
            return after, found, True

        after, found, changed = self.database.write(transaction)
        if changed:
            self.doorbell.ring()
        return after, found


def load_balancer(load_balancer_id: str) -> Find:
    """The request names the load balancer itself."""
    return lambda _tx: load_balancer_id


def of(kind: tree.Kind, noun: str, object_id: str) -> Find:
    """The request names an object below it."""

    def find(tx: Connection) -> str:
        load_balancer_id = tree.load_balancer_id_of(tx, kind, object_id)
        if load_balancer_id is None:
            raise NotFound(noun, object_id)
        return load_balancer_id

    return find


@dataclass(frozen=True, slots=True)
class Answer:
    """A status code, and the object of the body if there is one.

    :param media_type: of a body that is text as it stands; None: the body is an object, sent as JSON.
    """

    status: int
    body: Any = None
    media_type: str | None = None


class Call:
    """One request, as handlers see it."""

    __slots__ = ("identity", "query", "req", "service")

    def __init__(self, service: Service, req: falcon.Request, identity: Identity) -> None:
        self.service = service
        self.req = req
        self.identity = identity
        self.query = query.parse(req.query_string)

    @property
    def settings(self) -> ApiSettings:
        """What the operator decided."""
        return self.service.settings

    def raw_body(self, root: str) -> Any:
        """The object under the body's root key, not typed yet.

        :raises Invalid: the body is not one, or there are query parameters.
        """
        query.only(self.query)
        return body.read(self.req, root)

    def create_body(self, schema: Schema) -> dict[str, Any]:
        """The fields of a create, complete."""
        return schema.create(self.raw_body(schema.root), self.settings)

    def update_body(self, schema: Schema) -> dict[str, Any]:
        """The fields of an update."""
        return schema.update(self.raw_body(schema.root), self.settings)


Handler = Callable[..., Answer]
"""``(call, **identifiers of the path)``."""
