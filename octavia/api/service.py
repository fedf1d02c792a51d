# SPDX-License-Identifier: Apache-2.0
"""What handlers work with: one :class:`Service` a process, one :class:`Call` a request.

How a write becomes a committed change is :meth:`Service.change`, the same for every resource.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import falcon

from octavia.api import body, certificates, query
from octavia.api.dispatch import Dispatch
from octavia.api.identity import Access, Identity
from octavia.api.schemas.fields import Schema
from octavia.api.settings import ApiSettings
from octavia.db import provider_calls, quotas, work
from octavia.db.engine import Connection, Database
from octavia.db.tree import loading, mapping, saving
from octavia.domain import rules
from octavia.domain.clock import Clock
from octavia.domain.errors import Denied, NotFound
from octavia.domain.rules import Births, Deployment
from octavia.domain.tls import Secrets
from octavia.domain.tree import LoadBalancer
from octavia.drivers.bus.contract import Bell
from octavia.drivers.certificates.tenant import NoStore, TenantCertificates
from octavia.drivers.network.contract import NetworkDriver
from octavia.providers.calls import Tells
from octavia.providers.errors import UnsupportedAction
from octavia.providers.registry import Providers

_T = TypeVar("_T")

Find = Callable[[Connection], str]
"""Finds the load balancer of a request, or raises NotFound."""

Look = Callable[[Connection, LoadBalancer], None]
"""Looks at a tree in the transaction of a write; raises, or writes something beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The world of the handlers."""

    database: Database
    network: NetworkDriver
    doorbell: Bell
    clock: Clock
    settings: ApiSettings
    access: Access
    providers: Providers
    certificates: TenantCertificates = field(default_factory=NoStore)

    @property
    def deployment(self) -> Deployment:
        """What the operator allows."""
        return self.settings.deployment

    @property
    def dispatch(self) -> Dispatch:
        """The way to third-party providers."""
        return Dispatch(
            database=self.database,
            network=self.network,
            clock=self.clock,
            providers=self.providers,
            certificates=self.certificates,
        )

    def births(self) -> Births:
        """For the new objects of one request."""
        return Births(self.clock.now(), lambda: str(uuid4()))

    def check_quota(self, tx: Connection, project_id: str | None, wanted: Mapping[str, int]) -> None:
        """Is there room for more in the project? To be asked in the transaction that takes it.

        :raises QuotaMet: there is not.
        """
        if self.settings.enforce_quotas:
            quotas.ensure_room(tx, project_id, wanted, self.settings.quotas)

    def change(
        self,
        find: Find,
        rule: Callable[[LoadBalancer, Births], tuple[LoadBalancer, _T]],
        *,
        allowed: Look | None = None,
        first: Look | None = None,
        room: Callable[[LoadBalancer], Mapping[str, int]] | None = None,
        secrets: Callable[[LoadBalancer, _T], Secrets] | None = None,
        also: Look | None = None,
        tells: Tells | None = None,
    ) -> tuple[LoadBalancer, _T]:
        """Change one load balancer's tree and announce it, in one transaction.

        A third party's provider is asked after the transaction, and may have the change taken back.

        The parameters are in the order in which they are asked (contract: api.md section 2.7).

        :param allowed: may the caller?
        :param first: what is told before the quota: switches of the operator, what needs no look at states.
        :param room: how many objects more of each resource the request wants, for the quota.
        :param rule: gives the new tree and something that the response needs; the same tree is no change.
        :param secrets: what is to be verified of the new tree before it is saved, if the request names any.
        :param also: what else is written with it, for our own worker.
        :param tells: what a third party's provider is told of it; None: they have no such thing.
        """
        verified: set[Secrets] = set()
        call_id = str(uuid4())

        def transaction(tx: Connection) -> tuple[LoadBalancer, LoadBalancer, _T]:
            load_balancer_id = find(tx)
            before = loading.lock(tx, load_balancer_id)
            if allowed:
                allowed(tx, before)
            if first:
                first(tx, before)
            if before.third_party:
                self.providers.choose(before.provider)
                if tells is None:
                    raise UnsupportedAction.of(before.provider, "it has no amphorae.")
            if room:
                self.check_quota(tx, before.project_id, room(before))
            now = self.clock.now()
            after, found = rule(before, self.births())
            if after is before:
                return before, after, found
            self.providers.check(before, after)
            if secrets and (named := secrets(after, found)) not in verified:
                raise certificates.Unverified(frozenset({named}))
            saving.save(tx, before, after)
            if tells and after.third_party:
                provider_calls.begin(tx, call_id, after, tells(found).method, now)
                return before, after, found
            if also:
                also(tx, after)
            work.announce(tx, after.id, now, new_deadline=rules.retries(before, after))
            return before, after, found

        try:
            before, after, found = self.database.write(transaction)
        except certificates.Unverified as unverified:
            # Outside of the transaction; then everything is asked again.
            self.verify(unverified.secrets)
            verified |= unverified.secrets
            before, after, found = self.database.write(transaction)
        if after is before:
            return after, found
        if tells and after.third_party:
            self.dispatch.hand_over(call_id, tells(found), before, after)
        else:
            self.doorbell.ring()
        return after, found

    def verify(self, secrets: Iterable[Secrets]) -> None:
        """:raises Invalid: one cannot be retrieved, or does not hold what it should."""
        certificates.verify(self.certificates, secrets)


def one_more(resource: str) -> Callable[[LoadBalancer], Mapping[str, int]]:
    """What a create of one object wants of the quota."""
    return lambda _lb: {resource: 1}


def load_balancer(load_balancer_id: str) -> Find:
    """The request names the load balancer itself."""
    return lambda _tx: load_balancer_id


def of(kind: mapping.Kind[Any], noun: str, object_id: str) -> Find:
    """The request names an object below it."""

    def find(tx: Connection) -> str:
        load_balancer_id = loading.load_balancer_id_of(tx, kind, object_id)
        if load_balancer_id is None:
            raise NotFound(noun, object_id)
        return load_balancer_id

    return find


@dataclass(frozen=True, slots=True)
class Answer:
    """A status code, and the object of the body if there is one.

    :param media_type: of a body that is text, or bytes, as it stands; None: it is an object, sent as JSON.
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

    def authorize(self, rule: str, project_id: str | None) -> None:
        """May the caller do this with an object of that project?

        :param rule: such as ``listener:put``.
        :param project_id: None: the object is of no project.
        :raises Denied: no.
        """
        if not self.service.access.allows(rule, self.identity, project_id):
            raise Denied("Policy does not allow this request to be performed.")

    def authorize_list(self, rule: str, filters: Sequence[tuple[str, str]]) -> str | None:
        """The project whose objects the caller may see; None: every project's.

        :param rule: of a list, such as ``listener:get_all``; there is one for all projects too.
        :raises Denied: the caller may see none, or not the ones of the project that is asked for.
        """
        wanted = dict(filters).get("project_id", self.identity.project_id)
        if self.service.access.allows(f"{rule}-global", self.identity, wanted):
            return None
        self.authorize(rule, wanted)
        return wanted

    def change(
        self,
        permission: str,
        find: Find,
        rule: Callable[[LoadBalancer, Births], tuple[LoadBalancer, _T]],
        *,
        first: Look | None = None,
        room: Callable[[LoadBalancer], Mapping[str, int]] | None = None,
        secrets: Callable[[LoadBalancer, _T], Secrets] | None = None,
        also: Look | None = None,
        tells: Tells | None = None,
    ) -> tuple[LoadBalancer, _T]:
        """As :meth:`Service.change`, if the caller may.

        :param permission: the policy's rule, such as ``listener:put``.
        :raises Denied: the caller may not.
        """

        def allowed(_tx: Connection, lb: LoadBalancer) -> None:
            self.authorize(permission, lb.project_id)

        return self.service.change(
            find, rule, allowed=allowed, first=first, room=room, secrets=secrets, also=also, tells=tells
        )

    def raw_body(self, root: str) -> Any:
        """The object under the body's root key, not typed yet.

        :raises Invalid: the body is not one, or there are query parameters.
        """
        query.only(self.query)
        return body.read(self.req, root, self.settings.max_request_body_size)

    def no_body(self) -> None:
        """The call takes no body, or an empty object, and no query.

        :raises Invalid: there is more.
        """
        query.only(self.query)
        body.check_none(self.req)

    def create_body(self, schema: Schema) -> dict[str, Any]:
        """The fields of a create, complete."""
        return schema.create(self.raw_body(schema.root), self.settings)

    def update_body(self, schema: Schema) -> dict[str, Any]:
        """The fields of an update."""
        return schema.update(self.raw_body(schema.root), self.settings)


Handler = Callable[..., Answer]
"""``(call, **identifiers of the path)``."""
