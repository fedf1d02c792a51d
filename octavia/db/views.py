# SPDX-License-Identifier: Apache-2.0
"""What the API shows and lists, read without loading whole trees.

An object is read as a record: a mapping from the API's names of attributes to values. A show or a list takes
a fixed number of queries, however many objects there are: one for the rows, one for their relations. Which
attributes are answered, in which order and form, is not here: see :mod:`octavia.api.schemas`.

Writing is not here either: see :mod:`octavia.db.tree`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.explain import Standing
from octavia.domain.errors import Invalid, NotFound
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import PersistenceType, SessionPersistence

Record: TypeAlias = dict[str, Any]
Column: TypeAlias = sa.ColumnElement[Any]

# An IN list has to stay below what SQLite can bind; only lists without any limit are longer.
_CHUNK: Final = 5_000
_MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True)
class Relation:
    """An attribute that lives in rows of another table, one value a row.

    :param parent: the id of the object that has the attribute.
    :param moment: what the values are ordered by, before themselves.
    :param gather: makes the attribute of one parent's values.
    :param empty: the attribute of a parent without rows.
    :param only: what else must hold for a row.
    :param more: further rows of the same attribute.
    """

    attribute: str
    parent: Column
    value: Column
    moment: Column = sa.cast(sa.null(), t.Moment)  # noqa: RUF009  # a constant of SQL
    gather: Callable[[list[Any]], Any] = tuple
    empty: Any = ()
    only: Column = sa.true()  # noqa: RUF009  # likewise
    more: "tuple[Relation, ...]" = ()

    def select(self, number: int) -> sa.Select[Any]:
        """Rows of what has a parent among ``:ids``, under a number."""
        label: Column = sa.literal_column(str(number)).label("relation")
        moment = self.moment.label("moment")
        return sa.select(label, self.parent.label("parent"), self.value.label("value"), moment).where(
            _ids(self.parent), self.only
        )


@dataclass(frozen=True)
class WideRelation:
    """An attribute made of rows of another table, several columns each.

    :param query: selects the parent's id and what belongs to it, where that id is among ``:ids``.
    :param gather: makes the attribute of one parent's rows.
    """

    attribute: str
    query: sa.Select[Any]
    gather: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class View:
    """How one kind of object is read.

    :param noun: what messages call it.
    :param columns: scalar attributes; each can be filtered and sorted by.
    :param hidden: further names that filters may use.
    :param alive: condition that holds for what exists in the eyes of the API.
    :param order: the default; the last one is unique.
    :param key: the attribute that ``id`` is; it is what markers name.
    :param parent: where objects of this kind are listed below another one.
    :param complete: turns a row into a record, where it is more than its columns.
    """

    noun: str
    source: sa.FromClause
    id: Column
    project: Column | None
    columns: Mapping[str, Column]
    hidden: Mapping[str, Column]
    order: tuple[Column, ...]
    relations: tuple[Relation, ...] = ()
    wide_relations: tuple[WideRelation, ...] = ()
    alive: Column | None = None
    parent: sa.Column[Any] | None = None
    key: str = "id"
    tagged: bool = True
    complete: Callable[[Record], None] | None = None

    def select(self) -> sa.Select[Any]:
        """All rows that exist."""
        query = sa.select(*(column.label(name) for name, column in self.columns.items()))
        query = query.select_from(self.source)
        return query if self.alive is None else query.where(self.alive)

    @cached_property
    def related(self) -> sa.CompoundSelect[Any]:
        """All relations in one statement: relation's number, parent's id, value, moment."""
        parts = (
            one.select(number)
            for number, relation in enumerate(self.relations)
            for one in (relation, *relation.more)
        )
        return sa.union_all(*parts).order_by("relation", "moment", "value")

    def attribute(self, name: str) -> Column | None:
        """The column of a scalar attribute, if there is one of that name."""
        found = self.columns.get(name)
        return self.hidden.get(name) if found is None else found


def _columns(table: sa.Table, *names: str, **others: Column) -> dict[str, Column]:
    renamed = {"admin_state_up": "enabled"}
    return {name: table.c[renamed.get(name, name)] for name in names} | others


def _ids(column: Column) -> Column:
    return column.in_(sa.bindparam("ids", expanding=True))


def _last(values: list[Any]) -> Any:
    return values[-1]


def _sorted(values: list[Any]) -> tuple[Any, ...]:
    # By code points, whatever the database's collation is.
    return tuple(sorted(values))


_TAGS: Final = Relation("tags", t.tags.c.resource_id, t.tags.c.tag, gather=_sorted)

_COMMON: Final = (
    "id",
    "name",
    "provisioning_status",
    "operating_status",
    "admin_state_up",
    "project_id",
    "created_at",
    "updated_at",
)


def _children(attribute: str, table: sa.Table, parent: sa.Column[Any]) -> Relation:
    return Relation(attribute, parent, table.c.id, table.c.created_at)


_ADDITIONAL_VIP: Final = ("subnet_id", "ip_address", "port_id")
_ADDITIONAL_VIPS: Final = WideRelation(
    "additional_vips",
    sa.select(
        t.additional_vip.c.load_balancer_id.label("parent"),
        *(t.additional_vip.c[name] for name in _ADDITIONAL_VIP),
    )
    .where(_ids(t.additional_vip.c.load_balancer_id))
    .order_by(t.additional_vip.c.subnet_id),
    lambda rows: [dict(zip(_ADDITIONAL_VIP, row[1:], strict=True)) for row in rows],
)


LOAD_BALANCER: Final = View(
    noun="Load Balancer",
    source=t.load_balancer.outerjoin(t.vip, t.vip.c.load_balancer_id == t.load_balancer.c.id),
    id=t.load_balancer.c.id,
    project=t.load_balancer.c.project_id,
    columns=_columns(
        t.load_balancer,
        *_COMMON,
        "description",
        "flavor_id",
        "availability_zone",
        provider=sa.func.coalesce(t.load_balancer.c.provider, "octavia"),
        vip_address=t.vip.c.ip_address,
        vip_port_id=t.vip.c.port_id,
        vip_subnet_id=t.vip.c.subnet_id,
        vip_network_id=t.vip.c.network_id,
        vip_qos_policy_id=t.vip.c.qos_policy_id,
        vip_vnic_type=t.vip.c.vnic_type,
    ),
    hidden={"enabled": t.load_balancer.c.enabled, "topology": t.load_balancer.c.topology},
    order=(t.load_balancer.c.created_at, t.load_balancer.c.id),
    alive=t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
    relations=(
        _children("listeners", t.listener, t.listener.c.load_balancer_id),
        _children("pools", t.pool, t.pool.c.load_balancer_id),
        _TAGS,
    ),
    wide_relations=(_ADDITIONAL_VIPS,),
)


def _complete_listener(record: Record) -> None:
    record["insert_headers"] = record["insert_headers"] or {}
    record["loadbalancers"] = record["loadbalancer_id"]


_LISTENER_OF_LB: Final = t.listener.c.load_balancer_id

LISTENER: Final = View(
    noun="Listener",
    source=t.listener,
    id=t.listener.c.id,
    project=t.listener.c.project_id,
    columns=_columns(
        t.listener,
        *_COMMON,
        "description",
        "protocol",
        "protocol_port",
        "connection_limit",
        "default_pool_id",
        "timeout_client_data",
        "timeout_member_connect",
        "timeout_member_data",
        "timeout_tcp_inspect",
        "insert_headers",
        loadbalancer_id=_LISTENER_OF_LB,
    ),
    hidden={"enabled": t.listener.c.enabled, "load_balancer_id": _LISTENER_OF_LB},
    order=(t.listener.c.created_at, t.listener.c.id),
    relations=(
        Relation("allowed_cidrs", t.listener_cidr.c.listener_id, t.listener_cidr.c.cidr),
        _TAGS,
    ),
    wide_relations=(
        WideRelation(
            "l7policies",
            sa.select(t.l7policy.c.listener_id, t.l7policy.c.id)
            .where(_ids(t.l7policy.c.listener_id))
            .order_by(t.l7policy.c.position, t.l7policy.c.id),
            lambda rows: tuple(row[1] for row in rows),
        ),
    ),
    complete=_complete_listener,
)

# A listener sends traffic to the redirect pool of a policy that can match.
_CAN_MATCH: Final = sa.and_(
    t.l7policy.c.enabled.is_(sa.true()),
    t.l7policy.c.delete_requested.is_(sa.false()),
    sa.exists().where(t.l7rule.c.l7policy_id == t.l7policy.c.id, t.l7rule.c.delete_requested.is_(sa.false())),
)


def _complete_pool(record: Record) -> None:
    record["loadbalancers"] = record["loadbalancer_id"]
    type_ = record.pop("persistence_type")
    record["session_persistence"] = (
        SessionPersistence(
            type=PersistenceType(type_),
            **{name: record.pop(name) for name in _PERSISTENCE},
        )
        if type_
        else None
    )


_PERSISTENCE: Final = ("cookie_name", "persistence_timeout", "persistence_granularity")
_POOL_SCALARS: Final = _columns(
    t.pool,
    *_COMMON,
    "description",
    "protocol",
    "lb_algorithm",
    loadbalancer_id=t.pool.c.load_balancer_id,
)
_MONITOR_OF_POOL: Final = (
    sa.select(sa.func.max(t.health_monitor.c.id))
    .where(t.health_monitor.c.pool_id == t.pool.c.id, t.health_monitor.c.delete_requested.is_(sa.false()))
    .scalar_subquery()
)

POOL: Final = View(
    noun="Pool",
    source=t.pool.outerjoin(t.session_persistence, t.session_persistence.c.pool_id == t.pool.c.id),
    id=t.pool.c.id,
    project=t.pool.c.project_id,
    columns=_POOL_SCALARS
    | {"persistence_type": t.session_persistence.c.type}
    | {name: t.session_persistence.c[name] for name in _PERSISTENCE},
    hidden={
        "enabled": t.pool.c.enabled,
        "load_balancer_id": t.pool.c.load_balancer_id,
        "healthmonitor_id": _MONITOR_OF_POOL,
    },
    order=(t.pool.c.created_at, t.pool.c.id),
    relations=(
        replace(
            _children("listeners", t.listener, t.listener.c.default_pool_id),
            gather=lambda values: tuple(dict.fromkeys(values)),
            more=(
                Relation(
                    "listeners",
                    t.l7policy.c.redirect_pool_id,
                    t.l7policy.c.listener_id,
                    sa.select(t.listener.c.created_at)
                    .where(t.listener.c.id == t.l7policy.c.listener_id)
                    .scalar_subquery(),
                    only=_CAN_MATCH,
                ),
            ),
        ),
        # Of two monitors one is on its way out and the younger replaces it.
        replace(
            _children("healthmonitor_id", t.health_monitor, t.health_monitor.c.pool_id),
            gather=_last,
            empty=None,
        ),
        _children("members", t.member, t.member.c.pool_id),
        _TAGS,
    ),
    complete=_complete_pool,
)

MEMBER: Final = View(
    noun="Member",
    source=t.member,
    id=t.member.c.id,
    project=t.member.c.project_id,
    columns=_columns(
        t.member,
        *_COMMON,
        "protocol_port",
        "weight",
        "backup",
        "subnet_id",
        "monitor_address",
        "monitor_port",
        "vnic_type",
        "pool_id",
        address=t.member.c.ip_address,
    ),
    hidden={"enabled": t.member.c.enabled},
    order=(t.member.c.created_at, t.member.c.id),
    parent=t.member.c.pool_id,
    relations=(_TAGS,),
)


def _complete_health_monitor(record: Record) -> None:
    record["pools"] = record["pool_id"]


HEALTH_MONITOR: Final = View(
    noun="Health Monitor",
    source=t.health_monitor,
    id=t.health_monitor.c.id,
    project=t.health_monitor.c.project_id,
    columns=_columns(
        t.health_monitor,
        *_COMMON,
        "type",
        "delay",
        "timeout",
        "http_method",
        "url_path",
        "expected_codes",
        "http_version",
        "domain_name",
        "pool_id",
        max_retries=t.health_monitor.c.rise_threshold,
        max_retries_down=t.health_monitor.c.fall_threshold,
    ),
    hidden={"enabled": t.health_monitor.c.enabled},
    order=(t.health_monitor.c.created_at, t.health_monitor.c.id),
    relations=(_TAGS,),
    complete=_complete_health_monitor,
)

L7_POLICY: Final = View(
    noun="L7 Policy",
    source=t.l7policy,
    id=t.l7policy.c.id,
    project=t.l7policy.c.project_id,
    columns=_columns(
        t.l7policy,
        *_COMMON,
        "description",
        "action",
        "listener_id",
        "redirect_pool_id",
        "redirect_url",
        "redirect_prefix",
        "redirect_http_code",
        "position",
    ),
    hidden={"enabled": t.l7policy.c.enabled},
    order=(t.l7policy.c.created_at, t.l7policy.c.id),
    relations=(_children("rules", t.l7rule, t.l7rule.c.l7policy_id), _TAGS),
)

L7_RULE: Final = View(
    noun="L7 Rule",
    source=t.l7rule,
    id=t.l7rule.c.id,
    project=t.l7rule.c.project_id,
    columns=_columns(
        t.l7rule,
        *(name for name in _COMMON if name != "name"),
        "type",
        "compare_type",
        "key",
        "value",
        "invert",
        "l7policy_id",
    ),
    hidden={"enabled": t.l7rule.c.enabled},
    order=(t.l7rule.c.created_at, t.l7rule.c.id),
    parent=t.l7rule.c.l7policy_id,
    relations=(_TAGS,),
)

AMPHORA: Final = View(
    noun="Amphora",
    source=t.amphora.outerjoin(t.load_balancer, t.load_balancer.c.id == t.amphora.c.load_balancer_id),
    id=t.amphora.c.id,
    project=t.load_balancer.c.project_id,
    columns=_columns(
        t.amphora,
        "id",
        "compute_id",
        "lb_network_ip",
        "vrrp_ip",
        "ha_ip",
        "vrrp_port_id",
        "ha_port_id",
        "cert_expiration",
        "cert_busy",
        "role",
        "status",
        "vrrp_interface",
        "vrrp_id",
        "vrrp_priority",
        "cached_zone",
        "created_at",
        "updated_at",
        "image_id",
        "compute_flavor",
        loadbalancer_id=t.amphora.c.load_balancer_id,
    ),
    hidden={"project_id": t.load_balancer.c.project_id, "load_balancer_id": t.amphora.c.load_balancer_id},
    order=(t.amphora.c.created_at, t.amphora.c.id),
    alive=t.amphora.c.status != AmphoraStatus.DELETED,
    tagged=False,
)


def _offers(noun: str, table: sa.Table, key: str, *names: str) -> View:
    """Flavors, availability zones and their profiles: no project, no tags, no times."""
    return View(
        noun=noun,
        source=table,
        id=table.c[key],
        key=key,
        project=None,
        columns={name: table.c[name] for name in names},
        hidden={},
        order=(table.c[key],),
        alive=table.c[key] != t.PLACEHOLDER,
        tagged=False,
    )


FLAVOR: Final = _offers("Flavor", t.flavor, "id", "id", "name", "description", "enabled", "flavor_profile_id")
FLAVOR_PROFILE: Final = _offers(
    "Flavor Profile", t.flavor_profile, "id", "id", "name", "provider_name", "flavor_data"
)
AVAILABILITY_ZONE: Final = _offers(
    "Availability Zone",
    t.availability_zone,
    "name",
    *("name", "description", "enabled", "availability_zone_profile_id"),
)
AVAILABILITY_ZONE_PROFILE: Final = _offers(
    "Availability Zone Profile",
    t.availability_zone_profile,
    "id",
    *("id", "name", "provider_name", "availability_zone_data"),
)


# One object


def _explained(view: View) -> sa.Select[Any]:
    reason = t.status_reason
    source = view.source.outerjoin(reason, reason.c.object_id == view.id)
    query = sa.select(
        *(column.label(name) for name, column in view.columns.items()),
        *(reason.c[name].label(f"reason_{name}") for name in _REASON),
    ).select_from(source)
    query = query.where(view.id == sa.bindparam("id", type_=sa.String))
    return query if view.alive is None else query.where(view.alive)


_REASON: Final = ("object_id", "code", "sentence", "since", "attempts", "next_try")
_SHOWS: Final = {
    view.noun: _explained(view)
    for view in (
        *(LOAD_BALANCER, LISTENER, POOL, MEMBER, HEALTH_MONITOR, L7_POLICY, L7_RULE, AMPHORA),
        *(FLAVOR, FLAVOR_PROFILE, AVAILABILITY_ZONE, AVAILABILITY_ZONE_PROFILE),
    )
}


def show(tx: sa.Connection, view: View, object_id: str) -> tuple[Record, Standing | None]:
    """One object, and why it is not as asked, if it is not.

    :raises NotFound: there is none of that id.
    """
    row = tx.execute(_SHOWS[view.noun], {"id": object_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(view.noun, object_id)
    record = dict(row)
    standing = Standing(*(record.pop(f"reason_{name}") for name in _REASON))
    _complete(tx, view, [record])
    return record, standing if standing.object_id else None


def _complete(tx: sa.Connection, view: View, records: Sequence[Record]) -> None:
    """Fill in what is in other tables."""
    if not records:
        return
    every = [record[view.key] for record in records]
    chunks = [{"ids": every[start : start + _CHUNK]} for start in range(0, len(every), _CHUNK)]
    values: list[dict[str, list[Any]]] = [defaultdict(list) for _ in view.relations]
    for chunk in chunks if view.relations else ():
        for number, parent, value, _ in tx.execute(view.related, chunk):
            values[number][parent].append(value)
    for relation, of_parent in zip(view.relations, values, strict=True):
        for record in records:
            found = of_parent.get(record[view.key])
            record[relation.attribute] = relation.gather(found) if found else relation.empty
    for wide in view.wide_relations:
        rows: dict[str, list[Any]] = defaultdict(list)
        for chunk in chunks:
            for row in tx.execute(wide.query, chunk):
                rows[row[0]].append(row)
        for record in records:
            record[wide.attribute] = wide.gather(rows[record[view.key]]) if record[view.key] in rows else ()
    if view.complete:
        for record in records:
            view.complete(record)


def ping(tx: sa.Connection) -> None:
    """Ask the database for nothing but an answer."""
    tx.execute(sa.select(1)).scalar()


def exists(tx: sa.Connection, view: View, object_id: str) -> bool:
    """Is there such an object?"""
    query = sa.select(view.id).where(view.id == object_id)
    if view.alive is not None:
        query = query.where(view.alive)
    return tx.execute(query).scalar() is not None


_LB_OF_AMPHORA: Final = sa.select(t.amphora.c.load_balancer_id).where(
    t.amphora.c.id == sa.bindparam("id", type_=sa.String), t.amphora.c.status != AmphoraStatus.DELETED
)


def load_balancer_of_amphora(tx: sa.Connection, amphora_id: str) -> str:
    """The load balancer that an amphora works for.

    :raises NotFound: there is no such amphora, or it works for none.
    """
    found: str | None = tx.execute(_LB_OF_AMPHORA, {"id": amphora_id}).scalar()
    if found is None:
        raise NotFound("Amphora", amphora_id)
    return found


def show_below(
    tx: sa.Connection, view: View, object_id: str, above: View, parent_id: str
) -> tuple[Record, Standing | None]:
    """One member of one pool, one rule of one policy.

    :raises NotFound: there is no such parent, or it has no such object.
    """
    assert view.parent is not None
    try:
        record, standing = show(tx, view, object_id)
    except NotFound:
        record, standing = {view.parent.name: None}, None
    if record[view.parent.name] != parent_id:
        check_exists(tx, above, parent_id)
        raise NotFound(view.noun, object_id)
    return record, standing


def check_exists(tx: sa.Connection, view: View, object_id: str) -> None:
    """:raises NotFound: there is no such object."""
    if not exists(tx, view, object_id):
        raise NotFound(view.noun, object_id)


# Lists


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    """``tags``, ``tags-any``, ``not-tags`` or ``not-tags-any``."""

    tags: tuple[str, ...]
    any: bool
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which objects a list shows, and in which order.

    :param filters: attribute and value, as text.
    :param sort: attribute, and whether it is descending.
    :param limit: objects a page; None: all.
    :param backwards: the page that ends just before the marker.
    """

    filters: tuple[tuple[str, str], ...] = ()
    tags: tuple[TagFilter, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    marker: str | None = None
    backwards: bool = False


def listing(
    tx: sa.Connection,
    view: View,
    wanted: Listing,
    *,
    project_id: str | None = None,
    parent_id: str | None = None,
) -> list[Record]:
    """One page of a list.

    :param project_id: only that project's objects.
    :param parent_id: only what is below that pool or policy.
    :raises Invalid: an attribute, a value or the marker does not exist.
    """
    query = view.select()
    if project_id is not None and view.project is not None:
        query = query.where(view.project == project_id)
    if parent_id is not None and view.parent is not None:
        query = query.where(view.parent == parent_id)
    marker_query = query
    for name, text in wanted.filters:
        query = query.where(_equals(view, name, text))
    for tag_filter in wanted.tags:
        query = query.where(_tagged(view, tag_filter))
    order = _order(view, wanted.sort)
    if wanted.marker is not None:
        row = tx.execute(
            marker_query.where(view.id == wanted.marker).with_only_columns(*_keys(order))
        ).first()
        if row is None:
            raise Invalid(f"Supplied pagination marker '{wanted.marker}' is not valid.")
        query = query.where(_beyond(order, row, wanted.backwards))
    for key in order:
        query = query.order_by(*key.order_by(wanted.backwards))
    if wanted.limit is not None:
        query = query.limit(wanted.limit)
    names = tuple(view.columns)
    records = [dict(zip(names, row, strict=True)) for row in tx.execute(query).all()]
    if wanted.backwards:
        records.reverse()
    _complete(tx, view, records)
    return records


@dataclass(frozen=True, slots=True)
class _Key:
    """One criterion of an order; null comes before everything, on every database."""

    column: Column
    descending: bool = False
    nullable: bool = True

    def order_by(self, backwards: bool) -> Iterable[Column]:
        """The criterion as SQL."""
        terms = [self.column.is_not(None), self.column] if self.nullable else [self.column]
        return [term.desc() if self.descending is not backwards else term.asc() for term in terms]

    def same(self, value: Any) -> Column:
        """Is a row's the same as the marker's?"""
        return self.column.is_(None) if value is None else self.column == value

    def after(self, value: Any, backwards: bool) -> Column:
        """Does a row come after the marker?"""
        if self.descending is not backwards:
            if value is None:
                return sa.false()
            return (
                sa.or_(self.column < value, self.column.is_(None)) if self.nullable else self.column < value
            )
        return self.column.is_not(None) if value is None else self.column > value


def _keys(order: Sequence[_Key]) -> list[Column]:
    return [key.column.label(f"key{n}") for n, key in enumerate(order)]


def _order(view: View, sort: Sequence[tuple[str, bool]]) -> list[_Key]:
    keys = []
    for name, descending in sort:
        column = view.columns.get(name)
        if column is None or name in _NOT_SCALAR:
            raise Invalid(f"Supplied sort key '{name}' is not valid.")
        keys.append(_Key(_comparable(column), descending))
    *others, identifier = view.order
    return [*keys, *(_Key(column) for column in others), _Key(identifier, nullable=False)]


def _comparable(column: Column) -> Column:
    if isinstance(column.type, sa.Boolean):  # PostgreSQL's are no numbers, and others' have no order
        return sa.case((column.is_(sa.true()), 1), else_=0)
    # MySQL keeps a FLOAT in single precision: 1.1 would equal nothing that we can write.
    return sa.func.round(column * 10) if isinstance(column.type, sa.Float) else column


def _beyond(order: Sequence[_Key], marker: Sequence[Any], backwards: bool) -> Column:
    """Rows that come after the marker: greater in the first criterion that differs."""
    alternatives = []
    for n, key in enumerate(order):
        same = [order[m].same(marker[m]) for m in range(n)]
        alternatives.append(sa.and_(*same, key.after(marker[n], backwards)))
    return sa.or_(*alternatives)


_NOT_SCALAR: Final = frozenset({"insert_headers", "persistence_type", *_PERSISTENCE})
_BOOLEANS: Final = {"true": True, "t": True, "1": True, "yes": True, "y": True, "on": True} | {
    "false": False,
    "f": False,
    "0": False,
    "no": False,
    "n": False,
    "off": False,
}


def _equals(view: View, name: str, text: str) -> Column:
    column = view.attribute(name)
    if column is None or name in _NOT_SCALAR:
        raise Invalid("One or more arguments are either duplicate or invalid")
    if isinstance(column.type, sa.Boolean):
        if text.lower() not in _BOOLEANS:
            raise Invalid(f"Value not an unambiguous boolean: {text[:100]}")
        return column.is_(sa.true() if _BOOLEANS[text.lower()] else sa.false())
    if isinstance(column.type, sa.Integer):
        return _equals_number(column, text, int)
    if isinstance(column.type, sa.Float):
        return _equals_number(column, text, float)
    if isinstance(column.type, sa.DateTime):
        return _equals_second(column, text)
    return column == text


def _equals_number(column: Column, text: str, number: type[int] | type[float]) -> Column:
    try:
        value = number(text[:40])
        if not abs(value) < _MAX_INTEGER:
            return sa.false()
    except ValueError:
        return sa.false()
    return _comparable(column) == (round(value * 10) if number is float else value)


def _equals_second(column: Column, text: str) -> Column:
    """Moments are shown in whole seconds, so a second is what they are compared by."""
    try:
        moment = datetime.fromisoformat(text).replace(microsecond=0, tzinfo=None)
        return sa.and_(column >= moment, column < moment + timedelta(seconds=1))
    except (ValueError, OverflowError):
        return sa.false()


def _tagged(view: View, wanted: TagFilter) -> Column:
    if not view.tagged:
        raise Invalid("One or more arguments are either duplicate or invalid")
    # An empty tag matches nothing.
    tags = sorted({tag for tag in wanted.tags if tag})
    carriers = sa.select(t.tags.c.resource_id).where(t.tags.c.tag.in_(tags))
    if wanted.any:
        found: Column = view.id.in_(carriers)
    elif len(tags) < len(set(wanted.tags)):
        found = sa.false()
    else:
        all_of_them = carriers.group_by(t.tags.c.resource_id).having(sa.func.count() == len(tags))
        found = view.id.in_(all_of_them)
    return sa.not_(found) if wanted.negated else found


# Status tree

_STATUS_ROOT: Final = sa.select(
    t.load_balancer.c.id,
    t.load_balancer.c.name,
    t.load_balancer.c.operating_status,
    t.load_balancer.c.provisioning_status,
).where(
    t.load_balancer.c.id == sa.bindparam("id", type_=sa.String),
    t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
)


def _labels(table: sa.Table, prefix: str, *names: str) -> list[Column]:
    return [table.c[name].label(f"{prefix}_{name}") for name in names]


_STATUSES: Final = ("id", "name", "operating_status", "provisioning_status")
_STATUS_LISTENERS: Final = (
    sa.select(
        *(t.listener.c[name] for name in _STATUSES),
        t.listener.c.default_pool_id,
        t.l7policy.c.redirect_pool_id,
    )
    .select_from(t.listener.outerjoin(t.l7policy, _CAN_MATCH & (t.l7policy.c.listener_id == t.listener.c.id)))
    .where(t.listener.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.listener.c.created_at, t.listener.c.id, t.l7policy.c.position)
)
_STATUS_POOLS: Final = (
    sa.select(
        *_labels(t.pool, "pool", *_STATUSES),
        *_labels(t.health_monitor, "monitor", "type", *_STATUSES),
    )
    .select_from(t.pool.outerjoin(t.health_monitor, t.health_monitor.c.pool_id == t.pool.c.id))
    .where(t.pool.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.health_monitor.c.created_at)
)
_STATUS_MEMBERS: Final = (
    sa.select(
        t.member.c.pool_id,
        t.member.c.id,
        t.member.c.name,
        t.member.c.operating_status,
        t.member.c.provisioning_status,
        t.member.c.ip_address.label("address"),
        t.member.c.protocol_port,
    )
    .select_from(t.member.join(t.pool, t.pool.c.id == t.member.c.pool_id))
    .where(t.pool.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.member.c.created_at, t.member.c.id)
)


def status_tree(tx: sa.Connection, load_balancer_id: str) -> Record:
    """The load balancer with the listeners, pools, monitors and members below it, statuses alone.

    :raises NotFound: there is no such load balancer.
    """
    of_lb = {"id": load_balancer_id}
    root = tx.execute(_STATUS_ROOT, of_lb).mappings().one_or_none()
    if root is None:
        raise NotFound("Load Balancer", load_balancer_id)
    members: dict[str, list[Record]] = defaultdict(list)
    for pool_id, *values in tx.execute(_STATUS_MEMBERS, of_lb):
        members[pool_id].append(dict(zip(_MEMBER_STATUSES, values, strict=True)))
    # Two rows of one pool are two monitors, of which the younger stays.
    pools = {
        row["pool_id"]: _pool_statuses(dict(row), members)
        for row in tx.execute(_STATUS_POOLS, of_lb).mappings()
    }
    listeners: dict[str, Record] = {}
    used: dict[str, dict[str, Record]] = defaultdict(dict)
    for *values, default_pool_id, redirect_pool_id in tx.execute(_STATUS_LISTENERS, of_lb):
        listener = dict(zip(_STATUSES, values, strict=True))
        listeners[listener["id"]] = listener
        for pool_id in (default_pool_id, redirect_pool_id):
            if pool_id in pools:
                used[listener["id"]][pool_id] = pools[pool_id]
    return dict(root) | {
        "listeners": [one | {"pools": list(used[id_].values())} for id_, one in listeners.items()]
    }


_MEMBER_STATUSES: Final = (*_STATUSES, "address", "protocol_port")


def _statuses(row: Mapping[str, Any], prefix: str) -> Record:
    return {name: row[f"{prefix}_{name}"] for name in _STATUSES}


def _pool_statuses(row: Mapping[str, Any], members: Mapping[str, list[Record]]) -> Record:
    monitor = _statuses(row, "monitor") | {"type": row["monitor_type"]} if row["monitor_id"] else None
    return _statuses(row, "pool") | {
        "health_monitor": monitor,
        "members": members.get(row["pool_id"], []),
    }


# Statistics

COUNTERS: Final = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")
_statistics: Final = t.listener_statistics
_LIVE: Final = sa.or_(
    t.amphora.c.status == AmphoraStatus.ALLOCATED,
    # How third-party providers report.
    _statistics.c.amphora_id == _statistics.c.listener_id,
)


def _counter(name: str) -> Column:
    column: Column = _statistics.c[name]
    if name == "active_connections":
        # Connections through an amphora that is gone are gone; what it has counted stays.
        column = sa.case((_LIVE, column), else_=0)
    return sa.func.coalesce(sa.func.sum(column), 0).label(name)


_SUMS: Final = sa.select(*(_counter(name) for name in COUNTERS)).select_from(
    _statistics.outerjoin(t.amphora, t.amphora.c.id == _statistics.c.amphora_id)
)
_STATISTICS: Final = {
    LISTENER.noun: _SUMS.where(_statistics.c.listener_id == sa.bindparam("id", type_=sa.String)),
    LOAD_BALANCER.noun: _SUMS.where(
        _statistics.c.listener_id.in_(
            sa.select(t.listener.c.id).where(
                t.listener.c.load_balancer_id == sa.bindparam("id", type_=sa.String)
            )
        )
    ),
}


def statistics(tx: sa.Connection, view: View, object_id: str) -> Record:
    """The counters of a listener, or of all listeners of a load balancer.

    :raises NotFound: there is no such object.
    """
    if not exists(tx, view, object_id):
        raise NotFound(view.noun, object_id)
    row = tx.execute(_STATISTICS[view.noun], {"id": object_id}).mappings().one()
    # SUM of a BIGINT is a DECIMAL on MySQL and PostgreSQL.
    return {name: int(value) for name, value in row.items()}


_OF_AMPHORA: Final = (
    sa.select(_statistics, t.amphora.c.load_balancer_id)
    .join(t.amphora, t.amphora.c.id == _statistics.c.amphora_id)
    .where(_statistics.c.amphora_id == sa.bindparam("id", type_=sa.String))
    .order_by(_statistics.c.listener_id)
)


def amphora_statistics(tx: sa.Connection, amphora_id: str) -> list[Record]:
    """The counters of an amphora, a row a listener.

    :raises NotFound: there are none.
    """
    rows = tx.execute(_OF_AMPHORA, {"id": amphora_id}).mappings().all()
    if not rows:
        raise NotFound("Amphora stats for", amphora_id)
    return [
        {
            "id": row["amphora_id"],
            "listener_id": row["listener_id"],
            "loadbalancer_id": row["load_balancer_id"],
            **{name: row[name] for name in COUNTERS},
        }
        for row in rows
    ]
